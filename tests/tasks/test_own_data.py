"""A user's own table as a task: the same rows are the same task, whatever the source."""

import random

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import mmkit
from mmkit.data.splits import splits_of
from mmkit.errors import DataError, MmkitError, UsageError
from mmkit.experiments.plan import plan
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from mmkit.tasks.own_data import OwnData

CHINESE = {"joy": "我喜欢这个图片", "sorrow": "这个图片让我感到悲伤", "pride": "我爱北京天安门"}


def rows(count=90, seed=0):
    """A table with a text, a code with leading zeros, numbers with gaps, a date, a group and a class."""
    draw = random.Random(seed)
    labels = [list(CHINESE)[i % 3] for i in range(count)]
    return {
        "text": [f"{CHINESE[label]}。第{i}张" for i, label in enumerate(labels)],
        "zip": [f"{draw.randrange(500, 520):05}" for _ in labels],
        "size": [None if i % 7 == 0 else round(draw.gauss(len(label), 2), 2) for i, label in enumerate(labels)],
        "day": [f"2024-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}" for _ in labels],
        "user": [f"user {i // 3}" for i in range(count)],
        "label": labels,
    }


def task(data, **options):
    return OwnData(data=data, target="label", **options)


def told(found):
    """A description but for where the data was, and for types that only some sources have."""
    document = found.document()
    columns = [{key: one[key] for key in ("name", "missing", "is")} for one in document["columns"]]
    return {**document, "source": {}, "columns": columns}


def test_it_is_a_task(written):
    made = task(written(rows(), "csv"))
    assert dict(made.inputs) == {"text": "text", "table": "table"}
    assert (made.target, made.metric, made.epoch_metric) == ("classes", "accuracy", "log_loss")
    counts = {name: len(made.split(name)) for name in ("train", "validation", "test")}
    assert sum(counts.values()) == 90
    assert 45 <= counts["train"] <= 63


@pytest.fixture
def every_source(written, frame):
    """The same rows from every kind of source."""
    table = rows()
    kinds = ("csv", "tsv", "jsonl", "parquet", "feather")
    paths = {kind: written(table, kind) for kind in kinds}
    return paths | {"frame": OwnData.options(frame(table), "label", {})["data"], "mapping": mmkit_name(table)}


def mmkit_name(data):
    return OwnData.options(data, "label", {})["data"]


def test_the_same_rows_give_the_same_description_splits_and_identity(every_source):
    found = {kind: task(data) for kind, data in every_source.items()}
    first = found["csv"]
    for kind, other in found.items():
        assert told(other.found) == told(first.found), kind
        assert other.identity == first.identity, kind
        for name in ("train", "validation", "test"):
            mine, its = first.split(name), other.split(name)
            assert (list(mine.ids), list(mine.truth)) == (list(its.ids), list(its.truth)), kind
            for one in mine.inputs:
                assert list(mine.inputs[one]) == list(its.inputs[one]), (kind, one)


def test_another_cell_option_or_split_is_another_identity(written, tmp_path):
    table = rows()
    known = {task(written(table, "csv")).identity}
    other = table | {"size": [*table["size"][:-1], 99.0]}
    for made in (
        task(written(other, "csv", "other")),
        task(written(table, "csv"), split_seed=1),
        task(written(table, "csv"), columns={"zip": "text"}),
        task(written(table, "csv"), columns={"day": "ignore"}),
        task(written(table, "csv"), group=("user",)),
    ):
        assert made.identity not in known
        known.add(made.identity)


def test_a_moved_file_is_the_same_run(written):
    table, catalog = rows(), installed()
    ids = set()
    for kind, name in (("csv", "here"), ("csv", "there"), ("parquet", "here")):
        chosen = catalog.choose("task", "own-data", {"data": written(table, kind, name), "target": "label"})
        (run, *_) = plan(catalog, task=chosen, settings=Settings("cpu")).runs()
        ids.add(run.id(run.splits(catalog)))
    assert len(ids) == 1


def test_no_group_stands_in_two_splits_and_the_splits_keep_the_classes_alike(written):
    made = task(written(rows(300), "parquet"), group=("user",))
    groups = {name: set().union(*made.split(name).factors.values()) for name in ("train", "validation", "test")}
    assert not groups["train"] & (groups["test"] | groups["validation"])
    truth = made.split("train").truth
    assert all(abs(truth.count(label) / len(truth) - 1 / 3) < 0.05 for label in CHINESE)


