"""A trained model with all that it takes to go from raw values to an answer: predict, save, load."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model

from mmkit.catalog import Catalog, installed
from mmkit.combination import Combination, Transforms, born
from mmkit.contract import Modality, Samples
from mmkit.data import Dataset, OnError, decoded
from mmkit.errors import DataError, UnavailableError, UsageError, one_of
from mmkit.model import Model

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
            on_error: "missing" takes a value that cannot be read for a missing one.

        Raises:
            UsageError: a sample has an input that the model does not know.
            DataError: a value cannot be read.
        """
        for number, sample in enumerate(samples):
            for given in sample:
                if given not in self.inputs:
                    raise UsageError(f"sample {number} has an unknown input {given!r}; {one_of(self.inputs, given)}")
        if not samples:
            return []
        columns = {name: [sample.get(name) for sample in samples] for name in self.inputs}
        ids = [str(number) for number in range(len(samples))]
        raw, _ = decoded(Samples(ids, columns, [None] * len(samples)), self.modalities, on_error)
        device = next(self.module.parameters()).device
        data = Dataset.of(raw, self.transforms.inputs, self.transforms.truth, augment=False).to(device)
        self.module.eval()
        found: list[Any] = []
        with torch.inference_mode():
            for index in data.batches(batch_size):
                prediction = self.module.predict_batch(data.batch(index)[0])
                found += self.transforms.truth.inverse({name: leaf.cpu() for name, leaf in prediction.items()})
        return found

    def save(self, directory: str | Path) -> None:
        """Write the model to a folder: readable JSON, and weights as safetensors. It replaces a model that is there.

        Raises:
            UsageError: the folder holds something else, or cannot be written.
        """
        directory = Path(directory)
        if (
            directory.exists()
            and not (directory / DESCRIPTION).is_file()
            and (not directory.is_dir() or any(directory.iterdir()))
        ):
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
            directory.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        except OSError as error:
            raise UsageError(f"cannot write to {directory}: {error.strerror}; choose another folder") from error
        try:
            (fresh / DESCRIPTION).write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", "utf-8")
            save_model(self.module, str(fresh / WEIGHTS))
            shutil.rmtree(directory, ignore_errors=True)
            fresh.chmod(0o777 & ~_umask())
            (fresh / WEIGHTS).chmod(0o666 & ~_umask())
            fresh.replace(directory)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise

    @staticmethod
    def load(
        directory: str | Path,
        *,
        components: Mapping[str, type] | None = None,
        catalog: Catalog | None = None,
        device: torch.device | str = "cpu",
    ) -> MultimodalModel:
        """Read a model that `save` wrote. Nothing is downloaded, and no file but these two is read.

        Args:
            directory: the folder.
            components: the classes of components that were given as classes, by their recorded names.
            catalog: where names are looked up; None is what is installed.
            device: for the model.

        Raises:
            DataError: the folder holds no model, or one that is damaged.
            UnavailableError: a component's plugin is not installed; it names the distribution and its version.
        """
        directory = Path(directory)
        try:
            description = json.loads((directory / DESCRIPTION).read_text("utf-8"))
            if description["schema"] != SCHEMA:
                raise DataError(f"{directory} has schema {description['schema']}; this version of mmkit reads {SCHEMA}")
            inputs, target, document = description["inputs"], description["target"], description["combination"]
            states, truth, plugins = description["transforms"], description["truth"], description["plugins"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{directory} holds no readable model of mmkit ({error!r}); give a folder that `save` wrote"
            ) from error
        catalog = catalog or installed()
        try:
            combination = Combination.of(document, catalog, components or {})
            modalities = {name: catalog.find("modality", kind).load()() for name, kind in inputs.items()}
        except (UsageError, UnavailableError) as error:
            needs = ", ".join(f"{name} {version}" for name, version in plugins.items())
            raise UnavailableError(f"{directory} was made with {needs}; here: {error}") from error
        for name, version in combination.plugins().items():
            if plugins.get(name, version) != version:
                warnings.warn(f"{directory} was made with {name} {plugins[name]}; here is {version}", stacklevel=2)
        transforms = Transforms.of(combination, target)
        for name, transform in transforms.inputs.items():
            transform.restore(states[name])
        transforms.truth.restore(truth)
        with torch.random.fork_rng(devices=[]):
            module, _ = born(combination, transforms)
        try:
            load_model(module, str(directory / WEIGHTS))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise DataError(f"{directory / WEIGHTS} does not fit the model beside it: {error}") from error
        return MultimodalModel(module.to(device).eval(), combination, transforms, inputs, modalities, target)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
