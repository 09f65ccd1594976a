"""Whether a completion is plausible Python: the rule that check.py and the tests apply."""

import ast
import io
import json
import tokenize
from collections import Counter
from pathlib import Path

PROMPTS: list[str] = json.loads((Path(__file__).parent / "prompts.json").read_text())


def cut(text: str) -> str:
    """`text` up to the end of its last whole statement."""
    end = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text + "\n").readline):
            if token.type == tokenize.NEWLINE:
                end = token.end[0]
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass  # the text ends within brackets or a string: what stands before it counts
    lines = text.split("\n")
    whole = lines[: min(end, len(lines) - 1)]
    while whole and (
        not whole[-1].strip()
        or whole[-1].rstrip().endswith((":", "\\"))
        or whole[-1].lstrip().startswith(("#", "@"))
    ):
        whole.pop()
    return "\n".join(whole) + "\n"


def verdict(prompt: str, text: str, *, ended: bool) -> str:
    """'passes', or why not."""
    kept = text if ended else cut(text)
    if len(kept.strip()) <= len(prompt.strip()):
        return "nothing left"
    try:
        ast.parse(kept)
    except (SyntaxError, ValueError):
        return "does not parse"
    lines = Counter(line.strip() for line in kept.split("\n") if len(line.strip()) > 16)
    if max(lines.values(), default=0) > 2:
        return "repeats"
    return "passes"
