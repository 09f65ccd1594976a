"""Backend on navigator.gpu, through Pyodide's JS FFI; in a window, a worker or a notebook.

What bites here: a Python dict becomes a JS Map unless `to_js` is told otherwise; the first
requestAdapter() of a fresh GPU process may be null; an awaited readback costs 0.5–0.9 ms in
Chromium and 100 ms in Firefox, so a run awaits one.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import js
from js import Object, navigator
from pyodide.code import run_js
from pyodide.ffi import JsException, JsProxy, create_proxy, to_js

from ..errors import DeviceError, DeviceLostError, KernelError
from ..kernel import Kernel
from ..target import DEFAULT_LIMITS, Target
from . import (
    TIMED,
    Bound,
    Buffer,
    Bytes,
    Layout,
    Pipeline,
    Recording,
    Run,
    Span,
    allocated,
    check_size,
    flat,
    round_up,
    split_reads,
)

T = TypeVar("T")

_COPY_SRC, _COPY_DST, _UNIFORM, _STORAGE = 0x4, 0x8, 0x40, 0x80
_COMPUTE = 4
_TOLD = 0.1  # s after a failure until it is known whether the device was lost
_WANTED = ("timestamp-query", "subgroups", "shader-f16", "chromium-experimental-subgroup-matrix")
_TYPES = {"read": "read-only-storage", "read_write": "storage", "uniform": "uniform"}


def _object(value: Any) -> Any:
    """A JS object from a Python dict."""
    return to_js(value, dict_converter=Object.fromEntries)


async def _module() -> Any:
    """replay.js: as the page's boot code imported it, else from the wheel.

    Importing it from here takes eval, which a page with a strict CSP forbids; a notebook has none.
    """
    if served := getattr(getattr(js, "tensortab", None), "replay", None):
        return served
    text = Path(__file__).with_name("replay.js").read_text(encoding="utf-8")
    return await run_js("(url) => import(url)")(f"data:text/javascript,{quote(text)}")


class BrowserBackend:
    """navigator.gpu."""

    def __init__(self, gpu: Any, target: Target, module: Any) -> None:
        self.gpu = gpu  # the JS GPUDevice
        self.target = target
        self.js = module  # every call of replay.js goes through this one object
        self._pipelines: dict[Kernel, Pipeline] = {}
        self._lost = ""
        self._faults: list[str] = []
        self._allocated: list[tuple[str, Any]] = []  # what for, and the promise of its error
        self._watches = [create_proxy(self._on_lost), create_proxy(self._on_fault)]
        gpu.lost.then(self._watches[0])
        gpu.addEventListener("uncapturederror", self._watches[1])

    @classmethod
    async def open(cls, *, least: bool = False) -> BrowserBackend:
        """Ask for the fastest adapter, with every limit and wanted feature it has, or the least."""
        adapter = await _adapter()
        features = [f for f in _WANTED if adapter.features.has(f) and not least]
        limits = dict(DEFAULT_LIMITS)
        if not least:
            limits = {name: int(getattr(adapter.limits, name)) for name in DEFAULT_LIMITS}
        wanted = {"requiredFeatures": features, "requiredLimits": limits}
        try:
            gpu = await adapter.requestDevice(_object(wanted))
        except JsException as e:
            raise DeviceError(f"the adapter gave no device: {e}") from e
        return cls(gpu, _target(adapter, frozenset(features), limits), await _module())

    def _on_lost(self, info: Any) -> None:
        self._lost = f"{info.reason}: {info.message}"

    def _on_fault(self, event: Any) -> None:
        self._faults.append(event.error.message)

    async def _guard(self, result: Awaitable[T]) -> T:
        """Await a JS promise; turn what went wrong on the GPU into this package's errors."""
        try:
            value = await result
        except JsException as e:
            await asyncio.sleep(_TOLD)  # the promise `lost` may resolve after what it broke
            if not self._lost:
                raise DeviceError(str(e)) from e
            value = cast("T", None)
        if self._allocated:
            await self._check_memory()
        if self._lost:
            raise DeviceLostError(
                f"the GPU device was lost ({self._lost}); open a new device and compile again"
            )
        if self._faults:
            faults, self._faults = self._faults, []
            raise DeviceError("; ".join(faults))
        return value

    def alloc(self, nbytes: int, *, uniform: bool = False, label: str = "") -> Buffer:
        check_size(self.target, nbytes, label)
        usage = _COPY_DST | _COPY_SRC | (_UNIFORM if uniform else _STORAGE)
        wanted = {"size": allocated(nbytes), "usage": usage, "label": label}
        self.gpu.pushErrorScope("out-of-memory")
        buffer = self.gpu.createBuffer(_object(wanted))
        self._allocated.append(
            (f"{label or 'a buffer'} of {nbytes} bytes", self.gpu.popErrorScope())
        )
        return buffer

    async def _check_memory(self) -> None:
        """Raise for a buffer that there was no memory for, of those made since the last look."""
        made, self._allocated = self._allocated, []
        found = await js.Promise.all(to_js([scope for _, scope in made]))  # one await, not hundreds
        for (what, _), error in zip(made, found, strict=True):
            if error:  # null is no None here
                raise DeviceError(f"{what}: the GPU is out of memory ({error.message})")

    def write(self, buffer: Buffer, data: Bytes, offset: int = 0) -> None:
        foreign = data if isinstance(data, JsProxy) else to_js(flat(data))
        self.js.write(self.gpu, buffer, offset, foreign)

    async def read(self, buffer: Buffer, nbytes: int, offset: int = 0) -> bytes:
        data: bytes = (await self.foreign(buffer, nbytes, offset)).to_bytes()
        return data

    async def foreign(self, buffer: Buffer, nbytes: int, offset: int = 0) -> Bytes:
        return await self._guard(self.js.read(self.gpu, buffer, offset, nbytes))

    def copy(self, source: Buffer | None, target: Buffer, nbytes: int) -> None:
        self.js.copy(self.gpu, source, target, round_up(nbytes, 4))

    async def compile(self, kernels: Sequence[Kernel]) -> list[Pipeline]:
        new = [k for k in dict.fromkeys(kernels) if k not in self._pipelines]
        made = await asyncio.gather(*map(self._compile, new))
        self._pipelines.update(zip(new, made, strict=True))
        return [self._pipelines[k] for k in kernels]

    async def _compile(self, kernel: Kernel) -> Pipeline:
        if missing := kernel.features - self.target.features:
            raise KernelError(
                f"{kernel.name}.wgsl needs {sorted(missing)}, which {self.target} lacks"
            )
        # The scope keeps an error from the device's faults: getCompilationInfo has its place.
        self.gpu.pushErrorScope("validation")
        module = self.gpu.createShaderModule(_object({"code": kernel.source, "label": kernel.name}))
        self.gpu.popErrorScope()
        # Deprecated forms are warnings; only errors stop a kernel.
        for m in (await self._guard(module.getCompilationInfo())).messages:
            if m.type == "error":
                text = f"{m.message}\n{kernel.excerpt(m.lineNum, m.linePos)}"
                raise kernel.refused(text, f"{m.lineNum}:{m.linePos}")
        # An explicit layout: `auto` would drop the bindings a specialisation leaves unused.
        entries = [
            {"binding": i, "visibility": _COMPUTE, "buffer": {"type": _TYPES[access]}}
            for i, access in enumerate(kernel.accesses)
        ]
        groups = [self.gpu.createBindGroupLayout(_object({"entries": entries}))]
        layout = self.gpu.createPipelineLayout(_object({"bindGroupLayouts": groups}))
        stage = {"module": module, "entryPoint": "main"}
        wanted = {"label": kernel.name, "layout": layout, "compute": stage}
        try:
            return await self.gpu.createComputePipelineAsync(_object(wanted))
        except JsException as e:
            raise kernel.refused(str(e)) from e

    async def record(
        self,
        buffers: Sequence[Buffer],
        pipelines: Sequence[Pipeline],
        steps: Sequence[Bound],
        layout: Layout,  # noqa: ARG002  # for backends that run ops
    ) -> Recording:
        rows = [(s.label, s.pipeline, s.slots, s.uniform, s.grid) for s in steps]
        made = self.js.record(self.gpu, to_js(buffers), to_js(pipelines), json.dumps(rows))
        return BrowserRecording(self, await self._guard(made))

    def free(self, buffer: Buffer) -> None:
        buffer.destroy()

    def close(self) -> None:
        self.gpu.removeEventListener("uncapturederror", self._watches[1])
        self.gpu.destroy()


