"""Speech models of torchaudio's bundles (wav2vec2, HuBERT, WavLM), frozen, adapted or fine-tuned.

Yang et al., "TorchAudio: Building Blocks for Audio and Speech Processing", ICASSP 2022,
https://arxiv.org/abs/2110.15018; the models are wav2vec 2.0 (https://arxiv.org/abs/2006.11477), HuBERT
(https://arxiv.org/abs/2106.07447) and WavLM (https://arxiv.org/abs/2110.13900).

Axes: B batch, S samples of the longest clip, C channels, T tokens, D width.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.models import wav2vec2_model, wavlm_model

from mmkit.contract import Batch, Features
from mmkit.layers.masked_group_norm import masked_group_norm
from mmkit.layers.pooling import pooled
from mmkit.pretrained.tuning import Checkpointing, Decay, Rank, Tune, Tuned
from mmkit_torchaudio.transform import BUNDLES, TorchaudioTransform
from mmkit_torchaudio.weights import fill


class TorchaudioEncoder(nn.Module):
    """The hidden states of a layer as tokens, one every 20 ms, with a pooled vector.

    They equal what the bundle's `extract_features` gives for each clip alone: neither the other clips of the batch nor
    padding change them. Layers above the one that is read are left out, and layer drop is off in training.

    Args:
        transform: the fitted transform, which knows the bundle.
        weights: "hub" takes the pretrained weights of the bundle from torch's local cache, or downloads them; a path
            reads a file of weights (.safetensors, or a torch file of tensors); "none" draws random weights.
        layer: number of the layer whose hidden states are read; -1 is the last, 0 the input of the first.
        pooling: how tokens become one vector: their "mean" or their elementwise maximum ("max"); "none" leaves it to
            the fusion.
        output: "tokens" gives all tokens and the pooled vector; "pooled" the pooled vector as the only token.
        tune: what is trained: "frozen" is nothing, "lora" and "dora" adapters, "full" everything, "partial:N" the last
            N layers.
        rank: rank of the adapters, with tune=lora or dora.
        decay: factor of the learning rate from each layer to the one below it, with tune=full or partial; 1 is
            off.
        checkpointing: gradient checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    reads = TorchaudioTransform

    def __init__(
        self,
        transform: TorchaudioTransform,
        *,
        weights: str = "hub",
        layer: int = -1,
        pooling: Literal["mean", "max", "none"] = "mean",
        output: Literal["tokens", "pooled"] = "tokens",
        tune: Tune = "frozen",
        rank: Rank = 8,
        decay: Decay = 0.9,
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        if output == "pooled" and pooling == "none":
            raise ValueError("output=pooled needs a pooled vector; pooling is none")
        bundle = BUNDLES[transform.bundle]
        factory = {"Wav2Vec2": wav2vec2_model, "WavLM": wavlm_model}[bundle._model_type]  # noqa: SLF001
        model = factory(**bundle._params)  # noqa: SLF001
        model.aux = None  # a head for recognition
        if weights != "none" and not transform.restored:
            fill(model, transform.bundle, bundle._path, weights)  # noqa: SLF001
        most = len(model.encoder.transformer.layers)
        if not -most - 1 <= layer <= most:
            raise ValueError(f"layer is {layer}; the model has {most}, so expected {-most - 1} to {most}")
        read = layer % (most + 1)
        backbone = _Layers(model, read)
        blocks = [f"encoder.transformer.layers.{number}" for number in range(read)]
        self.tuned = Tuned(backbone, tune, blocks=blocks, rank=rank, decay=decay, checkpointing=checkpointing)
        self.frozen = self.tuned.frozen
        self.width = int(bundle._params["encoder_embed_dim"])  # noqa: SLF001
        self.least = transform.least
        self.pooling = pooling
        self.output = output

    def forward(self, batch: Batch) -> Features:
        """[B T D] tokens, or [B 1 D], the pooled vector alone."""
        mask = batch["mask"]
        there = mask.any(1)
        # A missing clip is replaced by the shortest silence, and masked afterwards.
        lengths = torch.where(there, mask.sum(1), self.least)
        tokens, frames = self.tuned(batch["wave"].masked_fill(~mask, 0), lengths)
        real = (torch.arange(tokens.shape[1], device=mask.device) < frames.unsqueeze(1)) & there.unsqueeze(1)
        summary = pooled(tokens, real, self.pooling)
        if self.output == "pooled" and summary is not None:
            return Features.of(summary, there)
        return Features.of(tokens, real, summary)


class _Layers(nn.Module):
    """The first layers of a model, over clips of several lengths, by the model's own modules."""

    def __init__(self, model: Any, read: int) -> None:
        super().__init__()
        self.feature_extractor = model.feature_extractor
        first = self.feature_extractor.conv_layers[0]
        if isinstance(first.layer_norm, nn.GroupNorm):
            self.feature_extractor.conv_layers[0] = _FirstBlock(first)
        self.encoder = model.encoder
        transformer = self.encoder.transformer
        transformer.layers = transformer.layers[:read]
        if not transformer.layer_norm_first:
            transformer.layer_norm = nn.Identity()  # for what follows the last layer, which is not read

    def forward(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[B T D] states and [B], how many of them are real."""
        x, frames = self.feature_extractor(wave, lengths)
        x = self.encoder.feature_projection(x)  # [B T D]
        real = torch.arange(x.shape[1], device=x.device) < frames.unsqueeze(1)  # [B T]
        # Zero, which is what the positional convolution has beyond the end of a clip that is alone.
        x = x.masked_fill(~real.unsqueeze(2), 0)
        transformer = self.encoder.transformer
        x = x + transformer.pos_conv_embed(x)
        if transformer.layer_norm_first:
            x = transformer.layer_norm(x)
        x = transformer.dropout(x)
        hidden = torch.zeros_like(real, dtype=wave.dtype).masked_fill(~real, -torch.inf)  # [B T], to be added
        bias = None
        for layer in transformer.layers:
            if hasattr(layer.attention, "gru_rel_pos"):  # WavLM takes its mask this way
                given = {"attention_mask": None, "position_bias": bias, "key_padding_mask": hidden}
            else:
                given = {"attention_mask": hidden[:, None, None].expand(-1, 1, x.shape[1], -1)}
            x, bias = layer(x, **given)
        return x, frames


class _FirstBlock(nn.Module):
    """The first convolution, whose normalisation over a clip leaves out the padding."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.conv = block.conv
        self.layer_norm = block.layer_norm

    def forward(self, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """[B C T] of [B 1 S], and [B] real frames of [B] real samples."""
        x = self.conv(x)
        frames = (length - self.conv.kernel_size[0]) // self.conv.stride[0] + 1
        real = torch.arange(x.shape[2], device=x.device) < frames.unsqueeze(1)
        return F.gelu(masked_group_norm(x, real, self.layer_norm)), frames
