"""Chromium: finding one, the flags that give it WebGPU, and starting it through Playwright.

Looked for in this order: `--chrome PATH`, `TENSORTAB_CHROME`, Playwright's own, Chrome or Chromium
on the PATH, and as root on Debian or Ubuntu apt's package. `TENSORTAB_ADAPTER` picks the WebGPU
adapter: `swiftshader` (software, the default where the machine has no GPU), `gpu`, or `gpu-f16`,
with float16 also where Chrome hides it (NVIDIA on Linux), and so with the GPU's matrix units.
Errors: SetupError, with the ways to get a Chromium.
"""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from playwright.async_api import Browser, Error, Playwright, async_playwright

from tensortab import system
from tensortab.errors import SetupError

NAMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
NVIDIA_ICD = Path("/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json")

# A page of one's own machine needs nobody: no updates, no sync, no first run, no QUIC.
QUIET = (
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-webgpu",
)
SWIFTSHADER = ("--use-webgpu-adapter=swiftshader",)
# Vulkan without a display; timestamp queries to the nanosecond are an unsafe API of Dawn's.
GPU = (
    "--use-angle=vulkan",
    "--enable-features=Vulkan",
    "--disable-vulkan-surface",
    "--ignore-gpu-blocklist",
    "--enable-dawn-features=allow_unsafe_apis",
)
F16 = (*GPU[:-1], f"{GPU[-1]},vulkan_enable_f16_on_nvidia")
ADAPTERS = {"swiftshader": SWIFTSHADER, "gpu": GPU, "gpu-f16": F16}


def adapter() -> str:
    """Which WebGPU adapter to ask Chrome for: one of ADAPTERS."""
    wanted = os.environ.get("TENSORTAB_ADAPTER") or ("gpu" if system.has_gpu() else "swiftshader")
    if wanted not in ADAPTERS:
        raise SetupError(f"TENSORTAB_ADAPTER is {wanted!r}, expected one of {', '.join(ADAPTERS)}")
    return wanted


def flags(gpu: str = "auto") -> list[str]:
    """Chrome's switches for an adapter: one of ADAPTERS, or `auto`, what the machine has."""
    return [*QUIET, *ADAPTERS[adapter() if gpu == "auto" else gpu]]


def find(chosen: str | None, own: str, *, install: bool = True) -> Path:
    """The Chromium to use; `own` is where Playwright's would lie, `install` lets apt run."""
    named = chosen or os.environ.get("TENSORTAB_CHROME")
    if named:
        if (path := shutil.which(named)) is None:
            raise SetupError(f"no program at {named} (given by --chrome or TENSORTAB_CHROME)")
        return Path(path)
    found = [Path(path) for path in map(shutil.which, (own, *NAMES)) if path]
    if found:
        return found[0]
    if install and system.can_apt():
        system.apt("chromium", "Chromium")
        return find(None, own, install=False)
    raise SetupError(
        "no Chromium found: install Chrome or Chromium (Debian: `apt-get install chromium`), or run"
        " `python -m playwright install chromium`, or name one with --chrome or TENSORTAB_CHROME"
    )


def environment() -> dict[str, str | float | bool]:
    """The browser's environment; containers keep NVIDIA's Vulkan driver where no loader looks."""
    driver = {"VK_DRIVER_FILES": str(NVIDIA_ICD)} if NVIDIA_ICD.exists() else {}
    return {**driver, **os.environ}


async def locate(chosen: str | None = None, *, install: bool = True) -> Path:
    """The Chromium that `launch` would start."""
    async with async_playwright() as playwright:
        return find(chosen, playwright.chromium.executable_path, install=install)


@asynccontextmanager
async def launch(
    chosen: str | None = None, extra: Sequence[str] = (), *, headed: bool = False
) -> AsyncIterator[Browser]:
    """A running Chromium with a profile of its own, gone without a trace afterwards."""
    async with async_playwright() as playwright:
        path = find(chosen, playwright.chromium.executable_path)
        browser = await _start(playwright, path, extra, headed=headed)
        try:
            yield browser
        finally:
            # A browser that crashed or was interrupted is already closed.
            with suppress(Error):
                await browser.close()


async def _start(
    playwright: Playwright, path: Path, extra: Sequence[str], *, headed: bool
) -> Browser:
    try:
        return await playwright.chromium.launch(
            executable_path=path,
            headless=not headed,
            args=[*flags(), *extra],
            env=environment(),
            # Chromium refuses to run its sandbox as root.
            chromium_sandbox=os.name != "posix" or os.geteuid() != 0,
            # Ctrl-C is ours: it cancels the task, which closes the browser on its way out.
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
    except Error as error:
        raise SetupError(f"{path} did not start: {error.message.splitlines()[0]}") from error
