"""The components that this distribution adds to mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import EncoderSpec, hookimpl


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """Audio encoders."""
    yield EncoderSpec(
        "torchaudio",
        "mmkit_torchaudio.encoder:TorchaudioEncoder",
        "Speech models of torchaudio's bundles (wav2vec2, HuBERT, WavLM), frozen, adapted or fine-tuned",
        modality="audio",
        pretrained="weights=FILE",
        paper='Yang et al., "TorchAudio: Building Blocks for Audio and Speech Processing", ICASSP 2022, '
        "https://arxiv.org/abs/2110.15018",
        example=(("bundle", "SMALL"), ("weights", "none")),
    )
    yield EncoderSpec(
        "mfcc",
        "mmkit_torchaudio.mfcc:MfccEncoder",
        "Small network over mel-frequency cepstral coefficients, trained from scratch",
        modality="audio",
        paper='Davis and Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition in '
        'Continuously Spoken Sentences", IEEE TASSP 1980, https://doi.org/10.1109/TASSP.1980.1163420',
    )
