"""Many videos at once: which frames of each, and those frames, decoded in as many threads as torch may use.

Axes: T frames taken of the longest video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from mmkit.errors import DataError
from mmkit_video.reading import frames_of
from mmkit_video.sampling import Sampling

Clips = Sequence[Mapping[str, Any] | None]
Result = TypeVar("Result")

FITTED_ON = 256
"""Videos, or frames where there are fewer, that a transform looks at when it is fitted, evenly over the training split:
they tell means and deviations, and all would be decoded twice."""


def chosen(clips: Clips, sampling: Sampling, generator: Generator | None = None) -> list[list[int]]:
    """The numbers of the frames to take of each video; none of a missing one."""
    return [[] if clip is None else sampling(clip["times"], generator) for clip in clips]


def decoded(
    clips: Clips, numbers: Sequence[Sequence[int]], change: Callable[[list[Tensor], int], Result]
) -> Iterator[tuple[int, Result]]:
    """The row of each video that is there, and what `change` makes of those frames of it and of its row."""
    rows = [row for row, clip in enumerate(clips) if clip is not None]

    def one(row: int) -> Result:
        return change(frames_of(clips[row], numbers[row]), row)  # type: ignore[arg-type]  # it is there

    if torch.get_num_threads() == 1:
        yield from zip(rows, map(one, rows), strict=True)
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            yield from zip(rows, pool.map(one, rows), strict=True)


def mask_of(numbers: Sequence[Sequence[int]]) -> Tensor:
    """[B T] bool, True where a frame is taken; T is at least 1."""
    lengths = torch.tensor([len(wanted) for wanted in numbers])
    return torch.arange(max(1, int(lengths.max()))) < lengths.unsqueeze(1)


def to_fit(clips: Clips, sampling: Sampling) -> tuple[Clips, list[list[int]]]:
    """Videos of a training split with the frames to fit on, `FITTED_ON` of them or a few more.

    Raises:
        DataError: there is no video.
    """
    there = [clip for clip in clips if clip is not None]
    if not there:
        raise DataError("the training split has no video in this input; leave the input out")
    step = max(1, len(there) // FITTED_ON)
    some = there[::step]
    each = -(-FITTED_ON // len(some))
    numbers = [sampling(clip["times"]) for clip in some]
    return some, [wanted[:: max(1, len(wanted) // each)] for wanted in numbers]