def test_train_is_earlier_than_test_and_the_time_is_no_input(written):
    table = rows()
    made = task(written(table, "csv"), time="day")
    of = {str(row): day for row, day in enumerate(table["day"])}
    latest = max(of[row] for row in made.split("train").ids)
    assert latest < min(of[row] for row in made.split("validation").ids)
    assert latest < min(of[row] for row in made.split("test").ids)
    assert not any(key.startswith("day") for key in made.split("train").inputs["table"][0])


def test_rows_are_named_by_the_column_that_names_them(written):
    table = rows() | {"name": [f"post {n}" for n in range(90)]}
    made = task(written(table, "csv"), id="name")
    assert set(made.split("test").ids) <= set(table["name"])
    same = {name: made.split(name).ids for name in ("train", "test")}
    turned = {key: column[::-1] for key, column in table.items()}
    again = task(written(turned, "csv", "turned"), id="name")
    assert {name: sorted(again.split(name).ids) for name in same} == {name: sorted(ids) for name, ids in same.items()}


def test_given_splits_are_kept(written):
    table = rows() | {"part": ["train"] * 50 + ["validation"] * 20 + ["test"] * 20}
    made = task(written(table, "csv"), splits="part")
    assert sorted(map(int, made.split("test").ids)) == list(range(70, 90))
    assert "part" not in made.split("test").inputs["table"][0]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"target": "lable"}, UsageError, "has no column lable; did you mean label"),
        ({"target": ""}, UsageError, "which column of .* is to be predicted"),
        ({"columns": {"zap": "text"}}, UsageError, "zap"),
        ({"columns": {"zip": "txt"}}, UsageError, "txt"),
        ({"columns": {"label": "text"}}, UsageError, "column label is the target, and no input"),
        ({"group": ("usr",)}, UsageError, "--group: .* has no column usr; did you mean user"),
        ({"group": ("label",)}, UsageError, "--group: column label is the target"),
        ({"id": "zip"}, DataError, "--id: .* stands in column zip more than once"),
        ({"id": "size"}, DataError, "--id: row 0 has no value in column size"),
        ({"splits": "part"}, UsageError, "--splits: .* has no column part"),
        ({"splits": "60/40"}, UsageError, "60/40"),
        ({"columns": dict.fromkeys(("text", "zip", "size", "day", "user"), "ignore")}, DataError, "no column left"),
        ({"files": "nowhere"}, UsageError, "--files takes a folder"),
    ],
)
def test_what_cannot_be_followed_is_one_error(written, options, error, said):
    given = {"data": written(rows(), "csv"), "target": "label"} | options
    with pytest.raises(error, match=said):
        OwnData(**given)


def test_a_target_without_any_truth_is_refused(written):
    with pytest.raises(MmkitError, match="label"):
        task(written(rows() | {"label": pa.nulls(90, pa.string())}, "parquet"))


def test_rows_without_truth_are_in_no_split(written):
    table = rows()
    table["label"] = [None if n % 10 == 0 else label for n, label in enumerate(table["label"])]
    made = task(written(table, "csv"))
    ids = [row for name in ("train", "validation", "test") for row in made.split(name).ids]
    assert sorted(map(int, ids)) == [n for n in range(90) if n % 10]
    assert made.found.document()["target"]["missing"] == 9


