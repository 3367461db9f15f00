"""`mmkit explain` from outside: a table on the terminal, a page, a document; and mistakes."""

import json
from pathlib import Path

import pytest

import mmkit
import mmkit.cli
from mmkit.registry.builtin.tasks import FRUIT

ROWS = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of the table of fruit, saved."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    training = {"epochs": 2, "min_steps": 0, "lr": 0.01}
    fitted = mmkit.fit(data=FRUIT, target="fruit", fusion="attention", training=training, progress=False, device="cpu")
    fitted[0].save(folder)
    return folder


@pytest.fixture
def data(new_fruit):
    """New rows, without the target; the fourth has an empty note."""
    return new_fruit(ROWS, notes={2: '<script>alert("x")</script> & \x1b[31mred', 3: ""})


def test_a_row_on_the_terminal_in_80_columns(run, model, data):
    code, out, err = run("explain", model, "--data", data, "--row", 2)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert out.startswith("row 2 of ")
    for part in ("The model says", "Where every input is missing", "inside note: integrated gradients", "Together"):
        assert part in out
    assert "attention of the fusion" in out
    assert "\x1b" not in out


def test_the_answer_is_that_of_predict(run, model, data):
    code, out, _ = run("explain", model, "--data", data, "--rows", "2,5-6", "--json")
    assert code == 0
    document = json.loads(out)
    run("predict", model, "--data", data, "--out", "answers.jsonl")
    answers = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert [one["row"] for one in document["explanations"]] == [2, 5, 6]
    for one in document["explanations"]:
        answer = answers[one["row"]]
        assert one["answer"]["label"] == answer["label"] == one["output"]["name"]
        assert one["output"]["value"] == pytest.approx(answer[f"probability_{answer['label']}"], abs=1e-5)
        total = sum(part["value"] for part in one["contributions"] if part["value"] is not None)
        assert total == pytest.approx(one["output"]["value"] - one["output"]["nothing"], abs=1e-5)


def test_a_page_that_asks_for_nothing_and_runs_nothing(run, model, data):
    code, _, err = run("explain", model, "--data", data, "--row", 2, "--row", 3, "--out", "why.html")
    assert code == 0
    assert "why.html has it as a page" in err
    page = Path("why.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "<script" not in page.replace("&lt;script", "")
    assert "&lt;" in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert "What this is not" in page
    assert "row 2 of" in page
    assert "row 3 of" in page
    code, _, err = run("explain", model, "--data", data, "--row", 2, "--out", "why.html")
    assert code == 2
    assert "why.html exists; give --force to replace it" in err
    assert run("explain", model, "--data", data, "--row", 2, "--out", "why.html", "--force")[0] == 0


def test_a_tilde_is_the_home_folder(run, model, data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = run("explain", model, "--data", data, "--row", 2, "--no-inside", "--out", "~/why.html")
    assert (code, (tmp_path / "why.html").exists()) == (0, True)
    assert f"{tmp_path}/why.html has it as a page" in err
    assert "why.html exists" in run("explain", model, "--data", data, "--row", 2, "--out", "~/why.html")[2]


def test_a_missing_input_is_said(run, model, data):
    _, out, _ = run("explain", model, "--data", data, "--row", 3)
    assert "note (text)" in out
    assert "Missing in this sample, so that it gives nothing: note." in out
    assert "inside note" not in out


def test_another_class(run, model, data):
    code, out, _ = run("explain", model, "--data", data, "--row", 2, "--class", "plum", "--no-inside")
    assert code == 0
    assert "the probability of the class plum (as asked)" in out
    assert "inside" not in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--row", "40"], 2, "has 40 rows, 0 to 39; there is no row 40"),
        (["--row", "-1"], 2, "--row is a number from 0, a list or a range, as in 7 or 3,7 or 10-12; got '-1'"),
        (["--row", "two"], 2, "--row is a number from 0"),
        (["--row", "5-3"], 2, "--row is a number from 0"),
        (["--row", "0-1000"], 2, "--row asks for more than 100 rows; explain fewer at once"),
        (["--row", "1", "--class", "plumm"], 2, "the model has no class 'plumm'; did you mean plum?"),
        (["--row", "1", "--out", "why.pdf"], 2, "--out is a page, FILE.html; got why.pdf; data is printed by --json"),
        (["--row", "1", "--out", "no/why.html"], 2, "--out: there is no folder no"),
        (["--row", "1", "--on-error", "skip"], 2, "--on-error is fail or missing; got skip"),
        ([], 2, "Missing option"),
    ],
)
def test_a_mistake_is_one_line(run, model, data, arguments, code, said):
    found, out, err = run("explain", model, "--data", data, *arguments)
    assert found == code
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""


def test_a_table_without_the_columns_of_the_model(run, model, tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    code, _, err = run("explain", model, "--data", "other.csv", "--row", 0)
    assert code == 4
    assert "has no column that the model reads" in err


def test_a_value_that_cannot_be_used_is_named_and_may_count_as_missing(run, model, data):
    text = data.read_text().splitlines()
    place = text[0].split(",").index("weight")
    cells = text[6].split(",")
    cells[place] = "heavy"
    text[6] = ",".join(cells)
    data.write_text("\n".join(text) + "\n")
    code, _, err = run("explain", model, "--data", data, "--row", 5)
    assert code == 4
    assert "row 5, column weight" in err
    code, out, _ = run("explain", model, "--data", data, "--row", 5, "--on-error", "missing")
    assert code == 0
    assert "row 5 of" in out
    assert "Could not be used, so that it counts as missing: weight: 'heavy' is not a number." in " ".join(out.split())
    code, out, _ = run("explain", model, "--data", data, "--rows", "4,5", "--on-error", "missing", "--json")
    assert code == 0
    unread = [one["unread"] for one in json.loads(out)["explanations"]]
    assert unread == [{}, {"weight": "'heavy' is not a number"}]
