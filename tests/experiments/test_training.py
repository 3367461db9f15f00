"""One model: searched, trained, calibrated and kept; and ended anywhere, it goes on to the same bits."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mmkit
from mmkit.errors import DataError, UsageError
from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.model.temperature import Temperature
from mmkit.report.card import used
from mmkit.report.values import written
from mmkit.system.progress import Progress
from mmkit.training.averaging import Best

TASK = "synthetic-unique:train=64"
SMALL = {"task": TASK, "fusion": "concat", "device": "cpu", "progress": False}
TRAINING = {"epochs": 2, "lr": 0.01, "calibrate": True}


def made(out, *, training=TRAINING, **given):
    return mmkit.fit(**{**SMALL, "training": training, "out": out, **given})


def content(folder):
    """What must be the same: weights, description, and the record without times."""
    record = json.loads((folder / "record.json").read_text())
    for name in ("seconds", "loading"):
        del record[name]
    return (folder / "model.safetensors").read_bytes(), (folder / "model.json").read_bytes(), record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "model"
    made(path)
    return path


def test_the_folder_holds_a_model_with_its_card_and_record(folder):
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {
        "README.md",
        "model.json",
        "model.safetensors",
        "record.json",
        "scores",
        "splits.parquet",
        "train.json",
        "trained_on.safetensors",
    }
    record = json.loads((folder / "record.json").read_text())
    assert (folder / record["scores"]).is_file()
    assert [phase["name"] for phase in record["phases"]] == ["training"]
    assert len(record["history"]) == 2
    model = mmkit.load(folder)
    assert model.module.temperature == Temperature("classes", record["calibrated"]["temperature"])


def test_it_is_the_model_that_fit_gives_without_a_folder(folder):
    model, record = mmkit.fit(**SMALL, training=TRAINING)
    kept = mmkit.load(folder)
    ours, theirs = model.module.state_dict(), kept.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    found = json.loads((folder / "record.json").read_text())
    assert (record.id, record.metrics, record.history) == (found["id"], found["metrics"], found["history"])


def test_a_temperature_never_makes_validation_worse_and_the_record_has_both(folder):
    found = json.loads((folder / "record.json").read_text())
    one = found["calibrated"]
    assert one["after"]["validation"]["log_loss"] <= one["before"]["validation"]["log_loss"] + 1e-9
    for split, scores in (("validation", found["validation"]), ("test", found["metrics"])):
        assert one["after"][split]["log_loss"] == pytest.approx(scores["log_loss"], rel=1e-6)
    plain = mmkit.fit(**SMALL, training={**TRAINING, "calibrate": False})[1]
    assert plain.calibrated is None
    assert plain.metrics["log_loss"] == pytest.approx(one["before"]["test"]["log_loss"], rel=1e-6)
    assert plain.metrics["accuracy"] == found["metrics"]["accuracy"]


def test_the_same_again_trains_nothing(folder, monkeypatch):
    monkeypatch.setattr("mmkit.experiments.training.execute", lambda *_, **__: pytest.fail("trained"))
    before = content(folder)
    _, record = made(folder)
    assert record.document() == json.loads((folder / "record.json").read_text())
    assert content(folder) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"training": {**TRAINING, "epochs": 3}}, "its train.epochs was 2, and now it is 3"),
        (
            {"training": {"epochs": 2, "calibrate": True}, "search": True},
            r"its train.lr was 0.01, and now it is the best",
        ),
        ({"fusion": "sum"}, "its fusion was concat, and now it is sum"),
        ({"fusion": "concat:width=32"}, "its fusion.width was 128, and now it is 32"),
        ({"seed": 1}, "its seed was 0, and now it is 1"),
        ({"refit": True}, "its refit was False, and now it is True"),
        ({"task": "synthetic-unique:train=65"}, "its task was synthetic-unique:train=64, and now it is .*train=65"),
        ({"limit": 32}, "its limit was none, and now it is 32"),
    ],
)
def test_a_folder_of_another_training_is_refused_and_says_what_changed(folder, given, message):
    with pytest.raises(UsageError, match=f"holds another training: {message}.*; choose another --out"):
        made(folder, **given)


def test_data_and_code_that_changed_are_named(folder, tmp_path):
    asked = json.loads((folder / "train.json").read_text())
    for part, name, message in (
        ("data", "train", "it is of other data: truth of train changed"),
        ("code", "mmkit-core", "it is of other code: that of mmkit-core changed"),
        ("machine", "threads", r"machine threads was other, and now it is 1"),
    ):
        changed = json.loads(json.dumps(asked))
        if part == "data":
            changed[part][name]["truth"] = "other"
        else:
            changed[part][name] = "other"
        out = tmp_path / part
        out.mkdir()
        (out / "train.json").write_text(json.dumps(changed))
        (out / "record.json").touch()
        with pytest.raises(UsageError, match=message):
            made(out)


def test_a_training_that_left_nothing_does_not_stand_in_the_way(folder, tmp_path):
    """It ended in a mistake before its first checkpoint, and is begun anew with other options."""
    asked = json.loads((folder / "train.json").read_text())
    asked["run"]["training"]["epochs"] = 77
    (tmp_path / "train.json").write_text(json.dumps(asked))
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "records.jsonl").touch()
    made(tmp_path)
    assert content(tmp_path) == content(folder)


def test_a_folder_of_something_else_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other files and no training"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_record_is_one_error(folder, tmp_path):
    (tmp_path / "train.json").write_bytes((folder / "train.json").read_bytes())
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(DataError, match=r"record.json cannot be read .*; remove it to train again"):
        made(tmp_path)
    (tmp_path / "train.json").write_text("mush")
    with pytest.raises(DataError, match=r"train.json cannot be read"):
        made(tmp_path)


def test_several_of_a_kind_are_refused():
    with pytest.raises(UsageError, match=r"got several of a kind \(fusion: concat, sum\): mmkit bench compares them"):
        mmkit.fit(**{**SMALL, "fusion": "concat,sum"})


def test_one_input_alone_can_be_trained(tmp_path):
    model, record = made(tmp_path / "m", fusion="only:left")
    assert record.fusion == "only:left"
    assert list(model.combination.encoders) == ["left"]
    with pytest.raises(UsageError, match="only:q: the task has no input q"):
        made(tmp_path / "n", fusion="only:q")


def test_the_rate_is_searched_as_bench_does(tmp_path):
    training = {"epochs": 1, "rates": [0.0005, 0.01], "calibrate": True}
    _, record = made(tmp_path / "m", training=training, search=True)
    suite = mmkit.bench(
        task=TASK,
        fusion="concat",
        training=training,
        seeds=1,
        baselines=False,
        cost=False,
        yardsticks=False,
        device="cpu",
        out=tmp_path / "suite",
        progress=False,
    )
    (compared,) = suite.records
    assert record.search == compared.search
    assert record.run["training"] == compared.run["training"]
    assert record.search.seed != record.seed


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A model, and one that was trained again on train and validation; and their folder."""
    path = tmp_path_factory.mktemp("refit")
    training = {**TRAINING, "epochs": 3}
    return made(path / "plain", training=training), made(path / "again", training=training, refit=True), path


