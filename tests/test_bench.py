"""`tensortab bench` on the software adapters, and the report of what is committed."""

import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

import harness
import tensortab as tt
from tensortab import cli
from tensortab.bench import attention, job, kernels, probes, shapes
from tensortab.bench.clock import Clock
from tensortab.bench.costs import costs, total
from tensortab.models import decoder
from tensortab.plan import plan
from tensortab.target import Target

ROOT = Path(__file__).parents[1]
with pytest.MonkeyPatch.context() as patch:  # bench's names are not for other tests
    patch.syspath_prepend(ROOT / "bench")
    import report
    from goals import GOALS
    from records import Records

GPU = Target("browser", features=frozenset({"subgroups", "timestamp-query"}), matrices=True)


@pytest.fixture(scope="module", params=["native", "chrome"])
def record(request, tmp_path_factory):
    """What a short run wrote."""
    request.getfixturevalue(request.param)
    out = tmp_path_factory.mktemp("bench") / "out.json"
    command = ["bench", "--prompt", "8", "--new", "4", "--profile", "--out", str(out)]
    command += ["--native"][: request.param == "native"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["/a/path/tensortab", *command])
        result = CliRunner().invoke(cli.main, command)
    assert result.exit_code == 0, result.stderr
    found = json.loads(out.read_text())
    assert "8" in result.stdout, "a table is printed"
    return request.param, found


def test_a_run_says_where_and_when_and_what_failed(record):
    where, found = record
    assert found["errors"] == []
    assert found["command"].startswith("tensortab bench --prompt 8 --new 4 --profile --out ")
    assert found["date"].endswith("Z")
    assert found["about"]["software"]
    assert (found["browser"] or "").startswith("Chromium" if where == "chrome" else "")
    assert found["versions"].keys() == {"tensortab", "python"}
    assert {row["section"] for row in found["rows"]} == {
        "gemv", "gemm", "attention", "load", "model", "profile",
    }  # fmt: skip


def test_rates_are_positive_and_fractions_of_the_floor(record):
    _, found = record
    floor = job.Floor(**{k: v for k, v in found["floor"].items() if k in vars(job.Floor())})
    assert min(floor.copy_gb_s, floor.read_gb_s, floor.empty_us, floor.float_tflop_s) > 0
    for row in found["rows"]:
        for name, value in row.items():
            if name.endswith(("_tok_s", "gb_s", "tflop_s", "us")) and name != "host_us":
                assert value > 0, (row["section"], name)
            if name.startswith("of_"):
                assert 0 < value < 4, "of little in caches there is more than of memory"
        if "us_min" in row:
            assert row["us_min"] <= row["us"] <= row["us_max"]
        if row["section"] == "gemv":
            assert row["limit_us"] >= 1.5 * floor.empty_us


def test_a_models_row_has_what_other_engines_rows_have(record):
    where, found = record
    (row,) = (row for row in found["rows"] if row["section"] == "model")
    assert (row["engine"], row["shape"], row["prompt"], row["new"]) == ("tensortab", "tiny", 8, 4)
    assert row["prefill_tok_s"] == pytest.approx(8e6 / row["prefill_us"], rel=1e-3)
    assert row["decode_us"] == pytest.approx(row["decode_gpu_us"] + row["host_us"], rel=2e-3)
    weights = 384 * (8 * (384 + 256 + 384 + 3 * 1024) + 8192)
    assert row["bytes_a_token"] == pytest.approx(weights * 9 / 16, rel=0.02)
    assert row["flops_a_token"] == pytest.approx(2 * weights, rel=0.02)
    if where == "chrome":
        assert row["ffi_calls_a_burst"] == 3


def test_a_profile_knows_bytes_and_flops(record):
    _, found = record
    prompt, step = (row for row in found["rows"] if row["section"] == "profile")
    for row in (prompt, step):
        linear = next(k for k in row["kernels"] if k["kernel"].startswith("linear"))
        assert linear["bytes"] > 1e5
        assert linear["flops"] > 1e5
        assert sum(k["share"] for k in row["kernels"]) == pytest.approx(1, abs=0.01)


