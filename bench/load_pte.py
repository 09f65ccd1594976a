"""What loading a large ExecuTorch program takes in a browser tab: seconds and memory.

    pip install torch==2.13.0 executorch==1.5.1 torchao==0.18.0
    python bench/load_pte.py --write
    python bench/load_pte.py --exporter OTHER/bin/python      # where those packages are

Exports a stack of linears (stack_pte.py; 16 float32 weights of 64 MiB), serves the file with
ranges, loads it in Chromium with `tt.load_pte(url)`, runs it once, and compares the result with
numpy's. JSON of: the file's bytes, seconds, the largest error beside the largest value, and memory
as load.py measures it. Wasm memory never shrinks, so Python's heap at the end is its peak.
"""

import asyncio
import datetime as dt
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from load import measure
from stack_pte import expected, given

HERE = Path(__file__).parent
IN_TAB = """
import pickle
import time
import js
import pyodide_js
import tensortab as tt

def heap():
    return pyodide_js._module.HEAP8.length / 1e6

async def main(payload):
    job = pickle.loads(payload)
    device = await tt.Device.open("browser")
    before = heap()
    print("stage load", flush=True)
    start = time.perf_counter()
    program = await tt.load_pte(f"{job['url']}/{job['file']}", device=device)
    loaded = time.perf_counter()
    print("stage forward", flush=True)
    (y,) = await program.forward(job["x"])
    end = time.perf_counter()
    print("stage end", flush=True)
    return pickle.dumps({
        "device": str(device.info),
        "architecture": device.info.architecture,
        "browser": js.navigator.userAgent,
        "seconds": {"load": loaded - start, "forward": end - loaded},
        "python": (before, heap()),
        "y": y,
    })
"""


@click.command()
@click.option("--layers", default=16, show_default=True)
@click.option("--width", default=4096, show_default=True)
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32")
@click.option("--exporter", default=sys.executable, help="A Python that has executorch.")
@click.option("--file", type=click.Path(path_type=Path), help="Keep the program here, or use it.")
@click.option("--write", is_flag=True, help="Record the result in bench/results/.")
@click.option("--device", help="Its name in the record's; the adapter's architecture if left out.")
def main(
    layers: int,
    width: int,
    dtype: str,
    exporter: str,
    file: Path | None,
    write: bool,
    device: str | None,
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        place = (file or Path(temporary) / "stack.pte").resolve()
        sizes = [f"--layers={layers}", f"--width={width}", f"--dtype={dtype}"]
        if not place.exists():
            subprocess.run([exporter, HERE / "stack_pte.py", place, *sizes], check=True)
        size = place.stat().st_size
        job = {"file": place.name, "x": given(width).astype(dtype)}
        found = asyncio.run(measure(place.parent, job, IN_TAB))
    want = expected(layers, width, dtype)
    result = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "layers": layers,
        "width": width,
        "dtype": dtype,
        "file_bytes": size,
        "largest_value": float(np.abs(want).max()),
        "largest_error": float(np.abs(found.pop("y") - want).max()),
        **found,
        "mb_per_s": round(size / 1e6 / found["seconds"]["load"], 1),
    }
    architecture = result.pop("architecture")
    text = json.dumps(result, indent=2)
    click.echo(text)
    if result["largest_error"] > 1e-2 * result["largest_value"]:
        sys.exit("the result is not what numpy makes of it")
    if write:
        name = f"load-pte-{dtype}-{device or architecture}.json"
        (HERE / "results" / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
