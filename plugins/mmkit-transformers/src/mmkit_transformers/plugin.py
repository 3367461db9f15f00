"""The components that this distribution adds to mmkit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmkit.plugin import EncoderSpec, HeadSpec, hookimpl

EXAMPLE = Path(__file__).parent / "example"
"""A BERT of a few thousand random weights, for checks without a network."""
IMAGE_EXAMPLE = Path(__file__).parent / "example_image"
"""The same, a ViT."""
AUDIO_EXAMPLE = Path(__file__).parent / "example_audio"
"""The same, a wav2vec2."""
VIDEO_EXAMPLE = Path(__file__).parent / "example_video"
"""A VideoMAE of ten thousand random weights."""
WRITER = Path(__file__).parent / "example_writer"
"""A causal language model of five thousand random weights, over bytes."""

_PAPER = (
    'Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demonstrations), '
    "https://aclanthology.org/2020.emnlp-demos.6"
)


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """Encoders of text, image, audio and video."""
    yield EncoderSpec(
        "transformers-text",
        "mmkit_transformers.text:TransformersTextEncoder",
        "Any text model of transformers (BERT, RoBERTa, MiniLM, ...), frozen, adapted or fine-tuned",
        modality="text",
        pretrained="model=FOLDER",
        example=(("model", str(EXAMPLE)),),
        paper=_PAPER,
    )
    yield EncoderSpec(
        "transformers-image",
        "mmkit_transformers.image:TransformersImageEncoder",
        "Any image model of transformers (ViT, DINOv2, SigLIP, Swin, ...), frozen, adapted or fine-tuned",
        modality="image",
        pretrained="model=FOLDER",
        example=(("model", str(IMAGE_EXAMPLE)),),
        paper=_PAPER,
    )
    yield EncoderSpec(
        "transformers-audio",
        "mmkit_transformers.audio:TransformersAudioEncoder",
        "Any audio model of transformers (wav2vec2, Whisper, CLAP, ...), frozen, adapted or fine-tuned",
        modality="audio",
        pretrained="model=FOLDER",
        example=(("model", str(AUDIO_EXAMPLE)),),
        paper=_PAPER,
    )
    yield EncoderSpec(
        "transformers-video",
        "mmkit_transformers.video:TransformersVideoEncoder",
        "Any video model of transformers (VideoMAE, ViViT, TimeSformer), frozen, adapted or fine-tuned",
        modality="video",
        pretrained="model=FOLDER",
        requires=("mmkit-video>=0.1",),
        example=(("model", str(VIDEO_EXAMPLE)),),
        paper=_PAPER,
    )


@hookimpl
def mmkit_heads() -> Iterator[HeadSpec]:
    """Heads that generate text."""
    yield HeadSpec(
        "generation",
        "mmkit_transformers.generation:GenerationHead",
        "Text by a causal language model, with the fused features as its prefix",
        targets=("text",),
        example=(("model", str(WRITER)), ("max_length", 8)),
        paper='Mokady, Hertz and Bermano, "ClipCap: CLIP Prefix for Image Captioning", 2021, '
        "https://arxiv.org/abs/2111.09734",
    )
