"""The components that this distribution adds to mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import EncoderSpec, hookimpl


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """Image encoders."""
    yield EncoderSpec(
        "timm",
        "mmkit_timm.encoder:TimmEncoder",
        "Any image model of timm, frozen, adapted or fine-tuned",
        modality="image",
        pretrained="weights=FILE",
        example=(("model", "test_vit"), ("weights", "none")),
        paper='Wightman, "PyTorch Image Models", 2019, https://github.com/huggingface/pytorch-image-models',
    )
