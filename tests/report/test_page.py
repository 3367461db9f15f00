"""The page of a suite: its figures are those of the records, it stands alone, and what is not there is not shown."""

import itertools
import json
import math
import re
import statistics
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

import mmkit
from mmkit.errors import DataError, UnavailableError, UsageError
from mmkit.records.file import COMMAND, RecordFile
from mmkit.records.record import Cost, Fold, Loading, Record, ReliabilityBin, SampleCounts, Speed
from mmkit.records.scores import Scores
from mmkit.records.worst import Shown, Worst, WrongAnswer
from mmkit.report.inputs import inputs
from mmkit.report.page import charts
from mmkit.report.page.charts import wilson
from mmkit.report.page.folder import Folder
from mmkit.report.page.measured import measured, pareto
from mmkit.report.page.page import page
from mmkit.report.verdict import level_with_the_best
from mmkit.titles import title_of

NASTY = ["</script><script>alert(1)</script>", 'a "b" & <c>', "猫和狗", "قطة", "$x_1$ {{ 7*7 }}"]
VOID = {"meta", "link", "input", "img", "br"}


class Parsed(HTMLParser):
    """A page as a reader has it: texts, tables and what it refers to. Every element must be closed where it belongs."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open[-1:]):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def ids(self):
        return [given["id"] for _, given in self.tags if "id" in given]

    def figures(self):
        """Of each row of the table, in its order: column to value."""
        found = []
        for tag, given in self.tags:
            if tag == "tr" and "data-kind" in given:
                found.append({})
            elif tag == "td" and "data-value" in given and "data-column" in given:
                found[-1][given["data-column"]] = float(given["data-value"])
        return found


_numbers = itertools.count()


def record(fusion, seed=0, score=0.9, **rest):
    where = {"device": "cpu", "precision": "float32", "machine": {"cpu": "a cpu"}, "software": {"mmkit": "0"}}
    encoders = {"photo": "cnn", "title": "bag"}
    alone = fusion.removeprefix("only:")
    rng = np.random.default_rng([seed, len(fusion)])
    return Record(
        **{
            "id": f"{next(_numbers):032x}",
            "status": "ok",
            "task": "pets",
            "encoders": {alone: encoders[alone]} if alone in encoders else encoders,
            "fusion": fusion,
            "head": "mlp",
            "objectives": [],
            "seed": seed,
            "metric": "accuracy",
            "metrics": {"accuracy": score, "f1_macro": score - 0.01, "log_loss": 1 - score},
            "validation": {"accuracy": score + 0.02, "log_loss": 1.1 - score},
            "scores": Scores.of((rng.random(400) < score).astype(float).tolist()),
            "names": ["cat", "dog"],
            "confusion": [[150, 50], [20, 180]],
            "reliability": [ReliabilityBin(100, 0.6, 0.5), ReliabilityBin(300, 0.95, 0.99)],
            "samples": SampleCounts(900, 200, 400, {"train": 0, "validation": 1, "test": 2}),
            "throughput": Speed(1e4 / len(fusion), 678.9, {"p50": 0.987}, 64, 32),
            "loading": Loading(0.3, 0.1, 0),
            "cost": Cost(163_000, 163_000, 6.08e6, [], 17 << 20),
            "run": {"fusion": {"name": fusion}, "seed": seed, "training": {"lr": 0.002, "epochs": 3}},
            "data": {"test": {"truth": "0"}},
            "plugins": {},
            "libraries": {},
            **where,
            **rest,
        }
    )


def failed(fusion, error, seed=0):
    bare = {"metric": "", "metrics": {}, "validation": {}, "scores": None, "names": [], "confusion": None}
    bare |= {"reliability": [], "samples": None, "throughput": None, "loading": None, "cost": None}
    return record(fusion, seed, status="failed", error=error, **bare)


def suite(folder, records):
    file = RecordFile(folder / "records.jsonl")
    for one in records:
        file.append(one)
    return folder


SUITE = [
    *(record("attention", seed, score) for seed, score in enumerate((0.95, 0.96, 0.97))),
    *(record("concat", seed, score) for seed, score in enumerate((0.93, 0.92, 0.95))),
    *(record("only:photo", seed, score) for seed, score in enumerate((0.8, 0.83, 0.81))),
    *(record("only:title", seed, score) for seed, score in enumerate((0.7, 0.72, 0.69))),
]


@pytest.fixture
def made(tmp_path):
    def make(records=SUITE):
        return Parsed(page(suite(tmp_path, records)))

    return make


def test_the_figures_of_the_table_are_those_of_the_lines(made, tmp_path):
    shown = made()
    lines = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    by_fusion = {}
    for line in lines:
        by_fusion.setdefault(line["fusion"], []).append(line)
    figures = shown.figures()
    assert len(figures) == 4
    for row, (fusion, of) in zip(figures, by_fusion.items(), strict=True):
        assert row["test"] == pytest.approx(statistics.fmean(one["metrics"]["accuracy"] for one in of), rel=1e-12)
        assert row["test-f1_macro"] == pytest.approx(statistics.fmean(one["metrics"]["f1_macro"] for one in of))
        assert row["validation-log_loss"] == pytest.approx(statistics.fmean(o["validation"]["log_loss"] for o in of))
        assert row["time"] == pytest.approx(1000 / of[0]["throughput"]["inference_samples_per_s"])
        assert row["parameters"] == of[0]["cost"]["parameters"]
        assert row["seeds"] == len(of)
        assert fusion in shown.text
    assert "96.0 ± 1.0" in shown.text
    recalls = [float(given["data-value"]) for tag, given in shown.tags if given.get("class") == "bar"]
    assert recalls == [150 / 200, 180 / 200]
    assert "450" in shown.text  # of the summed confusion matrix: three seeds


def test_the_sentence_of_the_verdict_stands_in_the_page(made, tmp_path):
    shown = made()
    from mmkit.report.summary import rows
    from mmkit.report.verdict import verdict

    said = verdict(rows(list(RecordFile(tmp_path / "records.jsonl").read().values())))
    assert said.sentence() in shown.text


def test_nothing_is_fetched_and_the_page_is_small(made, tmp_path):
    (tmp_path / COMMAND).write_text("mmkit bench --fusion attention\n")
    shown = made()
    text = page(tmp_path)
    assert len(text.encode()) < 2_000_000
    for tag, given in shown.tags:
        for name in ("src", "href", "action", "poster", "srcset", "data", "xlink:href"):
            assert given.get(name, "#").startswith(("#", "data:")), (tag, given)
    assert re.findall(r"(?:https?:|//[a-z]|@import|url\((?!#))", text) == []
    assert "mmkit bench --fusion attention" in shown.text


def test_each_id_is_there_once_and_each_reference_leads_somewhere(made):
    shown = made()
    ids = shown.ids()
    assert len(ids) == len(set(ids))
    wanted = [given["href"][1:] for _, given in shown.tags if given.get("href", "").startswith("#")]
    wanted += [given[name] for _, given in shown.tags for name in ("aria-labelledby", "for") if name in given]
    assert set(wanted) <= set(ids)


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_shown_as_it_stands(made, tmp_path, name):
    records = [
        replace(one, names=[name, "dog"], task=name, fusion=one.fusion.replace("concat", f"concat:x={name}"))
        for one in SUITE
    ]
    wrong = WrongAnswer(
        3, name, name, name, 0.9, 0.1, 2.3, {name: Shown("text", name), "t": Shown("table", "", cells={name: name})}
    )
    for one in records:
        (tmp_path / "worst").mkdir(exist_ok=True)
        Worst(one.id, "classes", [wrong]).write(tmp_path)
    (tmp_path / "data.json").write_text(
        json.dumps(
            {
                "source": {"data": name, "rows": 3, "columns": 1},
                "fingerprint": "0",
                "columns": [{"name": name, "missing": 0, "is": "text", "because": name}],
                "target": None,
                "findings": [{"level": "warning", "text": name}],
            }
        )
    )
    shown = made([*records, replace(failed("sum", f"MmkitError: {name}"), task=name)])
    plain = " ".join(name.split())
    assert shown.text.count(plain) >= 10
    assert [tag for tag, _ in shown.tags].count("script") == 1
    assert "49" not in shown.text.split("Each class")[0].replace("0.49", "")


def test_of_a_scalar_what_is_lower_is_better(made):
    def of(fusion, seed, score):
        numbers = {"rmse": score, "mae": score / 2, "r2": 0.5}
        rest = {"names": [], "confusion": None, "reliability": [], "scores": None, "higher_is_better": False}
        return record(fusion, seed, **{"metric": "rmse", "metrics": numbers, "validation": numbers, **rest})

    shown = made([of("concat", 0, 2.0), of("concat", 1, 2.2), of("only:photo", 0, 3.0), of("only:photo", 1, 3.1)])
    assert [row["test"] for row in shown.figures()] == pytest.approx([2.1, 3.05])
    assert "Classes, confusion and calibration: numbers" in shown.text
    assert title_of("rmse") in shown.text


def test_of_labels_each_has_its_figures_and_there_is_no_square(made):
    labels = [[[300, 50], [10, 40]], [[380, 0], [20, 0]]]
    shown = made([replace(one, confusion=labels, names=["spot", "line"]) for one in SUITE])
    recalls = [float(given["data-value"]) for tag, given in shown.tags if given.get("class") == "bar"]
    assert recalls == [40 / 50, 0]
    assert "What was taken for what" not in shown.text
    assert "Each label" in shown.text


def test_of_text_answers_the_page_has_scores_alone(made):
    def of(fusion, seed, score):
        numbers = {"rouge_l": score, "exact_match": score / 2, "bleu": None}
        rest = {"names": [], "confusion": None, "reliability": []}
        return record(fusion, seed, score, **{"metric": "rouge_l", "metrics": numbers, "validation": numbers, **rest})

    shown = made([of(fusion, seed, 0.5) for fusion in ("concat", "only:title") for seed in (0, 1)])
    assert "ROUGE-L on test" in shown.text
    assert "Each class" not in shown.text


def test_one_run_without_cost_has_a_page_and_says_what_is_left_out(made):
    shown = made([record("concat", throughput=None, cost=None)])
    assert "Cost: it was not measured" in shown.text
    assert "A verdict: it takes a fusion and each input alone" in shown.text
    assert not {"cost", "seeds"} & set(shown.ids())
    assert "concat is proposed, since it is the only combination" in shown.text


def test_where_test_was_not_read_nothing_is_said_of_it(made):
    untested = {"metrics": {}, "scores": None, "confusion": None, "reliability": [], "phase": "search"}
    raced = [record(fusion, score=score, **untested) for fusion, score in (("attention", 0.95), ("sum", 0.9))]
    shown = made([*raced, record("yardstick: boosting", purpose="yardstick")])
    assert "attention is proposed, since it is the best on validation." in shown.text
    assert "Figures on test: it was not read yet" in shown.text
    for claim in ("scored as well on test", "scored no worse on test", "look there", "100 classes have none"):
        assert claim not in shown.text


def test_where_all_failed_the_page_says_why(made):
    shown = made([failed("concat", "MmkitError: the loss became nan", seed) for seed in (0, 1)])
    assert "No combination was completed" in shown.text
    assert "the loss became nan" in shown.text
    assert "(2 seeds)" in shown.text


def test_a_failed_seed_is_counted_and_told(made):
    shown = made([*SUITE, failed("concat", "MmkitError: diverged", 3)])
    assert "3 of 4" in shown.text
    assert "MmkitError: diverged" in shown.text


def test_folds_are_joined(made):
    records = [
        replace(
            record(fusion, 0, score, data={"test": {"truth": str(number)}}),
            task=f"pets:fold={number}",
            run={"task": f"pets:fold={number}", "training": {}},
            fold=Fold(number, 2),
            scores=None,
        )
        for fusion, scores in (("concat", (0.9, 0.7)), ("only:photo", (0.8, 0.5)))
        for number, score in enumerate(scores, start=1)
    ]
    shown = made(records)
    assert "other plans" not in shown.text
    assert [row["test"] for row in shown.figures()] == pytest.approx([0.8, 0.65])  # folds of one size
    assert "2 folds" in shown.text


def test_where_not_all_folds_are_done_that_is_said(made):
    shown = made([replace(record("concat"), fold=Fold(1, 2))])
    assert "No combination was completed, so there is nothing to compare. Not all of its folds are done." in shown.text


def test_the_page_is_of_the_plan_of_the_last_run_and_tells_of_others(made):
    other = [replace(one, id=f"x{one.id}", run={**one.run, "device": "cuda"}) for one in SUITE[:2]]
    shown = made([*other, *SUITE])
    assert [row["seeds"] for row in shown.figures()] == [3, 3, 3, 3]
    assert "2 runs of other plans are in the folder" in shown.text


def test_a_plan_of_another_length_is_another_plan_though_nothing_else_differs(made):
    longer = [
        replace(
            one, id=f"x{one.id}", run={**one.run, "training": {"lr": 0.002, "epochs": 9}}, metrics={"accuracy": 0.5}
        )
        for one in SUITE
        if one.seed < 2
    ]
    shown = made([*SUITE, *longer])
    assert [row["seeds"] for row in shown.figures()] == [2, 2, 2, 2]
    assert [row["test"] for row in shown.figures()] == [0.5] * 4
    assert "12 runs of other plans are in the folder" in shown.text


def test_a_fusion_is_proposed_only_where_it_scored_above(made, tmp_path):
    assert "Deploy attention: what it scores above only:photo is more than chance" in made().text
    level = [
        record(fusion, seed, score)
        for fusion, scores in (("concat", (0.8, 0.84)), ("only:photo", (0.81, 0.82)), ("only:title", (0.5, 0.51)))
        for seed, score in enumerate(scores)
    ]
    (tmp_path / "level").mkdir()
    shown = Parsed(page(suite(tmp_path / "level", level)))
    assert "Deploy only:photo: that concat is better is not shown yet" in shown.text


def test_of_an_input_with_two_encoders_the_one_of_the_verdict_is_proposed(made):
    runs = {"concat": (0.8, 0.84), "only:title": (0.5, 0.51), "only:photo": (0.5, 0.51)}
    level = [record(fusion, seed, score) for fusion, scores in runs.items() for seed, score in enumerate(scores)]
    unlucky = {"encoders": {"photo": "vit"}, "validation": {"accuracy": 0.4, "log_loss": 2.0}}
    level += [record("only:photo", seed, score, **unlucky) for seed, score in enumerate((0.81, 0.82))]
    assert "Deploy only:photo, photo vit: that concat is better is not shown yet" in made(level).text


def test_the_interval_is_of_seeds_and_samples(tmp_path):
    first = measured(Folder.read(suite(tmp_path, SUITE)))[0]
    scores = [np.asarray(one.scores.values, float) for one in SUITE[:3]]
    means = np.stack(scores).mean(0)
    error = math.sqrt(np.var([0.95, 0.96, 0.97], ddof=1) / 3 + means.var(ddof=1) / 400)
    assert first.error == pytest.approx(error)
    assert list(first.interval) == pytest.approx([first.score - 2 * error, min(first.score + 2 * error, 1.0)])


def test_the_front_is_what_nothing_beats_in_both(tmp_path):
    rng = np.random.default_rng(1)
    records = [
        record(f"f{number}", 0, float(score), throughput=Speed(float(rate), 1.0, {}, 64, 32))
        for number, (score, rate) in enumerate(zip(rng.random(30), rng.integers(1, 9, 30), strict=True))
    ]
    found = measured(Folder.read(suite(tmp_path, records)))
    points = {one.name: (one.score, -one.milliseconds) for one in found}
    expected = {
        name
        for name, point in points.items()
        if not any(
            all(a >= b for a, b in zip(other, point, strict=True)) and other != point for other in points.values()
        )
    }
    assert {one.name for one in pareto(found)} == expected


@pytest.mark.parametrize(("right", "count"), [(0, 5), (3, 7), (50, 50), (120, 400)])
def test_intervals_of_shares_are_wilsons(right, count):
    assert wilson(right / count, count) == pytest.approx(proportion_confint(right, count, method="wilson"), abs=2e-5)


def test_in_intervals_of_calibration_a_sample_counts_once_though_each_seed_answers_it(made, monkeypatch):
    counts = []
    monkeypatch.setattr(charts, "wilson", lambda share, count: (counts.append(count), wilson(share, count))[1])
    made()  # three seeds, each with 100 and 300 answers
    assert counts == [100, 300]


def test_what_is_no_suite_is_told_in_one_line(tmp_path):
    with pytest.raises(UsageError, match="is no folder"):
        page(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds no records.jsonl; expected a folder of mmkit bench"):
        page(tmp_path)
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(UsageError, match=r"it is that of a model, whose report is its README.md"):
        page(tmp_path)
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(UsageError, match="holds no run that was compared yet"):
        page(tmp_path)
    suite(tmp_path, SUITE)
    (tmp_path / "data.json").write_text("[]")
    with pytest.raises(DataError, match=r"data.json holds a list; expected an object"):
        page(tmp_path)


def test_the_folder_is_not_changed(tmp_path):
    suite(tmp_path, SUITE)
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"half a line')
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    page(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, module):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnavailableError, match=rf"a page needs {module}.*pip install 'mmkit-core\[report\]'"):
        page(suite(tmp_path, SUITE))


@pytest.mark.full
def test_eighty_rows_have_a_page(made):
    shown = made(
        [record(f"fusion-{number}:width={number}", seed, 0.5 + number / 200) for number in range(80) for seed in (0, 1)]
    )
    assert len(shown.figures()) == 80


@pytest.mark.full
def test_the_inputs_and_the_level_rows_of_a_full_suite_are_those_of_its_tables(tmp_path):
    training = {"epochs": 3, "min_steps": 0, "lr": 0.01}
    suite_of = mmkit.bench(
        task="synthetic-unique:train=64", fusion=["concat", "sum"], seeds=3, protocol="full", training=training,
        cost=False, yardsticks=False, device="cpu", out=tmp_path, progress=False,
    )  # fmt: skip
    text = page(tmp_path)
    sheet = inputs(suite_of.rows)
    assert sheet is not None
    for line in sheet.lines:
        cells = "".join(f"<td>{cell}</td>" for cell in line[1:])
        assert f'<tr><th scope="row"><bdi>{line[0]}</bdi></th>{cells}</tr>' in text
    level = [row.fusion for row in level_with_the_best(suite_of.rows, suite_of.terms)]
    assert text.count('<span class="badge front">level</span>') == len(level) + bool(level)
    assert len(level) >= 2
