"""Explanations look into pretrained models of pictures and sounds; of videos they say that they do not."""

import pytest
from mmkit_transformers.plugin import AUDIO_EXAMPLE, IMAGE_EXAMPLE, VIDEO_EXAMPLE

import mmkit
from mmkit.testing import tiny_task

EXAMPLES = {"audio": AUDIO_EXAMPLE, "image": IMAGE_EXAMPLE, "video": VIDEO_EXAMPLE}


def explained(modality, options="", make=None):
    task = tiny_task({"a": modality, "b": "text"}, {} if make is None else {"a": make}, train=16, held_out=8)
    model, _ = mmkit.fit(
        task=task,
        encoders={"a": f"transformers-{modality}:model={EXAMPLES[modality]}{options}", "b": "bag"},
        fusion="concat",
        training={"epochs": 1, "tune_epochs": 1, "min_steps": 0, "lr": 0.01, "tune_lr": 0.001},
        device="cpu",
        progress=False,
    )
    samples = task().split("test").inputs
    return model.explain({name: column[0] for name, column in samples.items()})


@pytest.mark.parametrize("options", ["", pytest.param(",tune=full", marks=pytest.mark.full)])
def test_pictures(options):
    one = explained("image", options).inside["a"]
    assert one.method == "integrated gradients", one.reason
    assert one.gap <= 0.02 * abs(one.gained) + 1e-3
    assert max(map(abs, one.values)) > 0


@pytest.mark.parametrize("options", ["", pytest.param(",tune=full", marks=pytest.mark.full)])
def test_sounds(options):
    one = explained("audio", options).inside["a"]
    assert one.parts.unit == "s"
    assert one.parts.edges[0] == 0
    assert one.parts.edges[-1] == pytest.approx(one.parts.length)
    assert max(map(abs, one.values)) > 0


def test_videos_are_counted_and_not_looked_into():
    video = pytest.importorskip("mmkit_video.modality").Video()
    found = explained("video", make=lambda number, generator: video.example(generator))
    assert found.unknown == ("a",)
    assert set(found.inside) == {"b"}
    assert "Not looked into, since mmkit does not know what its parts are: a." in str(found)
