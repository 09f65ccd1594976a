"""What a device is, as far as choosing kernels for it goes: plain data, no device objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# WebGPU's guaranteed limits: what every adapter has, a small phone's included.
DEFAULT_LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "maxBufferSize": 256 << 20,
        "maxStorageBufferBindingSize": 128 << 20,
        "maxStorageBuffersPerShaderStage": 8,
        "maxComputeWorkgroupStorageSize": 16384,
        "maxComputeInvocationsPerWorkgroup": 256,
        "maxComputeWorkgroupSizeX": 256,
        "maxComputeWorkgroupSizeY": 256,
        "maxComputeWorkgroupSizeZ": 64,
        "maxComputeWorkgroupsPerDimension": 65535,
    }
)


@dataclass(frozen=True)
class Target:
    """What a lowering and a loader may rely on.

    `software` is a GPU imitated on the CPU (SwiftShader, llvmpipe): barriers and wide workgroups
    cost it dearly, so lowerings choose strategies without them. `matrices` says that subgroups of
    32 multiply float16 matrices of 16 × 16 × 16 into float32, which Chromium may have as
    chromium-experimental-subgroup-matrix. `subgroup` is how many invocations a subgroup has at
    least: a power of two.
    """

    kind: str  # "browser" | "native" | "reference"
    vendor: str = ""
    architecture: str = ""
    description: str = ""
    software: bool = False
    features: frozenset[str] = frozenset()
    limits: Mapping[str, int] = field(default_factory=lambda: DEFAULT_LIMITS)
    matrices: bool = False
    subgroup: int = 1  # without the feature
    memory: int | None = None  # bytes there are for buffers, where that can be known at all

    @property
    def workgroups(self) -> int:
        """Workgroups a dispatch may have in one dimension."""
        return self.limits["maxComputeWorkgroupsPerDimension"]

    @property
    def largest(self) -> int:
        """Bytes of the largest buffer a kernel can use."""
        return min(self.limits["maxStorageBufferBindingSize"], self.limits["maxBufferSize"])

    @property
    def packed_dots(self) -> bool:
        """Whether its GPU multiplies four bytes with four in one instruction: not Apple's."""
        return self.vendor != "apple"

    def __str__(self) -> str:
        name = self.description or " ".join(filter(None, (self.vendor, self.architecture)))
        return f"{name or 'unnamed adapter'} ({self.kind}{', software' if self.software else ''})"
