"""The page's site: what it consists of, stated once for the local server and for `tensortab site`.

    index.html              web/index.html, with the site's policy and version in its head
    app.js, write/…         the rest of web/, without what only `tensortab run` opens
    boot.json               where a page finds Pyodide, the wheel and the tokenizer
    replay.js               the package's own JavaScript, which a page without eval imports itself
    wheel/…/tensortab-…whl  the running package
    jinja.zip               jinja2, for chat templates
    vendor/…                Pyodide, numpy and the tokenizer, where they are vendored
    models/…                the embedded model; with `search` also the one that searches
    site.js                 what the service worker (web/sw.js) keeps: addresses and their sha256

Addresses are relative to wherever the site lies, so it may lie under a path. The version is a hash
over the bytes of all of it. So the page, which bears the version, and site.js change with any file.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from tensortab import assets, parts, vendor, wheel
from tensortab.errors import SetupError

Content = Path | bytes

PAGE, LISTING, WORKER = "index.html", "site.js", "sw.js"
HEAD = '<meta charset="utf-8">\n'  # what the policy follows: it holds for what comes after it
# Opened by `tensortab run` alone, which has more routes than a site.
RUN = ("run.html", "run.js", "run_worker.js")
SEARCH = "all-MiniLM-L6-v2"
FRAMES = "frame-ancestors 'none'"


def boot_config(package: bytes) -> dict[str, str]:
    """What boot.js reads: addresses under the site's root, or the CDN's if nothing is vendored."""
    local = vendor.is_vendored()
    return {
        "pyodide": f"{parts.PYODIDE}/" if local else parts.CDN_PYODIDE,
        "tokenizers": f"{parts.TOKENIZERS}/tokenizers.mjs" if local else parts.CDN_TOKENIZERS,
        "wheel": f"wheel/{hashlib.sha256(package).hexdigest()[:16]}/{wheel.name()}",
        "replay": "replay.js",
        "jinja": "jinja.zip",
    }


def policy(config: Mapping[str, str]) -> str:
    """The Content-Security-Policy of a page that boots from `config`, as a header says it."""
    urls = map(urlsplit, config.values())
    sources = " ".join(sorted({"'self'", *(f"https://{url.netloc}" for url in urls if url.netloc)}))
    return "; ".join(
        [
            f"default-src {sources}",
            f"script-src {sources} 'wasm-unsafe-eval'",
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            FRAMES,
        ]
    )


@dataclass(frozen=True)
class Site:
    """The files of a site, and boot.json's content."""

    package: bytes  # the wheel
    config: Mapping[str, str]
    search: bool = False

    @classmethod
    def build(cls, *, search: bool = False) -> "Site":
        """The site of the package that runs here."""
        package = wheel.build()
        return cls(package, boot_config(package), search)

    def files(self) -> dict[str, Content]:
        """Every file by its address."""
        return {**self._parts(), PAGE: self.page(), LISTING: self.listing()}

    def page(self) -> bytes:
        """index.html for a host that sets no headers."""
        # What frames a page may lie in is a header's to say; browsers complain of it in a page.
        rules = policy(self.config).removesuffix(f"; {FRAMES}")
        head = (
            f'  <meta http-equiv="Content-Security-Policy" content="{rules}">\n'
            f'  <meta name="version" content="{self._version()}">\n'
        )
        before, mark, after = (assets.WEB / PAGE).read_text().partition(HEAD)
        assert mark, f"{PAGE} has no {HEAD!r}"
        return f"{before}{mark}{head}{after}".encode()

    def listing(self) -> bytes:
        """What the service worker keeps, as a script: {address: sha256, or "" for a CDN's}."""
        kept = {address: _sha256(content) for address, content in self._parts().items()}
        del kept[WORKER]  # browsers keep it themselves
        kept = {a: s for a, s in kept.items() if not a.startswith(f"models/{SEARCH}/")}
        kept |= {"./": _sha256(self.page()), **dict.fromkeys(self._foreign(), "")}
        return f"self.KEPT = {json.dumps(kept, indent=1)};\n".encode()

    def write(self, out: Path) -> int:
        """Write every file under `out`, which is empty or not there yet; the bytes in all."""
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise SetupError(f"{out} is there and not an empty folder: a site needs one of its own")
        total = 0
        for address, content in self.files().items():
            data = content.read_bytes() if isinstance(content, Path) else content
            (out / address).parent.mkdir(parents=True, exist_ok=True)
            (out / address).write_bytes(data)
            total += len(data)
        (out / ".nojekyll").touch()  # or GitHub Pages runs the site through a generator
        return total

    def _version(self) -> str:
        digests = sorted((a, _sha256(content)) for a, content in self._parts().items())
        return hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:16]

    def _parts(self) -> dict[str, Content]:
        """Every file but those that tell of the others."""
        web = {file.relative_to(assets.WEB).as_posix(): file for file in _files(assets.WEB)}
        found: dict[str, Content] = {a: f for a, f in web.items() if a not in (*RUN, PAGE)}
        found |= {
            "boot.json": json.dumps(dict(self.config)).encode(),
            self.config["wheel"]: self.package,
            self.config["replay"]: assets.PACKAGE / "device" / "replay.js",
            self.config["jinja"]: wheel.build_jinja(),
        }
        home = vendor.cache()
        needed = parts.PARTS if not self._foreign() else ()
        files = [file for part in needed for file in part.targets(home)]
        files += [home / parts.PYODIDE / "pyodide-lock.json"] if needed else []
        files += parts.MODELS[SEARCH].targets(home) if self.search else []
        return found | {file.relative_to(home).as_posix(): file for file in files}

    def _foreign(self) -> list[str]:
        """Addresses on the CDN, where nothing is vendored."""
        pyodide, tokenizers = self.config["pyodide"], self.config["tokenizers"]
        if pyodide != parts.CDN_PYODIDE:
            return []
        names = (*parts.CORE, "pyodide-lock.json", parts.NUMPY)
        return [tokenizers, *(pyodide + name for name in names)]


def _files(folder: Path) -> list[Path]:
    # pip compiles what Python it installs.
    found = (file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc")
    return sorted(found)


def _sha256(content: Content) -> str:
    if isinstance(content, Path):
        told = content.stat()
        return _file_sha256(content, told.st_mtime_ns, told.st_size)
    return hashlib.sha256(content).hexdigest()


@lru_cache(maxsize=1024)
def _file_sha256(file: Path, _changed: int, _size: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
