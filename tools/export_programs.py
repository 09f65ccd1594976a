"""Make tests/data/pte/programs.tar.xz: programs exported with ExecuTorch, and PyTorch's results.

    pip install torch==2.13.0 executorch==1.5.1 torchao==0.18.0
    python tools/export_programs.py tests/data/pte/programs.tar.xz

Small modules with live sizes, integers, half precision and operators that stay outside of
delegates; modules that update buffers, within a delegate and outside of it; and tiny Llamas and
Qwen3s (weights drawn at random) in float32, 4 bits, and 4 bits with 8-bit activations, whose runs
are a conversation: a prompt, then tokens, over one cache.
"""

import copy
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import archive
import numpy as np
import torch
from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner
from executorch.examples.models.llama.llama_transformer import construct_transformer
from executorch.examples.models.llama.model_args import ModelArgs
from executorch.examples.models.llama.source_transformation import custom_kv_cache, sdpa
from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.exir.passes.init_mutable_pass import InitializedMutableBufferPass
from executorch.extension.llm.export.export_passes import RemoveRedundantTransposes
from torch import nn
from torch.export import Dim, export
from torchao.quantization import (
    Int8DynamicActivationIntxWeightConfig,
    IntxWeightOnlyConfig,
    PerGroup,
    quantize_,
)

F = nn.functional
S = Dim("s", min=1, max=12)