def test_a_refit_trains_on_both_splits_for_the_epochs_that_were_found(both):
    (_, plain), (_, again), _ = both
    assert again.refit.samples == plain.samples.train + plain.samples.validation
    assert again.refit.id == plain.id != again.id
    assert again.refit.epochs == plain.averaged_epochs
    assert again.phases == plain.phases


def test_a_refit_has_the_scores_on_validation_of_what_chose_it(both):
    (_, plain), (_, again), path = both
    assert again.validation == plain.validation
    assert again.history == plain.history
    assert again.calibrated.temperature == plain.calibrated.temperature
    assert again.metrics != plain.metrics
    card = (path / "again" / "README.md").read_text()
    assert "of this model validation measures nothing" in card
    assert "of this model validation measures nothing" not in (path / "plain" / "README.md").read_text()


class Joined:
    """A task whose training split holds validation, too."""

    description, target, metric, training = "Both.", "classes", "accuracy", {}

    def __init__(self):
        chosen = mmkit.installed().choose("task", TASK)
        self.task = chosen.component(**chosen.part(chosen.component))
        self.inputs, self.encoders = self.task.inputs, self.task.encoders

    def split(self, name):
        found, other = self.task.split(name), self.task.split("validation")
        if name != "train":
            return found
        inputs = {key: [*column, *other.inputs[key]] for key, column in found.inputs.items()}
        return mmkit.Samples(
            [f"both-{i}" for i in range(len(found) + len(other))], inputs, [*found.truth, *other.truth]
        )


