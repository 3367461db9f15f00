"""`mmkit compare` from outside: exit codes, one line for each error, and the same figures in all its forms."""

import json
import shutil
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import mmkit
import mmkit.cli

TWIN = {"ratio": 1.0, "low": 0.995, "high": 1.005, "spread": 0.001, "reference_ms": 0.2}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A suite of real runs, with a measured time put into their records."""
    folder = tmp_path_factory.mktemp("runs") / "main"
    mmkit.bench(
        task="synthetic-unique:train=64", fusion=["concat", "sum"], seeds=3, out=folder, cost=False, progress=False,
        training={"epochs": 1, "min_steps": 0, "lr": 0.002}, yardsticks=False, device="cpu",
    )  # fmt: skip
    edit(folder, lambda record: record.update(throughput=times(1000.0)))
    return folder


def times(rate):
    return {
        "inference_samples_per_s": rate, "train_samples_per_s": rate / 5, "latency_ms": {}, "inference_batch_size": 64,
        "train_batch_size": 32, "twins": {"inference": TWIN, "train": TWIN},
    }  # fmt: skip


def edit(folder, change):
    file = folder / "records.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        change(record)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def other(suite, tmp_path):
    """A copy of the suite in which something was changed."""

    def made(change):
        folder = tmp_path / "other"
        shutil.copytree(suite, folder)
        edit(folder, change)
        return folder

    return made


@pytest.fixture
def command(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


LIMITS = ["--fail-if", "time>5%", "--fail-if", "accuracy<-1"]


def test_a_suite_beside_itself_is_the_same_and_keeps_every_condition(command, suite):
    code, out, err = command("compare", suite, suite, *LIMITS)
    assert (code, err) == (0, "")
    assert "time>5%: kept." in out
    assert out.splitlines()[-1].startswith("B is the same as A: ")
    assert "all 4 combinations" in out


def test_nothing_is_changed_by_looking(command, suite):
    before = {path: path.read_bytes() for path in suite.rglob("*") if path.is_file()}
    command("compare", suite, suite)
    command("runs", suite)
    assert {path: path.read_bytes() for path in suite.rglob("*") if path.is_file()} == before


def test_a_regression_that_is_proven_exits_with_1_and_without_a_condition_nothing_is_asked(command, suite, other):
    slower = other(lambda record: record.update(throughput=times(800.0)))
    code, out, _ = command("compare", suite, slower, *LIMITS)
    assert code == 1
    assert "time>5%: broken by " in out
    assert "(25.0 %" in out or "(+25.0 %" in out
    assert command("compare", suite, slower)[0] == 0
    assert command("compare", slower, suite, *LIMITS)[0] == 0  # faster is no regression


def test_across_machines_a_time_is_too_noisy_to_tell_and_exits_with_5(command, suite, other):
    moved = other(lambda record: record["machine"].update(cpu="another"))
    code, out, _ = command("compare", suite, moved, *LIMITS)
    assert code == 5
    assert "Times are not compared: A and B ran on different machines" in out
    assert "time>5%: too noisy to tell for " in out
    assert command("compare", suite, moved, "--fail-if", "accuracy<-1")[0] == 0


def test_a_change_within_the_noise_exits_with_5(command, suite, other):
    noisy = other(
        lambda record: record.update(
            throughput={**times(900.0), "twins": {key: {**TWIN, "spread": 0.1} for key in ("inference", "train")}}
        )
    )
    assert command("compare", suite, noisy, *LIMITS)[0] == 5
    assert command("compare", suite, noisy, "--fail-if", "time>50%")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--fail-if", "acc<-1"], 2, "nothing is compared that is called acc; did you mean accuracy"),
        (["--fail-if", "accuracy"], 2, "--fail-if takes a name, < or >, and a number"),
        (["--metric", "f1"], 2, "no run has a metric f1; did you mean f1_macro"),
    ],
)
def test_what_cannot_be_asked_is_one_line(command, suite, arguments, code, message):
    found, out, err = command("compare", suite, suite, *arguments)
    assert (found, out) == (code, "")
    (line,) = err.splitlines()
    assert line.startswith("mmkit: error: ")
    assert message in line


def test_other_data_and_missing_folders_are_one_line(command, suite, other, tmp_path):
    changed = other(lambda record: record["data"]["test"].update(truth="other"))
    code, out, err = command("compare", suite, changed)
    assert (code, out) == (2, "")
    assert "are of different data: truth of test differ" in err
    code, out, err = command("compare", suite, tmp_path / "nowhere")
    assert (code, out) == (4, "")
    assert "nowhere is not there" in err


def test_json_has_what_python_has(command, suite, other):
    slower = other(lambda record: record.update(throughput=times(800.0)))
    code, out, _ = command("compare", suite, slower, "--json", "--metric", "f1_macro", *LIMITS)
    found = mmkit.compare(suite, slower, fail_if=LIMITS[1::2], metrics="f1_macro")
    assert json.loads(out) == json.loads(json.dumps(found.document()))
    assert code == found.exit_code == 1
    assert {line["quantity"] for line in found.table()} >= {"accuracy", "f1_macro", "time", "train_time"}


def test_python_takes_suites_as_well_as_folders(suite):
    again = mmkit.bench(
        task="synthetic-unique:train=64", fusion=["concat", "sum"], seeds=3, out=suite, cost=False, progress=False,
        training={"epochs": 1, "min_steps": 0, "lr": 0.002}, yardsticks=False, device="cpu",
    )  # fmt: skip
    assert mmkit.compare(again, suite).sentence.startswith("B is the same as A: ")


def test_the_page_compares_as_it_says(suite, tmp_path, monkeypatch, capsys):
    """The Python of the page about records, between a suite and a slower copy."""
    page = Path(mmkit.__file__).parent / "records" / "README.md"
    blocks = [one.content for one in MarkdownIt("commonmark").parse(page.read_text("utf-8")) if one.info == "python"]
    (source,) = (one for one in blocks if "mmkit.compare" in one)
    for name in ("main", "change"):
        shutil.copytree(suite, tmp_path / "runs" / name)
    edit(tmp_path / "runs" / "change", lambda record: record.update(throughput=times(800.0)))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(source, str(page), "exec"), names)
    assert capsys.readouterr().out.rstrip().endswith(" 0")
    assert {line["quantity"] for line in names["worse"]} == {"time", "train_time"}