@pytest.mark.usefixtures("native")
def test_a_section_that_fails_is_recorded_and_the_others_go_on(tmp_path, monkeypatch):
    async def fail(*_):
        raise RuntimeError("out of luck\nfor good")

    monkeypatch.setattr(kernels, "measure", fail)
    out = tmp_path / "out.json"
    command = ["bench", "kernels", "attention", "--native", "--out", str(out)]
    assert CliRunner().invoke(cli.main, command).exit_code == 0
    found = json.loads(out.read_text())
    assert found["errors"] == [{"section": "kernels", "error": "for good"}]
    assert {row["section"] for row in found["rows"]} == {"attention"}


def test_what_is_measured_on_a_gpu_can_be_planned():
    """Only a GPU runs those sizes; the graphs are checked and lowered here."""
    for case in [*kernels.VECTORS, *kernels.MATRICES]:
        g = tt.Graph()
        kernels.chain(case, small=False)(g)
        assert plan(g, GPU).steps
    for case in attention.cases(small=False):
        g = tt.Graph()
        attention.chain(case, small=False)(g)
        assert plan(g, GPU).steps


@pytest.mark.parametrize("target", [GPU, Target("browser", software=True)])
def test_a_token_costs_weights_and_what_is_in_the_caches(target):
    """Neither rope's tables of 8192 positions, nor caches once more where they are written."""
    config = shapes.config("llama-3.2-1b", 8192)
    graph, _ = decoder.build(config, decoder.DEFAULT_RECIPE, most=1 << 30)
    made = SimpleNamespace(graph=graph, plan=plan(graph, target))
    weights = 2048 * (16 * (3072 + 2048 + 3 * 8192) + 128256)
    norms = 4 * 2048 * (2 * 16 + 1)
    for context in (128, 8192):
        keys = 16 * context * 8 * 64
        found = total(costs(made, 1, context))
        assert found.nbytes == weights * 9 // 16 + norms + 2 * 2 * keys
        assert found.flops == 2 * (weights + 2 * 4 * keys)


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_a_shape_is_a_decoder_of_the_context_asked_for(name):
    assert shapes.config(name, 320).context == 320


def test_probes_do_what_they_are_for(device):
    def words(g):
        return probes.scrambled(g.state("s", (101,), "uint32"), 3, 0xFFFF, 7)

    def copies(g):
        x = g.constant("x", np.arange(1000, dtype=np.uint32))
        return probes.copied(g.state("s", (1000,), "uint32"), x, 64, 4)

    def products(g):
        return probes.multiplied(g.state("s", (512,)), 16)

    for build in (words, copies, products):
        g = tt.Graph()
        g.output("y", build(g))
        np.testing.assert_array_equal(device.run(g)["y"], tt.evaluate(g)["y"])


def test_matrix_units_multiply_in_registers(matrices: harness.Tab):
    g = tt.Graph()
    g.output("y", probes.multiplied_matrices(g.state("s", (2048,)), 12))
    assert set(matrices.run(g)["y"]) == {3.0}


FILL = """
import pickle
import tensortab as tt
from tensortab.bench import probes

async def main(_):
    device = await tt.Device.open()
    g = tt.Graph()
    w = g.constant("w", tt.Spec((64, 16), "int32"))
    s = g.constant("w.scales", tt.Spec((63,), "float32"))
    g.output("w", tt.ops.add(w, 0))
    g.output("s", tt.ops.add(s, 0.0))
    session = await device.compile(g)
    await probes.fill(device, session)
    out = await session.run()
    session.destroy()
    device.close()
    return pickle.dumps(out)
"""


def test_constants_are_made_up_on_the_gpu(chrome: harness.Tab):
    out = pickle.loads(chrome.call(FILL))
    assert len({*out["w"].flat}) > 1000
    np.testing.assert_array_equal(out["s"], np.float32(0.004))


