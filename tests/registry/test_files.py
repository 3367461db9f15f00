"""What modalities say of their files: true of what Pillow, libsndfile and FFmpeg write, and of one modality each."""

import io
import re

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmkit.errors import ContractError
from mmkit.plugin import ModalitySpec
from mmkit.registry.catalog import installed
from mmkit.registry.hooks import _checked

SPECS = [e.spec for e in installed().available("modality") if isinstance(e.spec, ModalitySpec)]


def claimed(head):
    """The modalities whose patterns match the first bytes."""
    return [spec.name for spec in SPECS if any(re.match(pattern, head, re.DOTALL) for pattern in spec.magic)]


def test_an_end_belongs_to_one_modality():
    ends = [end for spec in SPECS for end in spec.extensions]
    assert len(ends) == len(set(ends))
    assert {".jpg", ".wav"} <= set(ends)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "ppm"])
def test_images_are_known_by_their_first_bytes(form):
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (9, 90, 200)).save(file, form)
    assert claimed(file.getvalue()[:64]) == ["image"]


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("RF64", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
    ],
)
def test_sounds_are_known_by_their_first_bytes(form, subtype):
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(16000) / 9), 16000, subtype, format=form)
    assert claimed(file.getvalue()[:64]) == ["audio"]


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("mp4", "mpeg4"),
        ("mov", "mpeg4"),
        ("matroska", "mpeg4"),
        ("webm", "libvpx"),
        ("avi", "mpeg4"),
        ("mpeg", "mpeg1video"),
        ("asf", "mpeg4"),
        ("flv", "flv"),
        ("3gp", "mpeg4"),
    ],
)
def test_videos_are_known_by_their_first_bytes(form, codec):
    av = pytest.importorskip("av")
    if "video" not in {spec.name for spec in SPECS}:
        pytest.skip("no modality of videos is installed")
    file = io.BytesIO()
    with av.open(file, "w", form) as container:
        stream = container.add_stream(codec, 25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode())
    assert claimed(file.getvalue()[:64]) == ["video"]


@pytest.mark.parametrize("head", [b"", b"id,label\n1,ok\n", b"%PDF-1.7", b"PK\x03\x04", b"\x80\x04\x95", b'{"a": 1}'])
def test_other_bytes_belong_to_nobody(head):
    assert claimed(head) == []


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("extensions", (".JPG",), "in lower case with the dot; got"),
        ("extensions", ("jpg",), "in lower case with the dot; got"),
        ("extensions", ".jpg", "is a tuple of ends of names"),
        ("magic", ("abc",), "a tuple of regular expressions, which are bytes"),
        ("magic", (b"(",), "is no regular expression"),
        ("travels", "path", "travels of colour is bytes, text or json; got 'path'"),
    ],
)
def test_a_spec_that_cannot_be_followed_is_refused(field, value, told):
    spec = ModalitySpec("colour", "acme.colour:Colour", "Colours", **{field: value})
    with pytest.raises(ContractError, match=told):
        _checked("mmkit_modalities", spec, set())
