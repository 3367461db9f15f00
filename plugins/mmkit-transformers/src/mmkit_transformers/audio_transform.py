"""Sound as a model was trained on it, by the settings of its own feature extractor.

Axes: B batch, S samples of the longest clip, F frames, M mel bands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
import transformers
from annotated_types import Gt
from torch import Generator, Tensor
from transformers import AutoConfig, AutoFeatureExtractor

from mmkit.contract import Batch
from mmkit.errors import DataError
from mmkit.transforms.sound import Mix, mono_at
from mmkit_transformers.source import read

WINDOW = 0.025
"""Seconds of the window of most spectrograms: what is shorter is filled up with silence."""


class TransformersAudioTransform:
    """Mixes a clip down to mono, resamples it, and runs the model's feature extractor on it alone.

    Nothing is random: where an extractor would take a random part of a clip that is longer than the model's window
    (10 s for CLAP), its start is taken.

    Args:
        model: name of a model on the hub, or a folder that `save_pretrained` wrote, with its preprocessor_config.json.
        revision: revision on the hub: a branch, a tag or a commit.
        seconds: longest clip in seconds, counted from its start; the rest is cut off; none keeps what the model takes.
        mix: how the channels of a clip become one: their "mean", or the "loudest" of them; where the mean would cancel
            them out, the loudest is taken anyhow.
    """

    augments = False

    def __init__(
        self,
        *,
        model: str = "facebook/wav2vec2-base",
        revision: str | None = None,
        seconds: Annotated[float, Gt(0)] | None = None,
        mix: Mix = "mean",
    ) -> None:
        self.model = model
        self.revision = revision
        self.seconds = seconds
        self.mix: Mix = mix
        self.config: dict[str, Any] = {}
        """The model's configuration, as plain values."""
        self.restored = False
        """True where a saved model is being built: its weights come from its own file."""
        self._extractor: Any = None

    def fit(self, values: Sequence[tuple[Tensor, int] | None]) -> None:
        """Read the configuration and the extractor; nothing is fitted on the sound.

        Raises:
            DataError: they are not available on this machine, or the extractor gives neither waves nor spectrograms of
                one size.
        """
        if all(value is None for value in values):
            raise DataError("the training split has no sound in this input; leave the input out")
        self.config = read(AutoConfig.from_pretrained, self.model, self.revision).to_dict()
        self._extractor = read(AutoFeatureExtractor.from_pretrained, self.model, self.revision)
        if not hasattr(self._extractor, "sampling_rate"):
            raise DataError(f"{self.model} has no feature extractor for sound; take an audio model")
        short, long = (self._extracted(torch.zeros(size)) for size in (self.rate // 2, self.rate))
        if short.ndim > 1 and short.shape != long.shape:
            raise DataError(
                f"{type(self._extractor).__name__} of {self.model} gives spectrograms as long as the clip; "
                "take a model of waves (wav2vec2, HuBERT, WavLM) or of spectrograms of one size (AST, Whisper, CLAP)"
            )

    @property
    def rate(self) -> int:
        """Samples per second that the model takes."""
        return int(self._fitted().sampling_rate)

    @property
    def least(self) -> int:
        """Samples of the shortest clip that gives a token."""
        field = 1
        sizes = zip(self.config.get("conv_kernel") or (), self.config.get("conv_stride") or (), strict=True)
        for kernel, stride in reversed(list(sizes)):
            field = (field - 1) * stride + kernel
        return max(field, math.ceil(WINDOW * self.rate))

    @property
    def window(self) -> int | None:
        """Samples that every clip is filled up to with silence (Whisper's 30 s); None where it is not."""
        return getattr(self._fitted(), "n_samples", None)

    def __call__(self, values: Sequence[tuple[Tensor, int] | None], generator: Generator | None = None) -> Batch:  # noqa: ARG002
        """A batch of waves or of spectrograms.

        Of waves: `wave` [B S] and `mask` [B S], False where padded or missing. Of spectrograms: `spectrogram`
        [B ...] as the extractor gives it, `mask` [B], and `samples` [B], the length of each clip at the model's rate.
        """
        waves = [None if value is None else self._wave(value) for value in values]
        found = [None if wave is None else self._extracted(wave) for wave in waves]
        there = [part for part in found if part is not None]
        if (there[0] if there else self._silence()).ndim == 1:
            longest = max([self.least, *(len(part) for part in there)])
            wave = torch.zeros(len(values), longest)
            mask = torch.zeros(len(values), longest, dtype=torch.bool)
            for row, part in enumerate(found):
                if part is not None:
                    wave[row, : len(part)] = part
                    mask[row, : len(part)] = True
            return {"wave": wave, "mask": mask}
        blank = self._silence() if len(there) < len(found) else there[0]
        return {
            "spectrogram": torch.stack([blank if part is None else part for part in found]),
            "mask": torch.tensor([part is not None for part in found], dtype=torch.bool),
            "samples": torch.tensor([self.least if wave is None else len(wave) for wave in waves]),
        }

    def state(self) -> dict[str, Any]:
        """The settings of the extractor and of the model: no file and no hub is needed to restore them."""
        return {"extractor": self._fitted().to_dict(), "config": self.config}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave.

        Raises:
            DataError: transformers has no such feature extractor.
        """
        name = str(state["extractor"].get("feature_extractor_type"))
        kind = getattr(transformers, name, None)
        if not name.endswith("FeatureExtractor") or kind is None:
            raise DataError(f"this transformers has no {name}; install the version that the model was saved with")
        self._extractor = kind.from_dict(dict(state["extractor"]))
        self.config = dict(state["config"])
        self.restored = True

    def silent(self) -> Batch:
        """A batch of one clip of silence, a fifth of a second long."""
        return self([(torch.zeros(1, max(self.least, self.rate // 5)), self.rate)])

    def _silence(self) -> Tensor:
        return self._extracted(torch.zeros(self.least))

    def _wave(self, value: tuple[Tensor, int]) -> Tensor:
        """[S] of one clip."""
        mono = mono_at(value, self.rate, self.mix)
        extractor = self._fitted()
        bounds = [
            None if self.seconds is None else max(1, round(self.seconds * self.rate)),
            getattr(extractor, "nb_max_samples", None),  # CLAP's; of longer clips it would take a random part
        ]
        mono = mono[: min((bound for bound in bounds if bound is not None), default=len(mono))]
        return torch.nn.functional.pad(mono, (0, max(0, self.least - len(mono))))

    def _extracted(self, wave: Tensor) -> Tensor:
        """[S], or the spectrogram, of one clip [S] at the model's rate."""
        extractor = self._fitted()
        found = extractor(wave.numpy(), sampling_rate=self.rate, return_tensors="pt")
        return found[extractor.model_input_names[0]][0].float()

    def _fitted(self) -> Any:
        if self._extractor is None:
            raise RuntimeError("this transform has no feature extractor yet; call fit or restore first")
        return self._extractor
