"""The corpus of the embedded model: Python's standard library and the wheels of packages.txt.

    pip download --no-deps --only-binary=:all: -r packages.txt -d wheels
    python data.py --wheels wheels --out build

build gets tokenizer.json, train.bin, held.bin, held.json (how much there is) and packages.tsv (what
each package gave, with its version and the licence it states).

Every wheel's licence is read from its metadata and has to be permissive, or the run stops. Tests
are left out, and code vendored from elsewhere. Whole packages (1 in 48) and single files (1 in 100)
are held out, chosen by the SHA-256 of their names. train.bin holds uint16 token ids of documents in
a shuffled order, each behind <|endoftext|>. Half of the files are cut into their top-level
statements, for prompts start in the middle of things; and in a third of the documents the text is
cut at random places before it is tokenized, since prompts end in the middle of tokens.
"""

import email.message
import hashlib
import json
import random
import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from clean import Seen, clean, pieces
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
VOCABULARY = 8192
END = "<|endoftext|>"
HEAD = "name\tversion\tlicence\tfiles\tbytes"
PACKAGE_BYTES = 8_000_000  # of one package's cleaned code at most, so that no style rules
# A line break takes its indentation along, a word the space or dot before it, a digit stands alone.
WORDS = r"\n+ *|[ .]?[A-Za-z_]+| ?[0-9]| ?[^\sA-Za-z0-9_]+|\s+"

_PERMISSIVE = re.compile(
    r"(MIT(-0|-CMU)?|0?BSD(-[23]-Clause)?|Apache-2\.0( WITH LLVM-exception)?|P(SF|ython)-2\.0"
    r"|ISC|Zlib|CC0-1\.0|BSL-1\.0)"
)
_CLASSIFIERS = {
    "BSD License",
    "MIT License",
    "Apache Software License",
    "Python Software Foundation License",
    "ISC License (ISCL)",
}
_FREE_TEXT = re.compile(
    r"(the )?(new |modified |3-clause )?(mit|bsd|apache|psf|python)\b", re.IGNORECASE
)
_ELSEWHERE = re.compile(
    r"(^|/)(tests?|testing|_?vendor(ed)?|_vendored|third_?party|externals?|extern|lib2to3|idlelib"
    r"|site-packages|turtledemo|_?examples_data|conftest\.py|test_[^/]*|[^/]*_(test|pb2|pb2_grpc)\.py"
    r"|_version\.py|versioneer\.py)(/|$)"
)


@dataclass(frozen=True)
class Package:
    """One source of files; `files` are the cleaned ones by path."""

    name: str
    version: str
    licence: str
    files: dict[str, str]


def permissive(metadata: email.message.Message) -> str | None:
    """The licence as the wheel's metadata states it, if it is one of those allowed."""
    expression = metadata.get("License-Expression")
    if expression:
        terms = re.split(r"\s+(?:AND|OR)\s+", expression.replace("(", "").replace(")", ""))
        return expression if all(_PERMISSIVE.fullmatch(term) for term in terms) else None
    stated = [c.split("::")[-1].strip() for c in metadata.get_all("Classifier") or []]
    kinds = [c for c in stated if c.endswith(("License", ")")) and "License" in c]
    text = (metadata.get("License") or "").strip().split("\n")[0]
    if re.search(r"gpl|mpl|proprietary|commercial", text, re.IGNORECASE):
        return None
    if kinds:
        return "; ".join(kinds) if set(kinds) <= _CLASSIFIERS else None
    return text if _FREE_TEXT.match(text) else None


