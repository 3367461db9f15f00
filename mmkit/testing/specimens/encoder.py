"""Encoders under check, with the transform that they read.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor, nn

from mmkit.contract import Features, Modality, Transform
from mmkit.plugin import EncoderSpec
from mmkit.testing.specimens.module import Absent, ModuleSpecimen
from mmkit.testing.trees import copied

FITTED_ON = 24


class EncoderSpecimen(ModuleSpecimen):
    """An encoder with its transform, fitted on examples of its modality.

    Args:
        component: the class.
        options: those of its constructor.
        transform_options: those of its transform's.
        spec: what was registered.
        modality: that it reads.
    """

    def __init__(
        self,
        component: type,
        options: Mapping[str, Any],
        transform_options: Mapping[str, Any],
        spec: EncoderSpec,
        modality: Modality,
    ) -> None:
        super().__init__(component, options, "", ("sample",))
        self.transform_options = dict(transform_options)
        self.spec = spec
        self.modality = modality
        self._batches: dict[tuple[Any, ...], Any] = {}

    def values(self, count: int, seed: int = 0) -> list[Any]:
        """Examples in memory."""
        generator = Generator().manual_seed(seed)
        return [self.modality.example(generator) for _ in range(count)]

    def new_transform(self) -> Transform:
        """One that is not fitted."""
        return self.component.reads(**self.transform_options)  # type: ignore[attr-defined]

    @cached_property
    def transform(self) -> Transform:
        """One that is fitted."""
        transform = self.new_transform()
        transform.fit([*self.values(FITTED_ON), None])
        return transform

    def given(self) -> tuple[Any, ...]:
        """The fitted transform."""
        return (self.transform,)

    def draw(
        self,
        count: int,
        *,
        seed: int = 0,
        absent: Absent | None = None,
        ragged: bool = True,  # noqa: ARG002
        long: bool = False,  # noqa: ARG002
    ) -> tuple[Any, ...]:
        """A batch of examples, as long as they come."""
        missing = frozenset((absent or {}).get("sample", ()))
        key = (count, seed, missing)
        if key not in self._batches:
            values = self.values(count, 100 + seed)
            self._batches[key] = self.transform([None if i in missing else v for i, v in enumerate(values)])
        return (copied(dict(self._batches[key])),)

    def soiled(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With garbage under a False mask: wild numbers, and categories of another sample."""
        generator = Generator().manual_seed(3)
        batch = copied(inputs[0])
        hidden = ~batch["mask"]
        for name, leaf in batch.items():
            if name != "mask" and leaf.shape[: hidden.ndim] == hidden.shape:
                batch[name] = _soiled(leaf, hidden, generator)
        return (batch,)

    def replaced(self, inputs: tuple[Any, ...], other: tuple[Any, ...], name: str) -> tuple[Any, ...]:  # noqa: ARG002
        """With other content at the real places, whose number stays."""
        batch = copied(inputs[0])
        real = batch["mask"]
        for leaf_name, leaf in batch.items():
            if leaf_name != "mask" and leaf.shape[: real.ndim] == real.shape:
                content = leaf[real]
                leaf[real] = content.roll(len(content) // 2, 0)
        return (batch,)

    def end_changed(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With other content in the last quarter of each row's real places [B T]."""
        batch = copied(inputs[0])
        real = batch["mask"].sum(1, keepdim=True)
        place = batch["mask"].cumsum(1)
        end = batch["mask"] & (place > real * 3 // 4)  # [B T]
        for name, leaf in batch.items():
            if name != "mask" and leaf.shape[:2] == end.shape:
                content = leaf[end]
                leaf[end] = -2 * content - 1 if leaf.is_floating_point() else content.flip(0)
        return (batch,)

    def call(self, module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Any]:
        """The features."""
        features: Features = module(inputs[0])
        return {"features": features}


def _soiled(leaf: Tensor, hidden: Tensor, generator: Generator) -> Tensor:
    place, real = leaf[hidden], leaf[~hidden]
    leaf = leaf.clone()
    if leaf.is_floating_point():
        scale = 10 * (1 + float(leaf.abs().max()))
        leaf[hidden] = scale * torch.randn(place.shape, generator=generator).to(leaf.dtype)
    elif len(real):  # whole numbers may be indices: only what stands at a real place is sure to be in range
        leaf[hidden] = real[torch.randint(len(real), (len(place),), generator=generator)]
    return leaf
