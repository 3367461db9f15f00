"""Checks of tasks by what the core makes of them: a plan of a run, and tensors of the truth."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from mmkit.contract import TruthTransform
from mmkit.errors import ContractError, DataError, UnavailableError, UsageError, ValuesError
from mmkit.experiments.plan import kinds_of, reads
from mmkit.plugin import HeadSpec
from mmkit.registry.options import options_of, validated
from mmkit.testing.specimens.head import KINDS
from mmkit.testing.specimens.task import SPLITS, TaskSpecimen
from mmkit.training.optimisation import Search, Training
from mmkit.transforms.truth import Categories, Numbers


def usable(specimen: TaskSpecimen) -> str | None:
    """What it recommends is taken: encoders that read its inputs, options of training, a kind of target, folds."""
    _encoders(specimen)
    try:
        validated("training", dict(specimen.task.training), options_of(Training) | options_of(Search))
    except UsageError as error:
        raise ContractError(f"the training that it recommends: {error}") from error
    _target(specimen)
    _folds(specimen)
    return None


def _encoders(specimen: TaskSpecimen) -> None:
    catalog = specimen.catalog
    for name, named in specimen.task.encoders.items():
        modality = specimen.task.inputs.get(name)
        if modality is None:
            continue  # said where it describes itself
        kinds = kinds_of(catalog, modality) if catalog.named(modality, "modality") else {modality}
        try:
            choice = catalog.choose("encoder", named)
        except (UsageError, UnavailableError) as error:
            raise ContractError(f"the encoder that it recommends for input {name}: {error}") from error
        if reason := reads(choice.spec, name, kinds):
            raise ContractError(f"the encoder that it recommends for input {name}, {choice.name}, {reason}")


def _target(specimen: TaskSpecimen) -> None:
    """Refuse a kind of target that no head predicts and that looks like one of those that are: it is misspelt."""
    kind = specimen.task.target
    known = {one for entry in specimen.catalog.available("head") for one in _targets(entry.spec)} | set(KINDS)
    meant = difflib.get_close_matches(kind, sorted(known), n=1)
    if kind not in known and meant:
        raise ContractError(f"target is {kind!r}, which no installed head predicts; did you mean {meant[0]}?")


def _targets(spec: object) -> Sequence[str]:
    return spec.targets if isinstance(spec, HeadSpec) else ()


def _folds(specimen: TaskSpecimen) -> None:
    """Of a task in folds: each is an option, and the order of all samples holds every one of them once."""
    task: Any = specimen.task
    folds, fold = getattr(task, "folds", 0), getattr(task, "fold", 0)
    if not folds or fold:
        return
    if "fold" not in options_of(specimen.component):
        raise ContractError(f"folds is {task.folds}, and it has no option fold, which is the number of one")
    one = specimen.component(**{**specimen.options, "fold": 1})
    ids = [sample for name in SPLITS for sample in one.split(name).ids]
    order = list(getattr(task, "order", ()))
    if sorted(order) != sorted(ids):
        raise ContractError(
            f"order holds the id of every sample once; it holds {len(order)}, {len(set(order) & set(ids))} of them of "
            f"the {len(ids)} samples of fold 1"
        )


def truth(specimen: TaskSpecimen) -> str | None:
    """The truth of every split is such as a head of its kind of target takes."""
    transform = _transform(specimen)
    if isinstance(transform, str):
        return transform
    for name in SPLITS:
        samples = specimen.splits[name]
        try:
            if name == "train":
                transform.fit(samples.truth)
            transform(samples.truth)
        except ValuesError as error:
            place = next(iter(error.reasons))
            more = f" and {len(error.reasons) - 1} more" if len(error.reasons) > 1 else ""
            raise ContractError(f"the split {name}, sample {samples.ids[place]}{more}: {error}") from error
        except DataError as error:
            raise ContractError(f"the split {name}: {error}") from error
    return None


def _transform(specimen: TaskSpecimen) -> TruthTransform | str:
    """What takes truth of that kind, not fitted; or why none is known."""
    kind = specimen.task.target
    if kind in {"classes", "labels"}:
        return Categories(kind)
    if kind == "scalar":
        return Numbers(kind)
    for entry in specimen.catalog.available("head"):
        if kind in _targets(entry.spec):
            example = dict(entry.spec.example) if isinstance(entry.spec, HeadSpec) else {}
            choice = specimen.catalog.choose("head", entry.full_name, example)
            component: Any = choice.component
            made: TruthTransform = component.reads(kind, **choice.part(choice.factories[1]))
            return made
    return f"no installed head predicts {kind}"