def read_wheel(path: Path) -> Package | None:
    """The wheel's cleaned Python files; None where its licence is not permissive."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        about = next(n for n in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        metadata = email.message_from_string(wheel.read(about).decode("utf-8", "replace"))
        licence = permissive(metadata)
        if licence is None:
            return None
        found = ((n, wheel.read(n)) for n in _by_hash(names) if n.endswith(".py"))
        return Package(metadata["Name"], metadata["Version"], licence, _cleaned(found))


def read_library() -> Package:
    """The standard library of the Python that runs this."""
    root = Path(sysconfig.get_path("stdlib"))
    names = _by_hash(str(p.relative_to(root)) for p in root.rglob("*.py"))
    found = ((name, (root / name).read_bytes()) for name in names)
    version = ".".join(map(str, sys.version_info[:3]))
    return Package("CPython", version, "PSF-2.0", _cleaned(found))


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Byte-level BPE over WORDS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", pair=f"{END} $A $B", special_tokens=[(END, 0)]
    )
    return tokenizer


def documents(files: dict[str, str]) -> list[list[str]]:
    """Files as training documents, shuffled; each a list of stretches tokenized by themselves."""
    chance = random.Random(0)
    result = []
    for name, text in sorted(files.items()):
        apart = _hash(name) % 2 == 0
        parts = pieces(text) if apart else [text]
        result.extend(_cut(p, chance) if chance.random() < 1 / 3 else [p] for p in parts)
    chance.shuffle(result)
    return result


def encode(tokenizer: Tokenizer, groups: list[list[str]]) -> np.ndarray:
    """Token ids, each document behind <|endoftext|>."""
    ids = []
    for start in range(0, len(groups), 4096):
        some = groups[start : start + 4096]
        flat = iter(
            tokenizer.encode_batch_fast([s for g in some for s in g], add_special_tokens=False)
        )
        for group in some:
            joined = [i for _ in group for i in next(flat).ids]
            ids.append(np.array([0, *joined], np.uint16))
    return np.concatenate(ids)


def _cut(text: str, chance: random.Random) -> list[str]:
    """`text` in stretches of about 300 characters; half of the cuts follow a space or a bracket."""
    stretches, start = [], 0
    while start < len(text):
        end = start + 1 + int(chance.expovariate(1 / 300))
        if chance.random() < 1 / 2:
            soft = re.compile(r"[ (\n.\[]").search(text, end)
            end = soft.end() if soft else len(text)
        stretches.append(text[start:end])
        start = end
    return stretches


def _cleaned(found: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    files, size = {}, 0
    for name, raw in found:
        if size > PACKAGE_BYTES or _ELSEWHERE.search(name) or len(raw) > 200_000:
            continue
        text = clean(raw.decode("utf-8", "replace"))
        if text is not None:
            files[name] = text
            size += len(text)
    return files


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def _by_hash(names: Iterable[str]) -> list[str]:
    return sorted(names, key=_hash)


def _packages(wheels: tuple[Path, ...], wanted: Path) -> Iterator[Package]:
    """In the list's order, so that of near-duplicates the same one stays in every run."""
    at = {}
    for folder in wheels:
        for path in folder.glob("*.whl"):
            name, version = path.name.split("-")[:2]
            at[_plain(name), version] = path
    pins = [line.split("==") for line in wanted.read_text().split()]
    missing = [f"{n}=={v}" for n, v in pins if (_plain(n), v) not in at]
    if missing:
        raise click.ClickException(f"no wheel for {', '.join(missing)}: see pip download above")
    yield read_library()
    paths = [at[_plain(name), version] for name, version in pins]
    with ProcessPoolExecutor() as pool:
        for path, package in zip(paths, pool.map(read_wheel, paths), strict=True):
            if package is None:
                raise click.ClickException(f"{path.name} states no licence that is permissive")
            yield package


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


@click.command()
@click.option(
    "--wheels", multiple=True, required=True, type=click.Path(exists=True, path_type=Path)
)
@click.option("--out", required=True, type=click.Path(path_type=Path))
@click.option("--packages", default=HERE / "packages.txt", type=click.Path(path_type=Path))
def main(wheels: tuple[Path, ...], out: Path, packages: Path) -> None:
    """Gather, clean, split and tokenize the corpus."""
    out.mkdir(parents=True, exist_ok=True)
    seen = Seen()
    train, held, table = {}, {}, []
    for package in _packages(wheels, packages):
        fresh = {f"{package.name}/{n}": t for n, t in package.files.items() if seen.add(t)}
        aside = _hash(package.name) % 48 == 0
        for name, text in fresh.items():
            (held if aside or _hash(name) % 100 == 0 else train)[name] = text
        size = sum(map(len, fresh.values()))
        table.append(f"{package.name}\t{package.version}\t{package.licence}\t{len(fresh)}\t{size}")
    (out / "packages.tsv").write_text("\n".join([HEAD, *table]) + "\n")
    sample = [text for name, text in sorted(train.items()) if _hash(name) % 4 == 1]
    tokenizer = build_tokenizer(sample)
    tokenizer.save(str(out / "tokenizer.json"))
    encode(tokenizer, documents(train)).tofile(out / "train.bin")
    tokens = encode(tokenizer, [[text] for _, text in sorted(held.items())])
    tokens.tofile(out / "held.bin")
    size = sum(len(text.encode()) for text in held.values())
    about = {
        "files": len(held),
        "bytes": size,
        "tokens": len(tokens),
        "train_files": len(train),
        "train_bytes": sum(len(text.encode()) for text in train.values()),
        "train_tokens": (out / "train.bin").stat().st_size // 2,
    }
    (out / "held.json").write_text(json.dumps(about, indent=1))
    click.echo(json.dumps(about))


if __name__ == "__main__":
    main()
