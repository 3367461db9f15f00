"""`mmkit evaluate`: a saved model on labelled rows; its metrics against scikit-learn's, from the file of answers."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from rich.cells import cell_len
from sklearn import metrics as sk

import mmkit
import mmkit.cli.evaluate
from mmkit.errors import DataError, UsageError
from mmkit.experiments.measuring import Evaluated, Metric, OfClass, evaluate_table
from mmkit.metrics.curves import AREAS
from mmkit.metrics.intervals import drawn_anew, interval
from mmkit.model.answers import Asked
from mmkit.model.trained import MultimodalModel
from mmkit.registry.builtin.tasks import FRUIT
from mmkit.registry.catalog import installed
from mmkit.sources.streaming import stream_of
from mmkit.system.progress import Progress
from mmkit.tasks.own_data import OwnData

QUICK = {"epochs": 2, "min_steps": 0, "batch_size": 16}


def fitted(data, target, **about):
    return mmkit.fit(data=data, target=target, fusion="late", training=QUICK, progress=False, device="cpu", **about)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    fitted(FRUIT, "fruit").save(folder)
    return folder


def measured(model, data, target=(), **asked):
    return evaluate_table(model, stream_of(data, installed()), target, Asked(**asked))


def test_its_metrics_are_those_of_scikit_learn_on_the_answers(run, model):
    code, out, _ = run("evaluate", model, "--data", FRUIT, "--json")
    assert code == 0
    document = json.loads(out)
    (found,) = mmkit.load(model).answers(FRUIT)
    with Path(FRUIT).open(newline="") as file:
        truth = [row["fruit"] for row in csv.DictReader(file)]
    names = ["apple", "pear", "plum"]
    said = found["label"].to_pylist()
    shares = np.stack([found[f"probability_{name}"] for name in names], 1).astype(float)
    values = {name: one["value"] for name, one in document["metrics"].items()}
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
    assert values["f1_macro"] == pytest.approx(sk.f1_score(truth, said, average="macro", zero_division=0))
    assert values["log_loss"] == pytest.approx(sk.log_loss(truth, shares / shares.sum(1, keepdims=True)), abs=1e-5)
    assert values["auroc_macro"] == pytest.approx(sk.roc_auc_score(truth, shares, multi_class="ovr"), abs=1e-6)
    assert document["confusion"] == sk.confusion_matrix(truth, said, labels=names).tolist()
    precision, recall, f1, support = sk.precision_recall_fscore_support(truth, said, labels=names, zero_division=0)
    for place, one in enumerate(document["classes"]):
        assert (one["name"], one["rows"]) == (names[place], support[place])
        expected = [precision[place], recall[place], f1[place]]
        assert [one["precision"], one["recall"], one["f1"]] == pytest.approx(expected)
        area = sk.average_precision_score([one == names[place] for one in truth], shares[:, place])
        assert one["average_precision"] == pytest.approx(area, abs=1e-6)
    assert (document["rows"], document["measured"], document["without_truth"]) == (120, 120, 0)


def test_the_rows_of_test_give_the_metrics_of_the_record(tmp_path):
    model, record = mmkit.fit(data=FRUIT, target="fruit", fusion="late", training=QUICK, progress=False, device="cpu")
    model.save(tmp_path / "model")
    lines = Path(FRUIT).read_text().splitlines()
    rows = sorted(int(one) for one in OwnData(data=FRUIT, target="fruit").split("test").ids)
    data = tmp_path / "test.csv"
    data.write_text("\n".join([lines[0], *(lines[1 + row] for row in rows)]) + "\n")
    found = measured(mmkit.load(tmp_path / "model"), data)
    assert found.measured == len(rows) == record.samples.test
    assert found.confusion == record.confusion
    assert {name: one.value for name, one in found.metrics.items()} == pytest.approx(record.metrics, abs=1e-6)


def test_what_is_printed_fits_eighty_columns(run, model):
    code, out, err = run("evaluate", model, "--data", FRUIT)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert lines[0] == f"{FRUIT}: 120 of 120 rows measured"
    assert any(line.startswith("accuracy  ") for line in lines)
    assert "confusion: a row is the truth, a column what it was taken for" in lines
    assert "rows count as independent: too narrow where several are of one person or source" in lines


def test_names_in_any_script_fit_eighty_columns():
    names = ["柿の実の写真", "梨の実の写真", "林檎の実の写真", "とても長い名前の果物の実の写真とその説明"]
    classes = [OfClass(name, 4, 0.5, 0.5, 0.5, 0.5) for name in names]
    metrics = {"accuracy": Metric(0.5, 0.25, 0.75)}
    found = Evaluated(16, 16, 0, {}, 0, {}, metrics, 1000, classes, [[1] * 4] * 4, [], [])
    told = list(mmkit.cli.evaluate.lines("data.csv", found))
    assert max(map(cell_len, told)) <= 80
    assert sum("梨の実の写真" in line for line in told) == 2  # of classes, and beside the matrix


def test_the_column_of_the_truth_may_have_a_comma_in_its_name(run, model):
    Path("commas.csv").write_text('weight,"fruit, told"\n100,apple\n110,pear\n120,plum\n')
    code, out, _ = run("evaluate", model, "--data", "commas.csv", "--target", "fruit, told", "--json")
    assert (code, json.loads(out)["measured"]) == (0, 3)


def test_truth_that_the_model_does_not_know_is_listed(run, model):
    Path("labelled.csv").write_text("weight,fruit\n100,apple\n110,mango\n120,kiwi\n130,mango\n140,\n150, pear \n")
    code, _, err = run("evaluate", model, "--data", "labelled.csv")
    assert code == 4
    assert (
        "the truth of 3 rows, row 1 the first, cannot be taken: class 'mango' is none that the model knows (2)" in err
    )
    assert "class 'kiwi' is none that the model knows (1); the model knows apple, pear, plum" in err
    code, out, _ = run("evaluate", model, "--data", "labelled.csv", "--on-error", "skip")
    assert code == 0
    assert out.splitlines()[:4] == [
        "labelled.csv: 2 of 6 rows measured",
        "  1 left out: the truth is missing",
        "  2 left out: class 'mango' is none that the model knows",
        "  1 left out: class 'kiwi' is none that the model knows",
    ]


def test_values_that_cannot_be_read_are_counted(run, model):
    Path("labelled.csv").write_text("weight,fruit\nheavy,apple\n110,plum\n120,pear\n")
    code, _, err = run("evaluate", model, "--data", "labelled.csv")
    assert (code, "row 0, column weight: 'heavy' is not a number" in err) == (4, True)
    code, out, err = run("evaluate", model, "--data", "labelled.csv", "--on-error", "skip")
    assert (code, "  1 left out: a value cannot be used" in out, "row 0, weight" in err) == (0, True, True)
    code, out, _ = run("evaluate", model, "--data", "labelled.csv", "--on-error", "missing")
    assert (code, out.splitlines()[0]) == (0, "labelled.csv: 3 of 3 rows measured")
    assert "rows in which an input is missing: note 3, table 1" in out


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("weight,frut\n1,apple\n", 2, "has no column fruit; did you mean frut?"),
        ("weight,fruit\n1,\n", 4, "no row has truth in fruit"),
        ("other,fruit\n1,apple\n", 4, "no column that the model reads"),
    ],
)
def test_a_mistake_is_one_line(run, model, text, code, said):
    Path("labelled.csv").write_text(text)
    found, out, err = run("evaluate", model, "--data", "labelled.csv")
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1


def test_truth_in_a_column_of_another_name(run, model):
    text = Path(FRUIT).read_text().replace("fruit", "truth", 1)
    Path("labelled.csv").write_text(text)
    code, out, _ = run("evaluate", model, "--data", "labelled.csv", "--target", "truth", "--json")
    expected = run("evaluate", model, "--data", FRUIT, "--json")[1]
    assert (code, json.loads(out)["metrics"]) == (0, json.loads(expected)["metrics"])


def test_numbers_are_measured_as_they_are_answered():
    count = 80
    generator = np.random.default_rng(0)
    table = {"x": generator.normal(size=count).tolist(), "colour": ["red", "blue"] * (count // 2)}
    table["price"] = [f"${1000 + 300 * x:,.2f}" if i % 8 else None for i, x in enumerate(table["x"])]
    model = fitted(table, "price")
    found = measured(model, table)
    said = pa.concat_tables(list(model.answers(table)))["value"].to_numpy()
    true = np.array([np.nan if one is None else float(one[1:].replace(",", "")) for one in table["price"]])
    known = ~np.isnan(true)
    assert (found.measured, found.without_truth) == (70, 10)
    assert found.metrics["mae"].value == pytest.approx(sk.mean_absolute_error(true[known], said[known]))
    assert found.metrics["r2"].value == pytest.approx(sk.r2_score(true[known], said[known]))
    low, high = found.metrics["mae"][1:]
    assert low < found.metrics["mae"].value < high
    bad = measured(model, table | {"price": ["dear", *table["price"][1:]]}, on_error="skip")
    assert (bad.measured, sum(bad.unknown.values())) == (70, 1)


def test_columns_of_training_keep_their_numbers_in_any_order():
    table = {"x": [i % 11 / 3 for i in range(60)], "height": [150.0 + i % 11 for i in range(60)]}
    table["mass"] = [60.0 - i % 11 for i in range(60)]
    model = fitted(table, ["height", "mass"])
    expected = measured(model, table).metrics
    assert measured(model, table, ["mass", "height"]).metrics == expected
    renamed = {"x": table["x"], "cm": table["height"], "mass": table["mass"]}
    assert measured(model, renamed, ["cm", "mass"]).metrics == expected
    with pytest.raises(UsageError, match="names a column twice: height, height"):
        measured(model, table, ["height", "height"])
    with pytest.raises(UsageError, match=r"predicts height, mass in this order.* and mass stands elsewhere"):
        measured(model, renamed, ["mass", "cm"])


def test_what_components_print_while_the_model_is_loaded_is_beside_the_document(run, model, monkeypatch):
    load = MultimodalModel.load

    def talkative(*arguments, **named):
        print("weights are read")
        return load(*arguments, **named)

    monkeypatch.setattr(MultimodalModel, "load", talkative)
    code, out, err = run("evaluate", model, "--data", FRUIT, "--json")
    assert code == 0
    assert "weights are read" in err
    assert json.loads(out)["rows"] == 120


def test_python_measures_what_the_command_prints(run, model):
    document = json.loads(run("evaluate", model, "--data", FRUIT, "--json")[1])
    for name in ("model", "data"):
        del document[name]
    loaded = mmkit.load(model)
    found = [
        mmkit.evaluate(model, data=FRUIT, progress=False, device="cpu"),
        mmkit.evaluate(loaded, data=FRUIT, target="fruit", threads=1, progress=False),
        loaded.evaluate(FRUIT),
        loaded.evaluate(FRUIT, target=["fruit"], batch_size=7),
    ]
    assert [json.loads(json.dumps(one.document())) for one in found[:3]] == [document] * 3
    assert found[3].metrics["accuracy"] == found[0].metrics["accuracy"]
    with pytest.raises(UsageError, match="has no column frui"):
        loaded.evaluate(FRUIT, target="frui")


def test_shares_are_spoken_of_where_there_are_some(run, model, tmp_path):
    assert "\nshares in percent; intervals over 200 draws" in run("evaluate", model, "--data", FRUIT)[1]
    numbers = {"x": [i % 7 / 8 for i in range(60)], "y": [i % 7 * 1.5 + i / 64 for i in range(60)]}
    fitted(numbers, "y").save(tmp_path / "numbers")
    pa.parquet.write_table(pa.table(numbers), tmp_path / "numbers.parquet")
    code, out, _ = run("evaluate", tmp_path / "numbers", "--data", tmp_path / "numbers.parquet")
    assert (code, "in percent" in out) == (0, False)
    assert "\nintervals over 200 draws of the rows, not over trainings" in out


def test_lists_of_numbers_are_measured_in_csv_as_well():
    pairs = [[i / 3, i / 5] for i in range(60)]
    table = {"x": [i / 7 for i in range(60)], "y": pairs}
    model = fitted(table, "y")
    found = measured(model, table)
    written = measured(model, {"x": table["x"], "y": [str(one) for one in pairs]})
    assert found.metrics == written.metrics
    assert found.measured == 60
    bad = measured(model, {"x": [1.0, 2.0], "y": ["[1, 2, 3]", "[1, 2]"]}, on_error="skip")
    assert (bad.measured, sum(bad.unknown.values())) == (1, 1)


def test_labels_are_measured_as_they_are_answered():
    kinds = ["a|b", "a", "b", "b|c"] * 15
    table = {"x": [i / 7 for i in range(60)], "kind": kinds}
    model = fitted(table, "kind")
    found = measured(model, table)
    said = pa.concat_tables(list(model.answers(table)))["labels"].to_pylist()
    names = ["a", "b", "c"]
    true = np.array([[name in one.split("|") for name in names] for one in kinds])
    answered = np.array([[name in one for name in names] for one in said])
    expected = sk.f1_score(true, answered, average="macro", zero_division=0)
    assert found.metrics["f1_macro"].value == pytest.approx(expected)
    assert [one.rows for one in found.classes] == true.sum(0).tolist()
    assert found.confusion == sk.multilabel_confusion_matrix(true, answered).tolist()


def test_a_model_of_a_task_needs_the_name_of_the_truth(everything, tmp_path):
    model, _ = mmkit.fit(task=everything, fusion="late", training=QUICK, progress=False, device="cpu")
    table = {"title": ["a word", "another", "third"], "y": ["a", "b", "a"]}
    with pytest.raises(mmkit.MmkitError, match="which column holds the truth"):
        measured(model, table)
    assert measured(model, table, ["y"]).measured == 3


def test_pieces_and_their_size_change_no_metric(model):
    import dataclasses

    loaded, stream = mmkit.load(model), stream_of(FRUIT, installed())
    whole = evaluate_table(loaded, stream)
    cut = evaluate_table(loaded, dataclasses.replace(stream, size=17))
    for name, one in whole.metrics.items():
        assert cut.metrics[name].value == pytest.approx(one.value, abs=1e-6)


def test_where_draws_lack_a_class_that_is_never_found_means_over_classes_have_no_interval(model, tmp_path):
    with Path(FRUIT).open(newline="") as file:
        rows = list(csv.DictReader(file))
    (found,) = mmkit.load(model).answers(FRUIT)
    said = found["label"].to_pylist()
    rare = min(("apple", "pear", "plum"), key=said.count)
    kept = [{**row, "fruit": one} for row, one in zip(rows, said, strict=True) if one != rare]
    kept[0]["fruit"] = kept[1]["fruit"] = rare
    data = tmp_path / "rare.csv"
    with data.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    measures = measured(mmkit.load(model), data).metrics
    assert {name for name, one in measures.items() if one.low is None} == {
        "balanced_accuracy", "f1_macro", "precision_macro", "recall_macro", *AREAS,
    }  # fmt: skip
    assert measures["accuracy"].low < measures["accuracy"].value < measures["accuracy"].high


def test_the_draws_of_intervals_are_told(model):
    class Told(Progress):
        def update(self, what, done, total=None):
            self.last = what, done, total

    told = Told()
    found = evaluate_table(mmkit.load(model), stream_of(FRUIT, installed()), progress=told)
    assert told.last == ("draws of intervals", found.resamples, found.resamples)


def test_intervals_cover_the_mean_as_often_as_they_say():
    """Of a mean of 100 numbers the bootstrap's interval is close to the normal one, 1.96 standard errors."""
    import torch

    values = torch.from_numpy(np.random.default_rng(0).normal(size=100))
    drawn = drawn_anew(100, 2000, lambda index: {"mean": float(values[index].mean())})
    low, high = interval(drawn["mean"])
    error = 1.96 * float(values.std(correction=0)) / 10
    assert low == pytest.approx(float(values.mean()) - error, abs=0.03)
    assert high == pytest.approx(float(values.mean()) + error, abs=0.03)
    sometimes = iter([None, 1.0] * 50)
    assert drawn_anew(5, 100, lambda _: {"undefined": next(sometimes)}) == {}


