"""The worst errors of a run with their samples: those that were wrong, as a reader sees them."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import mmkit
from mmkit.errors import DataError
from mmkit.experiments.worst import MOST, SIDE, _shown
from mmkit.records.worst import FOLDER, PICTURES, Shown, picture, read_worst
from mmkit.registry.catalog import installed

SMALL = {"fusion": "concat", "training": {"epochs": 1, "lr": 0.002}, "seeds": 1, "cost": False, "progress": False}


def kept(suite):
    runs = {record.id: record for record in suite.records if record.purpose == "comparison"}
    return [(runs[one.run], one) for one in read_worst(suite.folder, list(runs))]


def test_each_run_has_its_wrong_answers_the_worst_first(tmp_path, everything):
    plain = ["head.label_smoothing=0"]  # so that the head's loss is the log loss
    suite = mmkit.bench(task=everything, **SMALL, options=plain, baselines=False, samples=True, out=tmp_path)
    ((record, worst),) = kept(suite)
    wrong = round((1 - record.metrics["accuracy"]) * 16)
    assert len(worst.errors) == min(wrong, MOST)
    assert wrong > 0
    losses = [one.loss for one in worst.errors]
    assert losses == sorted(losses, reverse=True)
    model = mmkit.fit(task=everything, fusion="concat", options=plain, training=SMALL["training"], seed=record.seed)[0]
    samples = everything().split("test")
    for error in worst.errors:
        assert error.id == samples.ids[error.row]
        assert error.truth == samples.truth[error.row] != error.answer
        assert error.loss == pytest.approx(-np.log(error.of_truth), rel=1e-4)
        assert set(error.inputs) == set(samples.inputs)
        (answer,) = model.predict([{name: column[error.row] for name, column in samples.inputs.items()}])
        assert answer["label"] == error.answer
        assert answer["probabilities"][error.answer] == pytest.approx(error.sure, rel=1e-4)
        for name, column in samples.inputs.items():
            assert (error.inputs[name].kind == "missing") == (column[error.row] is None)
        for file in error.inputs["photo"].pictures:
            Image.open(io.BytesIO(picture(tmp_path, file))).verify()


def test_without_asking_no_value_of_a_sample_is_kept(tmp_path, everything):
    suite = mmkit.bench(task=everything, **SMALL, out=tmp_path)
    assert not (suite.folder / FOLDER).exists()


def test_asked_for_later_the_best_is_trained_again_and_the_records_stay(tmp_path, everything):
    before = mmkit.bench(task=everything, **SMALL, out=tmp_path)
    lines = (tmp_path / "records.jsonl").read_bytes()
    suite = mmkit.bench(task=everything, **SMALL, samples=True, out=tmp_path)
    assert (tmp_path / "records.jsonl").read_bytes() == lines
    ((record, worst),) = kept(suite)
    assert record == before.best.records[0]
    assert worst.errors


def test_searches_and_yardsticks_have_none_and_of_numbers_every_answer_counts(tmp_path):
    rng = np.random.default_rng(0)
    table = {"a": rng.random(120).tolist(), "words": ["so good" if i % 3 else "so bad" for i in range(120)]}
    target = [3.5 * a + 0.1 * (i % 3) for i, a in enumerate(table["a"])]
    suite = mmkit.bench(data={**table, "y": target}, target="y", **SMALL, samples=True, out=tmp_path)
    assert len(kept(suite)) == 2  # a fusion and the table alone
    assert len(list((tmp_path / FOLDER).glob("*.json"))) == 2
    for record, worst in kept(suite):
        assert len(worst.errors) == min(record.samples.test, MOST)
        gaps = [abs(float(one.truth) - float(one.answer)) for one in worst.errors]
        assert gaps[0] >= gaps[-1] - 0.01
        assert worst.errors[0].sure is None


@pytest.mark.parametrize("kind", ["text", "image", "audio", "series", "table"])
def test_every_modality_that_ships_is_shown(tmp_path, kind):
    value = installed().find("modality", kind).load()().example(torch.Generator().manual_seed(0))
    shown = _shown(value, tmp_path)
    expected = {"text": "text", "image": "picture", "audio": "curve", "series": "curve", "table": "table"}
    assert shown.kind == expected[kind]
    json.dumps(vars(shown), allow_nan=False)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(5, 200, 200, dtype=torch.uint8),  # bands of a satellite
        torch.zeros(4, 200, 200, dtype=torch.uint8),
        {"frames": torch.zeros(4, 3, 20, 20)},
        {"frames": torch.zeros(0, 3, 20, 20, dtype=torch.uint8)},
        torch.zeros(0, 3),
        (torch.zeros(1, 0), 8000),
    ],
)
def test_what_is_no_picture_and_no_curve_is_named_by_its_type(tmp_path, value):
    assert _shown(value, tmp_path) == Shown("other", type(value).__name__)


def test_a_curve_holds_its_extremes_and_a_large_picture_is_made_small(tmp_path):
    steps = torch.zeros(5000, 1)
    steps[1234], steps[4000] = 7, -3
    shown = _shown(steps, tmp_path)
    assert (max(shown.high[0]), min(shown.low[0]), len(shown.low[0])) == (7, -3, 200)
    large = torch.randint(0, 256, (3, 900, 300), dtype=torch.uint8)
    (name,) = _shown(large, tmp_path).pictures
    assert max(Image.open(io.BytesIO(picture(tmp_path, name))).size) == SIDE
    tiny = torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8)
    (name,) = _shown(tiny, tmp_path).pictures
    assert np.array_equal(np.asarray(Image.open(tmp_path / FOLDER / PICTURES / name)), tiny[0].numpy())
    assert _shown({"times": [0.0], "source": "a.mp4"}, tmp_path).kind == "other"
    clip = {"frames": torch.zeros(9, 3, 8, 8, dtype=torch.uint8), "times": torch.zeros(9)}
    assert len(_shown(clip, tmp_path).pictures) == 3


@pytest.mark.parametrize("name", ["../../etc/passwd", "a.png", f"{'0' * 32}.svg", f"/{'0' * 32}.png"])
def test_only_a_picture_of_the_folder_is_read(tmp_path, name):
    with pytest.raises(DataError, match="is no name of a picture"):
        picture(tmp_path, name)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "run.json").write_text('{"run": "run", "kind": "classes"}')
    with pytest.raises(DataError, match=r"run.json holds no errors with samples .*; remove it to do without"):
        read_worst(tmp_path, ["run"])
