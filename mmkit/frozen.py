"""Inputs whose encoder is frozen: their features are computed once, and everything after them trains from those."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import torch

from mmkit.combination import Combination, Transforms
from mmkit.contract import Features, Samples, Split
from mmkit.data.dataset import Dataset, on
from mmkit.data.refused import transformed
from mmkit.errors import MmkitError
from mmkit.features.cache import Pass
from mmkit.features.scaling import Scaling
from mmkit.features.shared import Shared
from mmkit.features.stored import Stored
from mmkit.measure.machine import libraries
from mmkit.model import Model
from mmkit.train import Precision, augmentation, autocast


@dataclass(frozen=True)
class Frozen:
    """What is known of a model before it is trained: which of its encoders never change.

    Args:
        module: on its device.
        combination: that it was born of.
        transforms: fitted.
        precision: of the forward.
        copies: of the training split that are encoded where it is augmented; 0 encodes anew in every epoch.
        shared: keeps the features.
    """

    module: Model
    combination: Combination
    transforms: Transforms
    precision: Precision = "float32"
    copies: int = 0
    shared: Shared = field(default_factory=Shared)

    @property
    def inputs(self) -> list[str]:
        """Those with a frozen encoder."""
        return [
            given for given, name in self.module.names.items() if getattr(self.module.encoders[name], "frozen", False)
        ]

    @property
    def augmented(self) -> list[str]:
        """Those of them whose training samples are not the same in every epoch."""
        return [name for name in self.inputs if self.transforms.inputs[name].augments]

    def dataset(self, samples: Samples, *, augment: bool, split: Split | None = None) -> Dataset:
        """The samples, decoded, as a data set on the model's device; what is frozen is there as features."""
        moving = self.augmented if augment else []
        once = [name for name in self.inputs if name not in moving]
        several = moving if self.copies else []
        rest = {n: t for n, t in self.transforms.inputs.items() if n not in once and n not in several}
        data = Dataset.of(samples, rest, self.transforms.truth, augment=augment)
        stored = partial(self._stored, samples=samples, split=split)
        ready = {name: stored(name) for name in once}
        copies = {name: [stored(name, copy=number) for number in range(self.copies)] for name in several}
        return replace(data, ready=ready, copies=copies).to(next(self.module.parameters()).device)

    def scale(self, samples: Samples, data: Dataset) -> None:
        """Fit the scale of the features.

        Args:
            samples: of the training split.
            data: what `dataset` made of them; an input that is encoded anew in every epoch is encoded once more for it.
        """
        for name in self.inputs:
            copies = data.copies.get(name)
            features = copies[0] if copies else data.ready.get(name) or self._stored(name, samples, "train")
            cast(Scaling, self.module.scalings[self.module.names[name]]).fit(features)

    def _stored(self, name: str, samples: Samples, split: Split | None, copy: int | None = None) -> Stored:
        stored = self._kept(name, samples, split, copy)
        return stored.vectors if self.combination.reads_vectors else stored

    def _kept(self, name: str, samples: Samples, split: Split | None, copy: int | None) -> Stored:
        choice = self.combination.encoders[name]
        settings = {
            "encoder": choice.name,
            "options": json.loads(json.dumps(choice.lasting, default=str)),
            "plugins": choice.plugins,
            "libraries": {"torch": torch.__version__, **libraries(choice.plugins)},
            "device": next(self.module.parameters()).device.type,
            "precision": self.precision,
        }
        if copy is not None:
            settings["copy"] = copy
        report = partial(self.shared.report, name) if self.shared.report else None
        return self.shared.features(
            (name, copy, str(choice)),
            self.module.encoders[self.module.names[name]],
            self.transforms.inputs[name],
            settings,
            Pass(
                partial(self._features, name, samples, copy),
                samples.inputs[name],
                report=report,
                about={"encoder": str(choice), "input": name} | ({"split": split} if split else {}),
            ),
        )

    def _features(self, name: str, samples: Samples, copy: int | None, values: Sequence[Any], start: int) -> Features:
        device = next(self.module.parameters()).device
        encoder = self.module.encoders[self.module.names[name]].eval()
        generator = None if copy is None else augmentation(copy, 0, start)  # the same for every seed of a run
        column, transform = samples.inputs[name], self.transforms.inputs[name]
        batch = transformed(name, transform, values, generator, column=column, ids=samples.ids)
        with torch.no_grad(), autocast(device, self.precision):
            found: Features = encoder(on(batch, device))
        if not all(bool(leaf.isfinite().all()) for leaf in (found.tokens, found.pooled) if leaf is not None):
            choice = self.combination.encoders[name]
            raise MmkitError(
                f"encoder {choice} gives features of {name} that are not finite; look at its weights, or take "
                "--precision float32"
            )
        return Features.of(found.tokens, found.mask, found.pooled).to("cpu")
