"""Texts that are equal but for case and what stands between words: found by bytes, against a plain reference."""

import random
import re
import unicodedata

import numpy as np
import pyarrow as pa

from mmkit.sources import hashes
from mmkit.sources.duplicates import equal_texts

WORDS = ["Good", "good", "day", "\uff24\uff21\uff39", "x_y", "x", "y", "café", "CAFÉ", "-", "…", "\t", "12", "1", "2"]


def words_of(text):
    """The words of a text, whatever its case and what stands between them."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return tuple(re.findall(r"[^\W_]+", plain))


def first_equal(texts, least):
    """The first row of the same words, of those with enough of them."""
    seen = {}
    known = [None if text is None else words_of(text) for text in texts]
    return [
        row if words is None or len(words) < least else seen.setdefault(words, row) for row, words in enumerate(known)
    ]


def test_the_same_rows_are_equal_as_by_the_words_of_each(monkeypatch):
    monkeypatch.setattr(hashes, "_ROWS", 700)  # several pieces, of which some are all ASCII
    draw = random.Random(0)
    texts = ["".join(draw.choice(WORDS) + draw.choice(" _.") for _ in range(draw.randint(0, 4))) for _ in range(3000)]
    texts = [text if draw.random() > 0.1 else None for text in texts]
    texts[1400:2100] = [text and text.encode("ascii", "ignore").decode() for text in texts[1400:2100]]
    column = pa.chunked_array([texts[:1000], texts[1000:]], pa.string())
    for least in (1, 2, 3):
        found = equal_texts(column, least)
        there = np.array([text is not None and len(words_of(text)) > 0 for text in texts])
        assert found[there].tolist() == np.array(first_equal(texts, least))[there].tolist()
    sliced = equal_texts(column.slice(5, 2000), 2)
    assert sliced.tolist() == first_equal(texts[5:2005], 2)
