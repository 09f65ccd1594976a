"""The same ids natively and in a tab; cutting; what is refused."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from tensortab import parts, vendor
from tensortab.errors import FormatError, SetupError, ShapeError
from tensortab.text import Tokenizer
from tensortab.text.repair import repairs

SENTENCES = (Path(__file__).parents[1] / "data" / "sentences.txt").read_text().splitlines()
ODD = [
    "",
    " ",
    "\t \n",
    "a" * 100,
    "a" * 101,  # one more than WordPiece looks at
    "word " * 600,
    "control\x00 \x07characters\x1b[0m\x85\x9f",
    "soft\u00adhyphen, zero\u200bwidth\u200djoiner, \ufeffmark, \u2028line",
    "non\u00a0breaking\u3000space",
    "e\u0301 o\u0308 a\u030a\u0301 combining; é ö å composed; n\u0303\u0303\u0303 stacked",
    "ΟΔΥΣΣΕΑΣ ΣΟΦΟΣ σοφός Σ ΑΣ.",  # Σ, at the end of a word, too
    "İstanbul ISPARTA ıĞŞ straße STRASSE ẞ ﬁn",
    "漢字\U00020000\U0002a6d6かな\U0002f800漢\U0002b820字 ｆｕｌｌ ｗｉｄｔｈ",
    "👩\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🇩🇪 👍🏽 ☃︎",
    "[CLS] in [SEP] the text[MASK] [cls] [PAD]",
    "don't can't... \u201cquoted\u201d \u2013 dash\u2014dash \u00bfqu\u00e9? \u00a71 5€ x²",
    "half a pair \ud83d here, \udc00 there, whole \ud83d\ude00",
    "a\u0300" * 200,
    "שָׁלוֹם עוֹלָם السَّلَامُ عَلَيْكُمْ नमस्ते สวัสดี გამარჯობა Բարեւ",
    "https://example.org/a_b?c=d&e=%20#f  user@example.org  C:\\dir\\file.txt",
    "\tif (x <= 0x7F && !y) { return ~z ^ `${w}`; }  // $1,000.00",
]
TEXTS = SENTENCES + ODD

# Ids, their texts and the seams of the batch, from a tab that holds the tokenizer.json it is sent.
IN_TAB = """
import json
from tensortab.text import Tokenizer

async def main(payload):
    job = json.loads(payload)
    tokenizer = await Tokenizer.from_json(job["tokenizer"])
    cut = tokenizer.encode_batch(job["texts"], max_length=12)
    ids = tokenizer.encode_batch(job["texts"])
    texts = [tokenizer.decode(row) for row in ids]
    bare = tokenizer.encode_batch(job["texts"], add_special_tokens=False)
    found = [ids, cut, texts, bare, tokenizer.encode("one"), tokenizer.decode([])]
    return json.dumps(found).encode()