def test_a_refit_is_a_training_on_the_joined_split(both, monkeypatch):
    (_, plain), (model, _), _ = both
    (epoch,), planned = plain.averaged_epochs, plain.phases[0].planned
    noted = []
    kept = Best.add
    monkeypatch.setattr(
        Best, "add", lambda best, number, score, weights: (noted.append(weights()), kept(best, number, score, weights))
    )
    mmkit.fit(
        **{**SMALL, "task": Joined}, training={**TRAINING, "epochs": planned, "patience": None, "calibrate": False}
    )
    ours = {f"model.{name}": tensor for name, tensor in model.module.state_dict().items()}
    assert all(torch.equal(ours[name], noted[epoch - 1][name]) for name in ours)


class Ended(ConcatFusion):
    """Ends its process, or raises, at a training step that is counted in `sys`."""

    def forward(self, features):
        vars(sys)["steps"] = vars(sys).get("steps", 0) + self.training
        if vars(sys)["steps"] == vars(sys).get("end"):
            raise KeyboardInterrupt
        return super().forward(features)


class Told(Progress):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)

    def warn(self, message):
        self.notes.append(message)


@pytest.fixture
def ending():
    """Sets the step at which a training ends; None is never."""

    def at(step):
        vars(sys).update(steps=0, end=step)

    yield at
    del vars(sys)["steps"], vars(sys)["end"]


@pytest.mark.full
def test_a_training_that_is_ended_goes_on_to_the_same_bits(tmp_path, ending):
    """In the search, in its second training, in the training, in that on both splits; within epochs and between."""
    given = {
        "fusion": Ended,
        "training": {"epochs": 2, "rates": [0.001, 0.01], "calibrate": True, "ema": 0.9},
        "search": True,
        "refit": True,
        "checkpoint_minutes": 1e-9,
    }
    ending(None)
    made(tmp_path / "plain", **given)
    steps = vars(sys)["steps"]
    told = Told()
    went = 0
    for end in (3, 2, 5, 4, 3):
        ending(end)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "ended", **{**given, "progress": told})
        went += vars(sys)["steps"]
    assert told.notes.count(f"the training is kept in {tmp_path}/ended/checkpoint; the same command goes on there") == 5
    assert told.notes.count(f"going on from the checkpoint in {tmp_path}/ended") == 4
    ending(None)
    made(tmp_path / "ended", **given)
    assert vars(sys)["steps"] < steps
    assert content(tmp_path / "ended") == content(tmp_path / "plain")
    assert not (tmp_path / "ended" / "checkpoint").exists()


SCRIPT = """
import os, signal, sys
import mmkit
from mmkit.fusions.vectors.concat import ConcatFusion

class Killed(ConcatFusion):
    def forward(self, features):
        sys.steps = getattr(sys, "steps", 0) + self.training
        if sys.steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(features)

mmkit.fit(task="synthetic-unique:train=64", fusion=Killed, device="cpu", progress=False, out=sys.argv[1], search=True,
          training={"epochs": 2, "rates": [0.001, 0.01], "calibrate": True, "average": 2}, checkpoint_minutes=1e-9)
"""


