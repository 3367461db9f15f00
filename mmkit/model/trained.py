"""A trained model with all that it takes to go from raw values to an answer: predict, save, load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmkit.contract import Modality, Samples
from mmkit.data.bad_values import RejectedError, without
from mmkit.data.dataset import Dataset
from mmkit.data.decoding import decode_all
from mmkit.errors import UsageError, one_of
from mmkit.model.assembly import Transforms
from mmkit.model.combination import Combination
from mmkit.model.network import Model
from mmkit.model.prediction import predictions
from mmkit.model.saving import Saved, read, write
from mmkit.registry.catalog import Catalog, installed
from mmkit.registry.options import Choice
from mmkit.system.settings import OnError, Settings


@dataclass(frozen=True, repr=False)
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

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name} ({self.inputs[name]})" for name in sorted(self.combination.encoders))
        size = sum(parameter.numel() for parameter in self.module.parameters())
        return f"<MultimodalModel {self.combination.label}: {inputs} -> {self.target}, {size:,} parameters>"

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
        on_error = Settings("cpu", on_error=on_error).on_error  # checked there
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
        raw, _ = decode_all(Samples(ids, columns, [None] * len(samples)), self.modalities, on_error)
        data = None
        while len(raw) and data is None:
            try:
                data = Dataset.of(raw, self.transforms.inputs, self.transforms.truth, augment=False)
            except RejectedError as refused:
                raw = without(raw, refused, on_error)
        if data is None:
            return [None] * len(samples)
        data = data.to(next(self.module.parameters()).device)
        found: list[Any] = []
        for prediction, _ in predictions(self.module, data, batch_size=batch_size):
            found += self.transforms.truth.inverse(prediction)
        answers = dict(zip(raw.ids, found, strict=True))
        return [answers.get(sample) for sample in ids]

    def save(self, directory: str | Path) -> None:
        """Write the model to a folder: readable JSON, and weights as safetensors.

        It replaces a model that is there, and touches nothing else in the folder.

        Raises:
            UsageError: the folder holds something else, or cannot be written.
            ContractError: the state of a transform is not plain JSON.
        """
        write(Saved(**vars(self)), Path(directory))

    @staticmethod
    def load(
        directory: str | Path,
        *,
        components: Mapping[str, type | Choice] | None = None,
        catalog: Catalog | None = None,
        device: torch.device | str = "cpu",
    ) -> MultimodalModel:
        """Read a model that `save` wrote. Nothing is downloaded, and no other file is read.

        Args:
            directory: the folder.
            components: by their recorded names, those that were given as classes; as choices where they had a spec.
            catalog: where names are looked up; None is what is installed.
            device: for the model.

        Raises:
            DataError: the folder holds no model, or one that is damaged.
            UnavailableError: a component's plugin is not installed; it names the distribution and its version.
        """
        saved = read(Path(directory), catalog or installed(), components)
        saved.module.to(device).eval()
        return MultimodalModel(*saved)
