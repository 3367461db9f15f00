"""One sample on its way through a model, of which any inputs can be left out.

Each input is encoded once, as it is and as missing; subsets of inputs are made of those features.

Axes: B batch, S subsets, M inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Batch, Features
from mmkit.data.placing import on
from mmkit.explain.output import Output, output_of
from mmkit.explain.shapley import Kept, weighed
from mmkit.model.trained import MultimodalModel
from mmkit.pretrained.tuning import Tuned

AT_ONCE = 256
"""Subsets that pass the fusion together."""
THERE, MISSING = 0, 1
"""The rows of a batch: the sample, and one of which the input is missing."""


@dataclass(frozen=True)
class Sample:
    """A sample that is explained.

    Args:
        model: trained; in evaluation mode.
        values: decoded, of each input that the model reads; None is a missing one.
        batches: of each input, [2 ...]: the sample, and one of which it is missing.
        features: the same, encoded, by input.
        prediction: of the sample, as one row.
        output: which of its numbers is explained.
    """

    model: MultimodalModel
    values: Mapping[str, Any]
    batches: Mapping[str, Batch]
    features: Mapping[str, Features]
    prediction: Batch
    output: Output

    @staticmethod
    def of(model: MultimodalModel, values: Mapping[str, Any], name: str | None = None) -> Sample:
        """A sample of decoded values.

        Args:
            model: trained.
            values: decoded, by input.
            name: of the output that is explained; None takes the predicted one.
        """
        module = model.network.eval()
        device = next(module.parameters()).device
        kept = {given: values[given] for given in module.names}
        batches = {given: on(model.transforms.inputs[given]([v, None]), device) for given, v in kept.items()}
        with torch.no_grad():
            features = {given: module.encode_input(module.names[given], batches[given]) for given in kept}
            whole = module.fuse({module.names[given]: rows(f, torch.tensor([THERE])) for given, f in features.items()})
            prediction = module.predict(whole.output.float())
        return Sample(model, kept, batches, features, prediction, output_of(model, prediction, name))

    @property
    def given(self) -> list[str]:
        """The inputs that are there."""
        return [name for name, features in self.features.items() if bool(features.present()[THERE])]

    def row(self, name: str) -> dict[str, Tensor]:
        """The batch of one input, of this sample alone."""
        return {leaf: tensor[[THERE]] for leaf, tensor in self.batches[name].items()}

    def value(self, features: Mapping[str, Features]) -> Tensor:
        """[B], the output of features by input; see `Output.of`."""
        module = self.model.network
        output = module.fuse({module.names[given]: part for given, part in features.items()}).output
        return self.output.of(module.predict(output.float()))

    def worth(self, kept: Kept) -> list[float]:
        """The output of S samples of which only some of the inputs `given` are kept, [S M]."""
        found: list[float] = []
        for part in torch.from_numpy(kept).split(AT_ONCE):
            row = dict.fromkeys(self.features, torch.full((len(part),), MISSING))
            row |= {name: part[:, place].logical_not().long() for place, name in enumerate(self.given)}
            with torch.no_grad():
                found += self.value({name: rows(f, row[name]) for name, f in self.features.items()}).tolist()
        return found

    def contexts(self, name: str) -> tuple[Kept, Tensor]:
        """Subsets [S M] of the inputs `given` without one of them, and the weights [S] by which its value is a mean."""
        kept, weights = weighed(len(self.given), self.given.index(name))
        return kept, torch.tensor(weights)

    def beside(self, name: str, own: Features) -> Tensor:
        """[B], the output of other features [B ...] of one input: the weighted mean over which others are there.

        It is what the Shapley value of the input is made of: that of its features, less that of its absence.
        """
        kept, weights = self.contexts(name)
        count, subsets = own.tokens.shape[0], len(weights)
        row = dict.fromkeys(self.features, torch.full((count * subsets,), MISSING))
        for place, other in enumerate(self.given):
            row[other] = torch.from_numpy(kept[:, place]).logical_not().long().repeat(count)
        given = {other: rows(features, row[other]) for other, features in self.features.items()}
        given[name] = rows(own, torch.arange(count).repeat_interleave(subsets))
        found = self.value(given).view(count, subsets)
        return (found * weights.to(found)).sum(1)

    def without(self, name: str) -> float:
        """The same, where the input is missing."""
        kept, weights = self.contexts(name)
        return float(torch.tensor(self.worth(kept)) @ weights)

    def encoded(self, name: str, batch: Batch) -> Features:
        """The features of another batch of one input."""
        module = self.model.network
        return module.encode_input(module.names[name], batch)


def rows(features: Features, index: Tensor) -> Features:
    """The rows `index` of features; each may be taken several times."""
    index = index.to(features.tokens.device)
    pooled = None if features.pooled is None else features.pooled[index]
    return Features(features.tokens[index], features.mask[index], pooled)


@contextmanager
def differentiable(model: MultimodalModel) -> Iterator[None]:
    """Gradients pass through frozen backbones, too, and through recurrent layers in evaluation on a GPU."""
    frozen = [part for part in model.network.modules() if isinstance(part, Tuned) and not part.through]
    for part in frozen:
        part.through = True
    try:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # its backward needs training mode
            yield
    finally:
        for part in frozen:
            part.through = False


@contextmanager
def detailed(model: MultimodalModel) -> Iterator[None]:
    """Details are asked for."""
    asked = [part for part in model.network.modules() if getattr(part, "detailed", None) is False]
    for part in asked:
        part.detailed = True  # type: ignore[assignment]
    try:
        yield
    finally:
        for part in asked:
            part.detailed = False  # type: ignore[assignment]
