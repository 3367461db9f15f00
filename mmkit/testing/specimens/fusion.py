"""Fusions under check.

Axes: B batch, T tokens, D width of an input, H fused width, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.contract import Features, Target
from mmkit.layers.places import within
from mmkit.plugin import FusionSpec
from mmkit.testing.specimens.module import Absent, ModuleSpecimen, longer, random_features
from mmkit.testing.trees import with_gradient

TARGET = Target("classes", 3, ("ash", "elm", "oak"), (5, 4, 3), (), (), 12)

INPUTS = {"a": (5, 8, False), "b": (4, 12, True), "c": (3, 8, False)}
"""T, D, and whether there is a summary: lengths and widths differ, and some agree."""

MANY = {
    "a": (3, 2, True),
    "b": (1, 4, False),
    "c": (2, 3, False),
    "d": (4, 2, True),
    "e": (2, 3, False),
    "f": (3, 2, False),
    "g": (1, 2, True),
}
"""Narrow: some methods grow with the product of the widths."""

ALONE = "c"
"""The input whose encoder has no places, where a fusion acts within encoders."""

LONG = 25
"""How many times as many tokens a long input has; more than a table of 64 positions holds."""


class FusionSpecimen(ModuleSpecimen):
    """A fusion of so many inputs.

    Args:
        component: the class.
        options: those of its constructor.
        spec: how many inputs it takes, and what of them.
        count: of inputs.
    """

    def __init__(self, component: type, options: Mapping[str, Any], spec: FusionSpec, count: int | None = None) -> None:
        few = min(max(3, spec.min_inputs), spec.max_inputs or 3)
        self.spec = spec
        self.count = count
        shapes = INPUTS if count is None and few <= len(INPUTS) else MANY
        self.shapes = dict(list(shapes.items())[: few if count is None else count])
        if spec.combines == "outputs":
            self.shapes = dict.fromkeys(self.shapes, (1, TARGET.size, False))
        super().__init__(component, options, "" if count is None else f"{count} inputs", tuple(self.shapes))

    def of_inputs(self, count: int) -> FusionSpecimen:
        """The same of another number of inputs."""
        return FusionSpecimen(self.component, self.options, self.spec, count)

    def without(self, name: str) -> FusionSpecimen:
        """The same without one of its inputs."""
        other = FusionSpecimen(self.component, self.options, self.spec, self.count)
        other.shapes = {kept: shape for kept, shape in self.shapes.items() if kept != name}
        other.names = tuple(other.shapes)
        return other

    def lacking(self, inputs: tuple[Any, ...], name: str) -> tuple[Any, ...]:
        """Inputs for what `without` gives."""
        return tuple({other: features for other, features in part.items() if other != name} for part in inputs)

    def given(self) -> tuple[Any, ...]:
        """The widths; at decision level also the target, and within encoders the widths there."""
        widths = {name: width for name, (_, width, _) in self.shapes.items()}
        if self.spec.inner:  # encoders have one place, and a last part that changes nothing; that of ALONE has none
            return widths, {name: () if name == ALONE else (width,) for name, width in widths.items()}
        return (widths,) if self.spec.combines == "features" else (widths, TARGET)

    def draw(
        self, count: int, *, seed: int = 0, absent: Absent | None = None, ragged: bool = True, long: bool = False
    ) -> tuple[Any, ...]:
        """Features of each input; beside them, where the fusion reads both, an output of each."""
        generator = Generator().manual_seed(seed)
        features = {
            name: random_features(
                generator,
                (count, tokens * LONG if long and tokens > 1 else tokens, width),
                absent=(absent or {}).get(name, ()),
                ragged=ragged,
                pooled=pooled,
            )
            for name, (tokens, width, pooled) in self.shapes.items()
        }
        if self.spec.combines != "both":
            return (features,)
        outputs = {
            name: Features.of(torch.randn(count, TARGET.size, generator=generator), part.present())
            for name, part in features.items()
        }
        return (features, outputs)

    def behind(self, module: nn.Module, given: Mapping[str, Features]) -> dict[str, Features]:
        """What leaves the encoders when the fusion was called at their place."""
        found = dict(given)
        if within(module):
            changed = module.exchange(2, given)  # type: ignore[operator]  # the contract says so
            for name in changed:
                if name != ALONE:
                    new = changed[name]
                    penalties = given[name].penalties
                    found[name] = Features.of(new.tokens, new.mask, new.pooled, penalties, new.details, new.inner)
        return found

    def padded(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With more padding, of another length for each input."""
        first, *outputs = inputs
        return ({name: longer(features, 2 + i) for i, (name, features) in enumerate(first.items())}, *outputs)

    def reordered(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same mapping in another order."""
        return tuple(dict(reversed(part.items())) for part in inputs)

    def replaced(self, inputs: tuple[Any, ...], other: tuple[Any, ...], name: str) -> tuple[Any, ...]:
        """With one input from other samples."""
        return tuple({**part, name: of_others[name]} for part, of_others in zip(inputs, other, strict=True))

    def differentiable(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With a gradient asked for the features."""
        return tuple(with_gradient(part) for part in inputs)

    def call(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """The fused features."""
        if self.spec.inner:
            inputs = (self.behind(module, inputs[0]),)
        fused: Features = module(*inputs)
        return {"fused": fused}

    def score(self, outputs: Mapping[str, Any]) -> Tensor:
        """With the details, where an objective that comes along reads them."""
        total = super().score(outputs)
        if self.spec.companion:
            fused: Features = outputs["fused"]
            total = total + super().score(dict(fused.details))
        return total
