"""A trained model with the hashes of the rows that it was trained on."""

from __future__ import annotations

from dataclasses import replace

from mmkit.contract import Samples, Split
from mmkit.data.splits import Splits
from mmkit.data.subset import select
from mmkit.model.trained import MultimodalModel
from mmkit.model.trained_on import TrainedOn


def remembering(model: MultimodalModel, splits: Splits, *, refit: bool = False) -> MultimodalModel:
    """The model, which knows the rows of train and validation by salted hashes of what its inputs hold.

    Args:
        model: trained.
        splits: that it was trained on.
        refit: whether it was trained on validation, too.
    """
    train, validation = (_raw(model, splits, name) for name in ("train", "validation"))
    used = {"train": [train, validation]} if refit else {"train": [train], "validation": [validation]}
    return replace(model, trained_on=TrainedOn.of(used, model.inputs))


def _raw(model: MultimodalModel, splits: Splits, name: Split) -> Samples:
    """The raw samples of a split that the model has learnt from, with the inputs that it reads."""
    raw, used = splits.raw(name), splits.with_truth(name).ids
    if len(used) < len(raw):
        places = {one: row for row, one in enumerate(raw.ids)}
        raw = select(raw, [places[one] for one in used])
    missing = [None] * len(raw)
    return replace(raw, inputs={one: raw.inputs.get(one, missing) for one in model.combination.encoders})
