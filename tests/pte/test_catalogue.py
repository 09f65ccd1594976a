"""Every case against PyTorch's results, natively and in Chrome; some of each family in Firefox."""

import pytest

import catalogue
import harness

Outcome = list[tuple] | Exception
IN_FIREFOX = (
    "logical_and__words65", "argmax__tie", "layer_norm__affine_rank3", "conv2d__grouped_vec4",
    "grid_sampler_2d__batch", "et_vk_sdpa__masked_bart", "q8ta_conv2d__k3", "linear_qcs4w__gemv",
    "linear_dq8ca_q4gsw__basic", "sdpa_incache_small", "mixed_portable_cumsum", "live_mlp",
    "llama_tiny_q4_decode",
)  # fmt: skip


@pytest.fixture(scope="module")
def in_chrome(chrome: harness.Tab) -> dict[str, Outcome]:
    return outcomes(chrome, [*catalogue.cases()])


@pytest.fixture(scope="module")
def in_firefox(firefox: harness.Tab) -> dict[str, Outcome]:
    return outcomes(firefox, IN_FIREFOX)


def outcomes(tab: harness.Tab, names: list[str]) -> dict[str, Outcome]:
    cases = [catalogue.cases()[name] for name in names]
    answers = catalogue.in_tab(tab, [(c.pte, c.inputs) for c in cases])
    return dict(zip(names, answers, strict=True))


def check(case: catalogue.Case, outputs: Outcome) -> None:
    if isinstance(outputs, Exception):
        raise outputs
    for run, goldens in zip(outputs, case.goldens, strict=True):
        for number, want in goldens.items():
            assert run[number].dtype == want.dtype
            catalogue.assert_within(run[number], want, case.atol, case.rtol)


@pytest.mark.parametrize("name", catalogue.cases())
def test_native(loop: harness.Loop, native: harness.Native, name: str) -> None:
    case = catalogue.cases()[name]
    check(case, loop.run(catalogue.results(native.device, case.pte, case.inputs)))


@pytest.mark.parametrize("name", catalogue.cases())
def test_chrome(in_chrome: dict[str, Outcome], name: str) -> None:
    check(catalogue.cases()[name], in_chrome[name])


@pytest.mark.parametrize("name", IN_FIREFOX)
def test_firefox(in_firefox: dict[str, Outcome], name: str) -> None:
    check(catalogue.cases()[name], in_firefox[name])