class BrowserRecording:
    """A recording of replay.js."""

    def __init__(self, backend: BrowserBackend, recording: Any) -> None:
        self._backend = backend
        self._js = recording

    def submit(self, run: Run) -> Awaitable[list[bytes]]:
        """Three calls through the FFI: the bytes to write, the replay, the bytes read."""
        return self._result(self._js.run(*_packed(run)), run)

    async def _result(self, running: Awaitable[Any], run: Run) -> list[bytes]:
        data = (await self._backend._guard(running)).to_bytes()  # noqa: SLF001
        return split_reads(data, run)

    async def profile(self, run: Run) -> tuple[list[Span], list[bytes]]:
        running = self._js.profile(*_packed(run), TIMED)
        data = (await self._backend._guard(running)).to_bytes()  # noqa: SLF001
        end = 16 * int(self._js.steps.length)
        stamps = struct.iter_unpack("<QQ", data[:end])
        return [(start, stop) for start, stop in stamps], split_reads(data[end:], run)

    def destroy(self) -> None:
        self._js.destroy()


def _packed(run: Run) -> tuple[Any, str]:
    places = {
        "writes": [(w.slot, w.offset, len(w.data)) for w in run.writes],
        "grids": run.grids,
        "reads": [(r.slot, r.nbytes) for r in run.reads],
        "times": run.times,
        "timed": run.timed,
    }
    # A string crosses for nothing; a list of tuples would be a proxy for each.
    return to_js(b"".join(w.data for w in run.writes)), json.dumps(places)


