"""Extraction of features: a frozen encoder over the values of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from mmkit.contract import Features, Split, Transform
from mmkit.data.bad_values import transform_batch
from mmkit.data.columns import Column
from mmkit.data.packed import Packed
from mmkit.data.placing import on
from mmkit.data.sampling import augmentation
from mmkit.errors import MmkitError
from mmkit.features.cache import Pass
from mmkit.features.sharing import Shared
from mmkit.registry.notation import as_json
from mmkit.registry.options import Choice
from mmkit.system.machine import of_features
from mmkit.system.precision import autocast
from mmkit.system.settings import Settings


@dataclass(frozen=True)
class Extraction:
    """The frozen encoder of one input, with its transform; called with values, it gives their features.

    Args:
        name: of the input.
        choice: that the encoder was built from.
        encoder: on its device.
        transform: fitted.
        settings: `precision` is used; `device` if the encoder has no tensors.
        shared: keeps the features.
    """

    name: str
    choice: Choice
    encoder: nn.Module
    transform: Transform
    settings: Settings
    shared: Shared = field(default_factory=Shared)

    def __call__(
        self, values: Sequence[Any], ids: Sequence[str], *, split: Split | None = None, copy: int | None = None
    ) -> Packed:
        """The features of all values of a split, on the CPU.

        Args:
            values: decoded; None is a missing one.
            ids: of their samples, for messages.
            split: shown by `mmkit cache list`.
            copy: number of an augmented copy; None is without augmentation.

        Raises:
            RejectedError: the transform rejects values.
            MmkitError: features are not finite.
        """
        made_of = {
            "encoder": self.choice.name,
            "options": as_json(self.choice.feature_options),
            "plugins": self.choice.plugins,
            "code": self.shared.code(self.choice),
            "libraries": of_features(self.choice.plugins),
            "device": self._device.type,
            "precision": self.settings.precision,
        }
        if copy is not None:
            made_of["copy"] = copy
        about = {"encoder": str(self.choice), "input": self.name} | ({"split": split} if split else {})
        work = Pass(
            partial(self._encode, values, ids, copy),
            Column.of(values),
            progress=self.shared.progress,
            what=f"features of {self.name}",
            about=about,
        )
        slot = (self.name, copy, str(self.choice))
        return self.shared.features(slot, self.encoder, self.transform, made_of, work)

    @property
    def _device(self) -> torch.device:
        tensor = next((t for t in (*self.encoder.parameters(), *self.encoder.buffers())), None)
        return torch.device(self.settings.device) if tensor is None else tensor.device

    def _encode(
        self, column: Sequence[Any], ids: Sequence[str], copy: int | None, values: Sequence[Any], start: int
    ) -> Features:
        encoder = self.encoder.eval()
        generator = None if copy is None else augmentation(copy, 0, start)  # does not depend on the seed of a run
        batch = transform_batch(self.name, self.transform, values, generator, column=column, ids=ids)
        with torch.no_grad(), autocast(self._device, self.settings.precision):
            features: Features = encoder(on(batch, self._device))
        if not all(bool(leaf.isfinite().all()) for leaf in (features.tokens, features.pooled) if leaf is not None):
            raise MmkitError(
                f"encoder {self.choice} gives features of input {self.name} that are not finite; check its weights, or "
                "take --precision float32"
            )
        return Features.of(features.tokens, features.mask, features.pooled).to("cpu")
