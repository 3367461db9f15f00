"""An input that is missing throughout is said before anything is trained, and missing values are counted."""

import pytest

import mmkit
from mmkit.contract import Samples
from mmkit.errors import DataError
from mmkit.experiments.plan import plan
from mmkit.experiments.suite import carry_out
from mmkit.system.progress import Progress

SMALL = {"epochs": 1, "min_steps": 0}


class Texts:
    """Two texts, of which a test leaves some out."""

    description = "Two texts."

    def __init__(self, *, lacking: str = "none", column: str = "b"):
        self.inputs = {"a": "text", "b": "text"}
        self.target, self.metric, self.encoders, self.training = "classes", "accuracy", {}, {}
        self.lacking, self.column = lacking.split("+"), column

    def split(self, name):
        rows = [f"{['red', 'blue'][i % 2]} fox {i}" for i in range(20)]
        others = [None] * 20 if name in self.lacking else [None if i % 4 == 0 else row for i, row in enumerate(rows)]
        truth = [None if i == 19 else "uv"[i % 2] for i in range(20)]
        return Samples([f"{name}-{i}" for i in range(20)], {"a": rows, self.column: others}, truth)


def bench(tmp_path, **options):
    choice = mmkit.installed().choose("task", Texts, options)
    return mmkit.bench(task=choice, fusion="concat", seeds=1, training=SMALL, device="cpu", out=tmp_path, cost=False)


def test_an_input_without_a_value_in_train_and_validation_is_an_error(tmp_path):
    with pytest.raises(DataError, match="input b is missing in every sample of train and validation; leave the input"):
        bench(tmp_path, lacking="train+validation")
    assert (tmp_path / "records.jsonl").read_bytes() == b""


def test_a_column_of_another_name_is_named(tmp_path):
    with pytest.raises(DataError, match=r"the samples have no column of that name: did you mean bb\?"):
        bench(tmp_path, column="bb")


def test_a_model_is_not_fitted_on_such_an_input_either():
    choice = mmkit.installed().choose("task", Texts, {"column": "bb"})
    with pytest.raises(DataError, match="input b is missing in every sample of train and validation"):
        mmkit.fit(task=choice, fusion="concat", training=SMALL, device="cpu")


def test_an_input_that_only_train_lacks_is_warned_of_once_before_training(tmp_path):
    told = []

    class Told(Progress):
        def warn(self, message):
            told.append(message)

        def update(self, what, done, total=None):
            if what == "epochs":
                assert told

    choice = mmkit.installed().choose("task", Texts, {"lacking": "train"})
    planned = plan(mmkit.installed(), task=choice, fusions=["concat", "sum"], seeds=1, training=SMALL)
    suite = carry_out(planned, tmp_path, mmkit.installed(), cost=False, progress=Told())
    assert not [record for record in suite.failures if record.fusion != "only:b"]
    assert told == ["input b is missing in every training sample, though not in validation: nothing is learnt of it"]


def test_missing_values_stand_in_the_record_and_in_the_report(tmp_path):
    suite = bench(tmp_path, lacking="test")
    both = next(record for record in suite.records if record.fusion == "concat")
    assert both.samples.missing == {
        "train": {"a": 0, "b": 5},
        "validation": {"a": 0, "b": 5},
        "test": {"a": 0, "b": 19},
    }
    alone = next(record for record in suite.records if record.fusion == "only:a")
    assert alone.samples.missing == {name: {"a": 0} for name in ("train", "validation", "test")}
    line = "missing values of b: 5 of 19 in train, 5 of 19 in validation, 19 of 19 in test"
    assert line in suite._repr_html_()
    assert "missing values of a" not in suite._repr_html_()
