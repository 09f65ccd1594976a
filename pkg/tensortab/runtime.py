"""The device a person opens: the best backend there is, and sessions on it."""

from __future__ import annotations

import sys
import warnings
from typing import Literal

from .device import Backend
from .device.reference import ReferenceBackend
from .errors import DeviceError
from .graph import Graph
from .plan import Plan, plan
from .session import Session
from .store import Store
from .target import Target

Kind = Literal["browser", "native", "reference"]


class Device:
    """navigator.gpu in a browser, wgpu natively, numpy where there is neither."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @classmethod
    async def open(cls, kind: Kind | None = None) -> Device:
        """Open a device; without `kind` the best there is, numpy with a warning at worst.

        Raises DeviceError where `kind` is asked for and cannot be had.
        """
        wanted = kind or ("browser" if sys.platform == "emscripten" else "native")
        try:
            return cls(await _open(wanted))
        except (DeviceError, ImportError) as e:
            if kind:
                raise DeviceError(f"no {kind} device: {e}") from e
            warnings.warn(f"no GPU, so numpy computes, slowly: {e}", RuntimeWarning, stacklevel=2)
            return cls(ReferenceBackend())

    @property
    def info(self) -> Target:
        """Vendor, architecture, description, and whether it is a GPU imitated on the CPU."""
        return self.backend.target

    @property
    def features(self) -> frozenset[str]:
        """WebGPU features, of those this package uses."""
        return self.info.features

    @property
    def limits(self) -> dict[str, int]:
        """WebGPU limits, of those this package uses."""
        return dict(self.info.limits)

    def plan(self, graph: Graph) -> Plan:
        """How this device would run `graph`: dispatches and buffers, nothing allocated yet."""
        return plan(graph, self.info)

    async def compile(
        self, graph: Graph, *, share: Session | None = None, planned: Plan | None = None
    ) -> Session:
        """Plan `graph` unless it is, compile its kernels, allocate and bind its buffers.

        `share` is another session of this device: constants, states and live scalars of the same
        names are then the same buffers. So prefill and decode are two graphs over one cache.
        What fails frees what it allocated.
        """
        store = share.store if share else Store()
        return await Session.create(self.backend, graph, planned or self.plan(graph), store)

    def close(self) -> None:
        """Give the device back; its sessions are gone."""
        self.backend.close()


async def _open(kind: str) -> Backend:
    # Each backend imports what only its platform has.
    if kind == "browser":
        from .device.browser import BrowserBackend  # noqa: PLC0415

        return await BrowserBackend.open()
    if kind == "reference":
        return ReferenceBackend()
    from .device.native import NativeBackend  # noqa: PLC0415

    return NativeBackend()
