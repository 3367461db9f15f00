"""Films made at test time."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _repeatable():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def frame(number, size=(32, 48)):
    """A frame that differs from all others, and from itself turned or mirrored."""
    height, width = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 7 * number % 256
    pixels[number % height, :, 1] = 255
    pixels[:, 2 * number % width, 2] = 200
    pixels[: height // 4, : width // 4] = 255
    return pixels


def write(path, frames, *, codec="libx264", rate=10, gop=10, options=None, at=None, rotation=None, sound=None):
    """A film of those frames [H W 3].

    Args:
        path: whose ending says the format.
        frames: uint8.
        codec: of the pictures.
        rate: frames per second.
        gop: frames from keyframe to keyframe.
        options: of the codec.
        at: milliseconds at which each frame is shown; None is evenly.
        rotation: degrees by which a viewer turns the frames against the clock.
        sound: float [channels N] at 16 kHz.
    """
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(codec, rate=rate)
        pictures.height, pictures.width = frames[0].shape[:2]
        pictures.pix_fmt, pictures.gop_size = "yuvj420p" if codec == "mjpeg" else "yuv420p", gop
        pictures.codec_context.thread_count = 1
        pictures.options = options or {}
        if rotation is not None:
            pictures.set_display_rotation(rotation)
        if at is not None:
            pictures.codec_context.time_base = Fraction(1, 1000)
        track = None
        if sound is not None:
            track = container.add_stream("aac", rate=16000, layout={1: "mono", 2: "stereo"}[len(sound)])
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if at is not None:
                frame.pts, frame.time_base = int(at[number]), Fraction(1, 1000)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        if track is not None:
            wave = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound, np.float32), format="fltp", layout=track.layout.name
            )
            wave.sample_rate, wave.pts = 16000, 0
            container.mux(track.encode(wave))
            container.mux(track.encode())
    return path


def whole(path):
    """Every frame as it is stored, [T H W 3], and its time in seconds: the slow and obvious way."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [frame.time for frame in frames]


KINDS = {
    "b-frames.mp4": {"options": {"bf": "3", "b-adapt": "0"}},
    "open-gop.mp4": {"options": {"bf": "3", "b-adapt": "0", "x264-params": "open-gop=1:scenecut=0"}},
    "refresh.mp4": {"options": {"x264-params": "intra-refresh=1:bframes=2"}},  # no frame stands by itself
    "refresh.mkv": {"options": {"x264-params": "intra-refresh=1:bframes=2"}},
    "b-frames.mkv": {"options": {"bf": "2"}},
    "b-frames.ts": {"options": {"bf": "2"}},
    "raw.h264": {"options": {"bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"bf": "2"}, "rate": 25},
    "mpeg2.mkv": {"codec": "mpeg2video", "options": {"bf": "2"}, "rate": 25},
    "mpeg4.mkv": {"codec": "mpeg4", "options": {"bf": "2"}},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "7"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"row-mt": "0", "cpu-used": "8", "deadline": "realtime"}},
    "h265.mp4": {  # of narrower frames libx265 frees what it has not allocated
        "codec": "libx265",
        "options": {"x265-params": "log-level=none:pools=none:frame-threads=1:bframes=3"},
        "size": (64, 64),
    },
    "jpeg.avi": {"codec": "mjpeg"},
    "uneven.mp4": {"options": {"bf": "2"}, "at": np.cumsum(np.random.default_rng(0).integers(10, 200, 35)).tolist()},
    "uneven.mkv": {"options": {"bf": "2"}, "at": np.cumsum(np.random.default_rng(1).integers(10, 200, 35)).tolist()},
}


@pytest.fixture
def film(tmp_path):
    """Writes a film of 35 frames of its own kind, or what else is asked for."""

    def make(name="b-frames.mp4", count=35, **rest):
        kind = {"size": (32, 48), **KINDS.get(name, {}), **rest}
        size = kind.pop("size")
        return write(tmp_path / name, [frame(number, size) for number in range(count)], **kind)

    return make


@pytest.fixture
def slow():
    """Decodes every frame of a file."""
    return whole


@pytest.fixture
def writer():
    """Writes a film of given frames."""
    return write
