"""Inputs with a frozen encoder: their features are computed once, and the model trains from the features."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import cast

from mmkit.contract import Samples, Split, Transform
from mmkit.data.columns import Column
from mmkit.data.dataset import Dataset
from mmkit.data.packed import Packed
from mmkit.data.readings import Copies, Live, Reading, reading
from mmkit.data.whole import Whole
from mmkit.features.extraction import Extraction
from mmkit.features.scaling import Scaling
from mmkit.features.sharing import Shared
from mmkit.features.transformed import Packing
from mmkit.model.assembly import Transforms
from mmkit.model.combination import Combination
from mmkit.model.network import Model
from mmkit.pretrained.tuning import is_tuned
from mmkit.system.ranks import ranks
from mmkit.system.settings import Settings


@dataclass(frozen=True)
class Frozen:
    """The frozen encoders of a model, and data sets with their features.

    Args:
        module: the model, on its device.
        combination: that the model was built from.
        transforms: fitted.
        settings: `precision` is used.
        copies: number of augmented copies of the training split to encode; 0 encodes in every epoch instead.
        shared: keeps the features.
        untuned: treat encoders that will be tuned as frozen ones, since none of their weights has changed yet. Their
            inputs are not augmented.
    """

    module: Model
    combination: Combination
    transforms: Transforms
    settings: Settings = field(default_factory=Settings)
    copies: int = 0
    shared: Shared = field(default_factory=Shared)
    untuned: bool = False

    @property
    def inputs(self) -> list[str]:
        """The inputs that have a frozen encoder."""
        tuned = self.tuned if self.untuned else ()
        return [
            given
            for given, name in self.module.names.items()
            if given in tuned or getattr(self.module.encoders[name], "frozen", False)
        ]

    @property
    def tuned(self) -> list[str]:
        """The inputs that have an encoder whose pretrained weights are tuned."""
        return [given for given, name in self.module.names.items() if is_tuned(self.module.encoders[name])]

    @property
    def augmented(self) -> list[str]:
        """Those of `inputs` that are augmented in training."""
        tuned = self.tuned
        return [name for name in self.inputs if self.transforms.inputs[name].augments and name not in tuned]

    def dataset(self, samples: Samples, *, augment: bool, split: Split | None = None) -> Dataset:
        """A data set of decoded samples on the model's device, with features of the inputs that have a frozen encoder.

        Args:
            samples: decoded.
            augment: whether inputs are augmented; a frozen encoder then runs in every epoch, or on `copies`.
            split: shown by `mmkit cache list`.

        Raises:
            RejectedError: a transform rejects values; that of any rank is raised by all.
        """
        return ranks().own(partial(self._dataset, samples, split, augment=augment))

    def _dataset(self, samples: Samples, split: Split | None, *, augment: bool) -> Dataset:
        frozen = set(self.inputs)
        plain = frozen.difference(self.augmented)  # of which those that are tuned later are not augmented

        def of_input(name: str, transform: Transform) -> Reading:
            augmented = augment and transform.augments and name not in plain
            if name in frozen and not augmented:
                return self._features(name, samples, split)
            if name in frozen and self.copies:
                return Copies([self._features(name, samples, split, copy) for copy in range(self.copies)])
            values = samples.inputs[name]
            if augmented:
                return reading(name, transform, values, samples.ids, augment=True)
            return self.shared.whole(name, transform, values, partial(self._transformed, name, samples, split))

        truth = self.transforms.read_truth(samples, self.shared)
        readings = {name: of_input(name, transform) for name, transform in self.transforms.inputs.items()}
        data = Dataset(len(samples), readings, truth).grouped(self.module.rowwise)
        return data.to(next(self.module.parameters()).device)

    def _transformed(self, name: str, samples: Samples, split: Split | None) -> Whole | Live:
        """An input that is the same every time: on disk, in memory, or transformed whenever it is read."""
        choice, transform = self.combination.encoders[name], self.transforms.inputs[name]
        values = Column.of(samples.inputs[name])
        about = {"encoder": f"transform of {choice}", "input": name} | ({"split": split} if split else {})
        work = Packing(name, transform, values, samples.ids, self.shared.progress, about)
        packed = self.shared.packed(work, choice)
        return reading(name, transform, values, samples.ids, augment=False) if packed is None else packed

    def fit_scaling(self, samples: Samples, data: Dataset) -> None:
        """Fit the scaling of the features on the training split.

        Args:
            samples: of the training split.
            data: its data set from `dataset`. An input that is encoded in every epoch is encoded once more here.
        """
        for name in self.inputs:
            known = data.inputs[name]
            known = known.several[0] if isinstance(known, Copies) else known
            features = known if isinstance(known, Packed) else self._features(name, samples, "train")
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