def test_a_chain_is_timed_by_the_gpus_clock(native: harness.Native, loop: harness.Loop):
    clock = Clock.of(native.device)
    time, made = loop.run(clock.chain(kernels.chain(kernels.SMALL_VECTORS[0], small=True)))
    assert 0 < time.least <= time.us <= time.most
    assert len(kernels.kernels_of(made)) == 1


def test_the_tables_and_the_chart_are_those_of_the_committed_results():
    for file, text in report.written(Records(ROOT / "bench" / "results")).items():
        assert file.read_text("utf-8") == text, f"{file.name} is stale: run bench/report.py"


def test_every_missed_goal_says_what_limits_it():
    said = report.paragraphs((ROOT / "bench" / "limits.md").read_text("utf-8"))
    records = Records(ROOT / "bench" / "results")
    for goal in GOALS:
        found = goal.find(records)
        assert not found or found[1] == "yes" or goal.key in said, f"limits.md: ## {goal.key}"
    assert said.keys() <= {goal.key for goal in GOALS}


def made_up(folder: Path) -> None:
    """Records as a GPU and other engines might give them."""
    about = {"device": "nvidia (browser)", "software": False, "matrices": True}
    head = {"date": "2026-11-28T12:00:00Z", "browser": "Chromium 156", "machine": "One GPU"}
    vector = {"section": "gemv", "strategy": "chosen", "us": 12.0, "gb_s": 2500.0}
    rows = [vector | {"case": k, "of_copy": 0.7, "limit_us": 10.0}
            for k in ("4096×14336", "2048×128256", "2048×2048", "2048×8192")]  # fmt: skip
    rates = (("a", "gemm", 30.0), ("b", "gemm", 36.0), ("b", "dots", 45.0), ("a", "matrix", 260.0))
    for case, strategy, rate in rates:
        rows.append(
            {"section": "gemm", "case": case, "rows": 512, "strategy": strategy, "tflop_s": rate}
        )
    rows.append(
        {"section": "load", "shape": "llama-3.2-1b", "dispatches_a_layer": 6, "dispatches": 99}
    )
    for shape in ("llama-3.2-1b", "llama-3.1-8b"):
        for prompt in (128, 2048, 8192):
            times = {"decode_us": 800.0, "decode_gpu_us": 750.0, "host_us": 50.0, "of_copy": 0.5}
            rates = {"prefill_tok_s": 90000.0, "decode_tok_s": 1250.0}
            rows.append({"section": "model", "shape": shape, "prompt": prompt} | rates | times)
    (folder / "a.json").write_text(json.dumps(head | {"about": about, "rows": rows}))
    peers = [
        {"engine": "onnxruntime-web", "setting": "best", "shape": "llama1b", "prompt": n,
         "prefill_tok_s": 8000.0, "decode_tok_s": rate}
        for n, rate in ((128, 260.0), (128, 100.0), (2048, 250.0))
    ]  # fmt: skip
    peers.append({"engine": "wllama", "error": "no shader-f16"})
    (folder / "peers-a.json").write_text(json.dumps({"date": "2026-11-28", "rows": peers}))
    (folder / "other.json").write_text('{"rows": []}')


def test_goals_are_judged_by_the_records(tmp_path):
    made_up(tmp_path)
    records = Records(tmp_path)
    met = {goal.what: (goal.find(records) or ("", "unknown"))[1] for goal in GOALS}
    assert [*met.values()] == [
        "yes", "yes", "no", "no", "partly", "yes", "partly", "yes", "partly", "yes", "yes",
        "partly", "unknown",
    ]  # fmt: skip
    text = report.goals(records)
    assert "1,250 / 1,250 / 1,250 tokens/s | partly |" in text
    assert "decode 4.8 × onnxruntime-web's 260, prefill 11.2 × onnxruntime-web's 8,000" in text
    assert "One GPU, Chromium 156, 2026-11-28" in text
    assert "- **GEMV, 2048×2048; GEMV, 2048×8192**: " in report.limits(records)
    picture = report.chart(records)
    assert "onnxruntime-web" in picture
    assert "Llama-3.1-8B, 8192" in picture
