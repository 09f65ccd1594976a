"""Programs of the machine outside Python: finding them, running them, and having apt install them.

Everything here says what it does on stderr, so that stdout stays a command's own.
Errors: SetupError, with the command a person can run.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tensortab.errors import SetupError

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line about what is being done."""
    console.print(f"[dim]tensortab:[/dim] {text}")


def run(command: Sequence[str | Path], what: str, advice: str, cwd: Path | None = None) -> str:
    """Run a program to its end and return its stdout; a failure shows its last words and advice."""
    program = shutil.which(command[0])
    if program is None:
        raise SetupError(f"{what}: the program {str(command[0])!r} is not on the PATH. {advice}")
    done = subprocess.run(  # noqa: S603  # callers pass fixed commands, and no shell reads them
        [program, *command[1:]], capture_output=True, text=True, cwd=cwd, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        line = " ".join(map(str, command))
        raise SetupError(f"{what}: `{line}` ended with code {done.returncode}. {advice}\n{tail}")
    return done.stdout


def can_apt() -> bool:
    """Whether this process may install Debian packages by itself."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt(package: str, why: str) -> None:
    """Install a Debian package as root; anyone else is told the command."""
    command = f"apt-get install -y {package}"
    if not can_apt():
        raise SetupError(f"{why} is missing: as root, run `apt-get update && {command}`.")
    say(f"{why} is missing: {command}")
    run(["apt-get", "update", "-qq"], "apt-get", "Check this machine's package sources.")
    install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq"]
    run([*install, "--no-install-recommends", package], "apt-get", f"Install {package} by hand.")


def has_vulkan_driver() -> bool:
    """Whether a Vulkan driver is registered; wgpu and Firefox need one, Mesa's llvmpipe does."""
    if os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES"):
        return True
    folders = ("/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d")
    return any(any(Path(folder).glob("*.json")) for folder in folders)


def has_gpu() -> bool:
    """Whether a GPU's device node is there; without one only software adapters exist."""
    nodes = ("/dev/dri", "/dev/nvidia0", "/dev/dxg")
    return os.name != "posix" or _is_mac() or any(Path(node).exists() for node in nodes)


def _is_mac() -> bool:
    return os.uname().sysname == "Darwin"
