"""`tensortab doctor`: what this machine has, what it lacks, and the command that gets it.

The main job needs a Chromium, the vendored parts and a WebGPU adapter in the tab; the rest is
optional.
"""

import json
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from rich.console import Console
from rich.table import Table

import tensortab as tt
from tensortab import chrome, firefox, parts, system, vendor
from tensortab.browser_run import Page
from tensortab.errors import TensortabError

PACKAGES = ("numpy", "aiohttp", "playwright", "tokenizers", "wgpu")
LIMITS = {
    "maxBufferSize": 2**20,
    "maxStorageBufferBindingSize": 2**20,
    "maxComputeInvocationsPerWorkgroup": 1,
    "maxComputeWorkgroupStorageSize": 2**10,
}
UNITS = {2**20: " MiB", 2**10: " KiB", 1: ""}

# The same in the tab and here: what a device says of itself, as JSON.
PROBE = """
import json
import tensortab as tt

async def main(kind):
    info = (await tt.Device.open(kind.decode())).info
    told = {name: getattr(info, name) for name in ("vendor", "architecture", "description")}
    told |= {"features": sorted(info.features), "limits": dict(info.limits)}
    return json.dumps(told).encode()
"""


@dataclass(frozen=True)
class Finding:
    """One row: what was looked for, what was found, and how to get it where it is missing."""

    what: str
    found: str = ""
    remedy: str = ""
    needed: bool = False  # by the main job


async def report() -> bool:
    """Print the table; whether the main job can run here."""
    findings = [*_python(), *_vendored(), await _chrome(), _firefox()]
    if all(finding.found for finding in findings if finding.needed):
        findings.append(await _browser_adapter())
    findings.append(await _native_adapter())
    _print(findings)
    return all(finding.found for finding in findings if finding.needed)


def _print(findings: Iterable[Finding]) -> None:
    table = Table(title=f"tensortab {tt.__version__}")
    for column in ("", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(finding.what, finding.found or "missing", finding.remedy)
    Console().print(table)


def _python() -> list[Finding]:
    rows = [Finding("Python", f"{platform.python_version()} on {platform.platform()}")]
    for name in PACKAGES:
        try:
            rows.append(Finding(name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            extra = "tensortab[native]" if name == "wgpu" else name
            rows.append(Finding(name, "", f"pip install '{extra}'"))
    return rows


def _vendored() -> list[Finding]:
    setup = "tensortab setup"
    rows = []
    for part in (*parts.PARTS, *parts.MODELS.values()):
        ready = vendor.is_ready(part)
        found = str(vendor.cache() / part.folder) if ready else ""
        row = Finding(part.package, found, "" if ready else setup, needed=part in parts.PARTS)
        rows.append(row)
    return rows


async def _chrome() -> Finding:
    try:
        path = await chrome.locate(install=False)
        return Finding("Chromium", f"{_version(str(path))} ({path})", needed=True)
    except TensortabError as error:
        return Finding("Chromium", "", str(error), needed=True)


def _firefox() -> Finding:
    try:
        path = firefox.find(install=False)
        return Finding("Firefox", f"{_version(str(path))} ({path})")
    except TensortabError as error:
        return Finding("Firefox", "", f"only for tests: {error}")


def _version(path: str) -> str:
    return system.run([path, "--version"], "asking a browser its version", "").strip()


async def _browser_adapter() -> Finding:
    try:
        async with Page.open() as page:
            told = json.loads(await page.call(PROBE, b"browser", timeout=60))
        return Finding("adapter in Chromium", _adapter(told), needed=True)
    except (TensortabError, RuntimeError, TimeoutError) as error:
        return Finding("adapter in Chromium", "", str(error), needed=True)


async def _native_adapter() -> Finding:
    scope: dict[str, Any] = {}
    exec(PROBE, scope)  # noqa: S102  # the constant above
    try:
        return Finding("native adapter", _adapter(json.loads(await scope["main"](b"native"))))
    except TensortabError as error:
        driver = "" if system.has_vulkan_driver() else " (apt-get install mesa-vulkan-drivers)"
        return Finding("native adapter", "", f"{error}{driver}")


def _adapter(told: dict[str, Any]) -> str:
    limits = (
        f"{name} {told['limits'][name] // unit}{UNITS[unit]}" for name, unit in LIMITS.items()
    )
    head = " ".join(filter(None, (told["vendor"], told["architecture"], told["description"])))
    return "\n".join([head, ", ".join(told["features"]) or "no optional features", *limits])
