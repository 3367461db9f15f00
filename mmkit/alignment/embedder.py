"""The values of one input as vectors of a frozen encoder: what retrieval and zero-shot classification compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmkit.contract import Encoder, Split
from mmkit.errors import UsageError
from mmkit.features.extraction import Extraction
from mmkit.features.sharing import Shared
from mmkit.model.assembly import built, reads
from mmkit.registry.options import Choice
from mmkit.system.generators import preserved_generators
from mmkit.system.settings import Settings


class Embedder:
    """One input's encoder with its fitted transform; vectors are computed once and found again in the cache.

    Args:
        name: of the input.
        choice: its encoder.
        values: of the training split, in memory, which the transform is fitted on; None is a missing one.
        settings: device and precision are read.
        seed: of the weights of an encoder without pretrained ones.
        shared: keeps the vectors.

    Raises:
        UsageError: the encoder is not frozen: its weights would be those it begins with.
    """

    def __init__(
        self,
        name: str,
        choice: Choice,
        values: Sequence[Any],
        *,
        settings: Settings,
        seed: int = 0,
        shared: Shared | None = None,
    ) -> None:
        transform = built(choice, reads(choice))
        transform.fit(values)
        with preserved_generators(settings.device):
            torch.manual_seed(seed)
            encoder = cast(nn.Module, built(choice, None, transform))
        if not getattr(encoder, "frozen", False):
            raise UsageError(
                f"encoder {choice} of {name} is not frozen, and vectors of untrained weights find nothing; take a "
                "pretrained one (mmkit list-plugins --kind encoder) with tune=frozen"
            )
        self.name = name
        self.width = cast(Encoder, encoder).width
        self._extract = Extraction(
            name, choice, encoder.to(settings.device), transform, settings, Shared() if shared is None else shared
        )

    def __call__(self, values: Sequence[Any], split: Split | None = None) -> Tensor:
        """[N D] float32 on the CPU, of values in memory, none of them missing; `split` is told to `mmkit cache list`.

        Raises:
            MmkitError: features are not finite.
        """
        ids = [str(number) for number in range(len(values))]
        return self._extract(values, ids, split=split).vectors.tokens.float()
