"""What a suite tells its user: a line, a table of plain values, HTML, and where its models are."""

import html.parser
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mmkit
from mmkit.contract import Features
from mmkit.experiments.suite import Suite
from mmkit.records.record import Cost, Loading, Record, Speed

SMALL = {
    "task": "synthetic-unique:train=48",
    "options": ["train.epochs=1", "train.min_steps=0", "train.lr=0.002"],
    "cost": False,
    "progress": False,
}
WHERE = {"device": "cpu", "precision": "float32", "machine": {}, "software": {}, "plugins": {}, "libraries": {}}


def record(fusion, seed=0, score=0.9, **rest):
    return Record(
        **{
            "id": "",
            "status": "ok",
            "task": "pets",
            "run": {},
            "encoders": {"photo": "cnn"} if fusion.startswith("only:") else {"photo": "cnn", "sound": "fcn"},
            "fusion": fusion,
            "head": "mlp",
            "objectives": [],
            "seed": seed,
            "metric": "accuracy",
            "metrics": {"accuracy": score, "f1_macro": score - 0.01},
            "validation": {"accuracy": score + 0.02},
            **WHERE,
            **rest,
        }
    )


def failed(fusion, error, **rest):
    found = record(fusion, **rest)
    return replace(found, status="failed", error=error, metric="", metrics={}, validation={})


def suite(*records):
    return Suite(Path("runs/pets"), None, list(records))


