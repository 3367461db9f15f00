"""Rows that are copies: equal inputs, equal files, equal longer texts. They stay in one split, and are reported.

Axes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkit.sources.hashes import MISSING, firsts, hashes, of_names, of_sequences, pieces, with_starts
from mmkit.sources.members import FILE, MEMBER, content, is_member
from mmkit.sources.paths import located
from mmkit.sources.types import is_bytes, is_text, usual
from mmkit.system.hashing import mixed
from mmkit.transforms.together import SPACED, cut
from mmkit.transforms.together import WORDS as WORDS_OF_ASCII

T = TypeVar("T", bound=Hashable)

WORDS = 5
"""Words of the shortest text that is a copy where it is equal."""

_BETWEEN = r"[\p{P}\p{S}\p{Z}\p{C}\s]+"
_SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_COMMON, _TIMES = 20, 10
_EMPTY = np.uint64(0)  # the hash of ""
_LARGEST = 0.1  # of the rows: a larger set leaves no room for shares of 60, 15 and 25 %


def _hashed(columns: Mapping[str, pa.ChunkedArray]) -> tuple[np.ndarray, np.ndarray]:
    """A hash of the values of each row, and one of the columns that it has a value in; [N] uint64 each."""
    found = there = None
    for column in columns.values():
        of_column = hashes(column)
        gaps = (of_column == MISSING) | ((of_column == _EMPTY) & is_text(usual(column).type))
        found = of_column if found is None else mixed(mixed(found) + of_column)
        there = gaps if there is None else mixed(mixed(there) + gaps)
    if found is None or there is None:
        raise ValueError("no columns were given")
    return found, there.astype(np.uint64)


def equal_texts(column: pa.ChunkedArray, words: int = WORDS) -> np.ndarray:
    """The first row with the same text, but for case and what stands between words; [N] int64.

    Shorter texts than `words` words (or twice as many characters of a script without spaces) are equal to none.
    """
    found = []
    start = 0
    for piece in pieces(column):
        of_piece, long = _of_words(piece.cast(pa.large_string()).fill_null(""), words)
        short = ~long
        of_piece[short] = mixed(np.arange(start, start + len(piece), dtype=np.uint64)[short])
        found.append(of_piece)
        start += len(piece)
    return firsts(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _of_words(text: pa.Array, words: int) -> tuple[np.ndarray, np.ndarray]:
    """A hash of the words of each text, whatever their case and what stands between them; and whether there are enough.

    Both [n]. A text of ASCII, as most are, is cut by its bytes, which takes a fifth of the time.
    """
    plain = pc.string_is_ascii(text)
    chosen = plain.to_numpy(zero_copy_only=False)
    found, long = np.empty(len(text), np.uint64), np.empty(len(text), bool)
    if chosen.any():
        found[chosen], count = _hashed_words(text.filter(plain), WORDS_OF_ASCII)
        long[chosen] = count >= words
    if not chosen.all():
        other = pc.utf8_lower(pc.utf8_normalize(text.filter(pc.invert(plain)), "NFKC"))
        other = pc.utf8_trim(pc.replace_substring_regex(other, _BETWEEN, " "), " ")
        spaceless = pc.count_substring_regex(other, _SPACELESS).to_numpy(zero_copy_only=False)
        found[~chosen], count = _hashed_words(other, SPACED)
        long[~chosen] = (count >= words) | (spaceless >= 2 * words)
    return found, long


def _hashed_words(text: pa.Array, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hash of the words of each text, and their number; both [n]."""
    nothing, space = (pa.scalar(one, pa.large_string()) for one in ("", " "))
    ended = pc.binary_join_element_wise(text, nothing, space)  # a space behind each
    _, offsets, data = ended.buffers()
    ends = np.frombuffer(offsets, np.int64, len(text) + 1, ended.offset * 8)
    letters = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    codes, names, counts = cut(letters, ends[1:] - ends[0] - 1, kinds, lowercase=True)
    return of_sequences(of_names(names)[codes], counts), counts


def equal_files(paths: Sequence[Path | None]) -> np.ndarray:
    """The first row whose file has the same bytes; [N] int64. Only files of the same size are read."""
    return _equal(paths, lambda path: path.stat().st_size, _digest)


