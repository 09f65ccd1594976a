"""The device a person opens: the best backend there is, and sessions on it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from .device import Backend
from .device.reference import ReferenceBackend
from .eager import Eager
from .errors import DeviceError, DeviceLostError
from .graph import Graph
from .plan import Plan, plan
from .session import Session
from .store import Store
from .target import Target

Kind = Literal["browser", "native", "reference"]


class Device:
    """navigator.gpu in a browser, wgpu natively, numpy where there is neither."""

    _default: ClassVar[Device | None] = None

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._eager = Eager(backend)

    @classmethod
    async def open(cls, kind: Kind | None = None, *, least: bool = False) -> Device:
        """Open a device; without `kind` the best there is, numpy with a warning at worst.

        With `least` it has WebGPU's guaranteed limits and no optional feature, as a small phone's
        GPU does, whatever is there. Raises DeviceError where `kind` is asked for and cannot be had.
        """
        wanted = kind or ("browser" if sys.platform == "emscripten" else "native")
        try:
            return cls(await _open(wanted, least=least))
        except (DeviceError, ImportError) as e:
            if kind:
                raise DeviceError(f"no {kind} device: {e}") from e
            warnings.warn(f"no GPU, so numpy computes, slowly: {e}", RuntimeWarning, stacklevel=2)
            return cls(ReferenceBackend())

    @classmethod
    async def default(cls) -> Device:
        """The device of `tt.call`: opened when first asked for, and again once it is gone."""
        if cls._default is None:
            opened = await cls.open()
            if cls._default is None:
                cls._default = opened
            else:  # somebody else asked meanwhile
                opened.close()
        return cls._default

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

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run an op, or any function of tensors, on numpy arrays at once (eager.py)."""
        try:
            return await self._eager.call(function, args, kwargs)
        except DeviceLostError:
            self._forget()
            raise

    def close(self) -> None:
        """Give the device back; its sessions are gone."""
        self._forget()
        self.backend.close()

    def _forget(self) -> None:
        if Device._default is self:
            Device._default = None


async def call(
    function: Callable[..., Any], *args: Any, device: Device | None = None, **kwargs: Any
) -> Any:
    """Run an op, or any function of tensors, on numpy arrays at once.

    On the default device, which is opened with the first call, unless `device` is given. What
    comes back, and what arrays are taken as: eager.py.
    """
    return await (device or await Device.default()).call(function, *args, **kwargs)


async def _open(kind: str, *, least: bool) -> Backend:
    # Each backend imports what only its platform has.
    if kind == "browser":
        from .device.browser import BrowserBackend  # noqa: PLC0415

        return await BrowserBackend.open(least=least)
    if kind == "reference":
        return ReferenceBackend()
    from .device.native import NativeBackend  # noqa: PLC0415

    return NativeBackend(least=least)
