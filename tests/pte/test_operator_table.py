"""The table of operators is what its tool makes, and lacks none that ExecuTorch's backend has."""

import re
from pathlib import Path
from typing import Any

import pytest

from tensortab.pte.portable import FUNCTIONS

ROOT = Path(__file__).parents[2]
# What backends/webgpu of ExecuTorch registers with WEBGPU_REGISTER_OP (main, August 2026).
BACKEND = """
add aten._log_softmax.default aten._native_batch_norm_legit_no_training.default
aten._softmax.default aten._to_copy.default aten.abs.default aten.add.Tensor aten.addmm.default
aten.alias_copy.default aten.amax.default aten.amin.default aten.argmax.default
aten.argmin.default aten.avg_pool2d.default aten.bitwise_and.Tensor aten.bitwise_not.default
aten.bitwise_or.Tensor aten.bmm.default aten.cat.default aten.clamp.default aten.clone.default
aten.constant_pad_nd.default aten.convolution.default aten.cos.default aten.div.Tensor
aten.div.Tensor_mode aten.embedding.default aten.eq.Scalar aten.eq.Tensor aten.exp.default
aten.expand_copy.default aten.flip.default aten.full.default aten.full_like.default
aten.gather.default aten.ge.Scalar aten.ge.Tensor aten.gelu.default aten.grid_sampler_2d.default
aten.gt.Scalar aten.gt.Tensor aten.hardswish.default aten.hardtanh.default aten.index.Tensor
aten.index_select.default aten.le.Scalar aten.le.Tensor aten.leaky_relu.default
aten.linear.default aten.logical_and.default aten.logical_not.default aten.logical_or.default
aten.lt.Scalar aten.lt.Tensor aten.max_pool2d_with_indices.default aten.mean.dim
aten.minimum.default aten.mm.default aten.mul.Tensor aten.native_group_norm.default
aten.native_layer_norm.default aten.ne.Scalar aten.neg.default aten.ones.default
aten.ones_like.default aten.permute.default aten.permute_copy.default aten.pixel_shuffle.default
aten.pow.Tensor_Scalar aten.pow.Tensor_Tensor aten.relu.default aten.repeat.default
aten.round.default aten.rsqrt.default aten.scalar_tensor.default aten.select_copy.int
aten.sigmoid.default aten.sin.default aten.slice_copy.Tensor aten.split_with_sizes_copy.default
aten.sqrt.default aten.squeeze_copy.dims aten.sub.Tensor aten.sum.dim_IntList aten.tanh.default
aten.unsqueeze_copy.default aten.upsample_bilinear2d.vec aten.upsample_nearest2d.vec
aten.view_copy.default aten.where.self aten.zeros.default aten.zeros_like.default
dim_order_ops._clone_dim_order.default dim_order_ops._to_dim_order_copy.default
et_vk.adamw_step.default et_vk.apply_rotary_emb.default et_vk.apply_rotary_emb_hf.default
et_vk.apply_rotary_emb_interleaved.default et_vk.conv_with_clamp.default
et_vk.embedding_q4gsw.default et_vk.fused_ce.default et_vk.grid_priors.default
et_vk.linear_dW.default et_vk.linear_dq8ca_q4gsw.default et_vk.linear_q4gsw.default
et_vk.linear_q4gsw_backward.default et_vk.linear_q8ta_q8csw.default et_vk.linear_qcs4w.default
et_vk.prepack.default et_vk.q4gsw_requant.default et_vk.q8ta_add.default
et_vk.q8ta_conv2d.default et_vk.q8ta_conv2d_dw.default et_vk.q8ta_conv2d_pw.default
et_vk.q8ta_conv2d_transposed.default et_vk.q8ta_linear.default et_vk.q8ta_linear_gemv.default
et_vk.q8ta_pixel_shuffle.default et_vk.q8ta_relu.default et_vk.rms_norm.default
et_vk.sdpa.default et_vk.select_as_symint.default floordiv mul
quantized_decomposed.dequantize_per_tensor.default
quantized_decomposed.quantize_per_tensor.default sdpa_with_kv_cache.default sub sym_size.int
torchao.choose_qparams_affine.default update_cache.default
""".split()  # noqa: SIM905  # a list of one a line would be 131 lines


@pytest.fixture(scope="module")
def tool() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "tools")
        import operator_table

        return operator_table


@pytest.fixture(scope="module")
def table(tool: Any) -> str:
    return tool.table()


def test_the_file_is_the_table(tool: Any, table: str) -> None:
    written = tool.FILE.read_text(encoding="utf-8")
    assert written == table, "PYTHONPATH=tests:tests/pte python tools/operator_table.py"


def test_every_operator_of_the_backend(table: str) -> None:
    assert len(BACKEND) == 131
    rows = dict(re.findall(r"^\| `(\S+)` \|.* \| ([^|]*) \|$", table, re.MULTILINE))
    assert not {*BACKEND} - rows.keys()
    assert not [name for name, tests in rows.items() if not tests.strip()]


def test_every_kernel_outside_of_delegates(table: str) -> None:
    _, outside = table.split("## Outside of delegates")
    assert {*re.findall(r"`(\S+)`", outside)} == {*FUNCTIONS}


def test_dtypes_are_found(table: str) -> None:
    """Some that are known: by promotion, by comparison, of several tensors, of the result alone."""
    for operator, dtypes in (
        ("aten.add.Tensor", "f32 i32 u8 i8"),
        ("aten.logical_and.default", "any"),
        ("aten.gelu.default", "f32"),
        ("et_vk.linear_q4gsw.default", "f32 × u8"),
        ("aten.embedding.default", "f32 × i32"),
        ("aten.arange.start_step", "f32 i32"),
    ):
        assert f"| `{operator}` | {dtypes} | " in table
