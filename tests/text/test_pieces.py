"""Pieces join to the whole text, whatever the tokens; no piece holds half a character."""

import json
import random
from collections.abc import Callable, Sequence

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

import harness
from tensortab.text.pieces import BROKEN, Pieces

TEXTS = [
    "plain words, and more of them. " * 9,
    "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇩🇪👍🏽☃︎" * 6,
    "漢字かな交じり文\U00020000\U0002a6d6" * 8,
    "e\u0301 o\u0308 a\u030a\u0301 नमस्ते สวัสดี שָׁלוֹם " * 6,
    "a real \ufffd one, \ufffd\ufffd two, and at the end \ufffd",
    "\ufffd" * 9,
    "\n" * 90 + "  x",
]


Make = Callable[[], tokenizers.Tokenizer]


def byte_level() -> tokenizers.Tokenizer:
    """A token for each byte, and a few longer ones that end within a character."""
    names = written()
    vocab = {names[b]: b for b in range(256)}
    merges = [(names[a], names[b]) for a, b in ((0xF0, 0x9F), (0xE6, 0xBC), (0x20, 0xE6))]
    vocab |= {"".join(pair): 256 + i for i, pair in enumerate(merges)}
    made = tokenizers.Tokenizer(models.BPE(vocab, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return made


def written() -> dict[int, str]:
    """The character that byte-level tokenizers write for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}


def byte_fallback() -> tokenizers.Tokenizer:
    """As sentencepiece has it: words with ▁, and other characters byte by byte."""
    words = ["<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz,.", "▁a", "▁and", "▁the"]
    vocab = {w: i for i, w in enumerate(words)}
    vocab |= {f"<0x{b:02X}>": len(words) + b for b in range(256)}
    merges = [("▁", "a"), ("n", "d"), ("▁a", "nd"), ("▁", "t"), ("h", "e"), ("▁t", "he")]
    vocab |= {"nd": len(vocab), "▁t": len(vocab) + 1, "he": len(vocab) + 2}
    made = tokenizers.Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return made


def streamed(
    library: tokenizers.Tokenizer, ids: Sequence[int], stop: Sequence[str] = ()
) -> list[str]:
    """The pieces, their end included."""
    pieces = Pieces(lambda tokens: library.decode(list(tokens)), stop)
    found = [pieces.add(i) for i in ids]
    return [*found, pieces.end()]


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
@pytest.mark.parametrize("text", TEXTS)
def test_texts_come_back_in_whole_characters(make: Make, text: str) -> None:
    library = make()
    ids = library.encode(text).ids
    found = streamed(library, ids)
    assert "".join(found) == library.decode(ids) == text
    if BROKEN not in text:
        assert not any(BROKEN in piece for piece in found)


def test_any_bytes_come_back_as_the_tokenizer_decodes_them() -> None:
    library = byte_level()
    draw = random.Random(0)
    for _ in range(60):
        bytes_ = draw.choices([0xF0, 0x9F, 0x98, 0x80, 0xE6, 0xBC, 0xA2, 0x61, 0x20, 0xEF], k=120)
        assert "".join(streamed(library, bytes_)) == library.decode(bytes_)


def test_a_character_comes_with_its_last_token() -> None:
    library = byte_level()
    assert streamed(library, "a😀b".encode()) == ["a", "", "", "", "😀", "b", ""]
    assert streamed(library, [*b"ab", 0xF0, 0x9F]) == ["a", "b", "", "", BROKEN], "it was cut"


def test_text_continues_what_was_before() -> None:
    library = byte_fallback()
    before, ids = library.encode("the and").ids, library.encode("a\u2603").ids
    pieces = Pieces(lambda tokens: library.decode(list(tokens)), before=before)
    assert "".join([*map(pieces.add, ids), pieces.end()]) == " a\u2603", "with its space"


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_tokens_are_decoded_a_few_at_a_time(make: Make) -> None:
    library = make()
    longest = 0

    def decode(tokens: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(tokens))
        return library.decode(list(tokens))

    texts = ["the and a, the and " * 50, "漢字かな" * 60, "\n" * 500]
    for text in [*texts, *["\ufffd" * 400] * (make is byte_level)]:
        pieces = Pieces(decode, ["no such end", "the end"])
        ids = library.encode(text).ids
        assert "".join([*map(pieces.add, ids), pieces.end()]) == text
        assert longest <= (310 if text[0] == BROKEN else 70), "however long the text"


def test_stop_strings_over_several_tokens() -> None:
    library = byte_level()

    def until(text: str, *stop: str) -> tuple[list[str], bool]:
        pieces = Pieces(lambda tokens: library.decode(list(tokens)), stop)
        found = []
        for i in text.encode():
            found.append(pieces.add(i))
            if pieces.stopped:
                return found, True
        return [*found, pieces.end()], False

    assert until("ab<end>cd", "<end>") == (["a", "b", "", "", "", "", ""], True)
    assert until("ab<enter", "<end>") == (["a", "b", "", "", "", "<ent", "e", "r", ""], False)
    assert until("x<en", "<end>") == (["x", "", "", "", "<en"], False), "nothing is lost"
    assert "".join(until("a、。b", "。", "b")[0]) == "a、"
    assert "".join(until("aab", "ab")[0]) == "a"
    assert "".join(until("one two three" * 9, "two three" * 8)[0]) == "one two three" * 9
    assert "".join(until("x" * 90 + "\n\n\n", "\n\n")[0]) == "x" * 90


def test_a_tab_gives_the_same_pieces(chrome: harness.Tab) -> None:
    source = """
import json
from tensortab.text import Tokenizer
from tensortab.text.pieces import Pieces

async def main(payload):
    found = []
    for made, rows in json.loads(payload):
        tokenizer = await Tokenizer.from_json(made)
        for ids in rows:
            pieces = Pieces(tokenizer.decode, ["no such end"])
            found.append([*map(pieces.add, ids), pieces.end()])
    return json.dumps(found).encode()
"""
    jobs, want = [], []
    for library in (byte_level(), byte_fallback()):
        rows = [library.encode(text).ids for text in TEXTS]
        jobs.append([library.to_str(), rows])
        want += [streamed(library, ids, ["no such end"]) for ids in rows]
    assert json.loads(chrome.call(source, json.dumps(jobs).encode())) == want