class Function(nn.Module):
    """A function as a module, with the modules it uses."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)

    def forward(self, *arrays: torch.Tensor) -> Any:
        return self.function(*self.parts, *arrays)


def attention(q: nn.Module, k: nn.Module, v: nn.Module, x: torch.Tensor) -> torch.Tensor:
    b, t, d = x.shape
    heads = (part(x).view(b, t, 4, d // 4).transpose(1, 2) for part in (q, k, v))
    y = F.scaled_dot_product_attention(*heads)
    return y.transpose(1, 2).reshape(b, t, d) + x


def joined(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    a = torch.cat([x, y], 1)
    b = a.permute(0, 2, 1).contiguous()
    c = torch.where(b > 0, b, b * 0.1)
    flags = torch.logical_and(a > 0, a < 1)
    return c.sum(-1), c.mean((1, 2)), flags, a.argmax(-1), torch.log_softmax(a, 1)


def integers(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return x + y, x * 2, x - y, x > y, x.float() / 2, (x == 3).int()


def filled(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    y = x + torch.full((3, 4), 2.0) + torch.zeros_like(x) + torch.ones(4)
    return y, torch.full_like(x, 3.0), torch.arange(4)


def parts(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    moved = x[:, 1], x[:, 1:3], x.flip(1), x.unsqueeze(1).expand(2, 3, 4, 5), F.pad(x, (1, 2))
    reduced = x.amax(-1), x.amax(1), x.amin((0, 2)), x.sum((0, 1)), x.std(-1), x.var(1), x.prod(1)
    return *moved, *reduced, x.any(), x.cumsum(1)


def scaled(x: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return x * c, c + 1


def picked(x: torch.Tensor, i: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.gather(x, 1, i), x[:, i[0]], torch.index_select(x, 0, i[:, 0] % 2)


def activations(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return (
        *(f(x) for f in (F.silu, F.elu, F.hardsigmoid, F.hardswish, F.leaky_relu, F.relu6)),
        *(f(x) for f in (torch.floor, torch.ceil, torch.sign, torch.reciprocal)),
        x.clamp(min=0.1), x.pow(3), x.abs().log(), torch.maximum(x, -x), torch.remainder(x, 0.7),
    )  # fmt: skip


def live_rows(table: nn.Embedding, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    i = at[0].item()
    torch._check(i >= 0)
    torch._check(i + x.shape[0] <= 16)
    return x + table.weight.narrow(0, i, x.shape[0])


class Buffered(nn.Module):
    """A function of a module's buffers and of arrays."""

    def __init__(self, function: Callable[..., Any], **buffers: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def forward(self, *arrays: torch.Tensor) -> Any:
        return self.function(self, *arrays)


def summed(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    m.total.add_(x)
    return m.total * m.scale


def averaged(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    m.mean.mul_(0.5).add_(x, alpha=0.5)
    return m.mean.clone()


def placed(m: nn.Module, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    m.rows.index_copy_(1, at, x)
    return m.rows + 1


def indexed(_m: nn.Module, x: torch.Tensor, i: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return x[i, i - 1], x[:, i, i], x[i, :, i]


def masked(_m: nn.Module, q: torch.Tensor, k: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, q - k, attn_mask=mask)


def wave(*shape: int) -> torch.Tensor:
    return torch.arange(math.prod(shape)).reshape(shape).float().sin()


def fixed() -> dict[str, tuple[nn.Module, list[tuple[torch.Tensor, ...]]]]:
    """Modules without random numbers; where they have buffers, those outlive a run."""
    steps = [(wave(4) + n,) for n in range(3)]
    rows = [(wave(1, 2, 4) + n, torch.tensor([n, 7 - n])) for n in range(3)]
    return {
        "buffer_summed": (Buffered(summed, total=wave(4), scale=wave(4) + 2), steps),
        "buffer_averaged": (Buffered(averaged, mean=torch.zeros(4)), steps),
        "buffer_placed": (Buffered(placed, rows=wave(1, 8, 4)), rows),
        "indexed": (Buffered(indexed), [(wave(3, 3, 3), torch.tensor([0, -1, 1]))]),
        "masked": (
            Buffered(masked),
            [(wave(1, 2, 4, 8), wave(1, 2, 4, 8).cos(), wave(4, 4).log().nan_to_num(-math.inf))],
        ),
    }


def sized(*sizes: int) -> list[tuple[torch.Tensor]]:
    return [(torch.randn(1, n, 32),) for n in sizes]


def small() -> dict[str, tuple[nn.Module, list[tuple[torch.Tensor, ...]], Any]]:
    """Name to module, the inputs of each run, and which sizes are live."""
    line = nn.Linear
    mlp = Function(lambda a, b, x: torch.softmax(b(F.gelu(a(x))), -1), line(32, 64), line(64, 8))
    qkv = Function(attention, line(32, 32), line(32, 32), line(32, 32))
    table = Function(lambda e, norm, ids: norm(e(ids)), nn.Embedding(50, 16), nn.LayerNorm(16))
    ids = [(torch.randint(0, 50, (1, n)),) for n in (6, 2)]
    whole = tuple(torch.randint(-9, 9, (3, 5), dtype=torch.int32) for _ in range(2))
    half = Function(lambda a, x: a(x), line(16, 8)).half()
    places = [(torch.randn(2, 8), torch.tensor([n])) for n in (3, 0)]
    live = (({1: S},),)
    return {
        "live_mlp": (mlp, sized(8, 3, 12, 1), live),
        "live_attention": (qkv, sized(7, 3, 12), live),
        "live_embedding": (table, ids, live),
        "live_rows": (Function(live_rows, nn.Embedding(16, 8)), places, None),
        "joined": (Function(joined), [(torch.randn(2, 3, 5), torch.randn(2, 4, 5))], None),
        "integers": (Function(integers), [whole], None),
        "float64": (Function(lambda x: x * 2.0 + 1.0), [(torch.randn(3, 4).double(),)], None),
        "float16": (half, [(torch.randn(2, 16).half(),)], None),
        "filled": (Function(filled), [(torch.randn(3, 4),)], None),
        "parts": (Function(parts), [(torch.randn(2, 4, 5),)], None),
        "picked": (Function(picked), [(torch.randn(2, 4), torch.randint(0, 4, (2, 4)))], None),
        "activations": (Function(activations), [(torch.randn(3, 7),)], None),
        "rank_0": (Function(scaled), [(torch.randn(3), torch.tensor(2.5))], None),
    }  # fmt: skip


QWEN3 = {"use_qk_norm": True, "qk_norm_before_rope": True, "use_hf_rope": True, "head_dim": 16}
Q4 = IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))
A8W4 = Int8DynamicActivationIntxWeightConfig(
    weight_dtype=torch.int4, weight_granularity=PerGroup(32)
)
MODELS: dict[str, tuple[Any, bool, dict[str, Any]]] = {  # weights, live number of tokens, sizes
    "llama_live": (None, True, {}),
    "llama_q4_live": (Q4, True, {}),
    "llama_8da4w": (A8W4, False, {}),
    "llama_8da4w_live": (A8W4, True, {}),
    "qwen3_q4": (Q4, False, QWEN3),
    "qwen3_live": (None, True, QWEN3),
}


def exported(module: nn.Module, inputs: tuple[Any, ...], live: Any) -> bytes:
    program = export(module, inputs, dynamic_shapes=live, strict=False)
    # Without the option a delegate's new buffers go nowhere.
    partitioner = VulkanPartitioner({"alias_buffer_mutations": True})
    lowered = to_edge_transform_and_lower(program, partitioner=[partitioner])
    begun = [InitializedMutableBufferPass(["rows"])]  # outside of delegates they are zeros, else
    return lowered.to_executorch(ExecutorchBackendConfig(passes=begun)).buffer


def language_model(weights: Any, live: bool, sizes: dict[str, Any]) -> tuple[bytes, list, list]:
    args = ModelArgs(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=96, hidden_dim=128, max_seq_len=32,
        max_context_len=32, use_kv_cache=True, enable_dynamic_shape=live,
        generate_full_logits=True, **sizes,
    )  # fmt: skip
    model = construct_transformer(args).eval()
    for p in model.parameters():
        p.data.normal_(0, 0.08) if p.dim() > 1 else p.data.uniform_(0.5, 1.5)
    if weights:
        quantize_(model, weights)
    plain = copy.deepcopy(model)
    model = sdpa.replace_sdpa_with_custom_op(model)
    model = custom_kv_cache.replace_kv_cache_with_custom_kv_cache(model)
    first = torch.tensor([[3, 5, 7] if live else [3]]), {"input_pos": torch.tensor([0])}
    dims = ({1: Dim("s", min=1, max=31)}, {"input_pos": {}}) if live else None
    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        graph = export(model, first, dynamic_shapes=dims, strict=False).module()
        pte = exported(RemoveRedundantTransposes()(graph).graph_module, first, dims)
    turns = [[3, 5, 7, 9, 11], [2], [40], [41, 42], [5]] if live else [[3], [5], [7], [90], [11]]
    runs, results, past = [], [], 0
    for turn in turns:
        tokens, place = torch.tensor([turn]), torch.tensor([past])
        past += len(turn)
        runs.append((tokens, place))
        results.append(plain(tokens, {"input_pos": place}))
    return pte, runs, results


def main(target: str) -> None:
    """Write the archive."""
    files: dict[str, bytes] = {}
    cases = []

    def entry(name: str, tensor: torch.Tensor) -> list[Any]:
        array = tensor.numpy()
        files[name] = np.ascontiguousarray(array).tobytes()
        return [name, array.dtype.name, list(array.shape)]

    def add(name: str, pte: bytes, runs: list, results: list) -> None:
        files[f"{name}.pte"] = pte
        listed = []
        for i, (given, made) in enumerate(zip(runs, results, strict=True)):
            outputs = made if isinstance(made, tuple) else (made,)
            listed.append({
                "inputs": [entry(f"{name}.{i}.in{k}", t) for k, t in enumerate(given)],
                "goldens": [[*entry(f"{name}.{i}.out{k}", t), k] for k, t in enumerate(outputs)],
            })  # fmt: skip
        cases.append(
            {"name": name, "pte": f"{name}.pte", "atol": 2e-3, "rtol": 2e-3, "runs": listed}
        )

    torch.manual_seed(1)
    with torch.no_grad():
        for name, (module, runs, live) in small().items():
            add(name, exported(module.eval(), runs[0], live), runs, [module(*r) for r in runs])
        for name, model in MODELS.items():
            add(name, *language_model(*model))
        for name, (module, runs) in fixed().items():
            pte = exported(copy.deepcopy(module).eval(), runs[0], None)
            add(name, pte, runs, [module(*r) for r in runs])
    files = {"manifest.json": json.dumps({"cases": cases}).encode(), **files}
    archive.write(Path(target), files)


if __name__ == "__main__":
    main(sys.argv[1])
