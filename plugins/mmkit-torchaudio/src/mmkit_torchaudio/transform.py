"""Sound as a speech model of torchaudio's bundles expects it: mono, at its rate, normalised if it was in training.

Axes: B batch, S samples of the longest clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Gt
from torch import Generator, Tensor
from torch.nn import functional as F
from torchaudio import pipelines

from mmkit.contract import Batch
from mmkit.errors import DataError, one_of
from mmkit.transforms.sound import Mix, mono_at

SMALL = pipelines.Wav2Vec2Bundle(
    _path="",
    _params={
        "extractor_mode": "group_norm",
        "extractor_conv_layer_config": [(8, 10, 5), (8, 3, 2), (8, 3, 2), (8, 3, 2), (8, 3, 2), (8, 2, 2), (8, 2, 2)],
        "extractor_conv_bias": False,
        "encoder_embed_dim": 16,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 8,
        "encoder_pos_conv_groups": 4,  # with 2, bfloat16 convolutions of oneDNN 3.10 are wrong on CPUs with AMX
        "encoder_num_layers": 2,
        "encoder_num_heads": 2,
        "encoder_attention_dropout": 0.1,
        "encoder_ff_interm_features": 32,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": False,
        "encoder_layer_drop": 0.05,
        "aux_num_out": None,
    },
    _sample_rate=16_000,
    _normalize_waveform=False,
    _model_type="Wav2Vec2",
)
"""A wav2vec2 of a few thousand weights, without pretrained ones, for checks."""
BUNDLES: dict[str, Any] = {
    "SMALL": SMALL,
    **{name: found for name, found in vars(pipelines).items() if isinstance(found, pipelines.Wav2Vec2Bundle)},
}


class TorchaudioTransform:
    """Mixes a clip down to mono and resamples it; clips too short for one token are filled up with silence.

    Args:
        bundle: a name of torchaudio.pipelines (WAV2VEC2_BASE, HUBERT_BASE, WAVLM_BASE_PLUS, ...).
        seconds: longest clip in seconds, counted from its start; the rest is cut off; none keeps all.
        mix: how the channels of a clip become one: their "mean", or the "loudest" of them; where the mean would cancel
            them out, the loudest is taken anyhow.

    Raises:
        ValueError: torchaudio has no such bundle of a speech model.
    """

    augments = False

    def __init__(
        self,
        *,
        bundle: str = "WAV2VEC2_BASE",
        seconds: Annotated[float, Gt(0)] | None = None,
        mix: Mix = "mean",
    ) -> None:
        if bundle not in BUNDLES:
            raise ValueError(f"torchaudio has no bundle {bundle}; {one_of(BUNDLES, bundle)}")
        self.bundle = bundle
        self.seconds = seconds
        self.mix: Mix = mix
        self.restored = False
        """True where a saved model is being built: its weights come from its own file."""

    @property
    def rate(self) -> int:
        """Samples per second that the model takes."""
        return int(BUNDLES[self.bundle].sample_rate)

    @property
    def least(self) -> int:
        """Samples of the shortest clip that gives a token."""
        field = 1
        for _, kernel, stride in reversed(BUNDLES[self.bundle]._params["extractor_conv_layer_config"]):  # noqa: SLF001
            field = (field - 1) * stride + kernel
        return field

    def fit(self, values: Sequence[tuple[Tensor, int] | None]) -> None:
        """Nothing is fitted.

        Raises:
            DataError: there is no sound.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no sound in this input; leave the input out")

    def __call__(self, values: Sequence[tuple[Tensor, int] | None], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """`wave` [B S] float32, zero where padded, and `mask` [B S]."""
        waves = [None if value is None else self._wave(value) for value in values]
        longest = max([self.least, *(len(wave) for wave in waves if wave is not None)])
        batch = torch.zeros(len(values), longest)
        mask = torch.zeros(len(values), longest, dtype=torch.bool)
        for row, wave in enumerate(waves):
            if wave is not None:
                batch[row, : len(wave)] = wave
                mask[row, : len(wave)] = True
        return {"wave": batch, "mask": mask}

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Nothing is taken back."""
        self.restored = True

    def _wave(self, value: tuple[Tensor, int]) -> Tensor:
        """[S] of one clip."""
        mono = mono_at(value, self.rate, self.mix)
        if self.seconds is not None:
            mono = mono[: max(1, round(self.seconds * self.rate))]
        mono = F.pad(mono, (0, max(0, self.least - len(mono))))
        return F.layer_norm(mono, mono.shape) if BUNDLES[self.bundle]._normalize_waveform else mono  # noqa: SLF001
