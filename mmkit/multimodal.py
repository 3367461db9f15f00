"""A trained model with all that it takes to go from raw values to an answer: predict, save, load."""

from __future__ import annotations

import contextlib
import json
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model

from mmkit.catalog import Catalog, installed
from mmkit.combination import Combination, Transforms, born
from mmkit.contract import Modality, Samples
from mmkit.data.dataset import Dataset
from mmkit.data.decoding import decoded
from mmkit.data.refused import OnError, RefusedError, without
from mmkit.errors import ContractError, DataError, UnavailableError, UsageError, one_of
from mmkit.model import Model
from mmkit.options import Choice
from mmkit.record import fingerprint

SCHEMA = 1
DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class MultimodalModel:
    """From raw values to an answer.

    Args:
        module: encoders, fusion and head.
        combination: what it is made of.
        transforms: fitted.
        inputs: the modality's name of each input.
        modalities: which decode the inputs.
        target: the kind of target.
    """

    module: Model
    combination: Combination
    transforms: Transforms
    inputs: Mapping[str, str]
    modalities: Mapping[str, Modality]
    target: str

    def predict(
        self, samples: Sequence[Mapping[str, Any]], *, batch_size: int = 256, on_error: OnError = "fail"
    ) -> list[Any]:
        """An answer for each sample: for classes its label and the probability of each, for scalars the value.

        Args:
            samples: raw values by input; one that is None or left out is missing.
            batch_size: samples that are run together.
            on_error: "missing" takes a value that cannot be read or transformed for a missing one, "skip" gives None
                in the place of the answer to its sample.

        Raises:
            UsageError: a sample is no mapping, or has an input that the model does not know.
            DataError: a value cannot be read or transformed.
        """
        if isinstance(samples, Mapping):
            raise UsageError("predict takes a list of samples, each a mapping of inputs; got one mapping")
        if batch_size < 1:
            raise UsageError(f"batch_size is 1 or more; got {batch_size}")
        for number, sample in enumerate(samples):
            if not isinstance(sample, Mapping):
                raise UsageError(
                    f"sample {number} is a {type(sample).__name__}; expected a mapping of inputs to values"
                )
            for given in sample:
                if given not in self.inputs:
                    raise UsageError(f"sample {number} has an unknown input {given!r}; {one_of(self.inputs, given)}")
        if not samples:
            return []
        columns = {name: [sample.get(name) for sample in samples] for name in self.inputs}
        ids = [str(number) for number in range(len(samples))]
        raw, _ = decoded(Samples(ids, columns, [None] * len(samples)), self.modalities, on_error)
        data = None
        while len(raw) and data is None:
            try:
                data = Dataset.of(raw, self.transforms.inputs, self.transforms.truth, augment=False)
            except RefusedError as refused:
                raw = without(raw, refused, on_error)
        if data is None:
            return [None] * len(samples)
        data = data.to(next(self.module.parameters()).device)
        self.module.eval()
        found: list[Any] = []
        with torch.inference_mode():
            for index in data.batches(batch_size):
                prediction = self.module.predict_batch(data.batch(index)[0])
                found += self.transforms.truth.inverse({name: leaf.cpu() for name, leaf in prediction.items()})
        answers = dict(zip(raw.ids, found, strict=True))
        return [answers.get(sample) for sample in ids]

    def save(self, directory: str | Path) -> None:
        """Write the model to a folder: readable JSON, and weights as safetensors.

        It replaces a model that is there, and touches nothing else in the folder.

        Raises:
            UsageError: the folder holds something else, or cannot be written.
            ContractError: the state of a transform is not plain JSON.
        """
        directory = Path(directory)
        if not _free(directory):
            raise UsageError(f"{directory} is there and holds no model of mmkit; choose an empty or a new folder")
        description = {
            "schema": SCHEMA,
            "inputs": dict(self.inputs),
            "target": self.target,
            "combination": self.combination.document(),
            "plugins": self.combination.plugins(),
            "transforms": {name: transform.state() for name, transform in self.transforms.inputs.items()},
            "truth": self.transforms.truth.state(),
        }
        try:
            text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise ContractError(f"the state of a transform is not plain JSON: {error}") from error
        fresh = {name: directory / f".{name}.fresh" for name in (WEIGHTS, DESCRIPTION)}
        try:
            directory.mkdir(parents=True, exist_ok=True)
            fresh[DESCRIPTION].write_text(text, "utf-8", "backslashreplace")
            save_model(self.module, str(fresh[WEIGHTS]), {"fitted": _fitted(json.loads(text))})
            fresh[WEIGHTS].chmod(fresh[DESCRIPTION].stat().st_mode)  # safetensors leaves it to its owner alone
            for name, path in fresh.items():
                path.replace(directory / name)
        except (OSError, SafetensorError) as error:
            raise UsageError(f"cannot write to {directory}: {error}; choose another folder") from error
        finally:
            with contextlib.suppress(OSError):
                for path in fresh.values():
                    path.unlink(missing_ok=True)

    @staticmethod
    def load(
        directory: str | Path,
        *,
        components: Mapping[str, type | Choice] | None = None,
        catalog: Catalog | None = None,
        device: torch.device | str = "cpu",
    ) -> MultimodalModel:
        """Read a model that `save` wrote. Nothing is downloaded, and no file but these two is read.

        Args:
            directory: the folder.
            components: by their recorded names, those that were given as classes; as choices where they had a spec.
            catalog: where names are looked up; None is what is installed.
            device: for the model.

        Raises:
            DataError: the folder holds no model, or one that is damaged.
            UnavailableError: a component's plugin is not installed; it names the distribution and its version.
        """
        directory = Path(directory)
        description = _described(directory)
        inputs, target, plugins = description["inputs"], description["target"], description["plugins"]
        catalog = catalog or installed()
        try:
            combination = Combination.of(description["combination"], catalog, components)
            modalities = {name: catalog.find("modality", kind).load()() for name, kind in inputs.items()}
            transforms = Transforms.of(combination, target)
            for name, transform in transforms.inputs.items():
                transform.restore(description["transforms"][name])
            transforms.truth.restore(description["truth"])
            with torch.random.fork_rng(devices=[]):
                module, _ = born(combination, transforms)
            fitted = _fitted(description)
        except (UsageError, UnavailableError) as error:
            needs = ", ".join(f"{name} {version}" for name, version in plugins.items())
            raise UnavailableError(f"{directory} was made with {needs or 'classes'}; here: {error}") from error
        except Exception as error:  # whatever components make of a description that is not what they gave
            reason = f"{type(error).__name__}: {_in_a_line(error)}"
            raise DataError(f"{directory / DESCRIPTION} is damaged: {reason}") from error
        for name, version in combination.plugins().items():
            if plugins.get(name, version) != version:
                warnings.warn(f"{directory} was made with {name} {plugins[name]}; here is {version}", stacklevel=2)
        weights = directory / WEIGHTS
        try:
            with safe_open(weights, "pt") as file:
                written_with = (file.metadata() or {}).get("fitted")
            if written_with == fitted:
                load_model(module, str(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise DataError(f"{weights} does not fit the model beside it: {_in_a_line(error)}") from error
        if written_with != fitted:
            raise DataError(f"{weights} does not fit the model beside it: it was saved with another {DESCRIPTION}")
        return MultimodalModel(module.to(device).eval(), combination, transforms, inputs, modalities, target)


def _described(directory: Path) -> dict[str, Any]:
    """The description of the model in a folder.

    Raises:
        DataError: there is none, or one of another schema.
    """
    kinds = {"inputs": dict, "target": str, "combination": dict, "plugins": dict, "transforms": dict, "truth": dict}
    try:
        description = json.loads((directory / DESCRIPTION).read_text("utf-8"))
        schema = description["schema"]
        wrong = [name for name, kind in kinds.items() if schema == SCHEMA and not isinstance(description[name], kind)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{directory} holds no readable model of mmkit ({error!r}); give a folder that `save` wrote"
        ) from error
    if schema != SCHEMA:
        raise DataError(f"{directory} has schema {schema}; this version of mmkit reads {SCHEMA}")
    if wrong:
        raise DataError(f"{directory / DESCRIPTION} is damaged: its {wrong[0]} is not what `save` wrote")
    return cast(dict[str, Any], description)


def _free(directory: Path) -> bool:
    """Whether a model may be written there: the folder is new, empty, or holds one."""
    if not directory.exists() and not directory.is_symlink():
        return True
    if not directory.is_dir():
        return False
    if not any(directory.iterdir()):
        return True
    try:
        _described(directory)
    except DataError:
        return False
    return True


def _in_a_line(error: Exception) -> str:
    return textwrap.shorten(str(error), 300, placeholder=" ...")


def _fitted(description: Mapping[str, Any]) -> str:
    """A hash of what weights rely on: which row of an embedding is which word, which output is which class."""
    return fingerprint([description["inputs"], description["transforms"], description["truth"]])