@pytest.fixture(scope="module")
def commas(tmp_path_factory):
    """A folder with a model of decimal commas, and its table in both ways."""
    home = tmp_path_factory.mktemp("commas")
    rows = [(f"{n}.5", f"{n % 7 + 20}.25") for n in range(60)]
    for name, sign, sep in (("points.csv", ".", ","), ("commas.csv", ",", ";")):
        lines = [sep.join(cell.replace(".", sign) for cell in row) for row in rows]
        (home / name).write_text("\n".join([f"weight{sep}price", *lines]))
    fitted(str(home / "commas.csv"), "price").save(home / "model")
    return home


def test_truth_in_another_form_is_said_once_with_the_way_out(run, commas):
    code, _, err = run("evaluate", commas / "model", "--data", commas / "points.csv")
    assert code == 4
    said = err.splitlines()[-1]
    assert "the truth of 60 rows, row 0 the first, cannot be taken: column price: not a number, written with" in said
    assert said.count("not a number") == 1
    assert "(60); price is '20.25' there; --decimal point reads numbers with decimal points; --on-error skip" in said
    assert "the model knows" not in said
    code, _, err = run("evaluate", commas / "model", "--data", commas / "points.csv", "--on-error", "skip")
    assert (code, "60 left out: column price: not a number, written with decimal commas" in err) == (4, True)


