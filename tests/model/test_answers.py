"""The answers to a table are those of `predict`, row by row, whatever the table is."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

import mmkit
from mmkit.contract import Samples
from mmkit.errors import DataError, UsageError
from mmkit.model.answers import Asked, answers
from mmkit.registry.catalog import installed
from mmkit.sources.streaming import Stream, stream_of
from mmkit.transforms.truth import Categories, Numbers

QUICK = {"epochs": 1, "min_steps": 0, "batch_size": 16}


def rows(count=60, seed=0):
    draw = random.Random(seed)
    labels = [("low", "high")[i % 2] for i in range(count)]
    return {
        "key": [f"row-{seed}-{i}" for i in range(count)],
        "size": [None if i % 9 == 2 else round(draw.gauss(len(label), 1), 3) for i, label in enumerate(labels)],
        "colour": [draw.choice(["red", "green", "blue"]) for _ in labels],
        "note": [
            None if i % 7 == 3 else f"a {label} one of many, said {draw.random():.3f}" for i, label in enumerate(labels)
        ],
        "label": labels,
    }


def fitted(data, target="label", **about):
    return mmkit.fit(data=data, target=target, fusion="concat", training=QUICK, progress=False, device="cpu", **about)[
        0
    ]


@pytest.fixture(scope="module")
def model():
    return fitted(rows(), id="key")


@pytest.fixture
def reloaded(model, tmp_path):
    model.save(tmp_path / "model")
    return mmkit.load(tmp_path / "model")


def joined(model, data, **asked):
    return pa.concat_tables(list(model.answers(data, **asked)))


absent = pytest.mark.filterwarnings("ignore:column .* is not in the table, and counts as missing in every row")
"""Of tests whose tables lack columns that the model reads."""


def one_by_one(model, table):
    """The answers to the same rows, each alone, with inputs that are made by hand."""
    found = []
    for note, size, colour in zip(table["note"], table["size"], table["colour"], strict=True):
        inputs = {"note": [note], "table": [{"size": size, "colour": colour}]}
        (batch,) = model.predictions(model.decoded(Samples(["0"], inputs, [None])))
        found += model.transforms.truth.inverse(batch)
    return found


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "feather"])
def test_they_are_the_answers_of_predict(reloaded, written, kind):
    table = rows(30, seed=1)
    expected = one_by_one(reloaded, table)
    without = {name: values for name, values in table.items() if name != "label"}
    found = joined(reloaded, written(without, kind), include=["colour"])
    assert found.column_names == ["key", "colour", "label", "probability_high", "probability_low"]
    assert found["key"].to_pylist() == table["key"]
    assert found["label"].to_pylist() == [one["label"] for one in expected]
    for name in ("high", "low"):
        assert np.allclose(found[f"probability_{name}"], [one["probabilities"][name] for one in expected], atol=1e-6)


def test_a_frame_and_a_mapping_are_answered_alike(reloaded, frame):
    table = rows(30, seed=1)
    assert joined(reloaded, frame(table)) == joined(reloaded, table)


def test_pieces_change_nothing_but_rounding(reloaded):
    table = rows(30, seed=1)
    stream = stream_of(table, installed())
    small = [one.table for one in answers(reloaded, Stream(stream.data, stream.media, size=7), Asked())]
    assert [len(one) for one in small] == [7, 7, 7, 7, 2]
    whole = joined(reloaded, table)
    assert pa.concat_tables(small)["label"] == whole["label"]
    assert np.allclose(pa.concat_tables(small)["probability_low"], whole["probability_low"], atol=1e-6)


@absent
def test_values_that_cannot_be_read(reloaded):
    table = {"size": ["1.5", "huge", "2"], "note": ["a", "b", "c"], "key": ["x", "y", "z"]}
    with pytest.raises(DataError, match=r"row 1, column size: 'huge' is not a number, as it was in training; on_err"):
        joined(reloaded, table)
    blank = joined(reloaded, {**table, "size": ["1.5", None, "2"]})
    assert joined(reloaded, table, on_error="missing") == blank
    skipped = joined(reloaded, table, on_error="skip")
    assert skipped["key"].to_pylist() == ["x", "y", "z"]
    assert skipped["label"].is_valid().to_pylist() == [True, False, True]
    assert skipped["label"].to_pylist()[2] == blank["label"].to_pylist()[2]
    (found,) = answers(reloaded, stream_of(table, installed()), Asked(on_error="skip"))
    assert (found.skipped, [(one.row, one.column) for one in found.unread]) == (1, [(1, "size")])


@absent
def test_where_every_row_is_skipped_there_are_rows_all_the_same(reloaded):
    found = joined(reloaded, {"size": ["a", "b"]}, on_error="skip")
    assert (found.column_names, found["row"].to_pylist()) == (["row"], [0, 1])


def test_missing_columns_are_counted(reloaded):
    (found,) = answers(reloaded, stream_of({"note": ["a", None], "Size": [1, 2]}, installed()), Asked())
    assert found.missing == {"note": 1, "table": 2}
    assert set(found.absent) == {"size", "colour"}
    assert found.table["row"].to_pylist() == [0, 1]


def test_missing_columns_are_said_once(reloaded, written):
    with pytest.warns(UserWarning, match="counts as missing in every row") as told:
        joined(reloaded, {"note": ["a"] * 5000, "Size": [1] * 5000})
    meant = "column size is not in the table, and counts as missing in every row; did you mean its column Size?"
    assert sorted(str(one.message) for one in told) == [
        "column colour is not in the table, and counts as missing in every row", meant
    ]  # fmt: skip
    assert {one.filename for one in told} == {__file__}
    path = written({"note": ["a"] * 5000, "size": [1.5] * 5000, "colour": ["red"] * 5000}, "jsonl")
    lines = Path(path).read_text().splitlines()
    lines[4096:] = [line.replace('"colour"', '"shade"') for line in lines[4096:]]
    Path(path).write_text("\n".join(lines))
    with pytest.warns(UserWarning, match=r"^column colour is not there in 904 of 5,000 rows$"):
        joined(reloaded, path)


def test_rows_of_python_are_answered_as_those_of_a_file(tmp_path):
    draw = random.Random(0)
    made = [
        {"place": {"city": draw.choice("xyz"), "at": {"lat": draw.gauss(0, 1)}}, "point": [draw.random(), n / 60, 1.5]}
        for n in range(60)
    ]
    made[7]["place"] = None
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({**row, "label": "ab"[n % 2]}) for n, row in enumerate(made)))
    model = fitted(path)
    assert set(model.layout["columns"]) >= {"place.city", "place.at.lat", "point"}
    expected = joined(model, path)
    columns = {name: [row[name] for row in made] for name in made[0]}
    points = np.array(columns["point"])
    for data in (made, columns, *({**columns, "point": one} for one in (points, list(points), torch.tensor(points)))):
        assert joined(model, data) == expected
    with pytest.raises(DataError, match="is not a list of 3 numbers, as it was in training"):
        joined(model, {**columns, "point": [np.ones((2, 2))] * 60})


@absent
def test_an_included_column_of_the_name_of_an_answer_is_kept_apart(reloaded):
    found = joined(reloaded, {"note": ["a"], "label": ["true"]}, include=["label"])
    assert found["label_given"].to_pylist() == ["true"]
    assert found["label"].to_pylist()[0] in {"low", "high"}


def test_names_of_rows_in_a_column_of_the_name_of_an_answer_are_kept():
    table = {("label" if name == "key" else "y" if name == "label" else name): v for name, v in rows(30).items()}
    model = fitted(table, "y", id="label")
    found = joined(model, table, include=["y"])
    assert found.column_names == ["label_given", "y", "label", "probability_high", "probability_low"]
    assert found["label_given"].to_pylist() == table["label"]
    assert set(found["label"].to_pylist()) <= {"low", "high"}
    stream = stream_of({**table, "size": [*["1"] * 29, "huge"]}, installed())
    pieces = answers(model, Stream(stream.data, stream.media, size=29), Asked(on_error="skip"))
    assert [one.table.column_names[0] for one in pieces] == ["label_given"] * 2


@absent
@pytest.mark.parametrize("include", [["label_given", "label"], ["label", "label_given", "label"]])
def test_included_columns_are_kept_apart_from_each_other(reloaded, include):
    table = {"note": ["a"], "size": ["1"], "label": ["true"], "label_given": ["mine"]}
    found = joined(reloaded, table, include=include)
    assert found["label_given"].to_pylist() == ["mine"]
    assert found["label_given_given"].to_pylist() == ["true"]


def test_what_is_asked_is_checked(reloaded):
    with pytest.raises(UsageError, match=r"^include: the table has no column nte; did you mean note\?"):
        joined(reloaded, {"note": ["a"]}, include=["nte"])
    with pytest.raises(UsageError, match="on_error is one of"):
        reloaded.answers({"note": ["a"]}, on_error="drop")
    with pytest.raises(UsageError, match="batch_size is 1 or more"):
        reloaded.answers({"note": ["a"]}, batch_size=0)
    with pytest.raises(UsageError, match="batch_size is 1 or more; got '8'"):
        reloaded.evaluate(rows(), batch_size="8")
    with pytest.raises(DataError, match="no column that the model reads"):
        joined(reloaded, {"x": [1]})


def test_several_numbers_have_the_names_of_their_columns():
    table = {name: values for name, values in rows().items() if name != "label"}
    table |= {"height": [i / 7 for i in range(60)], "width": [i / 3 for i in range(60)]}
    model = fitted(table, target="height,width")
    found = joined(model, rows(5, seed=1))
    expected = one_by_one(model, rows(5, seed=1))
    for place, name in enumerate(("height", "width")):
        assert np.allclose(found[f"value_{name}"], [one["values"][place] for one in expected], atol=1e-5)


def test_labels_are_lists():
    table = rows() | {"label": [["a"], ["b", "a"], [], ["b"]] * 15}
    model = fitted(table)
    found = joined(model, rows(5, seed=1))
    assert found.schema.field("labels").type == pa.list_(pa.string())
    expected = one_by_one(model, rows(5, seed=1))
    assert found["labels"].to_pylist() == [one["labels"] for one in expected]
    assert np.allclose(found["probability_b"], [one["probabilities"]["b"] for one in expected], atol=1e-6)


def test_images_are_read_from_their_folder_and_from_bytes(tmp_path):
    (tmp_path / "img").mkdir()
    for i in range(24):
        noise = np.random.default_rng(i).integers(0, 60, (24, 24, 3), np.uint8) + np.uint8(150 * (i % 2))
        Image.fromarray(noise).save(tmp_path / "img" / f"{i}.png")
    names = [f"img/{i}.png" for i in range(24)]
    path = tmp_path / "t.csv"
    path.write_text("photo,label\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(names)))
    model = fitted(path)
    found = joined(model, {"photo": names[:4]}, files=tmp_path)
    bytes_ = [(tmp_path / name).read_bytes() for name in names[:4]]
    assert joined(model, {"photo": bytes_}) == found
    expected = model.predict([{"photo": tmp_path / name} for name in names[:4]])
    assert found["label"].to_pylist() == [one["label"] for one in expected]
    (tmp_path / "img" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"row 1, input photo: "):
        joined(model, {"photo": names[:4]}, files=tmp_path)
    with pytest.raises(DataError, match="outside of the folder"):
        joined(model, {"photo": ["../t/img/0.png"]}, files=tmp_path / "img")
    assert joined(model, {"photo": names[:4]}, files=tmp_path, on_error="skip")["label"].is_valid().to_pylist() == [
        True, False, True, True,
    ]  # fmt: skip


@absent
def test_a_model_of_a_task_reads_columns_by_the_names_of_its_inputs(everything, tmp_path):
    model, _ = mmkit.fit(task=everything, fusion="late", training=QUICK, progress=False, device="cpu")
    model.save(tmp_path / "model")
    model = mmkit.load(tmp_path / "model")
    assert model.layout is None
    table = {
        "title": ["a word", None],
        "signal": [np.ones((5, 2)).tolist(), None],
        "type": [{"height": 1.0, "weight": 2.0, "shape": "round", "sold": True}, None],
    }
    samples = [{name: column[i] for name, column in table.items()} for i in range(2)]
    signal = next(one.shape[1] for one in everything().split("train").inputs["signal"] if one is not None)
    samples[0]["signal"] = table["signal"][0] = np.ones((5, signal)).tolist()
    found = joined(model, table)
    expected = model.predict(samples)
    assert found["label"].to_pylist() == [one["label"] for one in expected]
    assert np.allclose(found["probability_a"], [one["probabilities"]["a"] for one in expected], atol=1e-6)


def test_a_truth_transform_without_columns_is_read_by_its_inverse(reloaded, monkeypatch):
    monkeypatch.delattr(Categories, "columns")
    found = joined(reloaded, rows(4, seed=1))
    assert found.column_names == ["key", "label", "probabilities_high", "probabilities_low"]
    expected = one_by_one(reloaded, rows(4, seed=1))
    assert found["label"].to_pylist() == [one["label"] for one in expected]


def test_columns_are_what_inverse_says():
    classes, numbers = Categories("classes"), Numbers("scalar")
    classes.fit(["b", "a", "c"])
    numbers.fit([1e9, 1e9 + 1, 1e9 + 3])
    prediction = {"probabilities": torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])}
    found, answers_ = classes.columns(prediction), classes.inverse(prediction)
    assert found["label"] == [one["label"] for one in answers_] == ["b", "a"]
    assert list(found["probability_c"]) == [one["probabilities"]["c"] for one in answers_]
    prediction = {"values": torch.zeros(2, 1), "standardised": torch.tensor([[0.0], [1.0]])}
    assert list(numbers.columns(prediction)["value"]) == [one["value"] for one in numbers.inverse(prediction)]


def test_the_layout_is_signed_with_the_model(model, tmp_path):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    description = json.loads(path.read_text())
    assert description["layout"]["columns"]["size"]["kind"] == "number"
    assert description["layout"]["target"]["columns"] == ["label"]
    description["layout"]["columns"]["size"]["form"]["style"] = "comma"
    path.write_text(json.dumps(description))
    with pytest.raises(DataError, match="was changed after it was saved"):
        mmkit.load(tmp_path / "model")
