"""Inputs whose encoder is frozen: their features are computed once, and everything after them trains from those."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from mmkit.contract import Samples, Split
from mmkit.data.dataset import Dataset
from mmkit.data.packed import Packed
from mmkit.features.extraction import Extraction
from mmkit.features.scaling import Scaling
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms
from mmkit.model.combination import Combination
from mmkit.model.network import Model
from mmkit.system.settings import Settings


@dataclass(frozen=True)
class Frozen:
    """What is known of a model before it is trained: which of its encoders never change.

    Args:
        module: on its device.
        combination: that it was built of.
        transforms: fitted.
        settings: of them, `precision` is read.
        copies: of the training split that are encoded where it is augmented; 0 encodes anew in every epoch.
        shared: keeps the features.
    """

    module: Model
    combination: Combination
    transforms: Transforms
    settings: Settings = field(default_factory=Settings)
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
        augmented = self.augmented if augment else []
        once = [name for name in self.inputs if name not in augmented]
        several = augmented if self.copies else []
        rest = {n: t for n, t in self.transforms.inputs.items() if n not in once and n not in several}
        data = Dataset.of(samples, rest, self.transforms.truth, augment=augment)
        ready = {name: self._features(name, samples, split) for name in once}
        copies = {name: [self._features(name, samples, split, copy) for copy in range(self.copies)] for name in several}
        return replace(data, ready=ready, copies=copies).to(next(self.module.parameters()).device)

    def fit_scaling(self, samples: Samples, data: Dataset) -> None:
        """Fit the scaling of the features.

        Args:
            samples: of the training split.
            data: what `dataset` made of them; an input that is encoded anew in every epoch is encoded once more for it.
        """
        for name in self.inputs:
            copies = data.copies.get(name)
            features = copies[0] if copies else data.ready.get(name) or self._features(name, samples, "train")
            cast(Scaling, self.module.scalings[self.module.names[name]]).fit(features)

    def _features(self, name: str, samples: Samples, split: Split | None, copy: int | None = None) -> Packed:
        extraction = Extraction(
            name,
            self.combination.encoders[name],
            self.module.encoders[self.module.names[name]],
            self.transforms.inputs[name],
            self.settings,
            self.shared,
        )
        packed = extraction(samples.inputs[name], samples.ids, split=split, copy=copy)
        return packed.vectors if self.combination.reads_vectors else packed
