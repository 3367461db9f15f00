"""More than half of an input broken is an error whatever is done with single values: in every command."""

import numpy as np
import pytest
from PIL import Image

import mmkit
import mmkit.cli
from mmkit.data.bad_values import MostlyBrokenError
from mmkit.errors import DataError

ROWS = 60
QUICK = {"epochs": 1, "min_steps": 0, "batch_size": 16, "lr": 0.002}
POLICIES = ("skip", "missing")


def folder_of(path, broken):
    """A table of pictures, of which so many are no pictures."""
    path.mkdir()
    generator = np.random.default_rng(0)
    lines = ["image,price,label"]
    for row in range(ROWS):
        name = f"{row}.png"
        if row % 10 < broken / ROWS * 10:
            (path / name).write_bytes(b"\x89PNG no more of it " + str(row).encode())
        else:
            Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path / name)
        lines.append(f"{name},{row + 0.5},{'ab'[row % 2]}")
    (path / "table.csv").write_text("\n".join(lines) + "\n")
    return path / "table.csv"


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """A table with 6 of 60 broken."""
    return folder_of(tmp_path_factory.mktemp("some") / "data", 6)


@pytest.fixture(scope="module")
def most(tmp_path_factory):
    """A table with 48 of 60 broken."""
    return folder_of(tmp_path_factory.mktemp("most") / "data", 48)


@pytest.fixture(scope="module")
def model(some, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    mmkit.fit(
        data=some, target="label", on_error="missing", training=QUICK, fusion="late", progress=False, device="cpu"
    )[0].save(folder)
    return folder


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run_(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return end.value.code, out, " ".join(err.split())

    return run_


TOLD = "values looked at cannot be used, more than half"


@pytest.mark.parametrize("on_error", POLICIES)
class TestEachCommand:
    def test_bench(self, run, most, some, on_error):
        asked = ("--target", "label", "--on-error", on_error, "--epochs", 1, "--lr", 0.002, "--fusion", "late")
        code, _, err = run("bench", "--data", most, *asked, "--dry-run")
        assert (code, TOLD in err) == (4, True)
        assert "input image" in err
        assert run("bench", "--data", some, *asked, "--dry-run")[0] == 0

    def test_train(self, run, most, tmp_path, on_error):
        asked = ("--target", "label", "--on-error", on_error, "--epochs", 1, "--lr", 0.002, "--fusion", "late")
        code, _, err = run("train", "--data", most, *asked, "--out", tmp_path / "model")
        assert (code, TOLD in err) == (4, True)

    def test_predict_and_evaluate(self, run, model, most, some, tmp_path, on_error):
        out = tmp_path / "answers.csv"
        code, _, err = run("predict", model, "--data", most, "--out", out, "--on-error", on_error)
        assert (code, TOLD in err) == (4, True)
        assert list(tmp_path.iterdir()) == []
        code, _, err = run("evaluate", model, "--data", most, "--on-error", on_error)
        assert (code, TOLD in err) == (4, True)
        assert run("predict", model, "--data", some, "--out", out, "--on-error", on_error)[0] == 0
        assert run("evaluate", model, "--data", some, "--on-error", on_error)[0] == 0

    def test_a_column_of_numbers_that_are_words(self, run, model, some, tmp_path, on_error):
        lines = some.read_text().splitlines()
        words = [line.rsplit(",", 2) for line in lines[1:]]
        text = "\n".join([lines[0], *(f"{image},much,{label}" for image, _, label in words)])
        (some.parent / f"words-{on_error}.csv").write_text(text)
        code, _, err = run(
            "predict", model, "--data", some.parent / f"words-{on_error}.csv", "--out", tmp_path / "a.csv",
            "--on-error", on_error,
        )  # fmt: skip
        assert (code, TOLD in err) == (4, True)
        assert "column price: 60 of the 60" in err

    def test_python(self, model, most, on_error):
        loaded = mmkit.load(model)
        with pytest.raises(DataError, match="more than half"):
            list(loaded.answers(most, on_error=on_error))
        rows = [{"image": path} for path in sorted(most.parent.glob("*.png"))]
        with pytest.raises(DataError, match="more than half"):
            loaded.predict(rows, on_error=on_error)
        assert len(loaded.predict(rows[:2], on_error=on_error)) == 2  # of a few values it may be chance


def test_pieces_are_counted_together(model, most, monkeypatch):
    """Half of the first rows of a table may be broken where its other rows are not."""
    from mmkit.sources import streaming

    monkeypatch.setattr(streaming, "PIECE", 20)
    good = [str(path) for path in sorted(most.parent.glob("*.png")) if path.stat().st_size > 60]
    bad = [str(path) for path in sorted(most.parent.glob("*.png")) if path.stat().st_size <= 60]
    table = {"image": [*bad[:20], *good[:12], *good[:12]], "price": [1.5] * 44}
    loaded = mmkit.load(model)
    assert sum(one.num_rows for one in loaded.answers(table, on_error="missing", outside=True)) == 44
    table = {"image": [*bad[:23], *good[:12], *good[:9]], "price": [1.5] * 44}
    with pytest.raises(DataError, match="23 of the 44"):
        list(loaded.answers(table, on_error="missing", outside=True))


def test_what_a_transform_rejects_counts_too(monkeypatch):
    from mmkit.transforms.series import SeriesTransform

    plain = SeriesTransform.fit

    def picky(self, values):
        from mmkit.errors import ValuesError

        reasons = {place: "odd" for place, value in enumerate(values) if value is not None and place % 3}
        if reasons:
            raise ValuesError(reasons)
        plain(self, values)

    monkeypatch.setattr(SeriesTransform, "fit", picky)
    with pytest.raises(MostlyBrokenError, match=r"input \w+: 32 of the 48 values"):
        mmkit.fit(task="synthetic-unique:train=48", training=QUICK, on_error="missing", progress=False, device="cpu")
