"""Modalities that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import ModalitySpec, hookimpl


@hookimpl
def mmkit_modalities() -> Iterator[ModalitySpec]:
    """Kinds of raw value."""
    yield ModalitySpec("text", "mmkit.modalities.text:Text", "A string in any language", encoder="bag")
    yield ModalitySpec("image", "mmkit.modalities.image:Image", "A picture, grey or in colour", encoder="cnn")
    yield ModalitySpec("audio", "mmkit.modalities.audio:Audio", "A waveform with its sample rate", encoder="mel-cnn")
    yield ModalitySpec("series", "mmkit.modalities.series:Series", "Any signal over time, [T C]", encoder="tcn")
    yield ModalitySpec(
        "table", "mmkit.modalities.table:Table", "A row of numbers and categories", encoder="ft-transformer"
    )
