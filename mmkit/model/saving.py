"""Saved models: a folder with readable JSON, and weights as safetensors.

DIR/model.json          the combination, the fitted state of its transforms, and the plugins that it needs
DIR/model.safetensors   the weights
DIR/trained_on.safetensors   salted hashes of the rows that it was trained on, where they are known; see `trained_on`
"""

from __future__ import annotations

import contextlib
import json
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from mmkit.contract import Modality
from mmkit.errors import ContractError, DataError, MmkitError, UnavailableError, UsageError
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.model.description import DESCRIPTION, SCHEMA, WEIGHTS, checked, described, signed
from mmkit.model.exporting.signing import hash_of
from mmkit.model.missing import Absence
from mmkit.model.network import Model
from mmkit.model.temperature import Temperature, has_temperature
from mmkit.model.trained_on import FILE, TrainedOn
from mmkit.registry.catalog import Catalog
from mmkit.registry.options import Choice
from mmkit.system.code import code_of, code_of_core
from mmkit.system.files import replacing, utf8
from mmkit.system.precision import Precision
from mmkit.system.state import own_state

BEGUN = frozenset({".lock", "train.json", ".train.json.fresh", "checkpoint", "tensorboard"})
"""What a training puts into its folder before there is a model."""


class Saved(NamedTuple):
    """The parts of a model that are saved and loaded.

    Args:
        module: encoders, fusion and head.
        combination: that the module was built from.
        transforms: fitted.
        inputs: the name of the modality of each input.
        modalities: that decode the inputs.
        target: the kind of target.
        precision: of the forward pass that it was trained with.
        layout: how inputs and truth are made of the columns of a table, as plain JSON; None where a task that is no
            table says nothing of it.
        trained_on: the rows of its training, by their hashes; None where they are not known.
    """

    module: Model
    combination: Combination
    transforms: Transforms
    inputs: Mapping[str, str]
    modalities: Mapping[str, Modality]
    target: str
    precision: Precision
    layout: Mapping[str, Any] | None = None
    trained_on: TrainedOn | None = None


def write(model: Saved, directory: Path) -> None:
    """Write a model to a folder. A model in it is replaced; nothing else in it changes.

    Raises:
        UsageError: the folder holds other files and no model, or cannot be written.
        ContractError: the state of a transform is not plain JSON.
        MmkitError: weights are NaN.
    """
    if nan := _not_numbers(model.module):
        raise MmkitError(
            f"{nan} holds NaN, so the model is not saved: its training diverged; take a lower learning rate"
        )
    try:
        free = _may_write(directory)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UsageError(f"cannot write to {directory}: {error.strerror}; choose another folder") from error
    if not free:
        raise UsageError(f"{directory} exists and holds no model of mmkit; choose an empty or a new folder")
    description = description_of(model)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The description first: of a process that is killed between the two, a folder is left that says what it is.
        with replacing(directory / DESCRIPTION, directory / WEIGHTS) as (described, weights):
            save_model(model.module, str(weights))
            hash_of_weights = hash_of(weights)
            described.write_bytes(utf8(signed(description, hash_of_weights)))
            weights.chmod(described.stat().st_mode)  # safetensors writes a file that only its owner can read
        if model.trained_on is None:
            (directory / FILE).unlink(missing_ok=True)  # of a model that was here before
        else:
            with replacing(directory / FILE) as (rows,):
                model.trained_on.write(rows, hash_of_weights)
                rows.chmod((directory / DESCRIPTION).stat().st_mode)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot write to {directory}: {error}; choose another folder") from error


