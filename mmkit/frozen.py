"""Inputs whose encoder is frozen: their features are computed once, and everything after them trains from those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mmkit.cache import Stored, digest, encoded, key_of
from mmkit.combination import Combination, Transforms
from mmkit.contract import Features, Samples
from mmkit.data import Dataset, on
from mmkit.model import Model
from mmkit.refused import transformed
from mmkit.train import Precision, autocast

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Frozen:
    """What is known of a model before it is trained: which of its encoders never change.

    Args:
        module: on its device.
        combination: that it was born of.
        transforms: fitted.
        precision: of the forward.
        cache: folder in which features are kept; None keeps them in memory only.
        report: called with the input, and the samples done and in all, while features are computed.
    """

    module: Model
    combination: Combination
    transforms: Transforms
    precision: Precision = "float32"
    cache: Path | None = None
    report: Report | None = None

    @property
    def inputs(self) -> list[str]:
        """Those with a frozen encoder."""
        return [
            given for given, name in self.module.names.items() if getattr(self.module.encoders[name], "frozen", False)
        ]

    @property
    def augmented(self) -> list[str]:
        """Those of them whose training samples must be encoded anew in every epoch all the same."""
        return [name for name in self.inputs if self.transforms.inputs[name].augments]

    def dataset(self, samples: Samples, *, augment: bool) -> Dataset:
        """The samples, decoded, as a data set on the model's device; what is frozen is there as features."""
        once = [name for name in self.inputs if not (augment and name in self.augmented)]
        rest = {name: transform for name, transform in self.transforms.inputs.items() if name not in once}
        data = Dataset.of(samples, rest, self.transforms.truth, augment=augment)
        ready = {name: self._stored(name, samples.inputs[name], samples.ids) for name in once}
        return replace(data, ready=ready).to(next(self.module.parameters()).device)

    def _stored(self, name: str, values: Sequence[Any], ids: Sequence[str]) -> Stored:
        encoder = self.module.encoders[self.module.names[name]]
        choice = self.combination.encoders[name]
        settings = {
            "encoder": choice.name,
            "options": digest(choice.options),
            "plugins": choice.plugins,
            "device": next(self.module.parameters()).device.type,
            "precision": self.precision,
        }
        key, made_of = "", settings
        if self.cache is not None:
            key, made_of = key_of(encoder, self.transforms.inputs[name], digest(values), settings)
        report = partial(self.report, name) if self.report else None
        encode = partial(self._features, name, values, ids)
        return encoded(encode, values, self.cache, key, made_of, report=report)

    def _features(self, name: str, column: Sequence[Any], ids: Sequence[str], values: Sequence[Any]) -> Features:
        device = next(self.module.parameters()).device
        encoder = self.module.encoders[self.module.names[name]].eval()
        batch = transformed(name, self.transforms.inputs[name], values, column=column, ids=ids)
        with torch.no_grad(), autocast(device, self.precision):
            found: Features = encoder(on(batch, device))
        return Features.of(found.tokens, found.mask, found.pooled).to("cpu")
