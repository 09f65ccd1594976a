"""What is read of config.json files, and what is refused of them."""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest

import hf_checkpoints
import tensortab as tt
from hf_checkpoints import CASES
from published_configs import (
    GEMMA_3_1B,
    GEMMA_3_4B,
    LLAMA_3_2_1B,
    PHI_3_MINI_4K,
    PHI_4_MINI,
    QWEN_2_5_0_5B,
    QWEN_3_0_6B,
    SMOLLM2_135M,
)
from tensortab.assets import PACKAGE
from tensortab.errors import FormatError, ShapeError, UnsupportedError
from tensortab.models import architectures, decoder
from tensortab.models.decoder import Kind, Rope
from tensortab.quant.recipe import recipe

Settings = dict[str, Any]


def read(config: Settings, context: int | None = None) -> decoder.Config:
    found = architectures.find(config, "here").read(config, context)
    assert isinstance(found, decoder.Config)
    return found


def as_four(config: Settings) -> Settings:
    """The same config.json as transformers 4 writes it."""
    if "text_config" in config:
        return config | {"text_config": as_four(config["text_config"])}
    four = {k: v for k, v in config.items() if k not in ("rope_parameters", "layer_types")}
    four = {k: v for k, v in four.items() if not k.startswith("_")}
    rope = dict(config["rope_parameters"])
    if "full_attention" in rope:
        four["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        four["sliding_window_pattern"] = config["layer_types"].index("full_attention") + 1
        del four["tie_word_embeddings"]  # its default, which is left out
        rope = dict(rope["full_attention"])
    four["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        four["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if "original_max_position_embeddings" in four:
        rope.pop("original_max_position_embeddings", None)
    kind = rope.pop("rope_type")
    key = "type" if kind == "longrope" else "rope_type"
    return four | {"rope_scaling": None if kind == "default" else {key: kind, **rope}}


@pytest.mark.parametrize("name", CASES)
def test_transformers_4_and_5_say_the_same(name: str) -> None:
    import transformers as hf

    made = hf_checkpoints.made(name).config
    five = json.loads(made.to_json_string())
    five["architectures"] = [hf_checkpoints.architecture(name)]
    four = as_four(five)
    assert "rope_parameters" not in json.dumps(four)
    assert read(four) == read(five)
    assert read(four).kinds != (Kind(),), "there is something to say"
    # And transformers itself takes the older form for the same.
    again = type(made).from_dict(four)
    text = getattr(again, "text_config", again)
    rope = {k: v for k, v in text.rope_parameters.items() if k != "type"}
    assert rope == getattr(made, "text_config", made).rope_parameters
    assert hf.__version__.startswith("5")


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LLAMA_3_2_1B, 1_235_814_400),
        (SMOLLM2_135M, 134_515_008),
        (QWEN_2_5_0_5B, 494_032_768),
        (QWEN_3_0_6B, 596_049_920),
        (GEMMA_3_1B, 999_885_952),
        (GEMMA_3_4B, 3_880_263_168),
        (PHI_3_MINI_4K, 3_821_079_552),
        (PHI_4_MINI, 3_836_021_760),
    ],
    ids=lambda v: v["architectures"][0] if isinstance(v, dict) else "",
)
def test_published_models_have_as_many_parameters(config: Settings, parameters: int) -> None:
    _, weights = decoder.build(read(config, 64), decoder.DEFAULT_RECIPE)
    assert sum(math.prod(w.shape) for w in weights.tensors.values()) == parameters


def test_layers_of_published_models() -> None:
    local, full = read(GEMMA_3_1B).kinds[4:6]
    assert local == Kind(Rope(1e4), 512)
    assert full == Kind(Rope(1e6), None)
    assert len(read(GEMMA_3_1B).kinds) == 26
    four = read(GEMMA_3_4B).kinds
    assert four[5].rope == Rope(1e6, {"rope_type": "linear", "factor": 8.0})
    assert four[0] == Kind(Rope(1e4), 1024)
    assert read(GEMMA_3_1B, 512).kinds[0].window is None, "a window that is never reached"
    assert {*read(QWEN_2_5_0_5B).kinds} == {Kind(Rope(1e6))}
    assert read(PHI_3_MINI_4K).kinds == (Kind(Rope(), 2047),)
    mini = read(PHI_4_MINI)
    assert mini.kinds[0].window is None
    assert mini.kinds[0].rope.width == 96
    assert mini.kinds[0].rope.scaling["factor"] == 32


def test_the_context_that_is_taken() -> None:
    assert read(LLAMA_3_2_1B).context == 8192
    assert read(PHI_3_MINI_4K).context == 4096
    assert read(PHI_4_MINI).context == 4096, "its short factors"
    assert read(PHI_4_MINI, 100_000).context == 100_000
    with pytest.raises(UnsupportedError, match="context is 40961, expected 1 to 40960"):
        read(QWEN_3_0_6B, 40961)


