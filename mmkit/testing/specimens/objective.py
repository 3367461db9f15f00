"""Objectives under check; one specimen a kind of target that the objective can be built for.

Axes: B batch, T tokens, D width of an input, H fused width, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.contract import Batch, ModelOutput, Target
from mmkit.plugin import ObjectiveSpec
from mmkit.testing.specimens.fusion import INPUTS, LONG, MANY
from mmkit.testing.specimens.module import Absent, ModuleSpecimen, longer, random_features
from mmkit.testing.trees import with_gradient

WIDTH = 10
SIZE = 3

TARGETS = {
    "classes": Target("classes", SIZE, ("ash", "elm", "oak"), (5, 4, 3), (), (), 12),
    "labels": Target("labels", SIZE, ("ash", "elm", "oak"), (5, 4, 3), (), (), 12),
    "scalar": Target("scalar", SIZE, ("height", "age", "girth"), (), (2.0, -1.0, 0.5), (1.5, 0.5, 2.0), 12),
}


class ObjectiveSpecimen(ModuleSpecimen):
    """An objective beside one kind of target.

    Args:
        component: the class.
        options: those of its constructor.
        spec: how many inputs it needs, and whether it reads outputs of single inputs.
        target: the kind of target.
        count: of inputs.
    """

    def __init__(
        self, component: type, options: Mapping[str, Any], spec: ObjectiveSpec, target: str, count: int | None = None
    ) -> None:
        few = max(3, spec.min_inputs) if count is None else count
        self.shapes = dict(list((INPUTS if count is None and few <= len(INPUTS) else MANY).items())[:few])
        self.spec = spec
        self.count = count
        self.target = target
        label = f"target {target}" if count is None else f"target {target}, {count} inputs"
        super().__init__(component, options, label, tuple(self.shapes))

    def of_inputs(self, count: int) -> ObjectiveSpecimen:
        """The same with another number of inputs."""
        return ObjectiveSpecimen(self.component, self.options, self.spec, self.target, count)

    def without(self, name: str) -> ObjectiveSpecimen:
        """The same without one of its inputs."""
        other = ObjectiveSpecimen(self.component, self.options, self.spec, self.target, self.count)
        other.shapes = {kept: shape for kept, shape in self.shapes.items() if kept != name}
        other.names = tuple(other.shapes)
        return other

    def lacking(self, inputs: tuple[Any, ...], name: str) -> tuple[Any, ...]:
        """Inputs for what `without` gives."""
        found: ModelOutput = inputs[0]
        features = {other: part for other, part in found.features.items() if other != name}
        unimodal = {other: output for other, output in found.unimodal.items() if other != name}
        return (ModelOutput(features, found.fused, found.output, unimodal), inputs[1])

    def given(self) -> tuple[Any, ...]:
        """Widths, fused width, target."""
        return ({name: width for name, (_, width, _) in self.shapes.items()}, WIDTH, TARGETS[self.target])

    def draw(
        self, count: int, *, seed: int = 0, absent: Absent | None = None, ragged: bool = True, long: bool = False
    ) -> tuple[Any, ...]:
        """All that a model gives, and the truth."""
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
        fused = random_features(generator, (count, 1, WIDTH))
        output = torch.randn(count, SIZE, generator=generator)
        single = {name: torch.randn(count, SIZE, generator=generator) for name in features}
        truth = self._truth(count, generator)
        return (ModelOutput(features, fused, output, single if self.spec.unimodal else {}), truth)

    def _truth(self, count: int, generator: Generator) -> Batch:
        mask = torch.ones(count, dtype=torch.bool)
        if self.target == "classes":
            return {"label": torch.randint(SIZE, (count,), generator=generator), "mask": mask}
        if self.target == "labels":
            return {"labels": torch.randint(2, (count, SIZE), generator=generator).float(), "mask": mask}
        return {"values": torch.randn(count, SIZE, generator=generator), "mask": mask}

    def reordered(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same mappings in another order."""
        found: ModelOutput = inputs[0]
        backwards = dict(reversed(found.features.items())), dict(reversed(found.unimodal.items()))
        return (ModelOutput(backwards[0], found.fused, found.output, backwards[1]), inputs[1])

    def padded(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Every input with more tokens of padding."""
        found: ModelOutput = inputs[0]
        features = {name: longer(part, 3) for name, part in found.features.items()}
        return (replace(found, features=features), inputs[1])

    def differentiable(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With a gradient asked for all that the model gives."""
        return (with_gradient(inputs[0]), inputs[1])

    def call(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """The loss."""
        return {"loss": module(*inputs)}

    def score(self, outputs: Mapping[str, Any]) -> Tensor:
        """What training differentiates."""
        return outputs["loss"].sum()
