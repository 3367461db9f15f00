"""Unusable values of every modality are named by their samples, skipped, or missing; unusual valid ones work."""

import functools
import io
import math
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as Pillow

import mmkit
from mmkit.contract import Samples
from mmkit.data.decoding import decode_all
from mmkit.encoders.fcn import FcnEncoder
from mmkit.errors import DataError
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.modalities.audio import Audio
from mmkit.system.settings import Settings
from mmkit.tasks.synthetic import SyntheticUnique
from mmkit.transforms.mel import MelTransform
from mmkit.transforms.text import TextTransform

RATE = 16_000


@functools.cache
def huge_png(side=60_000):
    """A whole, valid PNG of side x side white pixels in black and white: half a megabyte on the disk."""
    row = b"\0" + b"\xff" * (side // 8)
    packer = zlib.compressobj(9)
    packer.compress(b"")
    # A block that ends on a byte and looks back at nothing can be repeated.
    block = packer.compress(row * 100) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(row * 100) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 1
    for _ in range(side // 100):
        check = zlib.adler32(row * 100, check)
    data = block + again * (side // 100 - 1) + b"\3\0" + struct.pack(">I", check)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def sound(channels=1, rate=RATE, length=4000, fmt="WAV"):
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal((length, channels))
    soundfile.write(file, noise, rate, format=fmt)
    return file.getvalue()


def picture(fmt="PNG", side=64):
    file = io.BytesIO()
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file, fmt)
    return file.getvalue()


GOOD = {
    "image": picture,
    "text": lambda: "a red house",
    "audio": sound,
    "series": lambda: [[1.0, 2.0], [3.0, 4.0]],
    "table": lambda: {"size": 1.5, "shop": "a"},
}
BAD: dict[str, tuple[str, Callable[[], Any], str]] = {
    "torn png": ("image", lambda: picture()[:3000], "cannot be read as an image"),
    "torn jpeg": ("image", lambda: picture("JPEG")[:1500], "cannot be read as an image"),
    "an image of zero bytes": ("image", lambda: b"", "it is empty, of zero bytes"),
    "no image at all": ("image", lambda: b"a red house", "it is of no kind that Pillow knows"),
    "png of 60,000 x 60,000": ("image", huge_png, "has more than 178,956,970 pixels; scale it down"),
    "no such image": ("image", lambda: "/no/such.png", "there is no image file"),
    "empty text": ("text", lambda: " \n\t", "an empty text; a missing one is None"),
    "text that is not UTF-8": ("text", lambda: b"caf\xe9 au lait", "text is not UTF-8: .* at byte 3; convert it"),
    "number as text": ("text", lambda: 7, "got int"),
    "sound of length zero": ("audio", lambda: sound(length=0), "holds no sample"),
    "torn wav": ("audio", lambda: sound()[:2000], "is cut off: its end is missing; get the whole file"),
    "torn flac": ("audio", lambda: sound(fmt="FLAC")[:2000], "cannot be read as sound"),
    "no sound at all": ("audio", lambda: b"RIFF and no more", "cannot be read as sound"),
    "series without steps": ("series", list, "a series has at least one step"),
    "series with a hole": ("series", lambda: [[1.0, float("nan")]], "step 0 does not"),
    "row that is a list": ("table", lambda: [1, 2], "a table row is a mapping of column to cell; got list"),
    "cell that is a list": ("table", lambda: {"size": [1]}, "column 'size' holds a list"),
}


class TestDecoding:
    @pytest.mark.parametrize("case", BAD)
    def test_it_is_named_skipped_or_missing(self, case):
        kind, make, said = BAD[case]
        modality = mmkit.installed().find("modality", kind).load()()
        samples = Samples(["a", "b", "c"], {"x": [GOOD[kind](), make(), None]}, [0, 1, 2], ["g", "h", "i"])
        with pytest.raises(DataError, match=f"(?s)^sample b, input x: .*{said}.*; --on-error skip drops"):
            decode_all(samples, {"x": modality})
        found, unread = decode_all(samples, {"x": modality}, "missing")
        assert [value is None for value in found.inputs["x"]] == [False, True, True]
        assert unread[0].startswith("sample b, input x: ")
        left, also = decode_all(samples, {"x": modality}, "skip")
        assert (left.ids, left.truth, left.groups, also) == (["a", "c"], [0, 2], ["g", "i"], unread)
        assert [value is None for value in left.inputs["x"]] == [False, True]

    def test_an_image_that_is_too_large_is_refused_before_it_takes_any_room(self):
        file = huge_png()
        assert len(file) < 2e6
        modality = mmkit.installed().find("modality", "image").load()()
        began = time.perf_counter()
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match="178,956,970 pixels"):
                modality.decode(file)
            assert tracemalloc.get_traced_memory()[1] < 2**22
        finally:
            tracemalloc.stop()
        assert time.perf_counter() - began < 10  # it takes a millisecond; unpacked it would be 3.6 GB

    @pytest.mark.parametrize("fmt", ["WAV", "AIFF", "AU", "CAF", "FLAC", "MP3"])
    def test_sound_that_lacks_its_end_is_refused(self, fmt):
        whole = sound(length=16_000, fmt=fmt)
        assert Audio().decode(whole)[0].shape == (1, 16_000)
        for length in (len(whole) // 2, len(whole) * 9 // 10):
            with pytest.raises(DataError, match=r"cut off|cannot be read as sound"):
                Audio().decode(whole[:length])

    def test_a_wav_that_was_streamed_says_no_length_and_is_whole(self):
        file = bytearray(sound())
        for place in (4, file.index(b"data") + 4):
            file[place : place + 4] = b"\xff" * 4
        assert Audio().decode(bytes(file))[0].shape == (1, 4000)


class TestSoundThatMustWork:
    @pytest.mark.parametrize(
        ("channels", "rate", "length"), [(1, RATE, 1), (8, 96_000, 9600), (8, 96_000, 1), (2, 8000, 3)]
    )
    def test_one_sample_or_many_channels_at_a_high_rate(self, channels, rate, length):
        waveform, found = Audio().decode(sound(channels, rate, length))
        assert (list(waveform.shape), found) == ([channels, length], rate)
        transform = MelTransform()
        transform.fit([(waveform, rate), Audio().decode(sound())])
        batch = transform([(waveform, rate), None])
        assert batch["mel"].isfinite().all()
        assert batch["mask"].any(1).tolist() == [True, False]


class Frozen(FcnEncoder):
    """Its features are computed once, batch by batch, before training."""

    frozen = True


class TestTransforms:
    """What can be read and yet not be transformed, through whole runs."""

    SMALL: ClassVar = {"epochs": 2, "min_steps": 0, "batch_size": 16}

    @pytest.fixture
    def odd(self, monkeypatch):
        """Odd series in all splits, of one channel where the others have two; reading them is no trouble."""
        split = SyntheticUnique.split

        def odd(self, name):
            samples = split(self, name)
            left = [value[:, :1] if i in {3, 7} else value for i, value in enumerate(samples.inputs["left"])]
            return replace(samples, inputs={**samples.inputs, "left": left})

        monkeypatch.setattr(SyntheticUnique, "split", odd)

    def one(self, on_error, encoder="fcn:width=16,layers=2,time_mask=0,noise=0", **rest):
        if encoder == "frozen":
            encoder = mmkit.installed().choose("encoder", Frozen, {"time_mask": 0.0, "noise": 0.0})
        asked = {"encoders": {"series": [encoder]}, "training": self.SMALL, **rest}
        task = "synthetic-unique:train=64"
        return plan(
            mmkit.installed(), task=task, seeds=1, baselines=False, settings=Settings("cpu", on_error=on_error), **asked
        ).runs()[0]

    ENCODERS = ("fcn:width=16,layers=2,time_mask=0,noise=0", "fcn:width=16,layers=2,time_mask=0.2", "frozen")

    @pytest.mark.parametrize("encoder", ENCODERS)
    @pytest.mark.parametrize("on_error", ["skip", "missing"])
    def test_a_run_is_what_it_would_be_had_the_values_not_been_there(self, odd, monkeypatch, on_error, encoder):
        run = self.one(on_error, encoder)
        splits = run.splits(mmkit.installed())
        record, model = execute(run, splits)
        lines = [f"sample synthetic-unique-{{}}-0000{i}, input left: a series has 1 channels" for i in (3, 7)]
        for name in ("train", "validation", "test"):
            told = [one.line for one in record.unread_values if one.split == name]
            assert [line.startswith(start.format(name)) for line, start in zip(told, lines, strict=True)] == [True] * 2
            assert record.unread[name] == 2
        less = 2 if on_error == "skip" else 0
        assert record.samples.train == 64 - less
        assert record.samples.test == 512 - less
        assert [row for row, score in enumerate(record.scores) if math.isnan(score)] == [3, 7][:less]
        assert len(splits("train")) == 64  # other runs are left alone
        assert record.id == run.id(splits)

        split = SyntheticUnique.split

        def known(self, name):
            samples = split(self, name)
            if on_error == "missing":
                left = [None if i in {3, 7} else v for i, v in enumerate(samples.inputs["left"])]
                return replace(samples, inputs={**samples.inputs, "left": left})
            return mmkit.Samples(*_kept(samples))

        monkeypatch.setattr(SyntheticUnique, "split", known)
        expected, other = execute(self.one("fail", encoder))
        assert record.history == expected.history
        assert record.metrics == expected.metrics
        assert all(torch.equal(t, other.module.state_dict()[n]) for n, t in model.module.state_dict().items())

    @pytest.mark.parametrize("encoder", ENCODERS)
    def test_or_it_fails_and_says_which(self, odd, encoder):
        said = r"^sample synthetic-unique-(train|validation)-00003 and 1 more, input left: a series has 1 channels; "
        with pytest.raises(DataError, match=said):
            execute(self.one("fail", encoder))

    def test_a_class_that_training_did_not_have_is_a_truth_that_cannot_be_used(self, monkeypatch):
        split = SyntheticUnique.split

        def strange(self, name):
            samples = split(self, name)
            return replace(
                samples, truth=["77" if name == "test" and i < 2 else t for i, t in enumerate(samples.truth)]
            )

        monkeypatch.setattr(SyntheticUnique, "split", strange)
        with pytest.raises(DataError, match=r"^sample synthetic-unique-test-00000 and 1 more, truth: .*77"):
            execute(self.one("fail"))
        for on_error, without in (("skip", 0), ("missing", 2)):
            samples = execute(self.one(on_error))[0].samples
            assert (samples.test, samples.without_truth["test"]) == (510, without)

    def test_a_prediction_without_one_is_none_where_it_is_skipped(self, odd):
        _, model = execute(self.one("skip"))
        chosen = SyntheticUnique().split("test")
        samples = [{name: column[i] for name, column in chosen.inputs.items()} for i in (3, 4, 7)]
        with pytest.raises(DataError, match="sample 0 and 1 more, input left: a series has 1 channels"):
            model.predict(samples)
        answers = model.predict(samples, on_error="skip")
        assert [answer is None for answer in answers] == [True, False, True]
        assert answers[1] == model.predict(samples[1:2])[0]
        assert model.predict([{"left": "mush"}, samples[0]], on_error="skip") == [None, None]
        missing = model.predict(samples, on_error="missing")
        assert missing == model.predict([{**s, "left": s["left"] if i == 1 else None} for i, s in enumerate(samples)])

    def test_a_text_of_which_no_token_is_left_is_one_unknown_token(self):
        transform = TextTransform(stop_words="english")
        transform.fit(["a red house", "the blue sea"])
        batch = transform(["the", "\u200b", None])
        assert batch["mask"].tolist() == [[True], [True], [False]]


def _kept(samples):
    """The samples without the two odd ones, column by column."""
    index = [i for i in range(len(samples)) if i not in {3, 7}]

    def pick(column):
        return None if column is None else [column[i] for i in index]

    inputs = {name: pick(column) for name, column in samples.inputs.items()}
    return pick(samples.ids), inputs, pick(samples.truth), pick(samples.groups)
