"""Films in which a square moves and a tone sounds: both together tell the class, from files to the records."""

import importlib.util
import json
import re
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from mmkit_video.sound import audio_track

import mmkit
from mmkit.errors import DataError
from mmkit.experiments.costs import Costs, measure_costs
from mmkit.experiments.plan import plan
from mmkit.testing import check

README = Path(__file__).parent.parent / "README.md"
SPLITS = {"train": 48, "validation": 24, "test": 32}
TRAINING = {"epochs": 12, "min_steps": 0, "lr": 3e-3}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", partial(measure_costs, rounds=6, max_seconds=0.5))


def event(number, generator):
    """Frames [10 32 32 3] of a square that moves right or left, a tone [1 N], and which of four events they are."""
    right, high = number % 2, number // 2 % 2
    top, start, level = generator.integers(2, 22), generator.integers(0, 32), generator.integers(120, 250)
    frames = generator.integers(0, 60, (10, 32, 32, 3)).astype(np.uint8)
    for t in range(10):
        left = start + (2 if right else -2) * t
        frames[t, top : top + 8, np.arange(left, left + 8) % 32] = level
    pitch = generator.uniform(1800, 2200) if high else generator.uniform(500, 700)
    at = np.arange(16000) / 16000
    wave = generator.uniform(0.1, 0.3) * np.sin(2 * np.pi * pitch * at) + 0.02 * generator.standard_normal(16000)
    return frames, wave[None], f"{'right' if right else 'left'}, {'high' if high else 'low'}"


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """Paths and labels by split."""
    folder, generator, found = tmp_path_factory.mktemp("events"), np.random.default_rng(0), {}
    for split, count in SPLITS.items():
        found[split] = []
        for number in range(count):
            frames, wave, label = event(number, generator)
            path = folder / f"{split}-{number}.mp4"
            with av.open(str(path), "w") as container:
                pictures = container.add_stream("libx264", rate=10)
                pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
                pictures.codec_context.thread_count = 1
                pictures.options = {"bf": "2", "crf": "18"}
                track = container.add_stream("aac", rate=16000, layout="mono")
                for pixels in frames:
                    container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                container.mux(pictures.encode())
                tone = av.AudioFrame.from_ndarray(wave.astype(np.float32), format="fltp", layout="mono")
                tone.sample_rate, tone.pts = 16000, 0
                container.mux(track.encode(tone))
                container.mux(track.encode())
            found[split].append((str(path), label))
    return found


@pytest.fixture
def task(events):
    """Which event is seen and heard? One path is the raw value of both inputs."""

    class Events:
        description = "Squares that move and tones that sound, generated; files are disjoint."
        sound = "video-audio"

        def __init__(self):
            self.inputs = {"frames": "video", "sound": self.sound}
            self.target, self.metric = "classes", "accuracy"
            frames = "video-cnn:size=32,frames=6,width=32,layers=2"
            self.encoders = {"frames": frames, "sound": "mel-cnn:width=16,layers=4"}
            self.training = TRAINING

        def split(self, name):
            paths, labels = zip(*events[name], strict=True)
            return mmkit.Samples(paths, {"frames": paths, "sound": paths}, labels)

    return Events


@pytest.mark.full
def test_fusion_is_above_both_inputs_alone(task, tmp_path):
    suite = mmkit.bench(
        task=task,
        fusion="concat",
        seeds=1,
        device="cpu",
        training={"lr": 5e-3},
        out=tmp_path / "suite",
        cache=tmp_path / "c",
    )
    scores = {record.fusion: record.metrics["accuracy"] for record in suite.records}
    assert set(scores) == {"concat", "only:frames", "only:sound"}
    # Each input alone tells two classes from two: .5 is all that it can be sure of.
    assert scores["concat"] > 0.85
    assert max(scores["only:frames"], scores["only:sound"]) < 0.7


