"""Modalities that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import ModalitySpec, hookimpl


@hookimpl
def mmkit_modalities() -> Iterator[ModalitySpec]:
    """Kinds of raw value."""
    yield ModalitySpec("text", "mmkit.modalities.text:Text", "Text: a string in any language", encoder="bag")
    yield ModalitySpec(
        "image",
        "mmkit.modalities.image:Image",
        "Images, in grey or in colour: files that Pillow reads, and arrays",
        encoder="cnn",
    )
    yield ModalitySpec(
        "audio",
        "mmkit.modalities.audio:Audio",
        "Sound: audio files, and waveforms with their sample rate",
        encoder="mel-cnn",
    )
    yield ModalitySpec(
        "series", "mmkit.modalities.series:Series", "Series: a signal over time, of one or more channels", encoder="fcn"
    )
    yield ModalitySpec(
        "table",
        "mmkit.modalities.table:Table",
        "Table rows: numbers and categories by column",
        encoder="ft-transformer",
    )