REFUSED = [
    (LLAMA_3_2_1B, {"architectures": ["MixtralForCausalLM"]}, "architecture 'MixtralForCausalLM'"),
    (LLAMA_3_2_1B, {"architectures": ["Gemma2ForCausalLM"]}, "'Gemma2ForCausalLM'; there are Ber"),
    (LLAMA_3_2_1B, {"architectures": []}, "architecture None; there are BertModel, Gemma3ForC"),
    (
        LLAMA_3_2_1B,
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        "quantization_config is .*gptq.*, expected none",
    ),
    (LLAMA_3_2_1B, {"hidden_act": "gelu"}, "hidden_act is 'gelu', expected 'silu'"),
    (LLAMA_3_2_1B, {"pretraining_tp": 2}, "pretraining_tp is 2, expected 1"),
    (LLAMA_3_2_1B, {"attention_bias": "qkv"}, "attention_bias is 'qkv', expected true or false"),
    (LLAMA_3_2_1B, {"rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5', expected a number above 0"),
    (LLAMA_3_2_1B, {"rope_theta": -1}, "rope_theta is -1, expected a number above 0"),
    (
        LLAMA_3_2_1B,
        {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
        "rope_type is 'dynamic', expected one of default, linear, llama3, yarn, longrope",
    ),
    (LLAMA_3_2_1B, {"rope_scaling": {"type": "ntk"}}, "rope_type is 'ntk', expected one of"),
    (QWEN_2_5_0_5B, {"hidden_act": "relu"}, "hidden_act is 'relu', expected 'silu'"),
    (QWEN_2_5_0_5B, {"use_mrope": True}, "use_mrope is True, expected False"),
    (
        QWEN_2_5_0_5B,
        {"layer_types": ["full_attention"]},
        r"layer_types is \[.*, expected a list of",
    ),
    (
        QWEN_3_0_6B,
        {"layer_types": ["linear_attention"] * 28},
        "layer_types has 'linear_attention', expected 'full_attention' and 'sliding_attention'",
    ),
    (QWEN_3_0_6B, {"rope_scaling": {"rope_type": "yarn", "mscale": 1.0}}, "mscale is 1.0, expe"),
    (GEMMA_3_1B, {"hidden_activation": "gelu"}, "hidden_activation is 'gelu', expected 'gelu_p"),
    (GEMMA_3_1B, {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0, expected None"),
    (GEMMA_3_1B, {"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0, expected"),
    (GEMMA_3_1B, {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
    (GEMMA_3_4B, {"text_config": None}, "text_config is None, expected an object"),
    (PHI_4_MINI, {"attention_bias": True}, "attention_bias is True, expected False"),
    (PHI_4_MINI, {"lm_head_bias": True}, "lm_head_bias is True, expected False"),
    (
        PHI_4_MINI,
        {"rope_scaling": {"type": "longrope", "long_factor": [1.0] * 48, "short_factor": [1.0]}},
        "short_factor is 1 numbers, expected 48 numbers",
    ),
    (
        PHI_4_MINI,
        {"rope_scaling": {"type": "yarn", "factor": 4.0}},
        "rope_type is 'yarn', expected 'default' or 'longrope'",
    ),
    (
        SMOLLM2_135M,
        {"architectures": ["SmolLM3ForCausalLM"], "no_rope_layers": [1, 0]},
        r"no_rope_layers is \[1, 0\], expected a 0 or 1 for each of 30 layers",
    ),
    (
        SMOLLM2_135M,
        {"architectures": ["MistralForCausalLM"], "sliding_window": "4k"},
        "sliding_window is '4k', expected a positive integer",
    ),
]


@pytest.mark.parametrize(("config", "change", "message"), REFUSED)
def test_refused_by_name_before_anything_else_is_read(
    tmp_path: Path, config: Settings, change: Settings, message: str
) -> None:
    """The folder has nothing else: no tokenizer and no weights."""
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises((UnsupportedError, FormatError), match=message):
        asyncio.run(tt.load(str(tmp_path)))


@pytest.mark.parametrize("config", [LLAMA_3_2_1B, GEMMA_3_4B, PHI_3_MINI_4K])
def test_a_recipe_finds_the_head(config: Settings) -> None:
    """By its name, though it be tied to the embedding, and whatever stands before the names."""
    chosen = recipe({"^(language_model.)?lm_head": "q8"}, decoder.DEFAULT_RECIPE)
    _, weights = decoder.build(read(config, 64), chosen)
    (wide,) = (n for n, w in weights.tensors.items() if w.format.name == "q8gsw")
    assert wide.removeprefix("language_model.") in ("lm_head.weight", "model.embed_tokens.weight")


def test_sizes_that_no_graph_is_built_of() -> None:
    with pytest.raises(UnsupportedError, match="head_dim is 6, expected a multiple of 4"):
        decoder.build(read(LLAMA_3_2_1B | {"head_dim": 6}, 64), decoder.DEFAULT_RECIPE)
    with pytest.raises(ShapeError, match="q has 32 heads, k and v have 5, expected a divisor"):
        decoder.build(read(LLAMA_3_2_1B | {"num_key_value_heads": 5}, 64), decoder.DEFAULT_RECIPE)


def test_the_readme_lists_what_there_is() -> None:
    readme = PACKAGE.parents[1] / "README.md"
    rows = [line for line in readme.read_text().splitlines() if line.startswith("| `")]
    listed = [row for row in rows if row.split("`")[1] in architectures.ARCHITECTURES]
    table = architectures.ARCHITECTURES.items()
    assert listed == [f"| `{name}` | {found.serves} |" for name, found in table]
