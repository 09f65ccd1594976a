"""A whole model of random weights: a prompt, and the tokens after it, as a page would have them.

The wall clock's figures are those of `Generator` itself, which a program uses: from the call until
the first token is read (prefill), and from there to the last (decode), greedy unless said. The
GPU's are of the same sessions with a timestamp at both ends of a run. Of several prompts, no two of
which begin alike, the median counts; the least and the most stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from .. import memory
from ..dim import Sym, upper
from ..models import decoder
from ..runtime import Device
from ..session import Session
from ..text.generator import Generator
from ..text.tokenizer import Tokenizer
from .clock import Clock, Time
from .costs import costs, table, total
from .host import heap
from .job import Job, Tell, attempted, rounded
from .probes import fill
from .shapes import config as config_of
from .steps import decode_us, prefill_us, prefill_wall_us, steady_us

_SAMPLED = {"temperature": 0.8, "top_k": 40}
_SLACK = 128  # positions beyond the new tokens: bursts are submitted whole
_BURSTS = (4, 8, 16, 32)  # steps a submission that might have been chosen
_CUT = (128, 512)  # rows a run that prompts are also cut into, for what cutting them costs
_LONGEST_CUT = 2048  # tokens of such a prompt
_ENOUGH = 2  # repetitions, where they have taken
_PATIENCE = 4.0  # seconds
_ODD = 7919  # a prime: token i of prompt p is (i + 1) · it + p


@dataclass(frozen=True)
class _Ids:
    """A tokenizer's engine that is never asked for a text."""

    size: int

    def encode_batch(self, texts: list[str], add_special_tokens: bool) -> list[list[int]]:  # noqa: ARG002
        return [[] for _ in texts]

    def decode(self, ids: list[int]) -> str:  # noqa: ARG002
        return ""


async def open_model(device: Device, config: decoder.Config) -> Generator:
    """The generator of a decoder whose weights are made up on the GPU."""
    tokenizer = Tokenizer(_Ids(config.vocab), (0, 0))
    greedy = {"do_sample": False}
    model = await Generator.create(device, config, tokenizer, None, decoder.DEFAULT_RECIPE, greedy)
    await fill(device, model.prompt)
    await fill(device, model.decode)
    return model


async def measure(clock: Clock, job: Job, tell: Tell) -> None:
    """A row for every prompt, or an error; then what cutting prompts costs, and profiles."""
    device = clock.device
    config = config_of(job.shape, _context(job))
    tell("note", f"model: {job.shape}, context {config.context}")
    before, start = heap(), perf_counter()
    model = await open_model(device, config)
    about = {
        "section": "load",
        "shape": job.shape,
        "context": config.context,
        "seconds": round(perf_counter() - start, 2),
        **_plans(device, config, model),
    }
    tell("row", about | {"heap_mb": heap(), "heap_grown_mb": round(heap() - before, 1)})
    for prompt in job.prompts:
        told = {"section": "model", "shape": job.shape, "prompt": prompt, "new": job.new}
        tell("note", f"model: {job.shape}, a prompt of {prompt}, {job.new} new tokens")
        with attempted(tell, told):
            found = await _prompt(clock, model, job, prompt, tell)
            tell("row", told | {"engine": "tensortab", "setting": _setting(device)} | found)
    if not device.info.software:
        await _cut(clock, model, job, tell)
    if job.profile and clock.is_gpus:
        await _profile(model, job, tell)
    model.destroy()