def description_of(model: Saved) -> dict[str, Any]:
    """What `model.json` says of a model, but for hashes: all but the weights.

    Raises:
        ContractError: the state of a transform is not plain JSON.
    """
    description = {
        "schema": SCHEMA,
        "inputs": dict(model.inputs),
        "target": model.target,
        "precision": model.precision,
        "temperature": None if model.module.temperature is None else model.module.temperature.value,
        "missing": "neutral" if model.module.missing is None else model.module.missing.absence.kind,
        "combination": model.combination.document(),
        "plugins": model.combination.plugins(),
        "code": code_of_model(model.combination, model.modalities),
        "transforms": {name: transform.state() for name, transform in model.transforms.inputs.items()},
        "truth": model.transforms.truth.state(),
        "layout": model.layout,
    }
    try:
        json.dumps(description, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ContractError(f"the state of a transform is not plain JSON: {error}") from error
    return description


def read(directory: Path, catalog: Catalog, components: Mapping[str, type | Choice] | None = None) -> Saved:
    """Read a model that `write` wrote, with the weights on the CPU. No other file is read, and nothing is downloaded.

    Args:
        directory: the folder.
        catalog: where names are looked up.
        components: the classes of components that were given as classes, by recorded name; as choices if with specs.

    Raises:
        DataError: the folder holds no model, or one that is damaged.
        UnavailableError: a component's plugin is not installed; it names the distribution and its version.
    """
    description = checked(directory)
    weights = directory / WEIGHTS
    combination, modalities, transforms = restored(description, directory, catalog, components)
    precision: Precision = description["precision"]
    target = description["target"]
    with _made_elsewhere(description, directory), own_state(seed=0):
        module, _ = build_model(combination, transforms, absence=Absence(description["missing"]))
    try:
        load_model(module, str(weights))
    except (OSError, SafetensorError, RuntimeError) as error:  # of a component that has changed since
        raise DataError(f"{weights} does not fit {DESCRIPTION} beside it: {_in_a_line(error)}") from error
    if nan := _not_numbers(module):
        raise DataError(f"{weights} holds NaN in {nan}; give a model that `save` wrote")
    if has_temperature(target) and description["temperature"] is not None:
        module.temperature = Temperature(target, description["temperature"])
    rows = TrainedOn.read(directory / FILE, description["weights"])
    inputs = description["inputs"]
    return Saved(module, combination, transforms, inputs, modalities, target, precision, description["layout"], rows)


def restored(
    description: Mapping[str, Any],
    directory: Path,
    catalog: Catalog,
    components: Mapping[str, type | Choice] | None = None,
) -> tuple[Combination, dict[str, Modality], Transforms]:
    """The combination of a description, the modalities of its inputs, and its transforms with their state.

    What is installed in another version than it was made with, or has other code, is warned of.

    Raises:
        DataError: the description is damaged.
        UnavailableError: a component's plugin is not installed; it names the distribution and its version.
    """
    inputs, plugins = description["inputs"], description["plugins"]
    with _made_elsewhere(description, directory):
        combination = Combination.of(description["combination"], catalog, components)
        modalities = {name: catalog.find("modality", kind).load()() for name, kind in inputs.items()}
        transforms = Transforms.of(combination, description["target"])
        for name, transform in transforms.inputs.items():
            transform.restore(description["transforms"][name])
        transforms.truth.restore(description["truth"])
    for name, version in combination.plugins().items():
        if plugins.get(name, version) != version:
            message = f"{directory} was made with {name} {plugins[name]}; installed is {version}"
            warnings.warn(message, stacklevel=5)
    now = code_of_model(combination, modalities)
    for name, code in description["code"].items():
        if now.get(name, code) != code:
            warnings.warn(f"{directory} was saved by other code: that of {name} has changed", stacklevel=5)
    return combination, modalities, transforms


@contextlib.contextmanager
def _made_elsewhere(description: Mapping[str, Any], directory: Path) -> Iterator[None]:
    """Say in one line that what a description names is not on this machine, or that it is damaged.

    Raises:
        DataError: it is damaged.
        UnavailableError: a component's plugin is not installed; it names the distribution and its version.
    """
    try:
        yield
    except (UsageError, UnavailableError) as error:
        needs = ", ".join(f"{name} {version}" for name, version in description["plugins"].items())
        raise UnavailableError(f"{directory} was made with {needs or 'classes'}; on this machine: {error}") from error
    except Exception as error:  # components may raise anything on a description that they did not give
        reason = f"{type(error).__name__}: {_in_a_line(error)}"
        raise DataError(f"{directory / DESCRIPTION} is damaged: {reason}") from error


def code_of_model(combination: Combination, modalities: Mapping[str, Modality]) -> dict[str, str]:
    """Hashes of the code that can be edited, by component; none of what is known by its version or cannot be seen."""
    choices = [one for choice in combination.choices() for one in choice.whole]
    found = {f"{one.kind} {one.name}": code_of(*one.factories) for one in choices}
    found |= {f"the modality of {name}": code_of(type(modality)) for name, modality in modalities.items()}
    found["mmkit-core"] = code_of_core()
    return {name: code for name, code in found.items() if code}


def _in_a_line(error: Exception) -> str:
    return textwrap.shorten(str(error), 300, placeholder=" ...")


def _may_write(directory: Path) -> bool:
    """Whether a model may be written to a folder: it does not exist, is empty, or holds a model."""
    if not directory.exists() and not directory.is_symlink():
        return True
    if not directory.is_dir():
        return False
    # What a process that was killed has left beside a file's place is nothing of anybody's.
    beside = {f".{DESCRIPTION}.fresh", f".{WEIGHTS}.fresh", f".{FILE}.fresh", FILE, *BEGUN}
    if all(path.name in beside for path in directory.iterdir()):
        return True
    try:
        described(directory)
    except DataError:
        return False
    return True


def _not_numbers(module: Model) -> str:
    """The name of the first parameter that holds NaN; empty without one."""
    return next((name for name, weights in module.named_parameters() if bool(weights.isnan().any())), "")
