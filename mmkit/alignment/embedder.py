"""Embeddings of one input by a frozen encoder: the vectors that retrieval and zero-shot classification compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from mmkit.contract import Encoder, Split
from mmkit.errors import UsageError
from mmkit.features.extraction import Extraction
from mmkit.features.sharing import Shared
from mmkit.model.assembly import built, reads
from mmkit.registry.options import Choice
from mmkit.system.settings import Settings
from mmkit.system.state import own_state


class Embedder:
    """The encoder of one input with its fitted transform. Vectors are computed once, then read from the cache.

    Args:
        name: name of the input.
        choice: the encoder.
        values: decoded values of the training split, which the transform is fitted on; None is a missing one.
        settings: device and precision are used.
        seed: of the weights of an encoder that has no pretrained ones.
        shared: keeps the vectors.

    Raises:
        UsageError: the encoder is not frozen, so its weights would be random.
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
        with own_state(settings.device, seed=seed):
            encoder = cast(nn.Module, built(choice, None, transform))
        if not getattr(encoder, "frozen", False):
            raise UsageError(
                f"encoder {choice} of input {name} is not frozen, and nothing is trained here; expected a pretrained "
                "encoder: choose one (mmkit list-plugins --kind encoder), with tune=frozen"
            )
        self.name = name
        self.width = cast(Encoder, encoder).width
        self._extract = Extraction(
            name, choice, encoder.to(settings.device), transform, settings, Shared() if shared is None else shared
        )

    def __call__(self, values: Sequence[Any], split: Split | None = None) -> Tensor:
        """Vectors [N D] of decoded values, none missing; float32, on the CPU. `mmkit cache list` shows `split`.

        Raises:
            MmkitError: features are not finite.
        """
        ids = [str(number) for number in range(len(values))]
        return self._extract(values, ids, split=split).vectors.tokens.float()
