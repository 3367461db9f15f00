"""Modalities that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import ModalitySpec, hookimpl


@hookimpl
def mmkit_modalities() -> Iterator[ModalitySpec]:
    """Kinds of raw value."""
    yield ModalitySpec(
        "text", "mmkit.modalities.text:Text", "Text: a string in any language", encoder="bag", travels="text"
    )
    yield ModalitySpec(
        "image",
        "mmkit.modalities.image:Image",
        "Images, in grey or in colour: files that Pillow reads, and arrays",
        encoder="cnn",
        extensions=(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".ppm", ".pgm"),
        magic=(
            rb"\xff\xd8\xff",
            rb"\x89PNG\r\n\x1a\n",
            rb"RIFF.{4}WEBP",
            rb"GIF8[79]a",
            rb"BM.{4}\0{4}",
            rb"II\*\0|MM\0\*",
            rb".{4}ftypavi[fs]",
            rb"P[56]\s",
        ),
        travels="bytes",
    )
    yield ModalitySpec(
        "audio",
        "mmkit.modalities.audio:Audio",
        "Sound: audio files, and waveforms with their sample rate",
        encoder="mel-cnn",
        extensions=(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf"),
        magic=(
            rb"(RIFF|RF64).{4}WAVE",
            rb"fLaC",
            rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]",
            rb"OggS(?!.{24}(\x80theora|fishead))",
            rb"FORM.{4}AIF[FC]",
            rb"\.snd",
            rb"caff",
        ),
        travels="bytes",
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
