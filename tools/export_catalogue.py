"""Make all the operator tests that executorch's wheel carries for its WebGPU backend.

    python tools/export_catalogue.py FOLDER

FOLDER gets the programs, their inputs and PyTorch's results, and last a manifest.json that
tests/catalogue.py reads: 87 suites, 380 cases, the heavy ones among them; and, without results, the
programs that ExecuTorch's runtime is tested to turn away. refused.tar.xz, beside it, is of these
alone. The session `catalogue` of noxfile.py makes the environment for this, and runs all of it.
"""

import json
import logging
import multiprocessing
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import archive
import torch
from executorch.backends.vulkan.patterns import fusable_patterns
from executorch.backends.webgpu.test.op_tests.generate_op_tests import generate_case
from executorch.backends.webgpu.test.op_tests.test_suite import op_test_registry
from executorch.backends.webgpu.test.ops import test_sdpa, test_update_cache
from executorch.backends.webgpu.test.ops.dynamic_shape import test_dynamic_shape_export as dynamic

Case = dict[str, Any]


def start() -> None:
    """Ready a process: one thread, few words, and fusion's patterns are made only once.

    ExecuTorch makes them for every export, though they are always the same.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    for pattern in fusable_patterns.values():
        if pattern.get_graphs_fn is not None:
            pattern.get_graphs_fn = cache(pattern.get_graphs_fn)


def exported(folder: str, suite: str, number: int) -> Case:
    """One case: ExecuTorch lists its outputs one by one, here they are one run's."""
    tests = op_test_registry[suite]
    case = tests.cases[number]
    outputs = generate_case(suite, tests, case, folder)
    first = outputs[0]
    inputs = [[i["path"], i["dtype"], i["shape"]] for i in first["inputs"]]
    results = [o["golden"] for o in outputs]
    goldens = [[g["path"], g["dtype"], g["shape"], g["output_index"]] for g in results]
    return {
        "name": f"{suite}__{case.name or 'case'}",
        "pte": first["pte"],
        "atol": first["atol"],
        "rtol": first["rtol"],
        "runs": [{"inputs": inputs, "goldens": goldens}],
    }


def refused(folder: Path) -> list[Case]:
    """The programs that ExecuTorch exports to see its runtime turn them away."""
    test_update_cache.export_update_cache_negative(str(folder))
    dynamic.export_dynamic_expand_copy_rejection_case(str(folder))
    (narrow,) = (c for c in test_sdpa.CONFIGS if c.name == "reject_d6")
    test_sdpa.export_sdpa_model(narrow, str(folder / "sdpa_reject_d6.pte"), "/dev/null")
    name = "sdpa_k16_bad_cache_heads"
    dynamic._export_dynamic_k16_sdpa_case(
        str(folder), name, dynamic.K16_HQ, dynamic.K16_HKV, (),
        cache_hkv=dynamic.K16_HKV - 1, expect_runtime_reject=True,
    )  # fmt: skip
    files = sorted(folder.glob("*.pte"))
    return [{"name": f.stem, "pte": f"{folder.name}/{f.name}"} for f in files]


def main(target: str) -> None:
    """Write the folder; as many processes as there are processors export its cases."""
    folder = Path(target)
    (folder / "refused").mkdir(parents=True, exist_ok=True)
    wanted = [(s, i) for s, tests in op_test_registry.items() for i in range(len(tests.cases))]
    began = time.monotonic()
    cases = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=context, initializer=start) as processes:
        for job in [processes.submit(exported, target, *case) for case in wanted]:
            cases.append(job.result())
            print(f"{len(cases)} of {len(wanted)}: {cases[-1]['name']}", flush=True)
    start()
    turned = refused(folder / "refused")
    alone = {"manifest.json": manifest(turned)}
    alone |= {e["pte"]: (folder / e["pte"]).read_bytes() for e in turned}
    archive.write(folder / "refused.tar.xz", alone)
    (folder / "manifest.json").write_bytes(manifest(cases + turned))
    print(f"{len(cases)} cases and {len(turned)} to refuse in {time.monotonic() - began:.0f} s")


def manifest(cases: list[Case]) -> bytes:
    return json.dumps({"cases": cases}).encode()


if __name__ == "__main__":
    main(sys.argv[1])
