"""Missing values: how many each input has, and inputs that have nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mmkit.contract import Samples
from mmkit.data.columns import Column
from mmkit.data.splits import Splits
from mmkit.errors import DataError, one_of


def missing_values(samples: Samples, inputs: Iterable[str]) -> dict[str, int]:
    """The number of missing values of each of the inputs, among the samples with truth.

    >>> missing_values(Samples(["a", "b", "c"], {"title": ["x", None, None]}, [0, 1, None]), ["title"])
    {'title': 1}
    """
    known = np.fromiter((truth is not None for truth in samples.truth), bool, len(samples))
    return {name: int((Column.of(samples.inputs[name]).gaps() & known).sum()) for name in inputs}


def check_inputs(splits: Splits) -> list[str]:
    """A warning for each input that is missing in all training samples; it would be trained to mean nothing.

    Test is not read for it, as it is read last.

    Raises:
        DataError: an input is missing in all samples of train and of validation. Nothing can be learnt of it, nor be
            seen of what it does: most often its column has another name.
    """
    warnings = []
    for name in splits.modalities:
        if not _absent(splits.with_truth("train"), name):
            continue
        if _absent(splits.with_truth("validation"), name):
            columns = splits.columns["train"]
            given = one_of(columns, name) if columns else "they have no input at all"
            known = "" if name in columns else f"; the samples have no column of that name: {given}"
            raise DataError(
                f"input {name} is missing in every sample of train and validation{known}; leave the input out of the "
                "task, or give its values"
            )
        warnings.append(
            f"input {name} is missing in every training sample, though not in validation: nothing is learnt of it"
        )
    return warnings


def _absent(samples: Samples, name: str) -> bool:
    return all(value is None for value in samples.inputs[name])