def equal_members(column: pa.ChunkedArray) -> np.ndarray:
    """The same of members of tars."""
    names = [part.name for part in MEMBER]
    cells = [None if cell is None else tuple(cell[name] for name in names) for cell in column.to_pylist()]
    size = names.index("size")
    return _equal(
        cells,
        lambda cell: cell[size] if cell[size] <= FILE else 0,
        lambda cell: blake2b(content(dict(zip(names, cell, strict=True)))).digest(),
    )


def _equal_bytes(column: pa.ChunkedArray) -> np.ndarray:
    """The first row with the same bytes, [N] int64; those without a byte are like no other."""
    found = hashes(column)
    first = firsts(found)
    alone = (found == MISSING) | (found == _EMPTY)
    first[alone] = np.flatnonzero(alone)
    return first


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return file_digest(file, blake2b).digest()


def _equal(values: Sequence[T | None], size_of: Callable[[T], int], digest: Callable[[T], bytes]) -> np.ndarray:
    """The first row with the same bytes; those without a byte are like no other."""
    found = np.arange(len(values))
    by_size: dict[int, dict[T, list[int]]] = {}
    for row, value in enumerate(values):
        if value is not None and (size := size_of(value)):
            by_size.setdefault(size, {}).setdefault(value, []).append(row)
    for rows_of in by_size.values():
        first: dict[bytes, int] = {}
        for value, rows in rows_of.items():
            found[rows] = rows[0]
            if len(rows_of) > 1:
                found[rows] = first.setdefault(digest(value), rows[0])
    return found


def joined(*firsts_of: np.ndarray) -> np.ndarray:
    """What any of several relations joins, directly or through others: the first row of each set, [N] int64."""
    here = np.concatenate([np.flatnonzero(first != np.arange(len(first))) for first in firsts_of])
    there = np.concatenate([first[first != np.arange(len(first))] for first in firsts_of])
    return linked(len(firsts_of[0]), here, there)


