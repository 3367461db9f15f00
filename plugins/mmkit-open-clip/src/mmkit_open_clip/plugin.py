"""The components that this distribution adds to mmkit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmkit.plugin import EncoderSpec, hookimpl

EXAMPLE = Path(__file__).parent / "example"
"""The configuration of a tiny CLIP with random weights, for checks without a network."""

_PAPER = (
    'Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, '
    'https://arxiv.org/abs/2103.00020; Ilharco et al., "OpenCLIP", 2021, https://github.com/mlfoundations/open_clip'
)


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """The two towers of a model."""
    example = (("model", f"local-dir:{EXAMPLE}"), ("pretrained", "none"))
    yield EncoderSpec(
        "open-clip-image",
        "mmkit_open_clip.image:OpenClipImageEncoder",
        "Image tower of any model of open_clip (CLIP, SigLIP, ...), frozen, adapted or fine-tuned",
        modality="image",
        pretrained="pretrained=FILE",
        example=example,
        paper=_PAPER,
    )
    yield EncoderSpec(
        "open-clip-text",
        "mmkit_open_clip.text:OpenClipTextEncoder",
        "Text tower of any model of open_clip (CLIP, SigLIP, ...), frozen, adapted or fine-tuned",
        modality="text",
        pretrained="pretrained=FILE",
        example=example,
        paper=_PAPER,
    )
