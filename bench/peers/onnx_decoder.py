"""A Llama as ONNX, the way onnxruntime-genai exports it for WebGPU, without the package `onnx`.

MatMulNBits (4 bits, blocks of 32, zero point 8), GroupQueryAttention with rope inside, norms with
the residual sum inside, the embedding a GatherBlockQuantized over the head's own codes where they
are tied, logits of the last row alone; caches are inputs and outputs. float32 or float16. Weights
are external (weights.py). Operators: onnxruntime's docs/ContribOperators.md; fields: onnx.proto3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .protobuf import Value, message
from .weights import GROUP, Shape, Stored

IR, OPSET = 10, 21
TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "float16": 10}
EXTERNAL = 1
# transformers.js knows sizes by these names.
BATCH, PAST, TOTAL = "batch_size", "past_sequence_length", "total_sequence_length"
Dims = Sequence[int | str]


@dataclass
class Graph:
    """Nodes and initializers in the making; a node is named as its first output is."""

    stored: Mapping[str, Stored]
    file: str  # that holds the weights
    nodes: list[bytes] = field(default_factory=list)
    constants: dict[str, bytes] = field(default_factory=dict)

    def add(
        self, op: str, inputs: Sequence[str], outputs: str | Sequence[str], **attributes: float
    ) -> str:
        """A node; the name of its first output. Operators that ONNX has not are Microsoft's."""
        outputs = [outputs] if isinstance(outputs, str) else outputs
        domain = "com.microsoft" if op in MICROSOFT else ""
        self.nodes.append(
            message(
                *((1, name) for name in inputs),
                *((2, name) for name in outputs),
                *((3, outputs[0]), (4, op)),
                *((5, _attribute(*item)) for item in attributes.items()),
                (7, domain),
            )
        )
        return outputs[0]

    def weight(self, name: str, called: str = "", dims: Sequence[int] = ()) -> str:
        """A tensor of the file, also under another name and other dimensions."""
        tensor, name = self.stored[name], called or name
        where = {"location": self.file, "offset": str(tensor.at), "length": str(tensor.nbytes)}
        self.constants[name] = message(
            *((1, n) for n in dims or tensor.dims),
            *((2, TYPES[tensor.dtype]), (8, name)),
            *((13, message((1, key), (2, value))) for key, value in where.items()),
            (14, EXTERNAL),
        )
        return name

    def constant(
        self, name: str, value: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"
    ) -> str:
        data = ((2, TYPES[value.dtype.name]), (8, name), (9, value.tobytes()))
        self.constants[name] = message(*((1, n) for n in value.shape), *data)
        return name

    def linear(self, x: str, name: str, y: str, accuracy: int) -> str:
        n, blocks, _ = self.stored[f"{name}.codes"].dims
        sizes = {"N": n, "K": blocks * GROUP, "bits": 4, "block_size": GROUP}
        inputs = (x, self.weight(f"{name}.codes"), self.weight(f"{name}.scales"))
        return self.add("MatMulNBits", inputs, y, **sizes, accuracy_level=accuracy)

    def encode(self, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> bytes:
        graph = message(
            *((1, node) for node in self.nodes),
            (2, "decoder"),
            *((5, constant) for constant in self.constants.values()),
            *((11, value) for value in inputs),
            *((12, value) for value in outputs),
        )
        sets = [message((1, ""), (2, OPSET)), message((1, "com.microsoft"), (2, 1))]
        return message((1, IR), (2, "tensortab bench"), (7, graph), *((8, s) for s in sets))


MICROSOFT = (
    "MatMulNBits",
    "GroupQueryAttention",
    "SkipSimplifiedLayerNormalization",
    "GatherBlockQuantized",
)


def _attribute(name: str, value: float) -> bytes:
    kind: tuple[tuple[int, Value], ...] = ((3, value), (20, 2))
    if isinstance(value, float):
        kind = ((2, value), (20, 1))
    return message((1, name), *kind)


def value(name: str, dtype: str, dims: Dims) -> bytes:
    """An input or output; sizes that vary have names."""
    sizes = [message((2 if isinstance(n, str) else 1, n)) for n in dims]
    tensor = message((1, TYPES[dtype]), (2, message(*((1, size) for size in sizes))))
    return message((1, name), (2, message((1, tensor))))


@dataclass(frozen=True)
class Variant:
    """How a graph computes.

    `accuracy` is MatMulNBits' accuracy_level: 0 leaves activations as they are, 4 rounds them to
    8 bits. `capture` counts tokens on the GPU, from the mask's values, so that a captured step can
    be replayed with the mask in a buffer.
    """

    file: str  # of weights
    dtype: str = "float32"
    accuracy: int = 0
    capture: bool = False


def decoder(shape: Shape, stored: Mapping[str, Stored], how: Variant) -> bytes:
    """The model's file."""
    g = Graph(stored, how.file)
    accuracy = how.accuracy
    lengths = _lengths(g, capture=how.capture)
    x = _embedding(g, shape)
    norm = g.weight("layers.0.norm1")
    y = g.add("SimplifiedLayerNormalization", (x, norm), "norm1.0", epsilon=shape.eps, axis=-1)
    for i in range(shape.layers):
        y = g.linear(y, f"layers.{i}.qkv", f"qkv.{i}", accuracy)
        y = _attention(g, shape, i, y, lengths)
        y = g.linear(y, f"layers.{i}.o", f"o.{i}", accuracy)
        y, x = _norm(g, shape, x, y, f"layers.{i}.norm2")
        gate = g.linear(y, f"layers.{i}.gate", f"gate.{i}", accuracy)
        up = g.linear(y, f"layers.{i}.up", f"up.{i}", accuracy)
        silu = g.add("Mul", (gate, g.add("Sigmoid", (gate,), f"sigmoid.{i}")), f"silu.{i}")
        y = g.add("Mul", (silu, up), f"inner.{i}")
        y = g.linear(y, f"layers.{i}.down", f"down.{i}", accuracy)
        last = i + 1 == shape.layers
        y, x = _norm(g, shape, x, y, "norm" if last else f"layers.{i + 1}.norm1", last=last)
    y = g.add("Gather", (y, g.constant("last", np.array([-1]))), "last_row", axis=1)
    g.linear(y, "head", "logits", accuracy)
    return g.encode(*_signature(shape, how.dtype))


def _lengths(g: Graph, *, capture: bool) -> tuple[str, str]:
    """The row's last position and the count of tokens, int32, of the mask."""
    axis = g.constant("axis", np.array([1]))
    if capture:
        one = g.constant("one", np.array([1], np.int32))
        mask = g.add("Cast", ("attention_mask",), "mask", to=TYPES["int32"])
        count = g.add("ReduceSum", (mask, axis), "count", keepdims=0)
        total = g.add("ReduceMax", (count,), "total", keepdims=0)
        return g.add("Sub", (count, one), "position"), total
    count = g.add("ReduceSum", ("attention_mask", axis), "count", keepdims=0)
    position = g.add("Sub", (count, axis), "position_int64")
    sizes = g.add("Shape", ("attention_mask",), "sizes")
    total = g.add("Gather", (sizes, g.constant("second", np.array(1))), "total_int64", axis=0)
    return (
        g.add("Cast", (position,), "position", to=TYPES["int32"]),
        g.add("Cast", (total,), "total", to=TYPES["int32"]),
    )


def _embedding(g: Graph, shape: Shape) -> str:
    name = "head" if shape.tied else "embed"
    codes = g.weight(f"{name}.codes", "embedding.codes", (shape.vocab, shape.hidden // 2))
    inputs = (codes, "input_ids", g.weight(f"{name}.scales"))
    how = {"bits": 4, "block_size": GROUP, "gather_axis": 0, "quantize_axis": 1}
    return g.add("GatherBlockQuantized", inputs, "embedding", **how)


def _norm(
    g: Graph, shape: Shape, x: str, y: str, name: str, *, last: bool = False
) -> tuple[str, str]:
    """RMSNorm of x + y, and the sum, which nothing reads after the last."""
    outputs = (f"{name}.y", "", "", "" if last else f"{name}.sum")
    inputs = (x, y, g.weight(name))
    g.add("SkipSimplifiedLayerNormalization", inputs, outputs, epsilon=shape.eps)
    return outputs[0], outputs[3]


def _attention(g: Graph, shape: Shape, i: int, qkv: str, lengths: tuple[str, str]) -> str:
    past = (f"past_key_values.{i}.key", f"past_key_values.{i}.value")
    tables = (g.weight("cos"), g.weight("sin"))
    return g.add(
        "GroupQueryAttention",
        (qkv, "", "", *past, *lengths, *tables),
        (f"attention.{i}", f"present.{i}.key", f"present.{i}.value"),
        num_heads=shape.heads,
        kv_num_heads=shape.kv_heads,
        scale=shape.head_dim**-0.5,
        do_rotary=1,
    )


def _signature(shape: Shape, dtype: str) -> tuple[list[bytes], list[bytes]]:
    inputs = [
        value("input_ids", "int64", (BATCH, "sequence_length")),
        value("attention_mask", "int64", (BATCH, TOTAL)),
    ]
    outputs = [value("logits", dtype, (BATCH, 1, shape.vocab))]
    for i in range(shape.layers):
        for part in ("key", "value"):
            held = (BATCH, shape.kv_heads, PAST, shape.head_dim)
            inputs.append(value(f"past_key_values.{i}.{part}", dtype, held))
            held = (BATCH, shape.kv_heads, TOTAL, shape.head_dim)
            outputs.append(value(f"present.{i}.{part}", dtype, held))
    return inputs, outputs


PRODUCT = "linear"


def product(stored: Mapping[str, Stored], file: str) -> bytes:
    """One MatMulNBits alone, y = x · PRODUCT, in float32."""
    g = Graph(stored, file)
    g.linear("x", PRODUCT, "y", accuracy=0)
    n, blocks, _ = stored[f"{PRODUCT}.codes"].dims
    return g.encode(
        [value("x", "float32", ("M", blocks * GROUP))], [value("y", "float32", ("M", n))]
    )
