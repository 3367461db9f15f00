"""Models and their data, which the tests of networks share."""

import pytest
import torch

from mmkit.data.dataset import Dataset
from mmkit.data.splits import splits_of
from mmkit.data.subset import with_truth
from mmkit.experiments.plan import plan
from mmkit.model.assembly import Transforms
from mmkit.model.step import build_step
from mmkit.plugin import FusionSpec
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings

SPECS = {
    entry.name: entry.spec
    for entry in installed().available("fusion")
    if entry.distribution == "mmkit-core" and isinstance(entry.spec, FusionSpec)
}
FUSIONS = sorted(SPECS)
FIRST = sorted({min(other for other in FUSIONS if SPECS[other].family == one.family) for one in SPECS.values()})
"""One fusion of each family."""
SMALL = {"tensor": "tensor:inner=8"}  # whose size grows with the power of the inputs
TASK = "synthetic-unique:inputs=3,missing=0.3,train=64"
# Every encoder that says its graph is whole, one of each modality at a time.
WHOLE = [
    {"title": "text-transformer", "photo": "lenet", "sound": "mel-cnn", "signal": "fcn", "type": "ft-transformer"},
    {"title": "bag", "photo": "cnn", "sound": "mel-cnn", "signal": "fcn", "type": "table-mlp"},
    {"title": "bag", "photo": "resnet", "sound": "mel-cnn", "signal": "tcn", "type": "table-lasso"},
]
SETS = [WHOLE[0], *(pytest.param(encoders, marks=pytest.mark.full) for encoders in WHOLE[1:])]


def trained_from(fusion="attention", task=TASK, encoders=None, absence=None, mixup=0.0, **rest):
    """A step, and its data; of two inputs where the fusion takes no more."""
    if task == TASK and fusion in SPECS and (SPECS[fusion].max_inputs or 3) < 3:
        task = TASK.replace("inputs=3", "inputs=2")
    asked = plan(
        installed(),
        task=task,
        fusions=[SMALL.get(fusion, fusion)],
        encoders={name: [given] for name, given in (encoders or {"series": "fcn:width=16,layers=1"}).items()},
        **rest,
    )
    splits = splits_of(asked.task, installed(), Settings("cpu"))
    train = with_truth(splits("train"))
    transforms = Transforms.fitted(asked.combinations[0], splits.task.target, train.inputs, train.truth)
    step = build_step(asked.combinations[0], transforms, absence=absence, mixup=mixup)
    data = Dataset.of(train, transforms.inputs, transforms.truth, augment=False)
    return step, data


def in_float64(batch):
    return {
        name: {leaf: tensor.double() if tensor.is_floating_point() else tensor for leaf, tensor in leaves.items()}
        for name, leaves in batch.items()
    }


def part(batch, rows):
    return {name: {leaf: tensor[rows] for leaf, tensor in leaves.items()} for name, leaves in batch.items()}


def absent(batch, rows, rubbish=7.0):
    """The batch with those rows missing, and rubbish where nothing is there."""
    mask = batch["mask"].clone()
    mask[rows] = False
    filled = {name: leaf.clone() for name, leaf in batch.items()}
    for name, leaf in filled.items():
        if name != "mask" and leaf.is_floating_point():
            leaf[rows] = rubbish
    return {**filled, "mask": mask}


def total(losses):
    return torch.stack(list(losses.values())).sum()
