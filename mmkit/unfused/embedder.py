"""The values of one input as vectors of a frozen encoder: what retrieval and zero-shot classification compare."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmkit.combination import Combination, Transforms, built, reads
from mmkit.contract import Encoder, Samples, Split
from mmkit.errors import UsageError
from mmkit.features.shared import Report, Shared
from mmkit.frozen import Frozen
from mmkit.model import Model, OnlyFusion, encoder_widths
from mmkit.options import Choice
from mmkit.train import Precision
from mmkit.transforms.truth import Categories


class Embedder:
    """One input's encoder with its fitted transform; vectors are computed once and found again in the cache.

    Args:
        name: of the input.
        choice: its encoder.
        values: of the training split, in memory, which the transform is fitted on; None is a missing one.
        seed: of the weights of an encoder without pretrained ones.
        device: of the encoder.
        precision: of the forward.
        cache: folder in which vectors are kept; None keeps none.
        report: called with the input, and the samples done and in all, while vectors are computed.

    Raises:
        UsageError: the encoder is not frozen: its weights would be those it begins with.
    """

    def __init__(
        self,
        name: str,
        choice: Choice,
        values: Sequence[Any],
        *,
        seed: int = 0,
        device: str = "cpu",
        precision: Precision = "float32",
        cache: Path | None = None,
        report: Report | None = None,
    ) -> None:
        transform = built(choice, reads(choice))
        transform.fit(values)
        place = torch.device(device)
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            torch.manual_seed(seed)
            encoder = cast(nn.Module, built(choice, None, transform))
        if not getattr(encoder, "frozen", False):
            raise UsageError(
                f"encoder {choice} of {name} is not frozen, and vectors of untrained weights find nothing; take a "
                "pretrained one (mmkit list-plugins --kind encoder) with tune=frozen"
            )
        self.name = name
        self.width = cast(Encoder, encoder).width
        model = Model({name: encoder}, OnlyFusion(encoder_widths({name: encoder})), nn.Identity()).to(device)
        # No head and no truth is looked at here: the encoder's own choice stands for the head that a combination has.
        alone = Combination({name: choice}, None, choice)
        self._frozen = Frozen(
            model,
            alone,
            Transforms({name: transform}, Categories("classes")),
            precision,
            shared=Shared(cache, report),
        )

    def __call__(self, values: Sequence[Any], split: Split | None = None) -> Tensor:
        """[N D] float32 on the CPU, of values in memory, none of them missing; `split` is told to `mmkit cache list`.

        Raises:
            MmkitError: features are not finite.
        """
        count = len(values)
        samples = Samples([str(i) for i in range(count)], {self.name: values}, [None] * count)
        data = self._frozen.dataset(samples, augment=False, split=split)
        return data.ready[self.name].vectors.tokens.float().cpu()
