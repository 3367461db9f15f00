"""Heads under check, with the transform of the truth that they read; one specimen a kind of target.

Axes: B batch, T tokens, D width of the features.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.contract import TruthTransform
from mmkit.plugin import HeadSpec
from mmkit.testing.specimens.fusion import LONG
from mmkit.testing.specimens.module import Absent, ModuleSpecimen, longer, random_features
from mmkit.testing.trees import with_gradient

WIDTH = 12
TOKENS = 3
TREES = ("ash", "elm", "oak", "yew")


def truths(kind: str, count: int, seed: int = 0) -> list[Any]:
    """Raw truths in a user's words, every class or label among the first four.

    Raises:
        KeyError: the kit knows no example of that kind.
    """
    generator = Generator().manual_seed(seed)
    draws = torch.randint(len(TREES), (count,), generator=generator).tolist()
    draws = [*range(len(TREES)), *draws][:count] if seed == 0 else draws
    examples: dict[str, list[Any]] = {
        "classes": [TREES[i] for i in draws],
        "labels": [[TREES[i], TREES[i - 1]] if n % 3 else [TREES[i]] for n, i in enumerate(draws)],
        "scalar": [3.0 * i + 0.5 * n % 7 for n, i in enumerate(draws)],
        "text": [f"{TREES[i]} {n}" if n % 3 else TREES[i] for n, i in enumerate(draws)],
    }
    return examples[kind]


KINDS = ("classes", "labels", "scalar", "text")
"""Kinds of target of which the kit has examples."""


class HeadSpecimen(ModuleSpecimen):
    """A head for one kind of target.

    Args:
        component: the class.
        options: those of its constructor.
        transform_options: those of its transform's.
        spec: what it reads of features.
        target: the kind of target.
    """

    def __init__(
        self,
        component: type,
        options: Mapping[str, Any],
        transform_options: Mapping[str, Any],
        spec: HeadSpec,
        target: str,
    ) -> None:
        super().__init__(component, options, f"target {target}", ("features",))
        self.transform_options = dict(transform_options)
        self.spec = spec
        self.target = target

    def values(self, count: int, seed: int = 0) -> list[Any]:
        """Raw truths."""
        return truths(self.target, count, seed)

    def new_transform(self) -> TruthTransform:
        """One that is not fitted."""
        return self.component.reads(self.target, **self.transform_options)  # type: ignore[attr-defined]

    @cached_property
    def transform(self) -> TruthTransform:
        """One that is fitted."""
        transform = self.new_transform()
        transform.fit([*self.values(16), None])
        return transform

    def given(self) -> tuple[Any, ...]:
        """Width, target, and the fitted transform."""
        return (WIDTH, self.transform.target(), self.transform)

    def draw(
        self,
        count: int,
        *,
        seed: int = 0,
        absent: Absent | None = None,
        ragged: bool = True,
        long: bool = False,
        unknown: Collection[int] = (),
    ) -> tuple[Any, ...]:
        """Features and truth; the truth of the rows `unknown` is missing."""
        generator = Generator().manual_seed(seed)
        features = random_features(
            generator,
            (count, TOKENS * LONG if long else TOKENS, WIDTH),
            absent=(absent or {}).get("features", ()),
            ragged=ragged,
            pooled=seed % 2 == 1,
        )
        known = [None if i in unknown else value for i, value in enumerate(self.values(count, seed + 1))]
        return (features, dict(self.transform(known)))

    def padded(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With more padding."""
        return (longer(inputs[0], 3), inputs[1])

    def replaced(self, inputs: tuple[Any, ...], other: tuple[Any, ...], name: str) -> tuple[Any, ...]:  # noqa: ARG002
        """With the features of other samples."""
        return (other[0], inputs[1])

    def differentiable(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With a gradient asked for the features."""
        return (with_gradient(inputs[0]), inputs[1])

    def call(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """Output, loss and prediction."""
        features, truth = inputs
        output = module(features)
        return {"output": output, "loss": module.loss(output, truth), "prediction": module.predict(output)}  # type: ignore[operator]

    def captured(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """Output and loss, and the prediction of anything but a text."""
        if self.target != "text":
            return self.call(module, inputs)
        output = module(inputs[0])
        return {"output": output, "loss": module.loss(output, inputs[1])}  # type: ignore[operator]

    def independent(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """A loss may rank samples against each other."""
        return {name: value for name, value in outputs.items() if name != "loss"}

    def unpadded(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """What a head for texts makes of the features may be as long as they are."""
        return {name: value for name, value in outputs.items() if self.target != "text" or name != "output"}

    def score(self, outputs: Mapping[str, Any]) -> Tensor:
        """What training differentiates."""
        return outputs["loss"].sum()
