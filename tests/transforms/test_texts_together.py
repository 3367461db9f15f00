"""Many texts cut at once give the same pieces as each alone."""

import random
import string

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.transforms import together
from mmkit.transforms.pieces import normal, pieces
from mmkit.transforms.text import TextTransform

ASCII = st.text(st.characters(max_codepoint=127), max_size=30)
WORDS = [
    "Running",
    "runs",
    "the",
    "and",
    "don't",
    "x_1",
    "!?",
    "a.b@c",
    "\x1c",
    "\x7f",
    "tab\there",
    "café",
    "我喜欢",
    "\uff21\uff22",
]


def texts(count, seed=0, words=WORDS):
    """Texts of random words and signs, some without any, some missing."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        chosen = [draw.choice(words) + draw.choice(["", str(draw.randint(0, 50))]) for _ in range(draw.randint(0, 12))]
        found.append(draw.choice([None, " ".join(chosen), " ".join(chosen), "".join(chosen)]))
    return found


@settings(deadline=None)
@given(st.lists(ASCII, max_size=8), st.booleans())
def test_pieces_of_all_are_those_of_each(given_texts, lowercase):
    codes, names, counts = together.cut_ascii(given_texts, lowercase=lowercase)
    expected = [pieces(normal(text, lowercase=lowercase, strip_accents=True)) for text in given_texts]
    assert counts.tolist() == list(map(len, expected))
    assert [names[code] for code in codes] == [piece for some in expected for piece in some]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lowercase": False, "min_count": 2, "max_length": 4},
        {"stop_words": "english", "stemmer": "english", "max_length": 3},
        {"tokenizer": "bpe", "vocabulary": 60},
    ],
    ids=["words", "cut", "stems", "byte-pairs"],
)
def test_together_equals_alone(options, monkeypatch):
    values = texts(900)
    fast = TextTransform(**options)
    fast.fit(values)
    batch = fast(values)
    monkeypatch.setattr("mmkit.transforms.text.WORTHWHILE", 10**9)
    slow = TextTransform(**options)
    slow.fit(values)
    alone = slow(values)
    assert fast.state() == slow.state()
    assert all(torch.equal(batch[leaf], alone[leaf]) for leaf in alone)


def test_texts_are_cut_in_batches_of_little_memory(monkeypatch):
    monkeypatch.setattr(together, "_LETTERS", 100)
    given_texts = [string.ascii_letters, None, *["ab"] * 40, string.ascii_letters * 10]
    found = list(together.batches(iter(given_texts)))
    assert [text for batch in found for text in batch] == [text for text in given_texts if text is not None]
    assert max(sum(map(len, batch)) for batch in found if len(batch) > 1) <= 100
    transform = TextTransform(max_length=1000)
    transform.fit(given_texts * 20)
    assert transform(given_texts * 20)["mask"].sum(1).tolist() == [1, 0, *[1] * 40, 1] * 20
