"""Backend on wgpu-native (wgpu-py), for fast tests, tuning and use without a browser."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Awaitable, Sequence
from typing import Any

import wgpu

from ..errors import DeviceError, KernelError
from ..kernel import Kernel
from ..target import DEFAULT_LIMITS, Target
from . import (
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
from .native_readback import Clock, Readback

_COPY = wgpu.BufferUsage.COPY_DST | wgpu.BufferUsage.COPY_SRC
_WANTED = ("timestamp-query", "subgroup", "shader-f16")
_NAMES = {"subgroup": "subgroups"}  # wgpu's name -> WebGPU's
_TYPES = {"read": "read-only-storage", "read_write": "storage", "uniform": "uniform"}


class NativeBackend:
    """A Vulkan, Metal or D3D12 device through wgpu-native."""

    def __init__(self, *, least: bool = False) -> None:
        try:
            adapter = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
        except RuntimeError as e:
            raise DeviceError(
                f"no native adapter: {e}. A GPU's Vulkan driver is missing; without a GPU, Mesa's"
                " llvmpipe serves (Debian: mesa-vulkan-drivers)"
            ) from e
        features = [f for f in _WANTED if f in adapter.features and not least]
        limits = dict(DEFAULT_LIMITS)
        if not least:
            limits = {name: adapter.limits[_kebab(name)] for name in DEFAULT_LIMITS}
        self.gpu = adapter.request_device_sync(
            required_features=features, required_limits={_kebab(n): v for n, v in limits.items()}
        )
        self._pipelines: dict[Kernel, Pipeline] = {}
        info = adapter.info
        self.target = Target(
            "native",
            info["vendor"],
            info["architecture"] or info["adapter_type"],
            info["device"],
            software=info["adapter_type"] == "CPU",
            features=frozenset(_NAMES.get(f, f) for f in features),
            limits=limits,
            subgroup=_subgroup(info) if "subgroup" in features else 1,
            memory=_machine() if info["adapter_type"] == "CPU" else None,
        )

    def alloc(self, nbytes: int, *, uniform: bool = False, label: str = "") -> Buffer:
        check_size(self.target, nbytes, label)
        kind = wgpu.BufferUsage.UNIFORM if uniform else wgpu.BufferUsage.STORAGE
        try:
            return self.gpu.create_buffer(size=allocated(nbytes), usage=_COPY | kind, label=label)
        except wgpu.GPUError as e:
            raise DeviceError(f"{label or 'a buffer'} of {nbytes} bytes: {e.message}") from e

    def write(self, buffer: Buffer, data: Bytes, offset: int = 0) -> None:
        _write(self.gpu, buffer, offset, data)

    async def read(self, buffer: Buffer, nbytes: int, offset: int = 0) -> bytes:
        data = self.gpu.queue.read_buffer(buffer, offset, round_up(nbytes, 4))
        return bytes(data[:nbytes])

    async def foreign(self, buffer: Buffer, nbytes: int, offset: int = 0) -> Bytes:
        return await self.read(buffer, nbytes, offset)

    def copy(self, source: Buffer | None, target: Buffer, nbytes: int) -> None:
        if not nbytes:  # which wgpu-py refuses
            return
        encoder = self.gpu.create_command_encoder()
        if source is None:
            encoder.clear_buffer(target, 0, round_up(nbytes, 4))
        else:
            encoder.copy_buffer_to_buffer(source, 0, target, 0, round_up(nbytes, 4))
        self.gpu.queue.submit([encoder.finish()])

    async def compile(self, kernels: Sequence[Kernel]) -> list[Pipeline]:
        new = [k for k in dict.fromkeys(kernels) if k not in self._pipelines]
        self._pipelines.update((k, self._compile(k)) for k in new)
        return [self._pipelines[k] for k in kernels]

    def _compile(self, kernel: Kernel) -> Pipeline:
        if missing := kernel.features - self.target.features:
            raise KernelError(
                f"{kernel.name}.wgsl needs {sorted(missing)}, which {self.target} lacks"
            )
        entries = [
            {"binding": i, "visibility": wgpu.ShaderStage.COMPUTE, "buffer": {"type": _TYPES[a]}}
            for i, a in enumerate(kernel.accesses)
        ]
        layout = self.gpu.create_bind_group_layout(entries=entries)
        # naga has subgroups but refuses the extension's name (wgpu issue 5555); lines stay.
        source = kernel.source.replace("enable subgroups;", "")
        try:
            return self.gpu.create_compute_pipeline(
                label=kernel.name,
                layout=self.gpu.create_pipeline_layout(bind_group_layouts=[layout]),
                compute={
                    "module": self.gpu.create_shader_module(code=source, label=kernel.name),
                    "entry_point": "main",
                },
            )
        except wgpu.GPUError as e:
            place = re.search(r"┌─ .*?:(\d+:\d+)", e.message)
            raise kernel.refused(e.message, place[1] if place else "") from e

    async def record(
        self,
        buffers: Sequence[Buffer],
        pipelines: Sequence[Pipeline],
        steps: Sequence[Bound],
        layout: Layout,  # noqa: ARG002  # for backends that run ops
    ) -> Recording:
        groups = [self._group(s, buffers, pipelines[s.pipeline]) for s in steps]
        return NativeRecording(self.gpu, buffers, pipelines, steps, groups)

    def _group(self, step: Bound, buffers: Sequence[Buffer], pipeline: Pipeline) -> Any:
        resources: list[dict[str, Any]] = [{"buffer": buffers[i]} for i in step.slots]
        if step.uniform:
            offset, size = step.uniform
            resources.append({"buffer": buffers[-1], "offset": offset, "size": size})
        try:
            return self.gpu.create_bind_group(
                label=step.label,
                layout=pipeline.get_bind_group_layout(0),
                entries=[{"binding": i, "resource": r} for i, r in enumerate(resources)],
            )
        except wgpu.GPUError as e:
            raise DeviceError(f"{step.label}: {e.message}") from e

    def free(self, buffer: Buffer) -> None:
        buffer.destroy()

    def close(self) -> None:
        self.gpu.destroy()


class NativeRecording:
    """Bind groups ready to be encoded."""

    def __init__(
        self,
        gpu: Any,
        buffers: Sequence[Buffer],
        pipelines: Sequence[Pipeline],
        steps: Sequence[Bound],
        groups: Sequence[Any],
    ) -> None:
        self._gpu = gpu
        self._buffers = buffers
        self._labels = [s.label for s in steps]
        self._steps = [(pipelines[s.pipeline], g) for s, g in zip(steps, groups, strict=True)]
        self._grids = [s.grid for s in steps]

    def submit(self, run: Run) -> Awaitable[list[bytes]]:
        self._apply(run)
        encoder = self._gpu.create_command_encoder()
        sources = [(self._buffers[r.slot], r.nbytes) for r in run.reads]
        clock = Clock(self._gpu, run.times) if run.timed else None
        back = Readback(self._gpu, sources, run.times, clock.nbytes if clock else 0)
        for time in range(run.times):
            sweep = encoder.begin_compute_pass(timestamp_writes=clock and clock.around(time))
            for step in range(len(self._steps)):
                self._dispatch(sweep, step)
            sweep.end()
            back.copy(encoder, time)
        if clock:
            back.copy_last(encoder, clock.resolve(encoder))
        self._finish(encoder)
        return self._result(back, run)

    async def _result(self, back: Readback, run: Run) -> list[bytes]:
        return split_reads(back.read(), run)

    async def profile(self, run: Run) -> tuple[list[Span], list[bytes]]:
        self._apply(run)
        encoder = self._gpu.create_command_encoder()
        count = len(self._steps)
        clock = Clock(self._gpu, count)
        for step in range(count):
            timed = encoder.begin_compute_pass(timestamp_writes=clock.around(step))
            self._dispatch(timed, step)
            timed.end()
        sources = [(self._buffers[r.slot], r.nbytes) for r in run.reads]
        sources.insert(0, (clock.resolve(encoder), clock.nbytes))
        back = Readback(self._gpu, sources, 1)
        back.copy(encoder, 0)
        self._finish(encoder)
        data = back.read()
        # wgpu-native gives ticks; the drivers this runs on count one a nanosecond.
        spans = struct.iter_unpack("<QQ", data[: 16 * count])
        return [(start, end) for start, end in spans], split_reads(data[16 * count :], run)

    def _apply(self, run: Run) -> None:
        for w in run.writes:
            _write(self._gpu, self._buffers[w.slot], w.offset, w.data)
        for i, grid in run.grids:
            self._grids[i] = grid

    def _dispatch(self, sweep: Any, step: int) -> None:
        pipeline, group = self._steps[step]
        sweep.set_pipeline(pipeline)
        sweep.set_bind_group(0, group)
        sweep.dispatch_workgroups(*self._grids[step])

    def _finish(self, encoder: Any) -> None:
        try:
            self._gpu.queue.submit([encoder.finish()])
        except wgpu.GPUError as e:
            raise DeviceError(f"{', '.join(dict.fromkeys(self._labels))}: {e.message}") from e

    def destroy(self) -> None:
        self._steps.clear()


def _write(gpu: Any, buffer: Buffer, offset: int, data: Bytes) -> None:
    """Queue a write of whole 4-byte words; wgpu-py refuses one of no bytes."""
    raw = flat(data)
    if raw.nbytes:
        whole = raw if raw.nbytes % 4 == 0 else bytes(raw) + bytes(-raw.nbytes % 4)
        gpu.queue.write_buffer(buffer, offset, whole)


def _subgroup(info: Any) -> int:
    """Invocations of a subgroup at least; wgpu-py 0.32 writes "stackgroup" for "subgroup"."""
    return next((n for key, n in info.items() if key.endswith("group_min_size")), 1)


def _machine() -> int | None:
    """Bytes of memory of the machine, which a software adapter uses, too."""
    names = getattr(os, "sysconf_names", ())  # Windows has none
    if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= {*names}:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _kebab(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "-", name).lower()