def linked(rows: int, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """What pairs of rows join, directly or through others: the first row of each set, [N] int64."""
    root = np.arange(rows)
    while here.size:
        here, there = root[here], root[there]
        low, high = np.minimum(here, there), np.maximum(here, there)
        apart = low != high
        here, there = high[apart], low[apart]
        np.minimum.at(root, here, there)
        while not np.array_equal(root, further := root[root]):
            root = further
    return root.astype(np.int64)


def duplicates(
    columns: Mapping[str, pa.ChunkedArray],
    kinds: Mapping[str, str],
    *,
    files: Path | None = None,
    outside: bool = False,
    modalities: Sequence[str] = ("image", "audio", "video"),
) -> np.ndarray:
    """Rows that are copies of one another, by all of the above: the first row of each set, [N] int64.

    Where at least half of the rows equal an earlier one (a few columns of categories), equal rows are no copies, and
    only files and texts are looked at. The same holds of the rows that have values in the same columns: those without a
    text, say, whose few categories repeat. Where these chain more than a tenth of the rows together, texts are set
    phrases (questions about pictures), and join nothing; if that is not enough, nor do files. Nor is a value that more
    than 20 rows have, and ten times as many as most do: a picture in place of those that are missing, or a set phrase.
    Rows without any value are copies of none.

    Args:
        columns: the inputs [N] each; a column that is ignored takes no part.
        kinds: the kind of each column.
        files: where relative paths begin.
        outside: True where paths that leave the folder are allowed.
        modalities: kinds whose strings are names of files.
    """
    used = {name: column for name, column in columns.items() if kinds.get(name, "ignore") != "ignore"}
    if not used:
        return np.arange(len(next(iter(columns.values()), ())))
    found, there = _hashed(used)
    rows = firsts(found)
    alone = np.arange(len(rows))
    empty = without_values(used.values())
    rows[empty] = alone[empty]
    whole = rows if (rows != alone).sum() * 2 < len(rows) else alone
    whole = _without_plain(whole, there)
    texts, media = [], []
    for name, column in used.items():
        if kinds[name] == "text" and is_text(column.type):
            texts.append(equal_texts(column))
        elif kinds[name] in modalities and is_text(column.type) and files is not None:
            media.append(equal_files(_paths(column, files, outside=outside)))
        elif is_member(column.type):
            media.append(equal_members(column))
        elif kinds[name] in modalities and is_bytes(column.type):
            media.append(_equal_bytes(column))
    for relations in ([whole, *media, *texts], [whole, *media]):
        found = joined(*map(_without_common, relations))
        if np.bincount(found).max(initial=0) <= max(_COMMON, _LARGEST * len(found)):
            return found
    return joined(_without_common(whole))


def equal_inputs(
    columns: Mapping[str, pa.ChunkedArray],
    kinds: Mapping[str, str],
    chosen: np.ndarray,
    *,
    files: Path | None = None,
    outside: bool = False,
    modalities: Sequence[str] = ("image", "audio", "video"),
) -> np.ndarray:
    """Which of some rows are equal in every input, files by their bytes and texts as `equal_texts` reads them.

    Args:
        columns: the inputs [N] each; a column that is ignored takes no part.
        kinds: the kind of each column.
        chosen: [N] bool, K of which are true.
        files: where relative paths begin.
        outside: True where paths that leave the folder are allowed.
        modalities: kinds whose strings are names of files.

    Returns:
        [K] int64: the place among the chosen of the first row that is equal.
    """
    mask = pa.array(chosen)
    found = np.zeros(int(chosen.sum()), np.int64)
    for name, column in columns.items():
        kind = kinds.get(name, "ignore")
        if kind == "ignore":
            continue
        some = pa.chunked_array([piece.filter(mask.slice(start, len(piece))) for start, piece in with_starts(column)])
        first = firsts(hashes(some))
        if kind == "text" and is_text(some.type):
            first = joined(first, equal_texts(some))
        elif kind in modalities and is_text(some.type) and files is not None:
            first = joined(first, equal_files(_paths(some, files, outside=outside)))
        elif is_member(some.type):
            first = joined(first, equal_members(some))
        found = np.unique(np.stack([found, first]), axis=1, return_inverse=True)[1].ravel()
    return firsts(found.astype(np.uint64))


def _without_common(first: np.ndarray) -> np.ndarray:
    """The same without the sets that are far larger than the others."""
    sizes = np.bincount(first)
    common = sizes > max(_COMMON, _TIMES * len(first) / max(1, (sizes > 0).sum()))
    return np.where(common[first], np.arange(len(first)), first) if common.any() else first


def _without_plain(first: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The same without rows whose values say so little that most with values in these columns equal an earlier one."""
    _, kind = np.unique(there, return_inverse=True)
    rows, repeated = np.bincount(kind), np.bincount(kind, weights=first != np.arange(len(first)))
    plain = (rows > _COMMON) & (2 * repeated > rows)
    return np.where(plain[kind], np.arange(len(first)), first) if plain.any() else first


def without_values(columns: Iterable[pa.ChunkedArray]) -> np.ndarray:
    """Rows without a value in any column; [N] bool."""
    found: np.ndarray | None = None
    for column in columns:
        gaps = missing(column)
        found = gaps if found is None else found & gaps
        if not found.any():
            break
    return np.zeros(0, bool) if found is None else found


def missing(column: pa.ChunkedArray) -> np.ndarray:
    """Rows without a value: null, NaN, or a blank string; [N] bool."""
    found = []
    for piece in pieces(usual(column)):
        if is_text(piece.type):
            some = pc.fill_null(pc.match_substring_regex(piece.cast(pa.large_string()), r"\S"), fill_value=False)
            found.append(~some.to_numpy(zero_copy_only=False))
        elif pa.types.is_dictionary(piece.type):
            found.append(hashes(pa.chunked_array([piece])) == MISSING)
        else:
            found.append(pc.is_null(piece, nan_is_null=True).to_numpy(zero_copy_only=False))
    return np.concatenate(found) if found else np.zeros(0, bool)


def _paths(column: pa.ChunkedArray, files: Path, *, outside: bool) -> list[Path | None]:
    """The plain file that each row names; None where there is none."""
    known: dict[str, Path | None] = {}
    found: list[Path | None] = []
    for piece in pieces(column):
        for name in piece.to_pylist():
            if name is not None and name not in known:
                path, state = located(name, files, outside=outside)
                known[name] = path if state == "file" else None
            found.append(None if name is None else known[name])
    return found
