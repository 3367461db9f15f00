"""Any audio model of transformers (wav2vec2, Whisper, CLAP, ...), frozen, adapted or fine-tuned.

Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demonstrations),
https://aclanthology.org/2020.emnlp-demos.6.

Axes: B batch, S samples of the longest clip, T tokens, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mmkit.contract import Batch, Features
from mmkit.pretrained.tuning import Checkpointing, Decay, Rank, Tune
from mmkit_transformers.audio_transform import TransformersAudioTransform
from mmkit_transformers.network import network
from mmkit_transformers.states import States, asked, featured
from mmkit_transformers.waves import ClipFrontEnd
from mmkit_transformers.wavlm import open_attention


class TransformersAudioEncoder(nn.Module):
    """The hidden states of a layer as tokens, with a pooled vector.

    The result of a clip does not depend on the other clips of its batch, even with models that were trained without a
    mask. Of a model with several towers (CLAP) or a decoder (Whisper), the audio encoder is taken. SpecAugment inside a
    model is off.

    Args:
        transform: the fitted transform, which knows the model.
        pooling: how tokens become one vector: their "mean", the first one ("cls") or the elementwise maximum ("max"),
            or the model's own ("model", of AST and CLAP); "none" leaves it to the fusion.
        output: "tokens" gives all tokens and the pooled vector; "pooled" the pooled vector as the only token.
        layer: number of the layer whose hidden states are read; -1 is the last, 0 the input of the first.
        tune: what is trained: "frozen" is nothing, "lora" and "dora" adapters, "full" everything, "partial:N" the last
            N layers or stages.
        rank: rank of the adapters, with tune=lora or dora.
        decay: factor of the learning rate from each layer to the one below it, with tune=full or partial; 1 is
            off.
        checkpointing: gradient checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    reads = TransformersAudioTransform

    def __init__(
        self,
        transform: TransformersAudioTransform,
        *,
        pooling: Literal["mean", "cls", "max", "model", "none"] = "mean",
        output: Literal["tokens", "pooled"] = "tokens",
        layer: int = -1,
        tune: Tune = "frozen",
        rank: Rank = 8,
        decay: Decay = 0.9,
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        model = network(transform, "audio_model", pooler=pooling == "model")
        asked(model, pooling, output)
        example = transform.silent()
        self.reads_waves = "wave" in example
        if self.reads_waves and not hasattr(getattr(model, "feature_extractor", None), "conv_layers"):
            raise ValueError(
                f"{type(model).__name__} has no convolutions like those that wav2vec2 begins with, and other models of "
                "waveforms are not supported; take HuBERT, WavLM, data2vec or the like, or a model of spectrograms "
                "(AST, Whisper, CLAP)"
            )
        if self.reads_waves:
            model.feature_extractor = ClipFrontEnd(model.feature_extractor.conv_layers)
            self.lengths = model._get_feat_extract_output_lengths  # noqa: SLF001  (what the model's own heads call)
        if tune in {"lora", "dora"}:
            open_attention(model)  # WavLM's
        self.name = model.main_input_name
        self.fuses = bool(getattr(model.config, "enable_fusion", False))
        self.least = transform.least
        self.window = transform.window
        self.states = States(
            model,
            self._given(example),
            layer=layer,
            pooling=pooling,
            tune=tune,
            rank=rank,
            decay=decay,
            checkpointing=checkpointing,
        )
        self.frozen = self.states.frozen
        self.width = self.states.width
        self.pooling = pooling
        self.output = output
        self.alone = self.reads_waves and self._minds_padding()
        """Whether each clip is run by itself, since the model's layers look into the padding."""

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens, or [B 1 D], the pooled vector alone."""
        given = self._given(batch)
        there = batch["mask"].any(1) if self.reads_waves else batch["mask"]
        tokens, own = self._one_by_one(given, there) if self.alone else self.states(rows=there, **given)
        return featured(tokens, self._real(batch, tokens.shape[1]), own, self.pooling, self.output)

    def _given(self, batch: Batch) -> dict[str, Tensor]:
        """The arguments of the model."""
        mask = batch["mask"]
        if self.reads_waves:
            shown = self._shown(mask)
            wave = batch["wave"].masked_fill(~mask, 0)
            return {self.name: torch.stack((wave, shown.to(wave.dtype)), 1), "attention_mask": shown.long()}
        spectrogram = batch["spectrogram"]
        given = {self.name: spectrogram.masked_fill(~mask.view(-1, *[1] * (spectrogram.ndim - 1)), 0)}
        if self.fuses:  # no clip is longer than the window: the transform has cut it
            given["is_longer"] = torch.zeros_like(mask).unsqueeze(1)
        return given

    def _shown(self, mask: Tensor) -> Tensor:
        """[B S]: a missing clip is replaced by the shortest silence, since a model needs some input."""
        first = torch.arange(mask.shape[1], device=mask.device) < self.least
        return mask | (~mask.any(1, keepdim=True) & first)

    def _real(self, batch: Batch, count: int) -> Tensor:
        """[B T], the tokens of a clip: where a window is filled up with silence, those before the silence."""
        mask, place = batch["mask"], torch.arange(count, device=batch["mask"].device)
        if self.reads_waves:
            return (place < self.lengths(self._shown(mask).sum(1)).unsqueeze(1)) & mask.any(1, keepdim=True)
        if self.window is None:
            return mask.unsqueeze(1).expand(-1, count)
        return (place * self.window < batch["samples"].unsqueeze(1) * count) & mask.unsqueeze(1)

    def _one_by_one(self, given: dict[str, Tensor], there: Tensor) -> tuple[Tensor, None]:
        packed, shown = given[self.name], given["attention_mask"]
        rows = []
        for row, samples in enumerate(shown.sum(1).tolist()):
            one = {self.name: packed[row : row + 1, :, :samples], "attention_mask": shown[row : row + 1, :samples]}
            rows.append(self.states(rows=there[row : row + 1], **one)[0][0])
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), None

    def _minds_padding(self) -> bool:
        generator = torch.Generator().manual_seed(0)
        size = 3 * self.least
        wave = torch.randn(1, size, generator=generator)
        mask = torch.ones(1, size, dtype=torch.bool)
        padding = (0, 5 * self.least)
        padded = {"wave": nn.functional.pad(wave, padding), "mask": nn.functional.pad(mask, padding)}
        with torch.no_grad():
            expected = self.states.eval()(**self._given({"wave": wave, "mask": mask}))[0]
            found = self.states(**self._given(padded))[0][:, : expected.shape[1]]
        return bool((found - expected).abs().max() > 1e-4 * expected.abs().max())