def test_a_model_is_saved_loaded_and_answers_from_paths_and_bytes(task, events, tmp_path):
    model, record = mmkit.fit(task=task, fusion="concat", device="cpu", training={"epochs": 2}, limit=16)
    model.save(tmp_path / "model")
    paths = [path for path, _ in events["test"][:3]]
    samples = [{"frames": path, "sound": path} for path in paths]
    samples += [{"frames": Path(paths[0]).read_bytes()}, {"sound": paths[1]}, {}]
    assert mmkit.load(tmp_path / "model").predict(samples) == model.predict(samples)
    assert record.plugins["mmkit-video"]


def test_the_same_sound_as_raw_values_of_audio(task, events):
    class Explicit(task):  # type: ignore[misc,valid-type]
        sound = "audio"

        def split(self, name):
            samples = super().split(name)
            tracks = [audio_track(path) for path in samples.inputs["sound"]]
            return mmkit.Samples(samples.ids, {"frames": samples.inputs["frames"], "sound": tracks}, samples.truth)

    rest = {"fusion": "concat", "device": "cpu", "training": {"epochs": 2, "min_steps": 0}, "limit": 16}
    one, other = (mmkit.fit(task=made, **rest)[1] for made in (task, Explicit))
    assert one.scores == other.scores
    assert one.history == other.history


def test_a_video_without_a_track_and_one_that_is_damaged(task, film, tmp_path):
    (tmp_path / "torn.mp4").write_bytes(b"hello")
    silent = str(film("silent.mp4", count=10, size=(32, 32)))

    class Worse(task):  # type: ignore[misc,valid-type]
        def split(self, name):
            samples = super().split(name)
            paths = [str(tmp_path / "torn.mp4"), silent, *samples.ids[2:]]
            return mmkit.Samples(samples.ids, {"frames": paths, "sound": paths}, samples.truth)

    rest = {"fusion": "concat", "device": "cpu", "training": {"epochs": 1, "min_steps": 0}, "limit": 16}
    with pytest.raises(DataError, match=r"sample .*train-0\.mp4, input frames: .*torn\.mp4 cannot be read"):
        mmkit.fit(task=Worse, **rest)
    _, record = mmkit.fit(task=Worse, on_error="missing", **rest)
    assert record.unread["train"] == 2  # the torn one, in both inputs; a silent film's sound is just missing


def test_frames_of_a_frozen_image_encoder_are_encoded_once(task, tmp_path, monkeypatch):
    monkeypatch.setattr("mmkit.experiments.steps.measure_costs", lambda *_, **__: Costs({}, {}))
    if importlib.util.find_spec("mmkit_timm") is None:
        pytest.skip("mmkit-timm is not installed")
    encoder = 'video-frames:frames=4,encoder="timm:model=test_vit,weights=none,size=32"'
    rest = {"fusion": "concat", "seeds": 1, "device": "cpu", "training": {"epochs": 1, "min_steps": 0, "lr": 2e-3}}
    suite = mmkit.bench(
        task=task, encoders={"frames": encoder}, **rest, limit=16, out=tmp_path / "suite", cache=tmp_path / "cache"
    )
    assert all(r.encoded_once == ["frames"] for r in suite.records if r.fusion != "only:sound")
    found = [json.loads(about.read_text())["of"] for about in (tmp_path / "cache").glob("*/about.json")]
    assert len(found) == 3  # one of each split, for all runs
    # A new version of what is inside, or of what that is built on, never meets them.
    for where in (*found, suite.records[0].document()):
        assert set(where["plugins"]) >= {"mmkit-video", "mmkit-timm"}
        assert set(where["libraries"]) >= {"av", "timm"}


def test_the_task_keeps_the_contract(task):
    report = check("task", task)
    assert report.ok, report


def test_what_the_readme_says_is_what_is_planned(events, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, found in events.items():
        for path, label in found:
            place = tmp_path / "clips" / name / str(label) / Path(path).name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    asked = {}
    monkeypatch.setattr(mmkit, "bench", lambda **given: asked.update(given))
    exec(code, {})
    found = plan(mmkit.installed(), task=asked["task"], encoders=asked["encoders"], fusions=[asked["fusion"]])
    assert len(found.combinations) == 2 * 2
    test = asked["task"]().split("test")
    assert sorted(path.name for path in test.inputs["sound"]) == sorted(Path(path).name for path, _ in events["test"])
    assert set(test.truth) == {str(label) for _, label in events["test"]}