def test_a_table_that_writes_points_is_measured_and_answered_as_one_with_commas(run, commas):
    points = ("--data", commas / "points.csv", "--decimal", "point")
    documents = [
        json.loads(run("evaluate", commas / "model", *given, "--json")[1])
        for given in (("--data", commas / "commas.csv"), points)
    ]
    assert documents[0]["metrics"] == documents[1]["metrics"]
    assert documents[1]["known"]["of"]["train"] == 36
    code, _, err = run("predict", commas / "model", *points[:2], "--out", "a.csv")
    hint = "--decimal point reads numbers with decimal points; --on-error missing"
    assert (code, "column weight: '0.5' is not a number" in err, hint in err) == (4, True, True)
    code, _, err = run("explain", commas / "model", *points[:2], "--row", 0)
    assert (code, hint in err) == (4, True)
    told = [
        json.loads(run("explain", commas / "model", *given, "--row", 0, "--json")[1])["explanations"][0]["output"]
        for given in (("--data", commas / "commas.csv"), points)
    ]
    assert told[0] == told[1]
    assert run("predict", commas / "model", "--data", commas / "commas.csv", "--out", "a.csv")[0] == 0
    assert run("predict", commas / "model", *points, "--out", "b.csv")[0] == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    found = mmkit.load(commas / "model").answers(commas / "points.csv", decimal="point")
    assert pa.concat_tables(found)["value"].to_pylist()


def test_python_takes_the_sign_that_its_message_names(commas):
    points = commas / "points.csv"
    loaded = mmkit.load(commas / "model")
    expected = loaded.evaluate(commas / "commas.csv").metrics
    for call in (loaded.evaluate, lambda data, **asked: mmkit.evaluate(loaded, data=data, progress=False, **asked)):
        with pytest.raises(DataError, match='; decimal="point" reads numbers with decimal points; on_error="skip"'):
            call(points)
        assert call(points, decimal="point").metrics == expected


def test_what_has_the_other_sign_is_refused_and_never_read_as_another_number(run, commas):
    for given, name in (("point", "commas.csv"), ("comma", "points.csv")):
        code, _, err = run("evaluate", commas / "model", "--data", commas / name, "--decimal", given)
        assert code == 4
        assert f"--decimal {'comma' if given == 'point' else 'point'} reads" in err
    code, _, err = run("evaluate", commas / "model", "--data", commas / "points.csv", "--decimal", "dot")
    assert (code, "decimal is point or comma; got 'dot'" in err) == (2, True)