def test_pictures_in_folders_by_class_with_texts_about_them(tmp_path, written):
    draw = random.Random(0)
    for n in range(60):
        label = list(CHINESE)[n % 3]
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True, exist_ok=True)
        colour = [(220, 40, 40), (40, 40, 220), (220, 200, 40)][n % 3]
        picture = Image.new("RGB", (draw.randint(16, 40), draw.randint(16, 40)), colour)
        picture.putpixel((n % 16, n // 16), (n, n, n))
        picture.save(folder / f"{n}.png")
    made = OwnData(data=str(tmp_path / "photos"))  # the sub-folder is the class
    assert dict(made.inputs) == {"image": "image"}
    assert sorted(set(made.split("train").truth)) == sorted(CHINESE)
    table = {
        "photo": [f"{list(CHINESE)[n % 3]}/{n}.png" for n in range(60)],
        "text": [f"{list(CHINESE.values())[n % 3]}。{n}" for n in range(60)],
        "label": [list(CHINESE)[n % 3] for n in range(60)],
    }
    beside = task(written(table, "csv"), files=str(tmp_path / "photos"))
    assert dict(beside.inputs) == {"photo": "image", "text": "text"}
    _, record = mmkit.fit(
        data=table,
        target="label",
        files=tmp_path / "photos",
        encoders={"photo": "lenet"},
        fusion="late",
        training={"epochs": 8},
        progress=False,
    )
    assert record.metrics["accuracy"] > 0.9  # colour and words tell the class


def test_the_door_of_python_takes_frames_mappings_and_paths(frame, written, tmp_path):
    table = rows()
    for data in (frame(table), table, written(table, "parquet"), tmp_path / "table.parquet"):
        found = mmkit.inspect(data, target="label", columns={"zip": "category"}, group="user")
        assert found.kinds["zip"] == "category"
        assert "group" in repr(found)
    assert mmkit.inspect(table).target is None
    listed = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    one, other = (mmkit.inspect(data, target="label") for data in (listed, table))
    assert one.identity == other.identity
    del listed[0]["zip"]
    assert (
        mmkit.inspect(listed, target="label").source.columns["zip"][0].as_py() is None
    )  # a value that is left out is missing


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"data": [1]}, "a mapping of column to sequence or a list of rows, each a mapping; got a list"),
        ({"target": "label"}, "target says something of data"),
        ({"group": "user"}, "group says something of data"),
        ({"task": "digits", "fusions": ["concat"]}, r"bench has no parameter fusions; did you mean fusion\?"),
        ({"data": {"a": ["x"]}, "target": "a", "colums": {}}, "no parameter colums; did you mean columns"),
        ({"data": {"a": ["x"]}, "target": "a", "epochs": 2}, r'epochs is an option of training; .*={"epochs": 2}'),
        ({"data": {"a": [*"xyz"] * 9, "b": [*range(27)]}}, r"is to be predicted\? target=COLUMN, one of a, b"),
    ],
)
def test_the_door_of_python_says_what_is_wrong(given, said):
    with pytest.raises(UsageError, match=said):
        mmkit.bench(**given)


def test_arrays_and_pictures_of_python_are_inputs():
    draw = np.random.default_rng(0)
    count = 40
    table = {
        "signal": [draw.normal(size=(10 + n % 3, 2)) + n % 2 for n in range(count)],
        "picture": [Image.new("L", (8, 8), 100 * (n % 2) + n) for n in range(count)],
        "sound": [(draw.normal(size=800).astype(np.float32) / 10, 8000) for _ in range(count)],
        "label": [n % 2 for n in range(count)],
    }
    model, record = mmkit.fit(
        data=table, target="label", fusion="late", training={"epochs": 2, "min_steps": 0}, progress=False
    )
    assert sorted(record.encoders) == ["picture", "signal", "sound"]
    assert len(model.predict([{"signal": table["signal"][0]}], on_error="missing")) == 1


def test_folders_named_as_splits_are_the_splits(tmp_path):
    for n in range(40):
        folder = tmp_path / ("test" if n < 12 else "train") / "ab"[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 5 * n).save(folder / f"{n}.png")
    made = OwnData(data=str(tmp_path))
    assert {int(name.rpartition("/")[2][:-4]) for name in photos(made, "test")} == set(range(12))
    assert made.found.count("validation") > 0
    assert made.found.how == "as column split says; validation is cut from train, seed 0"


def photos(made, split):
    return list(made.split(split).inputs["image"])


@pytest.mark.parametrize("limit", [None, 12])
def test_a_file_that_must_not_be_read_is_one_value_that_cannot_be_used(tmp_path, written, limit):
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(30):
        Image.new("L", (8, 8), 8 * n).save(folder / f"{n}.png")
    (folder / "3.png").unlink()
    (folder / "4.png").unlink()
    (folder / "4.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "secret.png").write_bytes(b"secret")
    table = {"photo": [f"{n}.png" for n in range(30)], "label": ["ab"[n % 2] for n in range(30)]}
    given = {"data": written(table, "csv"), "files": str(folder), "columns": {"photo": "image"}, "target": "label"}
    catalog = installed()
    chosen = catalog.choose("task", "own-data", given)
    told_ = []
    for on_error in ("missing", "skip"):
        splits = splits_of(chosen, catalog, Settings("cpu", limit=limit, on_error=on_error))
        for name in ("train", "validation", "test"):
            splits(name)
        told_.append(sorted(line for lines in splits.unread.values() for line in lines))
    assert told_[0] == told_[1]
    if limit is None:
        assert [line for line in told_[0] if "there is no file 3.png" in line]
        assert [line for line in told_[0] if "4.png' lies outside of the folder" in line]
        assert len(told_[0]) == 2
        splits = splits_of(chosen, catalog, Settings("cpu"))
        with pytest.raises(DataError, match=r"sample [34], input photo: "):
            list(map(splits, ("train", "validation", "test")))