class Outline(html.parser.HTMLParser):
    """Raises where a tag is closed that is not open; keeps the texts of cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)


@pytest.fixture(scope="module")
def benched(tmp_path_factory):
    out = tmp_path_factory.mktemp("suite") / "found"
    asked = {"fusion": "concat", "head": ["linear", "mlp"], "seeds": 2}
    return mmkit.bench(**asked, **SMALL, out=out, save=True)


def test_best_verdict_and_table_tell_the_same(benched):
    table, best = benched.table(), benched.best
    assert [line["fusion"] for line in table] == [row.fusion for row in benched.rows]
    assert (table[0]["fusion"], table[0]["head"]) == (best.fusion, best.head)
    assert table[0]["test accuracy"] == best.spread("accuracy").mean
    losses = [line["validation log_loss"] for line in table if line["confirmed"]]  # of 256 samples
    assert losses == sorted(losses)
    assert [line["confirmed"] for line in table] == [True] * 5 + [False]  # of two heads of concat one was chosen
    assert (table[-1]["fusion"], table[-1].get("test accuracy")) == ("concat", None)
    assert benched.verdict.fusion.fusion == "concat"
    assert benched.verdict.singles == 4
    counts = Counter((record.phase, record.fusion) for record in benched.records)
    assert counts == {("search", "concat"): 4, ("confirm", "concat"): 2, ("confirm", "only:left"): 4,
                      ("confirm", "only:right"): 4}  # fmt: skip


def test_combinations_of_one_fusion_are_told_apart_and_each_model_is_loaded_by_its_name(benched):
    names = [line["combination"] for line in benched.table()]
    assert sorted(names) == [
        f"{fusion}, head {head}" for fusion in ("concat", "only:left", "only:right") for head in ("linear", "mlp")
    ]
    assert sorted(benched.models) == sorted(names)
    sample = {name: torch.randn(24, 2) for name in ("left", "right")}
    for line in benched.table():
        model = mmkit.load(benched.models[line["combination"]])
        assert (model.combination.label, str(model.combination.head)) == (line["fusion"], line["head"])
        (answer,) = model.predict([{name: sample[name] for name in model.combination.encoders}])
        assert set(answer) == {"label", "probabilities"}
        assert "\n" not in repr(model)
        assert f"<MultimodalModel {line['fusion']}: " in repr(model)


def test_no_model_is_named_where_none_was_saved(tmp_path):
    found = mmkit.bench(**SMALL, fusion="concat", seeds=1, baselines=False, out=tmp_path / "a")
    assert (found.models, found.verdict) == ({}, None)
    assert repr(found) == f"<Suite {tmp_path / 'a'}: 1 run; best on validation: concat>"


def test_all_lines_of_the_table_have_the_same_columns_with_none_where_there_is_no_value():
    speed, cost = Speed(10.0, 5.0, {"p50": 1.5}, 64, 32), Cost(163, 163, None, ["cumsum"], 1 << 20)
    found = suite(
        record("concat", 0, 0.9, throughput=speed, cost=cost),
        record("concat", 1, 0.8),
        record("only:photo", 0, 0.7, encoders={"photo": "cnn"}),
        failed("tensor", "UsageError: too large"),
        failed("tensor", "UsageError: too large", seed=1),
    ).table()
    assert len({tuple(line) for line in found}) == 1
    concat, photo, tensor = found
    assert list(concat)[:6] == ["combination", "fusion", "encoder photo", "encoder sound", "head", "objectives"]
    assert (concat["test accuracy"], concat["latency p50 ms"]) == (pytest.approx(0.85), 1.5)
    assert (concat["parameters"], concat["FLOPs a sample"]) == (163, None)
    assert (photo["encoder sound"], photo["latency p50 ms"], photo["test accuracy std"]) == (None, None, None)
    assert (tensor["test accuracy"], tensor["failed seeds"], tensor["error"]) == (None, 2, "UsageError: too large")
    assert {type(value) for line in found for value in line.values()} <= {str, int, float, bool, type(None)}


def test_a_suite_of_failures_has_no_best_and_no_verdict_but_a_table():
    found = suite(failed("tensor", "UsageError: too large"))
    assert (found.best, found.verdict, len(found.failures)) == (None, None, 1)
    assert found.table()[0]["error"] == "UsageError: too large"
    assert repr(found) == "<Suite runs/pets: 1 run, 1 failed>"
    assert "too large" in found._repr_html_()
    assert (suite().table(), suite().best, suite()._repr_html_()) == ([], None, "")


def test_reprs_are_one_short_line_however_many_records_there_are():
    records = [record(f"concat:width={width}", seed, 0.5 + width / 1000) for width in range(200) for seed in range(3)]
    found = suite(*records, record("only:photo", 0), record("only:photo", 1))
    for one in (found, found.best, found.verdict):
        assert "\n" not in repr(one)
        assert len(repr(one)) < 300


NAMES = ["<script>alert(1)</script>", "a & b", "[red]warm[/red]", "猫.模型"]


def test_html_is_well_formed_and_names_are_texts():
    names = [record(name, 0, 0.9 - number / 10) for number, name in enumerate(NAMES)]
    costs = {"throughput": Speed(12345.0, 678.9, {"p50": 0.987}, 64, 32), "loading": Loading(0.3, 0.1, 0)}
    found = suite(
        replace(names[0], **costs),
        *names[1:],
        record("only:图像 <b>", 0, 0.4, encoders={"图像 <b>": "cnn"}),
        failed("[bold]x", "DataError: <p>"),
    )
    outline = Outline(found._repr_html_())
    assert set(outline.tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td", "br", "p"}
    assert set(NAMES) < set(outline.texts)
    assert "failed: [bold]x: DataError: <p>" in outline.texts
    assert outline.texts[-1] == found.verdict.sentence()
    said = Outline(found.verdict._repr_html_())
    assert (said.tags, said.texts) == (["p"], [found.verdict.sentence()])


class Brackets(torch.nn.Module):
    """A fusion that no plugin registers."""

    def __init__(self, widths):
        super().__init__()
        self.width = max(widths.values())

    def forward(self, features):
        values = [torch.nn.functional.pad(f.vector(), (0, self.width - f.width)) for f in features.values()]
        return Features.of(torch.stack(values).sum(0))


def test_a_class_of_ones_own_is_shown_by_its_name(tmp_path):
    class Local(Brackets):
        pass

    found = mmkit.bench(**SMALL, fusion=[Brackets, Local], seeds=1, baselines=False, out=tmp_path / "a", save=True)
    names = [line["combination"] for line in found.table()]
    assert sorted(re.sub(r".*[.]", "", name) for name in names) == ["Brackets", "Local"]
    assert set(found.models) == set(names)
    assert any("&lt;locals&gt;" in line for line in found._repr_html_().splitlines())
