"""Trains the embedded model: floats first, then aware of the four bits it will be kept in.

    python train.py --data build --out OUT --minutes 7       on one H200
    python train.py --data build --out OUT --steps 3 --batch 2 --device cpu --tiny

The step count follows from --minutes and the speed of the first steps. Matrices are trained by Muon
(momentum, orthogonalized by five Newton-Schulz steps), the tied embedding and the norms by AdamW.
The rate warms up, stays, and falls linearly to zero from 45 % on; from 60 % on every matrix and the
embedding pass through the quantizer in the forward pass. Half of the windows begin at a document.

OUT gets float16.0 and float16.1 (a checkpoint every two minutes), the model's folder and
training.json: steps, tokens, minutes, held-out perplexity and bits per byte in float and 4-bit.
"""

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from export import export, quantized
from model import GROUP, Shape, block, fake_quantize, initial, named, stacked, states
from torch import Tensor

WARM_UP, FALL, AWARE = 100, 0.45, 0.60  # steps; shares of the run
MUON_RATE, ADAM_RATE, DECAY = 0.02, 3e-3, 0.1
TINY = Shape(width=128, layers=2, heads=2, kv_heads=1, hidden=256, context=128)


class Muon:
    """Momentum 0.95 (Nesterov), each update orthogonalized: Jordan et al. 2024."""

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters
        self.momenta = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for p, momentum in zip(self.parameters, self.momenta, strict=True):
            assert p.grad is not None
            momentum.lerp_(p.grad, 0.05)
            update = orthogonal(p.grad.lerp(momentum, 0.95))
            p.mul_(1 - rate * DECAY)
            p.add_(update, alpha=-rate * max(1, p.shape[-2] / p.shape[-1]) ** 0.5)


def orthogonal(g: Tensor) -> Tensor:
    """The nearest half-orthogonal matrices, roughly (singular values 0.7 to 1.2), by iteration."""
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).to(g.dtype)


