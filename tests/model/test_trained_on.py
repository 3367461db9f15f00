"""A model knows the rows that it was trained on by salted hashes: counted against the split that Python can see."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save_file

import mmkit
import mmkit.cli
from mmkit.contract import Samples
from mmkit.data.row_hashes import row_hashes
from mmkit.errors import DataError
from mmkit.experiments.measuring import evaluate_table
from mmkit.model.trained_on import FILE, TrainedOn
from mmkit.registry.builtin.tasks import FRUIT
from mmkit.registry.catalog import installed
from mmkit.sources.streaming import stream_of

QUICK = {"epochs": 1, "min_steps": 0, "batch_size": 16}


def fitted(data, target, out=None, **about):
    return mmkit.fit(
        data=data, target=target, fusion="late", training=QUICK, progress=False, device="cpu", out=out, **about
    )[0]


def known(model, data):
    found = evaluate_table(model, stream_of(data, installed()))
    return found.measured, found.known and dict(found.known.of)


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("known") / "model"
    fitted(FRUIT, "fruit", out=folder)
    return folder


@pytest.fixture(scope="module")
def sides(model):
    """The split of each row, as the training wrote it."""
    table = pyarrow.parquet.read_table(model / "splits.parquet")
    of_row = dict(zip(map(int, table["id"].to_pylist()), table["split"].to_pylist(), strict=True))
    return [of_row[row] for row in range(len(of_row))]


class TestRowsAreKnown:
    def test_each_row_of_the_table_by_its_split(self, model, sides):
        expected = {name: sides.count(name) for name in ("train", "validation")}
        assert known(mmkit.load(model), FRUIT) == (len(sides), expected)

    @pytest.mark.parametrize("side", ["train", "validation", "test"])
    def test_the_rows_of_one_split_in_another_order_and_in_another_file(self, model, sides, side, tmp_path):
        rows = [row for row, one in zip(rows_of(FRUIT), sides, strict=True) if one == side][::-1]
        table = pa.table({name: [row[name] or None for row in rows] for name in rows[0]})
        pyarrow.parquet.write_table(table, tmp_path / "some.parquet")
        expected = {"train": 0, "validation": 0} | ({side: len(rows)} if side != "test" else {})
        assert known(mmkit.load(model), tmp_path / "some.parquet") == (len(rows), expected)

    def test_a_changed_cell_is_another_row(self, model, sides):
        rows = [row for row, one in zip(rows_of(FRUIT), sides, strict=True) if one == "train"]
        for row in rows:
            row["weight"] = "12345"
        assert known(mmkit.load(model), {name: [row[name] for row in rows] for name in rows[0]})[1]["train"] == 0

    def test_columns_that_are_no_inputs_take_no_part(self, model, sides):
        rows = [row | {"fruit": "plum", "more": "1"} for row in rows_of(FRUIT)]
        table = {name: [row[name] for row in rows] for name in rows[0]}
        assert known(mmkit.load(model), table)[1]["train"] == sides.count("train")

    def test_after_training_on_validation_too_they_are_one(self, sides):
        model = fitted(FRUIT, "fruit", refit=True)
        expected = sides.count("train") + sides.count("validation")
        assert known(model, FRUIT)[1] == {"train": expected}

    def test_pictures_by_their_bytes_wherever_they_are(self, tmp_path):
        generator = np.random.default_rng(0)
        for name in ("a", "b"):
            (tmp_path / "shop" / name).mkdir(parents=True)
            for i in range(12):
                pixels = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "shop" / name / f"{i}.png")
        model = fitted(tmp_path / "shop", None)
        files = sorted((tmp_path / "shop").rglob("*.png"))
        table = {"image": [file.read_bytes() for file in files], "label": [file.parent.name for file in files]}
        counts = mmkit.inspect(tmp_path / "shop").document()["splits"]
        assert known(model, table)[1] == {name: counts[name] for name in ("train", "validation")}

    def test_a_task_that_is_no_table(self):
        model = mmkit.fit(task="synthetic-unique:train=48", training=QUICK, progress=False, device="cpu")[0]
        assert model.trained_on.rows["train"] == 48


class TestTheFile:
    def test_is_kept_and_may_be_removed(self, model, tmp_path, capsys):
        mmkit.load(model).save(tmp_path / "copy")
        assert mmkit.load(tmp_path / "copy").trained_on.rows == mmkit.load(model).trained_on.rows
        (tmp_path / "copy" / FILE).unlink()
        assert known(mmkit.load(tmp_path / "copy"), FRUIT)[1] is None
        with pytest.raises(SystemExit):
            mmkit.cli.main(["evaluate", str(tmp_path / "copy"), "--data", str(FRUIT)])
        assert "it keeps no hashes of its rows" in " ".join(capsys.readouterr().out.split())

    def test_of_another_model_is_not_believed(self, model, tmp_path):
        mmkit.load(model).save(tmp_path / "copy")
        fitted(FRUIT, "fruit", split_seed=1).save(tmp_path / "other")
        (tmp_path / "copy" / FILE).write_bytes((tmp_path / "other" / FILE).read_bytes())
        assert mmkit.load(tmp_path / "copy").trained_on is None

    @pytest.mark.parametrize("content", [b"", b"no such thing", b"\xff" * 64])
    def test_that_is_damaged_is_told_in_a_line(self, model, tmp_path, content):
        mmkit.load(model).save(tmp_path / "copy")
        (tmp_path / "copy" / FILE).write_bytes(content)
        with pytest.raises(DataError, match=r"is damaged .*no longer knows its rows"):
            mmkit.load(tmp_path / "copy")

    def test_of_the_model_before_is_not_left_beside_a_new_one(self, model, tmp_path):
        mmkit.load(model).save(tmp_path / "copy")
        (tmp_path / "plain").mkdir()
        mmkit.load(model).save(tmp_path / "plain")
        (tmp_path / "plain" / FILE).unlink()
        mmkit.load(tmp_path / "plain").save(tmp_path / "copy")
        assert not (tmp_path / "copy" / FILE).exists()

    def test_two_models_of_the_same_rows_share_no_hash(self, model):
        one, other = mmkit.load(model).trained_on, fitted(FRUIT, "fruit").trained_on
        assert one.rows == other.rows
        assert not np.isin(one.hashes["train"], other.hashes["train"]).any()

    def test_the_card_says_so_and_what_it_gives_away(self, model):
        card = (model / "README.md").read_text()
        assert FILE in card
        assert "can tell whether it is among them" in card


class TestManyRows:
    def test_a_sample_is_kept_and_estimates_the_share(self):
        texts = [f"row {i}" for i in range(6000)]

        def samples(chosen):
            return [Samples(chosen, {"text": chosen}, chosen)]

        made = TrainedOn.of({"train": samples(texts[:4000])}, {"text": "text"}, most=1000)
        assert len(made.hashes["train"]) == 1000
        assert made.rows == {"train": 4000}
        found = made.looked_up(row_hashes({"text": texts}, {"text": "text"}, made.salt))
        seen = made.counted(found)["train"]
        assert seen == 1000  # all that are kept are among the texts
        # A quarter of 6,000 on average; 5 standard deviations of a binomial around it.
        assert abs(len(found) - 1500) < 5 * (6000 * 0.25 * 0.75) ** 0.5


def test_the_command_counts_them(model, sides, capsys):
    with pytest.raises(SystemExit):
        mmkit.cli.main(["evaluate", str(model), "--data", str(FRUIT)])
    shown = capsys.readouterr().out
    assert f"{sides.count('train')} of them have the inputs of rows in the training split" in " ".join(shown.split())
    with pytest.raises(SystemExit):
        mmkit.cli.main(["evaluate", str(model), "--data", str(FRUIT), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["known"] == {
        "looked_up": len(sides),
        "of": {name: sides.count(name) for name in ("train", "validation")},
        "shared": {"train": 0, "validation": 0},
        "by": ["note"],
    }


NOTES = [f"a quiet house number {n} with a view of the lake" if n % 6 else None for n in range(60)]
HOMES: dict[str, Any] = {
    "note": NOTES,
    "mood": [("fine and quiet here", "loud and busy here", "so but very green")[n % 3] for n in range(60)],
    "size": [float(n * n % 37) for n in range(60)],
    "city": [("Bern", "Basel")[n % 2] for n in range(60)],
    "label": [("yes", "no")[n % 2] for n in range(60)],
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("homes") / "model"
    fitted(HOMES, "label", out=folder, columns={"mood": "text", "note": "text"})
    return folder


class TestSingleInputs:
    @staticmethod
    def shown(homes, table, tmp_path, capsys):
        names = list(table)
        with (tmp_path / "new.csv").open("w", newline="") as file:
            csv.writer(file).writerows([names, *zip(*table.values(), strict=True)])
        with pytest.raises(SystemExit):
            mmkit.cli.main(["evaluate", str(homes), "--data", str(tmp_path / "new.csv")])
        return " ".join(capsys.readouterr().out.split())

    def test_rows_with_another_value_or_a_column_less_are_known_by_their_text(self, homes, tmp_path, capsys):
        model = mmkit.load(homes)
        table = pyarrow.parquet.read_table(homes / "splits.parquet")
        sides = dict(zip(map(int, table["id"].to_pylist()), table["split"].to_pylist(), strict=True))
        expected = {
            name: sum(sides[n] == name and NOTES[n] is not None for n in range(60)) for name in ("train", "validation")
        }
        changed = HOMES | {"size": [one + 0.5 for one in HOMES["size"]]}
        lacking = {name: values for name, values in HOMES.items() if name != "size"}
        for data in (changed, lacking):
            found = evaluate_table(model, stream_of(data, installed())).known
            assert (found.of, found.shared, found.by) == ({"train": 0, "validation": 0}, expected, ["note"])
            said = self.shown(homes, data, tmp_path, capsys)
            assert f"{expected['train']} others have the note of rows in the train split" in said
            assert ("1 column that the model reads is not there" in said) == (data is lacking)

    def test_values_that_repeat_tell_no_row(self, homes):
        assert list(mmkit.load(homes).trained_on.inputs) == ["note"]
        other = HOMES | {"note": [f"nobody has seen this one before, number {n}" for n in range(60)]}
        found = evaluate_table(mmkit.load(homes), stream_of(other, installed())).known
        assert found.shared == {"train": 0, "validation": 0}

    def test_a_row_that_is_known_whole_is_not_counted_again(self, homes):
        found = evaluate_table(mmkit.load(homes), stream_of(HOMES, installed())).known
        assert found.of["train"] > 30
        assert found.shared == {"train": 0, "validation": 0}

    def test_files_without_them_are_read_and_know_whole_rows(self, homes, tmp_path):
        model = mmkit.load(homes)
        model.save(tmp_path / "old")
        path = tmp_path / "old" / FILE
        with safe_open(path, "np") as file:
            about, whole = file.metadata(), {name: file.get_tensor(name) for name in file.keys() if "/" not in name}  # noqa: SIM118
        save_file(whole, path, about)
        found = evaluate_table(mmkit.load(tmp_path / "old"), stream_of(HOMES, installed())).known
        assert (found.of["train"] > 30, found.shared, found.by) == (True, {"train": 0, "validation": 0}, [])
