"""Firefox: finding one, the preferences that give it WebGPU, and a process of it on one page.

It compiles WGSL with naga where Chromium uses Tint, and has shader-f16 on Mesa's llvmpipe: a second
opinion on every kernel. Without a GPU it needs a Vulkan driver (mesa-vulkan-drivers).
Errors: SetupError, with the package to install.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tensortab import system
from tensortab.errors import SetupError

NAMES = ("firefox-esr", "firefox")

WEBGPU = (
    "dom.webgpu.enabled",
    "dom.webgpu.workers.enabled",
    "gfx.webgpu.ignore-blocklist",
    "gfx.webgpu.force-enabled",
)
# What a fresh profile would otherwise open, fetch or report.
SILENT = (
    "app.normandy.enabled",
    "app.update.enabled",
    "browser.aboutwelcome.enabled",
    "browser.region.network.url",
    "browser.safebrowsing.malware.enabled",
    "browser.safebrowsing.phishing.enabled",
    "browser.search.update",
    "browser.shell.checkDefaultBrowser",
    "browser.topsites.contile.enabled",
    "datareporting.policy.dataSubmissionEnabled",
    "dom.push.connection.enabled",
    "extensions.getAddons.cache.enabled",
    "extensions.update.enabled",
    "media.gmp-manager.updateEnabled",
    "network.captive-portal-service.enabled",
    "network.connectivity-service.enabled",
    "network.dns.disablePrefetch",
    "signon.autofillForms",
    "toolkit.telemetry.enabled",
)
OTHER = {
    "browser.region.network.url": '""',
    "browser.startup.homepage_override.mstone": '"ignore"',
    "browser.startup.page": "0",
    "network.dns.disablePrefetch": "true",
    "services.settings.server": '"data:,"',
}


def preferences() -> str:
    """The profile's user.js."""
    values = dict.fromkeys(SILENT, "false") | dict.fromkeys(WEBGPU, "true") | OTHER
    return "".join(f'user_pref("{name}", {value});\n' for name, value in values.items())


def find(*, install: bool = True) -> Path:
    """The Firefox to use; with `install`, apt may fetch one."""
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    if install and system.can_apt():
        system.apt("firefox-esr", "Firefox")
        return find(install=False)
    raise SetupError("no Firefox found: install it (Debian: `apt-get install firefox-esr`)")


@asynccontextmanager
async def launch(
    url: str, *, headed: bool = False, options: Sequence[str] = ()
) -> AsyncIterator[Path]:
    """A running Firefox on one page, with a profile of its own, gone without a trace afterwards.

    `options` are further arguments of Firefox's. Yields the profile's folder.
    """
    with tempfile.TemporaryDirectory(prefix="tensortab-", ignore_cleanup_errors=True) as profile:
        await asyncio.to_thread(Path(profile, "user.js").write_text, preferences())
        process = await asyncio.create_subprocess_exec(
            find(),
            *("--no-remote", "--profile", profile, *options),
            *([] if headed else ["--headless"]),
            url,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # its content processes then end with it
        )
        try:
            yield Path(profile)
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10)