def windows(ids: Tensor, length: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Batches [batch, length + 1] of places drawn anew; every other one begins a document."""
    starts = (ids == 0).nonzero().flatten()
    starts = starts[starts < len(ids) - length - 1]
    generator = torch.Generator(ids.device).manual_seed(seed)
    reach = torch.arange(length + 1, device=ids.device)
    while True:
        at = torch.randint(len(ids) - length - 1, (batch,), generator=generator, device=ids.device)
        which = torch.randint(len(starts), (batch,), generator=generator, device=ids.device)
        at[::2] = starts[which[::2]]
        yield ids[at[:, None] + reach].long()


@torch.no_grad()
def mean_loss(shape: Shape, weights: dict[str, Tensor], ids: Tensor, most: int) -> float:
    """Nats a token over up to `most` windows side by side, in float32."""
    count = min(most, (len(ids) - 1) // shape.context)
    span = count * shape.context
    inputs = ids[:span].view(count, -1).long()
    targets = ids[1 : span + 1].view(count, -1).long()
    total = 0.0
    for x, y in zip(inputs.split(16), targets.split(16), strict=True):
        logits = states(shape, weights, x) @ weights["embed_tokens"].T
        total += F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").item()
    return total / span


class Run:
    """A model in training: its weights, its optimizers and its compiled pieces."""

    def __init__(self, shape: Shape, device: str, *, compiled: bool) -> None:
        self.shape = shape
        self.weights = {n: w.requires_grad_() for n, w in initial(shape, device).items()}
        matrices = [self.weights[n] for n in shape.matrices() if n != "embed_tokens"]
        rest = [self.weights[n] for n in ("embed_tokens", *shape.norms())]
        self.muon = Muon(matrices)
        self.adam = torch.optim.AdamW(
            [{"params": rest[:1], "weight_decay": 0.01}, {"params": rest[1:], "weight_decay": 0.0}],
            lr=ADAM_RATE,
            betas=(0.9, 0.95),
            eps=1e-10,
            fused=device == "cuda",
        )
        self.dtype = torch.bfloat16 if device == "cuda" else torch.float32
        wrap = partial(torch.compile, dynamic=False) if compiled else lambda f: f
        self.block, self.quantize, self.loss = wrap(block), wrap(fake_quantize), wrap(self._loss)

    @staticmethod
    def _loss(x: Tensor, embedding: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(x, embedding).float().flatten(0, 1), targets.flatten())

    def aware(self, share: Tensor) -> dict[str, Tensor]:
        """The weights as the forward pass uses them: all matrices in one pass of the quantizer."""
        names = list(self.shape.matrices())
        groups = torch.cat([self.weights[n].view(-1, GROUP) for n in names])
        sizes = [self.weights[n].numel() // GROUP for n in names]
        parts = self.quantize(groups, share).to(self.dtype).split(sizes)
        used = {n: p.view(self.weights[n].shape) for n, p in zip(names, parts, strict=True)}
        return {**self.weights, **used}

    def step(self, ids: Tensor, share: Tensor, scale: float) -> Tensor:
        """One update; the learning rates are `scale` of the full ones."""
        used = self.aware(share)
        x = states(self.shape, used, ids[:, :-1], self.block)
        loss = self.loss(x, used["embed_tokens"], ids[:, 1:])
        loss.backward()
        for group in self.adam.param_groups:
            group["lr"] = ADAM_RATE * scale
        torch.nn.utils.clip_grad_norm_(self.adam.param_groups[0]["params"], 1.0)
        self.adam.step()
        self.muon.step(MUON_RATE * scale)
        for weight in self.weights.values():
            weight.grad = None
        return loss.detach()

    def checkpoint(self, out: Path) -> None:
        """Two halves, each under 16 MiB."""
        flat = torch.cat([w.detach().half().flatten() for w in self.weights.values()]).cpu().numpy()
        for i, half in enumerate(np.array_split(flat, 2)):
            half.tofile(out / f"float16.{i}")


def train(
    run: Run, ids: Tensor, held: Tensor, out: Path, batch: int, steps: int, seconds: float
) -> int:
    """The number of steps done: `steps`, or as many as fit into `seconds`."""
    share = torch.zeros((), device=ids.device)
    source = windows(ids, run.shape.context, batch, 0)
    measured = saved = start = time.monotonic()
    total, i = steps or 10**9, 0
    while i < total:
        if i == 10 and ids.is_cuda:  # compiled by now
            torch.cuda.synchronize()
            measured = time.monotonic()
        if i == 60 and not steps:
            torch.cuda.synchronize()
            now = time.monotonic()
            total = 60 + int((seconds - (now - start)) / ((now - measured) / 50))
            print(f"{total} steps of {(now - measured) / 50:.3f} s", flush=True)
        done = i / total
        share.fill_(float(done >= AWARE))
        scale = min(1.0, (i + 1) / WARM_UP, max(0.0, (1 - done) / (1 - FALL)))
        loss = run.step(next(source), share, scale)
        i += 1
        if i % 100 == 0 or i in {1, 10, 30}:
            spent = time.monotonic() - start
            print(f"step {i} {spent:.0f} s loss {loss.item():.4f} rate {scale:.2f}", flush=True)
            if not loss.isfinite():
                raise click.ClickException(f"the loss is {loss.item()} at step {i}")
            if spent > seconds + 20:
                break
            if time.monotonic() - saved > 120:
                saved = time.monotonic()
                run.checkpoint(out)
                print(f"held out {mean_loss(run.shape, run.weights, held, 128):.4f}", flush=True)
    return i


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--minutes", default=7.0)
@click.option("--steps", default=0, help="Instead of --minutes.")
@click.option("--batch", default=128, help="Windows a step.")
@click.option("--device", default="cuda")
@click.option("--tiny", is_flag=True, help="Two narrow layers, to try the script.")
def main(
    data: Path, out: Path, minutes: float, steps: int, batch: int, device: str, tiny: bool
) -> None:
    """Train, measure and export."""
    shape = TINY if tiny else Shape()
    out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    ids = torch.from_numpy(np.fromfile(data / "train.bin", np.uint16).astype(np.int16)).to(device)
    held = torch.from_numpy(np.fromfile(data / "held.bin", np.uint16).astype(np.int16)).to(device)
    print(f"{len(ids)} training tokens, {len(held)} held out", flush=True)
    run = Run(shape, device, compiled=device == "cuda")
    steps = train(run, ids, held, out, batch, steps, minutes * 60)
    minutes = (time.monotonic() - begun) / 60
    run.checkpoint(out)

    about = json.loads((data / "held.json").read_text())
    weights = {name: w.detach() for name, w in run.weights.items()}
    run.dtype = torch.float32
    aware = {n: w.detach() for n, w in run.aware(torch.ones((), device=device)).items()}
    tensors = quantized({n: w.cpu().numpy() for n, w in named(shape, weights).items()})
    kept = {n: torch.from_numpy(w).to(device) for n, w in tensors.floats().items()}
    report: dict[str, object] = {
        **about,
        "steps": steps,
        "seen_tokens": steps * batch * shape.context,
        "minutes": round(minutes, 2),
        "parameters": sum(w.numel() for w in weights.values()),
        "torch": torch.__version__,
    }
    for name, w in {
        "float": weights,
        "4-bit in training": aware,
        "4-bit": stacked(shape, kept),
    }.items():
        loss = mean_loss(shape, w, held, 10**9 if device == "cuda" else 4)
        bits = loss / np.log(2) * about["tokens"] / about["bytes"]
        report[name] = {
            "perplexity": round(float(np.exp(loss)), 4),
            "bits_per_byte": round(bits, 4),
        }
    export(out / "model", shape, tensors, data / "tokenizer.json")
    (out / "training.json").write_text(json.dumps(report, indent=1))
    json.dump(report, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