def _context(job: Job) -> int:
    longest = max(job.prompts) + job.new + _SLACK
    return -(-longest // 64) * 64


def _setting(device: Device) -> str:
    info = device.info
    kind = "subgroup matrices" if info.matrices else "no optional features but subgroups"
    return f"{info.kind}, {'software' if info.software else kind}"


def _plans(device: Device, config: decoder.Config, model: Generator) -> dict[str, object]:
    """What the plans say: dispatches, bytes."""
    fewer = replace(config, layers=config.layers - 1)
    graph, _ = decoder.build(fewer, decoder.DEFAULT_RECIPE, most=device.info.largest)
    steps = len(model.decode.plan.steps)
    need = memory.need([model.prompt.plan, model.decode.plan])
    return {
        "dispatches": steps,
        "dispatches_a_layer": steps - len(device.plan(graph).steps),
        "prompt_dispatches": len(model.prompt.plan.steps),
        "prompt_rows": _rows(model.prompt),
        "weight_bytes": need.weights,
        "cache_bytes": need.caches,
        "work_bytes": need.work,
    }


def _rows(session: Session) -> int:
    """The most rows that a run takes."""
    return upper(session.graph.inputs["ids"].shape[1])


def _ids(config: decoder.Config, prompt: int, which: int) -> list[int]:
    return [((i + 1) * _ODD + which) % config.vocab for i in range(prompt)]


async def _prompt(
    clock: Clock, model: Generator, job: Job, prompt: int, tell: Tell
) -> dict[str, object]:
    await _warm(clock, model, prompt, job.new)
    prefill, decode = await _generated(model, prompt, job, {})
    few = replace(job, repeats=max(1, job.repeats // 2))
    _, drawn = await _generated(model, prompt, few, _SAMPLED)
    tell("note", f"model: a prompt of {prompt}, the GPU's time")
    rows, burst = _rows(model.prompt), _burst(model)
    gpu = await prefill_us(clock, model.prompt, _ids(model.config, prompt, 0), rows)
    many = _bursts(model, job) * (1 if clock.device.info.software else 4)
    steps = await decode_us(clock, model.decode, prompt, burst, many)
    least = total(costs(model.decode, 1, prompt))
    found: dict[str, object] = {
        "prefill_tok_s": _rate(prompt, prefill),
        "decode_tok_s": _rate(1, decode),
        "sampled_tok_s": _rate(1, drawn),
        **prefill.fields("prefill_us"),
        **decode.fields("decode_us"),
        "prefill_gpu_us": rounded(gpu),
        "runs": -(-prompt // rows),
        **steps,
        "bytes_a_token": least.nbytes,
        "flops_a_token": least.flops,
    }
    if not clock.device.info.software:
        found["steady_us_by_burst"] = {
            n: rounded(await steady_us(model.decode, prompt, n, _SLACK // n)) for n in _BURSTS
        }
    if us := steps["decode_gpu_us"]:
        found["host_us"] = rounded(decode.us - us)
        found["of_copy"] = job.floor.of_copy(least.nbytes, us)
    return found


def _rate(tokens: int, time: Time) -> float:
    return rounded(tokens / time.us * 1e6)


def _burst(model: Generator) -> int:
    """Decode steps a submission."""
    return model._burst  # noqa: SLF001  # it is told, not changed


def _bursts(model: Generator, job: Job) -> int:
    """How many of them the new tokens take."""
    return max(1, job.new // _burst(model))


async def _warm(clock: Clock, model: Generator, prompt: int, new: int) -> None:
    """Compile what is compiled late, and bring the GPU's clock up."""
    end, which = perf_counter() + 2 * clock.warm, 0
    while not which or perf_counter() < end:
        which -= 1
        ids = _ids(model.config, prompt, which)
        await model.generate_ids(ids, max_new_tokens=new, ignore_eos=True)


async def _generated(
    model: Generator, prompt: int, job: Job, sampling: Mapping[str, Any]
) -> tuple[Time, Time]:
    """Prefill, and decode a token, by the wall clock.

    Natively reading one submission waits for those after it, too: there the prompt goes alone, and
    a token's time is that of the same bursts in a row.
    """
    browser = model.device.info.kind == "browser"
    prefill, decode, end = [], [], perf_counter() + _PATIENCE
    for i in range(job.repeats):
        if i >= _ENOUGH and perf_counter() > end:
            break
        ids = _ids(model.config, prompt, i + (job.new if sampling else 0))
        new = job.new if browser else 1
        await model.generate_ids(ids, max_new_tokens=new, ignore_eos=True, **sampling)
        prefill.append(model.last.prefill_seconds * 1e6)
        if browser:
            decode.append(model.last.decode_seconds * 1e6 / (job.new - 1))
        else:
            bursts = _bursts(model, job)
            decode.append(await steady_us(model.decode, prompt, _burst(model), bursts))
    return Time.of(prefill), Time.of(decode)


async def _cut(clock: Clock, model: Generator, job: Job, tell: Tell) -> None:
    """The longest prompt in runs of fewer rows than the generator's: what cutting it costs."""
    prompt = max((n for n in job.prompts if n <= _LONGEST_CUT), default=_LONGEST_CUT)
    ids = _ids(model.config, prompt, 0)
    own = _rows(model.prompt)
    for rows in (*(n for n in _CUT if n < own), own):
        told = {"section": "cut", "shape": job.shape, "prompt": prompt, "rows_a_run": rows}
        tell("note", f"model: a prompt of {prompt} in runs of {rows} rows")
        with attempted(tell, told):
            session = await _in_runs(model, rows)
            await prefill_wall_us(session, ids, rows)
            wall = [await prefill_wall_us(session, ids, rows) for _ in range(_ENOUGH)]
            gpu = await prefill_us(clock, session, ids, rows)
            session.destroy()
            time = Time.of(wall)
            rate = {"prefill_tok_s": _rate(prompt, time), "prefill_gpu_us": rounded(gpu)}
            tell("row", told | time.fields("prefill_us") | rate)


async def _in_runs(model: Generator, rows: int) -> Session:
    """The prompt's session for so many rows a run, over the same weights and caches."""
    most = model.device.info.largest
    graph, _ = decoder.build(
        model.config, decoder.DEFAULT_RECIPE, rows=Sym("rows", rows, min=1), fed=True, most=most
    )
    return await model.device.compile(graph, share=model.prompt)


async def _profile(model: Generator, job: Job, tell: Tell) -> None:
    """Each dispatch of a decode step and of a prompt's run, by kernel."""
    rows = min(_rows(model.prompt), *job.prompts)
    for at in job.prompts:
        for what, session in (("prompt", model.prompt), ("step", model.decode)):
            fed = rows if what == "prompt" else 1
            told = {"section": "profile", "shape": job.shape, "what": what, "rows": fed}
            past = at - rows if what == "prompt" else at
            session.set(pos=past)
            inputs = {"ids": [_ids(model.config, rows, 0)]} if what == "prompt" else {}
            with attempted(tell, told):
                report = await session.profile(**inputs)
                found = table(report, costs(session, fed, past + fed))
                tell("row", told | {"context": past + fed, "kernels": found})