async def _adapter() -> Any:
    gpu = getattr(navigator, "gpu", None)
    if gpu is None:
        raise DeviceError(
            "this browser has no WebGPU (navigator.gpu): use a current Chrome or Edge, Safari 26,"
            " or Firefox 141, on https or localhost"
        )
    wanted = _object({"powerPreference": "high-performance"})
    for wait in (0, 0.1, 0.3, 1):  # null while the GPU process starts
        await asyncio.sleep(wait)
        if adapter := await gpu.requestAdapter(wanted) or await gpu.requestAdapter():
            return adapter
    raise DeviceError(
        "this browser offers no WebGPU adapter (navigator.gpu.requestAdapter is null)"
    )


def _target(adapter: Any, features: frozenset[str], limits: dict[str, int]) -> Target:
    info = adapter.info

    def text(name: str) -> str:
        return str(getattr(info, name, "") or "")

    architecture = text("architecture")
    fallback = getattr(info, "isFallbackAdapter", False) or architecture == "swiftshader"
    return Target(
        "browser", text("vendor"), architecture, text("description"), bool(fallback), features,
        limits, matrices=_matrices(info, features),
        subgroup=int(getattr(info, "subgroupMinSize", 1)) if "subgroups" in features else 1,
    )  # fmt: skip


def _matrices(info: Any, features: frozenset[str]) -> bool:
    if not {"chromium-experimental-subgroup-matrix", "shader-f16"} <= features:
        return False
    wanted = ("f16", "f32", 16, 16, 16)
    fields = ("componentType", "resultComponentType", "M", "N", "K")
    offered = [tuple(getattr(c, f) for f in fields) for c in info.subgroupMatrixConfigs]
    return info.subgroupMinSize == info.subgroupMaxSize == 32 and wanted in offered
