"""Splits that are files of their own are kept, and what they share is told."""

import random

import pytest
from PIL import Image

import mmkit
from mmkit.errors import DataError, MmkitError, UsageError
from mmkit.sources.given import files_of_splits
from mmkit.tasks.own_data import OwnData


def rows(count, seed):
    draw = random.Random(seed)
    return {
        "text": [f"a sentence number {draw.randrange(10**9)} of some words" for _ in range(count)],
        "user": [f"user {draw.randrange(20)}" for _ in range(count)],
        "label": [["a", "b"][i % 2] for i in range(count)],
    }


@pytest.fixture
def files(written):
    return {name: written(rows(60, seed), "csv", name) for seed, name in enumerate(("train", "validation", "test"))}


def splits(task):
    return {name: list(task.split(name).inputs["text"]) for name in ("train", "validation", "test")}


def test_each_file_is_a_split(files, tmp_path):
    expected = {name: sorted(rows(60, seed)["text"]) for seed, name in enumerate(files)}
    given = ",".join(f"{name}={path}" for name, path in files.items())
    for data, said in {
        "": given,
        str(tmp_path): "train=train.csv,validation=validation.csv,test=test.csv",
        files["train"]: "validation=validation.csv, test = test.csv",
        str(tmp_path / "train.csv"): given,
    }.items():
        task = OwnData(data=data, target="label", splits=said)
        assert {name: sorted(texts) for name, texts in splits(task).items()} == expected
        assert task.found.how == "as given: train train.csv, validation validation.csv, test test.csv"


def test_validation_that_is_missing_is_cut_from_train_as_it_would_be_without_test(files):
    task = OwnData(data=files["train"], target="label", splits=f"test={files['test']}")
    found = splits(task)
    assert sorted(found["test"]) == sorted(rows(60, 2)["text"])
    assert sorted(found["train"] + found["validation"]) == sorted(rows(60, 0)["text"])
    assert len(found["validation"]) == 12  # 15 of 75
    assert task.found.how.endswith("; validation is cut from train, seed 0")


def test_python_gives_tables_for_splits(files, frame):
    parts = {"validation": frame(rows(60, 1)), "test": files["test"]}
    found = mmkit.inspect(frame(rows(60, 0)), target="label", splits=parts)
    plain = OwnData(
        data=files["train"], target="label", splits=f"validation={files['validation']},test={files['test']}"
    )
    assert found.identity == plain.found.identity


def test_what_the_files_share_is_a_warning_with_counts(written, files):
    table, other = rows(60, 2), rows(60, 0)
    table = {name: [*other[name][:7], *column[7:]] for name, column in table.items()}
    test = written(table, "csv", "overlapping")
    found = OwnData(data=files["train"], target="label", splits=f"test={test}", group=("user",)).found
    texts = [one.text for one in found.findings if one.level == "warning"]
    assert any(text.startswith("the given splits share copies: 7 rows of validation and test") for text in texts)
    users, sides = other["user"] + table["user"], found.sides.tolist()
    of_user = {user: {side for one, side in zip(users, sides, strict=True) if one == user} for user in users}
    shared = sum(min(of_user[user]) < side for user, side in zip(users, sides, strict=True))
    assert any(f"splits share values of user: {shared} rows" in text for text in texts)


def test_a_changed_file_of_a_split_is_noticed(files, written):
    about = {"data": files["train"], "target": "label", "splits": f"test={files['test']}"}
    before = OwnData(**about).identity
    written(rows(61, 5), "csv", "test")
    assert OwnData(**about).identity != before


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("train=train.csv", UsageError, "names no file of test"),
        ("tset=test.csv,train=train.csv", UsageError, "got 'tset=test.csv'; did you mean test"),
        ("test=a.csv,test=b.csv", UsageError, "names test twice"),
        ("test=train.csv", UsageError, "train and test are the one file"),
        ("train=validation.csv,test=test.csv", UsageError, "give one of them"),
        ("test=tset.csv", DataError, r"there is no file or folder .*tset\.csv.*did you mean .*test\.csv"),
        ("test=other.csv", DataError, "do not go together: one of them has no column 'label'"),
        ("test=own.csv", DataError, "has a column 'split' of its own"),
        ("test=pictures", MmkitError, "a folder of classes"),
    ],
)
def test_files_that_are_no_splits(files, written, tmp_path, said, error, words):
    written({name: cells for name, cells in rows(60, 3).items() if name != "label"}, "csv", "other")
    written({**rows(60, 3), "split": ["x"] * 60}, "csv", "own")
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "pictures" / "a" / "1.png")
    with pytest.raises(error, match=words):
        OwnData(data=files["train"], target="label", splits=said)


def test_a_name_that_is_in_both_places_is_not_chosen(files, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "test.csv").write_text("x\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"test\.csv is in .* and here, too; write \./test\.csv, or the whole path"):
        OwnData(data=files["train"], target="label", splits="test=test.csv")


def test_a_file_may_have_commas_and_equal_signs_in_its_name():
    assert files_of_splits("train=a,b.csv,test=c=d.csv") == {"train": "a,b.csv", "test": "c=d.csv"}
    assert files_of_splits("my column") is None