@pytest.mark.full
def test_a_killed_process_goes_on_to_the_same_bits(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    def run(out, end):
        command = [sys.executable, "script.py", out, str(end)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert run("plain", -1)[0] == 0
    for end in (2, 3, 4, 5, 3):
        assert run("ended", end)[0] == -signal.SIGKILL
        assert not (tmp_path / "ended" / "record.json").exists()
    assert run("ended", -1) == (0, "")
    assert content(tmp_path / "ended") == content(tmp_path / "plain")


def test_the_card_says_what_was_measured(folder):
    card, record = (folder / "README.md").read_text(), json.loads((folder / "record.json").read_text())
    loss, (low, high) = record["metrics"]["log_loss"], record["intervals"]["test"]["log_loss"]
    assert f"{written(loss, 'log_loss')} [{written(low, 'log_loss')}, {written(high, 'log_loss')}] |\n" in card
    assert record["metrics"]["accuracy"] == 1.0
    assert "accuracy" not in record["intervals"]["test"]  # no draw of what is right throughout differs
    table = re.findall(r"^\| (\d\d) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|", card.partition("true")[0], re.MULTILINE)
    for (name, count, recall, precision), row, place in zip(table, record["confusion"], range(4), strict=True):
        column = [line[place] for line in record["confusion"]]
        assert name == record["names"][place]
        assert int(count) == sum(row)
        assert float(recall) == pytest.approx(100 * row[place] / sum(row), abs=0.051)
        assert float(precision) == pytest.approx(100 * row[place] / sum(column), abs=0.051)
    assert f"temperature {record['calibrated']['temperature']:.3g}" in card
    assert "## Licence\n\nNot stated." in card
    assert "Seed 0; learning rate 0.01; batches of 32" in card
    assert str(Path.cwd()) not in card


def test_the_card_has_the_licence_and_the_description_of_own_data(tmp_path, written):
    columns = {"x": [i / 8 for i in range(80)], "note": [f"{i} words and {i * i} more of them" for i in range(80)]}
    path = written({**columns, "y": ["no", "yes"] * 40}, "csv")
    made(tmp_path / "m", task="digits", data=path, target="y", fusion="late", licence="CC-BY-4.0")
    card = (tmp_path / "m" / "README.md").read_text()
    assert "## Licence\n\nCC-BY-4.0" in card
    assert "A table of 80 rows and 3 columns" in card
    assert "| note | text |" in card
    assert json.loads((tmp_path / "m" / "data.json").read_text())["fingerprint"] in card


def test_what_the_card_says_of_its_use_works_with_the_columns_of_the_table(tmp_path, written, monkeypatch, capsys):
    columns = {"picked": [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(80)], "x": [i / 8 for i in range(80)]}
    path = written({**columns, "y": ["no", "yes"] * 40}, "csv")
    made(tmp_path / "m", task="digits", data=path, target="y", fusion="late")
    monkeypatch.chdir(tmp_path / "m")
    (code,) = re.findall(r"```python\n(.*?)\n```", Path("README.md").read_text(), re.DOTALL)
    assert 'rows = [{"picked": ..., "x": ...}]' in code
    exec(code.replace('"picked": ...', '"picked": "2024-03-05"').replace('"x": ...', '"x": 2.5'), {})
    assert capsys.readouterr().out.startswith("[{'row': 0, 'label': '")


def test_the_use_of_many_columns_shows_the_first():
    found = used(["table"], [{"name": "table", "columns": list("abcdefg")}, {"name": "note", "columns": ["note"]}])
    assert 'rows = [{"a": ..., "b": ..., "c": ..., "d": ..., "e": ...}]  # and 2 columns more; ' in found


def test_intervals_are_over_the_groups_of_a_table(tmp_path, written):
    columns = {"x": [i % 17 for i in range(120)], "y": ["no", "yes"] * 60, "who": [f"p{i // 4}" for i in range(120)]}
    _, record = made(tmp_path / "m", data=written(columns, "csv"), target="y", group="who", training={"epochs": 1})
    assert record.intervals_over == ["who"]
    assert record.intervals["test"].keys() <= record.metrics.keys()
    assert "intervals by the bootstrap over groups by who" in (tmp_path / "m" / "README.md").read_text()


def test_numbers_have_no_temperature(tmp_path, written):
    columns = {"x": [i / 8 for i in range(80)], "z": [i % 9 for i in range(80)], "y": [i / 5 for i in range(80)]}
    _, record = made(tmp_path / "m", data=written(columns, "csv"), target="y")
    assert record.calibrated is None
    assert record.intervals["test"].keys() == record.metrics.keys()
    assert json.loads((tmp_path / "m" / "model.json").read_text())["temperature"] is None
