"""Per-sample scores: in memory after a run, and in a file of their own beside the records.

Of a metric that is no mean over samples they are pseudo-scores: the metric plus the influence of the sample on it.

Axes: N samples of the test split, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmkit.errors import DataError
from mmkit.system.files import replacing

Values = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, eq=False)
class Scores:
    """The score of each test sample by the metric that ranks; NaN of a sample without one.

    Made by `of`, or of a file, which is read when values are asked for. A sequence of numbers, in the order of the test
    split.

    Args:
        path: the file; None where they are in memory.
        given: [N] float32, where they are in memory.
    """

    path: Path | None = None
    given: Any = None

    @staticmethod
    def of(values: Sequence[float], rows: Sequence[int] | None = None, size: int | None = None) -> Scores:
        """Scores in memory.

        Args:
            values: of the samples that have one.
            rows: their places in the test split; None is the first, the second, ...
            size: N; None is the number of values.
        """
        given = np.full(len(values) if size is None else size, np.nan, np.float32)
        given[np.arange(len(values)) if rows is None else list(rows)] = values
        return Scores(given=given)

    @cached_property
    def values(self) -> Values:
        """[N] float32.

        Raises:
            DataError: the file is not there, or is not what was written.
        """
        if self.path is None:
            return np.asarray(self.given, np.float32)
        try:
            found: Values = np.load(self.path)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{self.path} holds no scores of test samples ({error}); {_ADVICE}") from error
        if found.dtype != np.float32 or found.ndim != 1:
            raise DataError(
                f"{self.path} holds {found.dtype} {list(found.shape)}; expected one float32 a test sample; {_ADVICE}"
            )
        return found

    def write(self, path: Path) -> None:
        """Write them to a file, atomically.

        Raises:
            OSError: it cannot be written.
        """
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as (fresh,), fresh.open("wb") as stream:
            np.save(stream, self.values, allow_pickle=False)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        return iter(self.values.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scores) and np.array_equal(self.values, other.values, equal_nan=True)

    __hash__ = None  # type: ignore[assignment]  # equal by what they hold

    def __repr__(self) -> str:
        return f"<Scores of {len(self)} samples>"


_ADVICE = "remove the line of its run in records.jsonl to have the run done again"
