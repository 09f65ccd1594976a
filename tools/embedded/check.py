"""Does it complete Python? 50 prompts, sampled several ways; what parses, and what repeats itself.

    python check.py --folder web/models/python-16m              the folder's own settings
    python check.py --folder OUT/model --device cuda --settings all --samples 3 --write FILE

A completion is cut behind its last whole statement: the last line that ends one, without openers
that lost their body. It passes if what is left parses, goes beyond the prompt, and says no sentence
(a line of more than 16 characters) three times.
"""

import itertools
import json
from collections import Counter
from pathlib import Path

import click
import torch
from export import load
from model import Shape, states
from tokenizers import Tokenizer
from torch import Tensor
from verdict import PROMPTS, verdict

DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
GRID = [
    {"temperature": t, "top_p": p, "repetition_penalty": r}
    for t, p, r in itertools.product((0.3, 0.5, 0.7, 0.9), (0.9, 0.95), (1.0, 1.05, 1.1))
] + [
    {"temperature": t, "min_p": 0.1, "repetition_penalty": r}
    for t in (0.7, 1.0)
    for r in (1.0, 1.1)
]


@torch.no_grad()
def sample(
    shape: Shape,
    weights: dict[str, Tensor],
    prompts: list[list[int]],
    settings: list[dict[str, float]],
    count: int,
    seed: int,
) -> list[list[int]]:
    """Each prompt continued by up to `count` tokens or to the end, a row of settings each."""
    device = weights["embed_tokens"].device
    generator = torch.Generator(device).manual_seed(seed)
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    ids = torch.zeros(len(prompts), int(lengths.max()) + count, dtype=torch.long, device=device)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt, device=device)
    knob = {
        name: torch.tensor([[s.get(name, default)] for s in settings], device=device)
        for name, default in DEFAULTS.items()
    }
    running = torch.arange(len(prompts), device=device)
    for _ in range(count):
        some, lasts = ids[running], lengths[running]
        reach = torch.arange(int(lasts.max()), device=device)
        some = some[:, : len(reach)]
        x = states(shape, weights, some)[torch.arange(len(some), device=device), lasts - 1]
        logits = (x @ weights["embed_tokens"].T).float()
        inside = (reach < lasts[:, None]).float()
        met = torch.zeros_like(logits).scatter_add_(1, some, inside) > 0
        mine = {name: values[running] for name, values in knob.items()}
        penalty = torch.where(
            logits > 0, 1 / mine["repetition_penalty"], mine["repetition_penalty"]
        )
        logits = torch.where(met, logits * penalty, logits) / mine["temperature"]
        chances = _kept(logits, mine["top_p"], mine["min_p"])
        token = torch.multinomial(chances, 1, generator=generator).flatten()
        ids[running, lasts] = token
        running = running[token != 0]
        if not len(running):
            break
        lengths[running] += 1
    return [ids[row, :length].tolist() for row, length in enumerate(lengths.tolist())]


def _kept(logits: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    chances = logits.softmax(-1)
    ordered, order = chances.sort(-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    keep = (before < top_p) & (ordered >= min_p * ordered[:, :1])
    return torch.zeros_like(chances).scatter_(1, order, ordered * keep)


def check(
    folder: Path, device: str, settings: list[dict[str, float]], samples: int, count: int
) -> list[dict[str, object]]:
    """For every setting: how many of the 50 pass, on average and in the worst round; and texts."""
    shape, weights = load(folder)
    weights = {name: w.to(device) for name, w in weights.items()}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts = PROMPTS
    ids = [tokenizer.encode(p).ids for p in prompts]
    report = []
    for chosen in settings:
        rounds, texts = [], []
        for seed in range(samples):
            found = sample(shape, weights, ids, [chosen] * len(ids), count, seed)
            ended = [len(f) < len(p) + count for f, p in zip(found, ids, strict=True)]
            texts = tokenizer.decode_batch(found)
            rounds.append(
                [verdict(p, t, ended=e) for p, t, e in zip(prompts, texts, ended, strict=True)]
            )
        passing = [r.count("passes") for r in rounds]
        report.append(
            {
                "settings": chosen,
                "mean": sum(passing) / samples,
                "least": min(passing),
                "failures": dict(Counter(v for r in rounds for v in r if v != "passes")),
                "last": [f"[{v}] {t}" for v, t in zip(rounds[-1], texts, strict=True)],
            }
        )
        print(chosen, passing, report[-1]["failures"], flush=True)
    return report


@click.command()
@click.option("--folder", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--device", default="cpu")
@click.option("--settings", default="own", type=click.Choice(["own", "all"]))
@click.option("--samples", default=1, help="Rounds, each with its seed.")
@click.option("--count", default=120, help="Tokens at most.")
@click.option("--write", type=click.Path(path_type=Path))
def main(
    folder: Path, device: str, settings: str, samples: int, count: int, write: Path | None
) -> None:
    """Complete the prompts and judge."""
    own = json.loads((folder / "generation_config.json").read_text())
    names = ("temperature", "top_p", "min_p", "repetition_penalty")
    tried = GRID if settings == "all" else [{n: own[n] for n in names if n in own}]
    report = check(folder, device, tried, samples, count)
    if write:
        write.write_text(json.dumps(report, indent=1))
    elif settings == "own":
        click.echo("\n\n--------\n".join(report[0]["last"]))


if __name__ == "__main__":
    main()
