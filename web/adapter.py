# ruff: noqa: INP001  # a file the page fetches, not part of a package
"""What the page tells about the device, whatever a view has on it."""

import tensortab as tt


def facts(device: tt.Device) -> dict[str, str | bool]:
    """The adapter in words, whether a GPU or numpy computes, and whether the GPU is imitated."""
    info = device.info
    return {"adapter": str(info), "kind": info.kind, "software": info.software}
