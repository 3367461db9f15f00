"""The front matter of cards, as YAML and as the hub's own client reads it."""

import json
from types import SimpleNamespace

import pytest
import yaml
from huggingface_hub import ModelCard

import mmkit
from mmkit.report.front_matter import front_matter
from tests.report.records import record as scored


def read(text):
    """The mapping in a front matter."""
    head, body, end = text.split("---\n")
    assert (head, end.strip()) == ("", "")
    return yaml.safe_load(body)


@pytest.mark.parametrize(
    ("inputs", "target", "task"),
    [
        ({"a": "image"}, "classes", "image-classification"),
        ({"a": "text", "b": "text"}, "labels", "text-classification"),
        ({"a": "table"}, "scalar", "tabular-regression"),
        ({"a": "text", "b": "image"}, "text", "image-text-to-text"),
        ({"a": "text", "b": "image"}, "classes", None),
        ({"a": "series"}, "scalar", None),
        ({"a": "odour"}, "classes", None),
    ],
)
def test_the_task_has_the_name_of_the_hub_where_it_has_one(inputs, target, task):
    found = read(front_matter(inputs, target))
    assert found.get("pipeline_tag") == task
    assert found["library_name"] == "mmkit"
    assert found["tags"] == ["mmkit", *(["multimodal"] * (len(inputs) > 1)), *sorted(set(inputs.values()))]
    assert found.keys() <= {"library_name", "pipeline_tag", "tags"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("no: \"one\" 'but'\n- # us é 😀", {"license": "other", "license_name": "no: \"one\" 'but' - # us é 😀"}),
        ("yes", {"license": "other", "license_name": "yes"}),
    ],
)
def test_a_licence_that_the_hub_does_not_know_stands_beside_other(given, expected):
    found = read(front_matter({"a": "text"}, "classes", licence=given))
    assert {name: found[name] for name in found if name.startswith("license")} == expected


@pytest.mark.parametrize("value", [5e-05, 1.5e-07, 1e16, 2.5e20, 0.25, -3e-06])
def test_a_small_or_large_score_is_a_number(value):
    text = front_matter({"a": "text"}, "scalar", name="m", data="d", record=scored("mae", 0, value, metric="mae"))
    (result,) = read(text)["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == value


def test_the_hubs_own_client_reads_the_card_of_a_training(tmp_path):
    model, record = mmkit.fit(
        task="digits",
        fusion="concat",
        limit=40,
        training={"epochs": 1, "min_steps": 0},
        out=tmp_path / "m",
        licence="MIT",
        progress=False,
        device="cpu",
    )
    card = ModelCard.load(tmp_path / "m" / "README.md")
    assert model.card == (tmp_path / "m" / "README.md").read_text()
    assert mmkit.load(tmp_path / "m").card == model.card
    assert card.text.lstrip().startswith("# m\n")
    assert (card.data.license, card.data.library_name) == ("mit", "mmkit")
    assert card.data.tags == ["mmkit", "multimodal", "image", "series"]
    assert card.data.metrics == [record.metric]
    found = {one.metric_type: one for one in card.data.eval_results}
    assert {name: one.metric_value for name, one in found.items()} == json.loads(
        json.dumps({name: score for name, score in record.metrics.items() if score is not None})
    )
    first = card.data.eval_results[0]
    assert (first.metric_type, first.dataset_name, first.dataset_split) == (record.metric, "digits", "test")
    assert card.data.model_name == "m"


def test_scores_that_are_no_numbers_are_left_out():
    record = SimpleNamespace(metric="r2", metrics={"r2": None, "mae": float("nan"), "mse": 2.0})
    found = read(front_matter({"a": "text"}, "scalar", name="n", data="d", record=record))
    assert [one["type"] for one in found["model-index"][0]["results"][0]["metrics"]] == ["mse"]
    found = read(front_matter({"a": "text"}, "scalar", record=SimpleNamespace(metric="r2", metrics={"r2": None})))
    assert "metrics" not in found