"""


@pytest.fixture(scope="module")
def folder():
    return vendor.model("all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def minilm(folder):
    return asyncio.run(Tokenizer.open(folder))


def made(post=None, **normalizer):
    """A tokenizer.json of a few words, padded to 6 and cut to 4."""
    vocab = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "b": 4, "##b": 5}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(**normalizer)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    if post:
        specials = [("[CLS]", 1), ("[SEP]", 2)]
        template = tokenizers.processors.TemplateProcessing(single=post, special_tokens=specials)
        made.post_processor = template
    made.enable_padding(length=6)
    made.enable_truncation(4)
    return made.to_str()


def opened(text):
    return asyncio.run(Tokenizer.from_json(text))


def test_ids_are_the_models_own(minilm):
    assert minilm.encode("Hello, world!") == [101, 7592, 1010, 2088, 999, 102]
    assert minilm.decode([101, 7592, 1010, 2088, 999, 102]) == "hello, world!"
    assert minilm.specials == (1, 1)


def test_padding_and_truncation_of_the_file_are_left_out(folder, minilm):
    asked = json.loads((folder / "tokenizer.json").read_text())
    assert asked["padding"]
    assert asked["truncation"]
    assert minilm.encode("") == [101, 102]
    assert len(minilm.encode("word " * 600)) == 602


@pytest.mark.parametrize(
    ("post", "expected"),
    [
        (None, [3, 5, 4, 3]),
        ("$A", [3, 5, 4, 3]),
        ("[CLS] $A", [1, 3, 5, 4]),
        ("$A [SEP]", [3, 5, 4, 2]),
        ("[CLS] $A [SEP]", [1, 3, 5, 2]),
        ("[CLS] [CLS] $A [SEP]", [1, 1, 3, 2]),
    ],
)
def test_cutting_keeps_special_tokens(post, expected):
    tokenizer = opened(made(post))
    ids = tokenizer.encode_batch(["ab b a b", "a"], max_length=4)
    assert ids[0] == expected
    assert ids[1] == tokenizer.encode("a")
    # The library's own way of cutting is the definition.
    library = tokenizers.Tokenizer.from_str(made(post))
    library.no_padding()
    assert ids == [encoding.ids for encoding in library.encode_batch(["ab b a b", "a"])]


def test_special_tokens_are_left_out_where_the_text_has_its_own(minilm):
    whole = minilm.encode("[CLS] Hello, world! [SEP]", add_special_tokens=False)
    assert whole == minilm.encode("Hello, world!")
    assert minilm.encode("word " * 9, 4, add_special_tokens=False) == [2773] * 4
    assert minilm.beginning == [101]
    assert opened(made("$A [SEP]")).beginning == []
    with pytest.raises(ShapeError, match="max_length is 0, expected more than the 0 special"):
        minilm.encode("a", 0, add_special_tokens=False)


@pytest.mark.parametrize("max_length", [0, 1, 2])
def test_refuses_to_cut_special_tokens(minilm, max_length):
    message = f"max_length is {max_length}, expected more than the 2 special tokens of every line"
    with pytest.raises(ShapeError, match=message):
        minilm.encode("a b", max_length)


def test_nothing_to_do(minilm):
    assert minilm.encode_batch([]) == []
    assert minilm.decode([]) == ""
    assert minilm.decode(np.array([7592])) == "hello"


def test_half_a_surrogate_pair_is_a_replacement_character(minilm):
    assert minilm.encode("x \ud83d y") == minilm.encode("x \ufffd y")
    assert minilm.encode("\ud83d\ude00") == minilm.encode("\U0001f600")


@pytest.mark.parametrize(
    ("data", "message"),
    [("{", "tokenizer.json: "), ("[]", "tokenizer.json: "), (b"\xff", "tokenizer.json: .*utf-8")],
)
def test_refuses_what_is_no_tokenizer(data, message):
    with pytest.raises(FormatError, match=message):
        opened(data)


def test_a_folder_without_tokenizer(tmp_path):
    with pytest.raises(SetupError, match=r"tokenizer\.json: No such file"):
        asyncio.run(Tokenizer.open(tmp_path))


def test_repairs_follow_the_normalizer():
    def patterns(normalizer):
        return [pattern.pattern[0] for pattern, _ in repairs(normalizer)]

    bert = {"type": "BertNormalizer", "handle_chinese_chars": True, "lowercase": True}
    assert patterns(bert) == ["[", "Σ"]
    assert patterns(bert | {"lowercase": False}) == ["["]
    assert patterns({"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}) == ["Σ"]
    assert patterns({"type": "NFC"}) == patterns(None) == []


def in_tab(tab, tokenizer, texts):
    job = json.dumps({"tokenizer": tokenizer, "texts": texts}).encode()
    return json.loads(tab.call(IN_TAB, job))


def test_a_tab_gives_the_same_ids(chrome, folder, minilm):
    text = (folder / "tokenizer.json").read_text()
    ids, cut, texts, bare, one, nothing = in_tab(chrome, text, TEXTS)
    assert dict(zip(TEXTS, ids, strict=True)) == {t: minilm.encode(t) for t in TEXTS}
    assert cut == minilm.encode_batch(TEXTS, max_length=12)
    assert texts == [minilm.decode(row) for row in ids]
    assert bare == minilm.encode_batch(TEXTS, add_special_tokens=False)
    assert (one, nothing) == (minilm.encode("one"), "")


def test_a_tab_gives_the_same_ids_without_lowercasing(chrome):
    text = made("[CLS] $A [SEP]", lowercase=False, handle_chinese_chars=False)
    texts = ["Ab ab \U00020000b ΑΣ", "B b ab\u0301"]  # Σ
    assert in_tab(chrome, text, texts)[0] == opened(text).encode_batch(texts)


@pytest.mark.parametrize("data", ["{", "[]", '{"model": {}}'])
def test_a_tab_refuses_what_is_no_tokenizer(chrome, data):
    with pytest.raises(FormatError, match=r"^tokenizer\.json: "):
        in_tab(chrome, data, [])


# As in a notebook: no boot code has imported the library, but the wheel brought it along.
BESIDE = """
import json
from pathlib import Path

import js
from tensortab.text import Tokenizer, browser

async def main(payload):
    script, text = json.loads(payload)
    beside = Path(browser.__file__).with_name("tokenizers.mjs")
    served, js.tensortab.tokenizers = js.tensortab.tokenizers, None
    beside.write_text(script + "// %23 ☃ ")
    try:
        return json.dumps((await Tokenizer.from_json(text)).encode("ab b")).encode()
    finally:
        js.tensortab.tokenizers = served
        beside.unlink()
"""


def test_a_tab_takes_the_library_beside_the_package(chrome):
    text = made("[CLS] $A [SEP]")
    script = (vendor.cache() / parts.TOKENIZERS / "tokenizers.mjs").read_text()
    ids = json.loads(chrome.call(BESIDE, json.dumps([script, text]).encode()))
    assert ids == opened(text).encode("ab b")
