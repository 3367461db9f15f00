"""What this distribution adds to mmkit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmkit.plugin import EncoderSpec, hookimpl

EXAMPLE = Path(__file__).parent / "example"
"""A BERT of four thousand random weights, for checks without a network."""
VIDEO_EXAMPLE = Path(__file__).parent / "example_video"
"""A VideoMAE of ten thousand."""


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """Text encoders."""
    yield EncoderSpec(
        "transformers-text",
        "mmkit_transformers.text:TransformersTextEncoder",
        "Any text model of transformers (BERT, RoBERTa, MiniLM, ...), frozen, adapted or fine-tuned",
        modality="text",
        example=(("model", str(EXAMPLE)),),
    )
    yield EncoderSpec(
        "transformers-video",
        "mmkit_transformers.video:TransformersVideoEncoder",
        "Any video model of transformers (VideoMAE, ViViT, TimeSformer), frozen, adapted or fine-tuned",
        modality="video",
        requires=("mmkit-video>=0.1",),
        example=(("model", str(VIDEO_EXAMPLE)),),
    )
