"""Tables of more rows than are looked at at once."""

import pyarrow as pa

from mmkit.sources.duplicates import equal_texts
from mmkit.sources.hashes import pieces

ROWS = 150_000


def test_copies_of_texts_are_found_in_every_piece():
    """Against Python: upper and lower case, and what stands between words, count for nothing."""
    texts = [f"Some words, number {n % 100_000}: and more!" for n in range(ROWS)]
    texts[140_000] = "some WORDS number 7 and more"
    column = pa.chunked_array([texts[:131_072], texts[131_072:]], pa.string())
    assert len(list(pieces(column))) > 2
    first: dict[str, int] = {}
    expected = [
        first.setdefault(text.lower().replace(",", "").replace(":", "").strip("!"), n) for n, text in enumerate(texts)
    ]
    assert equal_texts(column).tolist() == expected
