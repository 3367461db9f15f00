"""Word vectors from a text file, in the format of GloVe or of word2vec: a word and its numbers on each line.

Pennington et al., "GloVe: Global Vectors for Word Representation", EMNLP 2014, https://aclanthology.org/D14-1162;
Mikolov et al., "Efficient Estimation of Word Representations in Vector Space", 2013, https://arxiv.org/abs/1301.3781.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmkit.errors import DataError


def read_word_vectors(path: Path, rows: Mapping[str, int]) -> tuple[Tensor, Tensor]:
    """The vectors of the words in `rows`, each in its row; of a word given twice, the first.

    Only the vectors of these words are parsed and kept; of all other lines the length is checked.

    Args:
        path: the file, plain or .gz.
        rows: row of each word wanted.

    Returns:
        [V E] float32, V one more than the greatest row, zero where there is no vector; and [V] bool, where there is.

    Raises:
        DataError: the file cannot be read, a line is malformed (its number is in the message), or none of the words
            is in it.
    """
    table: np.ndarray | None = None
    found = np.zeros(max(rows.values(), default=0) + 1, dtype=bool)
    width: int | None = None
    try:
        for number, line in _lines(path):
            text = line.rstrip("\r\n ")
            if width is None:
                width, header = _first(path, text)
                table = np.zeros((len(found), width), dtype=np.float32)
                if header:
                    continue
            word = _word(path, number, text, width)
            row = rows.get(word)
            if row is None or found[row] or table is None:
                continue
            table[row] = _numbers(path, number, text[len(word) :])
            found[row] = True
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read the word vectors {path}: {error}") from error
    if table is None:
        raise DataError(f"{path} is empty; expected word vectors, a word and its numbers on each line")
    if not found.any():
        raise DataError(
            f"none of the {len(rows)} words of the training split has a vector in {path}; is it the right file?"
        )
    return torch.from_numpy(table), torch.from_numpy(found)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    # Only b"\n" ends a line: words of real files hold "\x85" and other characters at which text would be broken.
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            yield number, line.decode(errors="replace")


def _first(path: Path, line: str) -> tuple[int, bool]:
    """The width that the first line states, and whether it is word2vec's header "words width"."""
    pieces = line.split(" ")
    if len(pieces) == 2 and all(piece.isdecimal() for piece in pieces) and int(pieces[1]) > 0:
        return int(pieces[1]), True
    if len(pieces) < 2:
        raise DataError(f"{path}, line 1: expected a word and its numbers, or a header; got {line[:60]!r}")
    return len(pieces) - 1, False


def _word(path: Path, number: int, line: str, width: int) -> str:
    spaces = line.count(" ")
    if spaces == width:
        return line[: line.index(" ")]
    word = line.rsplit(" ", width)[0]
    # A word may hold spaces itself (GloVe's 840B file has ". . ."), unless what would be its end is one more number.
    if spaces < width or _is_number(word.rpartition(" ")[2]):
        raise DataError(f"{path}, line {number}: expected a word and {width} numbers; got {spaces} numbers")
    return word


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(path: Path, number: int, text: str) -> np.ndarray:
    try:
        values = np.array([float(piece) for piece in text.split()], dtype=np.float32)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {error}") from error
    if not np.isfinite(values).all():
        raise DataError(f"{path}, line {number}: a number is not finite")
    return values
