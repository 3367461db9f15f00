"""Pictures that are nearly the same: scaled, or compressed anew.

The brightness of 8 rows of 9 fields, each compared with its right neighbour, is a hash of 64 bits: Krawetz, "Kind of
Like That", 2013, https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html. Scaling and
compressing turn a few bits; two pictures by chance share half of them.

Axes: N rows, K different hashes.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from mmkit.sources.columns import Array
from mmkit.sources.duplicates import linked

NEAR = 4
"""Bits in which the hashes of near twins may differ."""
PLAIN = 8.0
"""Standard deviation of the brightness of the fields, 0 to 255, below which a picture is like too many others."""

_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))  # where so few bits differ, one of five is equal
_AT_ONCE = 1000


def difference_hash(picture: Tensor) -> int:
    """The hash of a picture; 0 of one that is nearly plain.

    Args:
        picture: uint8 [C H W].
    """
    grey = picture.float().mean(0)
    fields = interpolate(grey[None, None], (8, 9), mode="bilinear", antialias=True)[0, 0]
    if float(fields.std()) < PLAIN:
        return 0
    bits = (fields[:, 1:] > fields[:, :-1]).flatten().tolist()
    return sum(1 << place for place, bit in enumerate(bits) if bit)


def alike(looks: Array) -> Array:
    """The first row of each set of near twins, [N] int64; a row whose hash is 0 is like no other.

    Args:
        looks: [N] uint64.
    """
    rows = np.flatnonzero(looks)
    hashes, first, of_row = np.unique(looks[rows], return_index=True, return_inverse=True)
    here, there = [rows], [rows[first][of_row]]
    for start, width in _BANDS:
        band = (hashes >> np.uint64(start)) & np.uint64((1 << width) - 1)
        order = np.argsort(band, kind="stable")
        cuts = np.flatnonzero(np.diff(band[order])) + 1
        for group in np.split(order, cuts):
            for low in range(0, len(group) if len(group) > 1 else 0, _AT_ONCE):
                part = group[low : low + _AT_ONCE]
                near = np.bitwise_count(hashes[part][:, None] ^ hashes[group][None]) <= NEAR
                one, other = np.nonzero(near)
                here.append(rows[first[part[one]]])
                there.append(rows[first[group[other]]])
    return linked(len(looks), np.concatenate(here), np.concatenate(there))
