"""Teachers may know nothing but the training split; what they knew of validation or test, they would tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mmkit.data.row_hashes import row_hashes
from mmkit.data.splits import Splits
from mmkit.errors import UsageError
from mmkit.model.teachers import Teacher


def check_teachers(teachers: Mapping[str, Teacher], splits: Splits) -> Iterator[str]:
    """Check that teachers have learnt from values of the training split alone.

    They are compared by the hashes that a saved model keeps. A value that stands in several splits is one of train.
    Gives a line for each that does not say what it has learnt from, and what reading one has warned of.

    Args:
        teachers: by input.
        splits: of the model that is taught.

    Raises:
        UsageError: one has learnt from others.
    """
    for name, (folder, saved, told) in teachers.items():
        yield from told
        known = saved.trained_on
        unknown = (
            f"teacher {folder} does not say which rows it was trained on; they should be those of the training split"
        )
        if known is None:
            yield unknown
            continue
        values = {name: splits.raw("train").inputs[name]}
        try:
            own = row_hashes(values, saved.inputs, known.salt)
        except TypeError:  # a value that cannot be known by its content
            yield unknown
            continue
        its = known.hashes["train"]
        others = int((~np.isin(its, own)).sum())
        if others:
            raise UsageError(
                f"teacher {folder} was trained on {others} values of {name} that are not in the training split, and "
                "might tell what it knows of validation or test; train it on the same splits"
            )
