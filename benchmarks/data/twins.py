"""Which drawings of `clipart` belong together: those of one series, by title, and those that look alike.

    python benchmarks/data/twins.py [--check]

groups the drawings of `mmkit/tasks/data/clipart.npz` anew, from the titles and pixels in it, as `build_clipart.py`
does. The result depends on them alone: all is counted in whole numbers but the last division.

Axes: N drawings, P = GRID x GRID cells.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

TARGET = Path(__file__).parents[2] / "mmkit" / "tasks" / "data" / "clipart.npz"
GRID = 16
"""Cells on a side of the grey picture by which drawings are compared."""
ALIKE = 0.97
"""Correlation of two grey pictures from which the drawings look alike: the same figure in other colours or with another
detail. It is some way below that of the plainest twins (0.985), so that no other way to scale them down finds one."""
WORD = 5
"""Letters from which titles with a single letter more, less or changed are of one series."""


def series(title: str) -> str:
    """What the titles of one series have in common: letters, without case, accents, numbers, brackets and signs.

    "bw" is what authors call the version in black and white.

    >>> series("Muffin2_bw (by me)"), series("Floppy Disk"), series("2004")
    ('muffin', 'floppydisk', '2004')
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", title.casefold()) if not unicodedata.combining(c))
    bare = re.sub(r"\(.*?\)", " ", plain)
    words = re.sub(r"[\W\d_]+", " ", bare).split()
    return "".join(word for word in words if word != "bw") or "".join(words) or title.casefold()


def near(one: str, other: str) -> bool:
    """Whether one letter added, removed or changed makes one text of the other, and both have `WORD` letters.

    >>> near("houses", "house"), near("house", "mouse"), near("bat", "boat"), near("house", "spouses")
    (True, True, False, False)
    """
    short, long = sorted((one, other), key=len)
    if len(short) < WORD or len(long) > len(short) + 1:
        return False
    start = next((at for at, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return short[start + (len(short) == len(long)) :] == long[start + 1 :]


def correlations(pictures: Sequence[Image.Image]) -> np.ndarray:
    """The correlation of each two pictures [N N], in grey and cut into GRID x GRID cells."""
    rows = []
    for picture in pictures:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.int64)
        grey = pixels @ np.array([299, 587, 114])  # [side side], in thousandths
        cell = len(grey) // GRID
        rows.append(grey.reshape(GRID, cell, GRID, cell).sum((1, 3)).ravel())
    cells = np.stack(rows)  # [N P]
    centred = (cells - cells.mean(1, keepdims=True)).astype(np.float64)
    length = np.linalg.norm(centred, axis=1)
    unit = centred / np.where(length > 0, length, 1)[:, None]
    return unit @ unit.T


def twins(titles: Sequence[str], pictures: Sequence[Image.Image]) -> Iterator[tuple[int, int]]:
    """The pairs of drawings that belong together."""
    names = [series(title) for title in titles]
    yield from zip(*np.nonzero(np.triu(correlations(pictures) > ALIKE, 1)), strict=True)
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    yield from ((first[name], row) for row, name in enumerate(names) if first[name] != row)
    yield from ((first[a], first[b]) for a, b in itertools.combinations(first, 2) if near(a, b))


def groups(titles: Sequence[str], pictures: Sequence[Image.Image]) -> list[int]:
    """A number for each drawing, the row of the first one of its group; twins, even through others, share it."""
    group = list(range(len(titles)))
    for one, other in twins(titles, pictures):
        low, high = sorted((group[one], group[other]))
        if low != high:
            group = [low if number == high else number for number in group]
    return group


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the groups that ship; write nothing")
    arguments = parser.parse_args()
    with np.load(TARGET, allow_pickle=False) as file:
        arrays = dict(file)
    files = [arrays["png"][start:end].tobytes() for start, end in itertools.pairwise(arrays["png_start"])]
    found = groups(arrays["title"].tolist(), [Image.open(io.BytesIO(file)) for file in files])
    if arguments.check:
        sys.exit(0 if found == arrays["group"].tolist() else f"groups differ from those of {TARGET}")
    arrays["group"] = np.array(found, dtype=np.int32)
    np.savez_compressed(TARGET, allow_pickle=False, **arrays)
    print(f"{TARGET}: {len(found)} drawings, {len(set(found))} groups, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
