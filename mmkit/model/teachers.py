"""Teachers: saved models of single inputs, which objectives read beside the model that is trained.

DIR/, DIR/NAME/, DIR/models/NAME/   where models are looked for: what `mmkit train --fusion only:INPUT --out DIR/NAME`
                                    and `mmkit bench --save --out DIR` write

A teacher reads the same batch as the model, augmented alike. So its transform of the input must be the one that the
model has, with the same fitted state. An input with a frozen encoder has no teacher, since nothing there can learn.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from mmkit.contract import Target, Transform
from mmkit.errors import UsageError
from mmkit.model.assembly import Transforms, reads
from mmkit.model.combination import Combination
from mmkit.model.description import DESCRIPTION, combination_in, digest_of
from mmkit.model.network import Model
from mmkit.model.saving import Saved, read
from mmkit.pretrained.tuning import is_tuned
from mmkit.registry.catalog import installed
from mmkit.registry.notation import as_json
from mmkit.registry.options import Choice
from mmkit.system.hashing import fingerprint

OPTION = "teachers"
"""Of an objective that reads teachers: the folder."""


class Teacher(NamedTuple):
    """A saved model of one input.

    Args:
        folder: in which it is.
        saved: its parts.
        told: what reading it has warned of.
    """

    folder: Path
    saved: Saved
    told: tuple[str, ...] = ()


def teachers_of(combination: Combination, transforms: Transforms, model: Model) -> dict[str, Model]:
    """The teachers of a model, by module name of the input; empty where no objective reads any.

    Args:
        combination: of the model.
        transforms: fitted, of the model.
        model: that is taught.

    Raises:
        UsageError: no folder is named, it has no teacher or several for an input, one does not fit, or nothing learns.
        DataError: a teacher is damaged.
        UnavailableError: a plugin of one is not installed.
    """
    found = loaded(combination, transforms, model)
    return {model.names[name]: teacher.saved.module for name, teacher in found.items()}


def loaded(combination: Combination, transforms: Transforms, model: Model) -> dict[str, Teacher]:
    """The teachers of a model, by input, with all that is known of them; raises as `teachers_of` does."""
    folder = _folder(combination)
    if folder is None:
        return {}
    encoders = {given: model.encoders[name] for given, name in model.names.items()}
    for name, encoder in encoders.items():
        if is_tuned(encoder):
            raise UsageError(
                f"teachers: the encoder of {name} is tuned, and its teacher cannot read features that were computed "
                "before tuning; take an encoder that is trained from the start, or a frozen one, which needs no teacher"
            )
    learning = [name for name, one in encoders.items() if any(p.requires_grad for p in one.parameters())]
    if not learning:
        raise UsageError(
            f"teachers teach encoders, and those of {' and '.join(encoders)} are frozen; leave objective "
            f"{combination.taught[0].name} out, or choose an encoder that is trained"
        )
    places = {name: _chosen(folder, name, combination) for name in learning}
    teachers = {name: _read(place, combination) for name, place in places.items()}
    for name, teacher in teachers.items():
        _check_fits(teacher, name, combination.encoders[name], transforms)
    return teachers


def digests(combination: Combination) -> dict[str, str]:
    """What the teachers of a combination are known by, weights included, by "teacher INPUT".

    Raises:
        UsageError: there is no such folder.
        DataError: a model in it is damaged.
    """
    folder = _folder(combination)
    if folder is None:
        return {}
    found = {name: _candidates(folder, name, choice) for name, choice in combination.encoders.items()}
    return {f"teacher {name}": fingerprint([digest_of(one) for one in places]) for name, places in found.items()}


def _folder(combination: Combination) -> Path | None:
    """The folder that the objectives name; None where none reads teachers."""
    named: dict[str, str] = {one.name: str(one.options.get(OPTION, "")) for one in combination.taught}
    if not named:
        return None
    for name, folder in named.items():
        if not folder:
            raise UsageError(
                f"objective {name} needs a folder with a saved model of each input alone: {name}:{OPTION}=DIR, after "
                "mmkit train --fusion only:INPUT --out DIR/INPUT for each, or mmkit bench --save --out DIR"
            )
    if len(set(named.values())) > 1:
        raise UsageError(f"objectives {' and '.join(named)} name different folders of teachers; name one")
    path = Path(next(iter(named.values())))
    if not path.is_dir():
        raise UsageError(f"objective {next(iter(named))}: {OPTION}={path} is no folder")
    return path


def _candidates(folder: Path, name: str, choice: Choice) -> list[Path]:
    """The saved models of one input alone; of several those with the encoder that the model has."""
    places = [folder, *sorted(folder.iterdir()), *sorted((folder / "models").glob("*"))]
    encoders = {}
    for place in places:
        if (place / DESCRIPTION).is_file():
            described = combination_in(place)
            if list(described["encoders"]) == [name] and described["fusion"] is None:
                encoders[place] = described["encoders"][name]
    own = {"name": choice.name, "options": as_json(choice.options)}
    alike = [place for place, encoder in encoders.items() if encoder == own]
    return alike or list(encoders)


def _chosen(folder: Path, name: str, combination: Combination) -> Path:
    found = _candidates(folder, name, combination.encoders[name])
    if not found:
        raise UsageError(
            f"{OPTION}={folder} has no saved model of input {name} alone, in it or in a folder of it; make one with "
            f"mmkit train --fusion only:{name} --out {folder / name}"
        )
    if len(found) > 1:
        shown = ", ".join(str(place.relative_to(folder)) for place in found)
        raise UsageError(f"{OPTION}={folder} has {len(found)} models of input {name} alone: {shown}; keep one")
    return found[0]


def _read(place: Path, combination: Combination) -> Teacher:
    """The saved model in a folder; the model that is taught has the classes that no plugin registers."""
    own = [one for chosen in combination.choices() for one in chosen.whole if not one.distribution]
    with warnings.catch_warnings(record=True, action="always") as told:
        saved = read(place, installed(), {one.name: one if one.spec else one.component for one in own})
    return Teacher(place, saved, tuple(str(one.message) for one in told))


def _check_fits(teacher: Teacher, name: str, choice: Choice, transforms: Transforms) -> None:
    """Check that a teacher reads the batches of the model, and answers the same question.

    Raises:
        UsageError: it does not.
    """
    saved = teacher.saved
    its = saved.combination.encoders[name]
    how = f"train it on the same splits, with encoder {choice}"
    if reads(its) is not reads(choice) or _content(its, saved.transforms.inputs[name]) != _content(
        choice, transforms.inputs[name]
    ):
        raise UsageError(
            f"teacher {teacher.folder} reads {name} by encoder {its}, whose transform has other options than that of "
            f"the model or was fitted to other values; {how}"
        )
    if _question(saved.transforms.truth.target()) != _question(transforms.truth.target()):
        raise UsageError(f"teacher {teacher.folder} was trained for another target; {how}")


def _content(choice: Choice, transform: Transform) -> str:
    """What a fitted transform is known by."""
    return json.dumps([as_json(choice.part(reads(choice))), transform.state()], sort_keys=True, default=str)


def _question(target: Target) -> tuple[Any, ...]:
    """What outputs mean."""
    return (target.kind, target.size, tuple(target.names), tuple(target.mean), tuple(target.std))
