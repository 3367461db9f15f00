"""The components that this distribution adds to mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import EncoderSpec, hookimpl


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """Audio encoders."""
    yield EncoderSpec(
        "speaker",
        "mmkit_speaker.encoder:SpeakerEncoder",
        "Speaker encoder: a pretrained LSTM over mel frames, which distinguishes voices",
        modality="audio",
        pretrained="",
        fullgraph=False,
        exports=False,
        paper='Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018, '
        "https://arxiv.org/abs/1710.10467",
        example=(("weights", "none"),),
    )
