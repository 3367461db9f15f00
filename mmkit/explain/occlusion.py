"""Occlusion: by how much the output falls when a part of an input is taken away.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, https://arxiv.org/abs/1311.2901.
The part is taken from the value itself, before its transform, so it works with every transform and encoder. Unlike
integrated gradients, what the parts give need not sum to anything.

Axes: T parts, C channels, H height, W width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmkit.data.placing import on
from mmkit.explain.sample import Sample
from mmkit.transforms.pieces import cut

AT_ONCE = 32
"""Changed values that pass the model together."""
WORDS = 200
"""The greatest number of parts of a text."""
SIDE = 8
"""Patches in each direction of a picture."""
SEGMENTS = 32
"""Parts of a series or a sound."""


def occluded(sample: Sample, name: str, changed: Sequence[Any]) -> list[float]:
    """What the output loses by each of T changes of an input's value; None in place of a value takes it away."""
    transform, device = sample.model.transforms.inputs[name], sample.model.device
    found: list[float] = []
    with torch.no_grad():
        whole = float(sample.beside(name, sample.encoded(name, sample.row(name))))
        for start in range(0, len(changed), AT_ONCE):
            batch = on(transform(list(changed[start : start + AT_ONCE])), device)
            found += [whole - one for one in sample.beside(name, sample.encoded(name, batch)).tolist()]
    return found


def words(text: str) -> tuple[list[tuple[int, int]], list[str | None]]:
    """The words of a text, and the text without each; None where nothing but space is left."""
    pieces = cut(text)
    together = -(-len(pieces) // WORDS) if pieces else 1
    spans = [
        (part[0][0], part[-1][1]) for part in (pieces[at : at + together] for at in range(0, len(pieces), together))
    ]
    left = [text[:start] + text[end:] for start, end in spans]
    return spans, [one if one.strip() else None for one in left]


def patches(picture: Tensor) -> tuple[tuple[int, int], list[Tensor]]:
    """Rows and columns of a grid over a picture [C H W], and the picture with its mean colour in each patch."""
    height, width = picture.shape[1:]
    down, across = min(SIDE, height), min(SIDE, width)
    mean = picture.double().mean((1, 2)).to(picture.dtype)
    found = []
    for row in range(down):
        for column in range(across):
            other = picture.clone()
            top, bottom = row * height // down, (row + 1) * height // down
            left, right = column * width // across, (column + 1) * width // across
            other[:, top:bottom, left:right] = mean[:, None, None]
            found.append(other)
    return (down, across), found


def segments(signal: Tensor) -> tuple[list[int], list[Tensor]]:
    """Where the segments of a signal [T C] begin and end, and the signal with its mean in each."""
    count = min(SEGMENTS, len(signal))
    edges = [place * len(signal) // count for place in range(count + 1)]
    mean = signal.double().mean(0).to(signal.dtype)
    found = []
    for start, end in itertools.pairwise(edges):
        other = signal.clone()
        other[start:end] = mean
        found.append(other)
    return edges, found


def cells(row: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any] | None]]:
    """The columns of a row that are not empty, and the row without each; None where it was the only one."""
    names = [name for name, cell in row.items() if cell is not None]
    found = [{name: None if name == one else cell for name, cell in row.items()} for one in names]
    return names, [one if any(cell is not None for cell in one.values()) else None for one in found]
