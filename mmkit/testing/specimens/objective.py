"""Objectives under check; one specimen a kind of target that the objective can be built for.

Axes: B batch, T tokens, D width of an input, H fused width, C size of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.contract import Batch, Features, ModelOutput, Target
from mmkit.errors import ContractError
from mmkit.plugin import ObjectiveSpec
from mmkit.registry.options import Choice
from mmkit.testing.specimens.fusion import INPUTS, LONG, MANY
from mmkit.testing.specimens.module import Absent, ModuleSpecimen, longer, perturbed, random_features
from mmkit.testing.trees import copied, with_gradient

WIDTH = 10
MORE = 2
"""By so much some teachers are wider than their input."""
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
        fusion: the only one that it goes with, of outputs or of both; its result is then what the objective reads.
    """

    def __init__(
        self,
        component: type,
        options: Mapping[str, Any],
        spec: ObjectiveSpec,
        target: str,
        count: int | None = None,
        fusion: Choice | None = None,
    ) -> None:
        few = max(3, spec.min_inputs) if count is None else count
        self.shapes = dict(list((INPUTS if count is None and few <= len(INPUTS) else MANY).items())[:few])
        self.spec = spec
        self.count = count
        self.target = target
        self.fusion = fusion
        label = f"target {target}" if count is None else f"target {target}, {count} inputs"
        super().__init__(component, options, label, tuple(self.shapes))

    def of_inputs(self, count: int) -> ObjectiveSpecimen:
        """The same with another number of inputs."""
        return ObjectiveSpecimen(self.component, self.options, self.spec, self.target, count, self.fusion)

    def without(self, name: str) -> ObjectiveSpecimen:
        """The same without one of its inputs."""
        other = ObjectiveSpecimen(self.component, self.options, self.spec, self.target, self.count, self.fusion)
        other.shapes = {kept: shape for kept, shape in self.shapes.items() if kept != name}
        other.names = tuple(other.shapes)
        return other

    def lacking(self, inputs: tuple[Any, ...], name: str) -> tuple[Any, ...]:
        """Inputs for what `without` gives."""
        found: ModelOutput = inputs[0]
        features = {other: part for other, part in found.features.items() if other != name}
        unimodal = {other: output for other, output in found.unimodal.items() if other != name}
        teachers = {other: teacher for other, teacher in found.teachers.items() if other != name}
        return (ModelOutput(features, found.fused, found.output, unimodal, teachers), inputs[1])

    def given(self) -> tuple[Any, ...]:
        """Widths, fused width, target; and the widths of teachers where it reads them."""
        widths = {name: width for name, (_, width, _) in self.shapes.items()}
        given = (widths, WIDTH, TARGETS[self.target])
        return (*given, self._taught) if self._taught else given

    @property
    def _taught(self) -> dict[str, int]:
        """The widths of teachers by input: of every other one that of the input; empty where it reads none."""
        if not self.spec.teachers:
            return {}
        return {name: width + MORE * (width % 2) for name, (_, width, _) in self.shapes.items()}

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
        if self.fusion is not None:
            fused = self._fused(features, single)
            output = fused.vector()
        truth = self._truth(count, generator)
        teachers = {name: self._teacher(name, width, features[name], generator) for name, width in self._taught.items()}
        return (ModelOutput(features, fused, output, single if self.spec.unimodal else {}, teachers), truth)

    def _teacher(self, name: str, width: int, features: Features, generator: Generator) -> ModelOutput:
        """What a model of one input alone finds, where that is there."""
        count, tokens = features.mask.shape
        found = Features.of(torch.randn(count, tokens, width, generator=generator), features.mask)
        return ModelOutput({name: found}, found, torch.randn(count, SIZE, generator=generator))

    def _fused(self, features: Mapping[str, Features], single: Mapping[str, Tensor]) -> Features:
        """What the fusion makes of features and outputs, in evaluation."""
        outputs = {name: Features.of(single[name], part.present()) for name, part in features.items()}
        both = getattr(getattr(self.fusion, "spec", None), "combines", "") == "both"
        with torch.no_grad():
            fused: Features = self._fusion(features, outputs) if both else self._fusion(outputs)
        return fused

    @cached_property
    def _fusion(self) -> nn.Module:
        if self.fusion is None:
            raise ContractError("it goes with no fusion")
        outputs = getattr(self.fusion.spec, "combines", "") == "outputs"
        widths = {name: SIZE if outputs else width for name, (_, width, _) in self.shapes.items()}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module: nn.Module = self.fusion.component(widths, TARGETS[self.target], **self.fusion.options)
        return perturbed(module).eval()

    def _truth(self, count: int, generator: Generator) -> Batch:
        """As training has it, with the places of the samples in the training split; one may be drawn twice."""
        index = torch.arange(count) % TARGETS[self.target].samples
        rest = {"mask": torch.ones(count, dtype=torch.bool), "index": index}
        if self.target == "classes":
            return {"label": torch.randint(SIZE, (count,), generator=generator), **rest}
        if self.target == "labels":
            return {"labels": torch.randint(2, (count, SIZE), generator=generator).float(), **rest}
        return {"values": torch.randn(count, SIZE, generator=generator), **rest}

    def reordered(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same mappings in another order."""
        found: ModelOutput = inputs[0]
        backwards = dict(reversed(found.features.items())), dict(reversed(found.unimodal.items()))
        teachers = dict(reversed(found.teachers.items()))
        return (ModelOutput(backwards[0], found.fused, found.output, backwards[1], teachers), inputs[1])

    def padded(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Every input with more tokens of padding."""
        found: ModelOutput = inputs[0]
        features = {name: longer(part, 3) for name, part in found.features.items()}
        return (replace(found, features=features), inputs[1])

    def differentiable(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With a gradient asked for all that the model gives; teachers learn nothing."""
        found: ModelOutput = inputs[0]
        of_model = with_gradient(replace(found, teachers={}))
        return (replace(of_model, teachers=copied(found.teachers)), inputs[1])

    def call(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """The loss."""
        return {"loss": module(*inputs)}

    def score(self, outputs: Mapping[str, Any]) -> Tensor:
        """What training differentiates."""
        return outputs["loss"].sum()
