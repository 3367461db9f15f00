"""The components that this distribution adds to mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import EncoderSpec, ModalitySpec, hookimpl


@hookimpl
def mmkit_modalities() -> Iterator[ModalitySpec]:
    """Video, and its sound."""
    yield ModalitySpec(
        "video",
        "mmkit_video.modality:Video",
        "Video without its sound: files, and arrays of frames",
        encoder="video-cnn",
        extensions=(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv"),
        magic=(
            rb".{4}ftyp(?!avi[fs]|M4A|M4B|heic|heix|mif1)",
            rb"\x1aE\xdf\xa3",
            rb"RIFF.{4}AVI ",
            rb"\0\0\x01[\xb3\xba]",
            rb"0&\xb2u",
            rb"FLV\x01",
            rb"OggS.{24}(\x80theora|fishead)",
        ),
        travels="bytes",
    )
    yield ModalitySpec(
        "video-audio",
        "mmkit_video.sound:VideoAudio",
        "The sound of a video, read by every audio encoder",
        encoder="mel-cnn",
        values="audio",
        travels="bytes",
    )


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """Video encoders."""
    yield EncoderSpec(
        "video-cnn",
        "mmkit_video.cnn:VideoCnnEncoder",
        "Small (2+1)D or 3D convolutional network for videos, trained from scratch",
        modality="video",
        paper='Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018, '
        "https://arxiv.org/abs/1711.11248",
    )
    yield EncoderSpec(
        "video-frames",
        "mmkit_video.frames:FramesEncoder",
        "Any installed image encoder, over the frames of a video",
        modality="video",
    )
