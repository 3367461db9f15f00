"""`mmkit bench --budget` from the command line: a tiny search, begun, interrupted, gone on with, shown."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

import mmkit
import mmkit.cli
from mmkit.experiments.halving import Ledger
from mmkit.experiments.plan import plan
from mmkit.records.file import read_records
from mmkit.registry.catalog import installed

SMALL = ["--task", "synthetic-unique:train=32", "--epochs", "4", "--seeds", "2", "--no-cost", "--threads", "1"]
SMALL += ["--device", "cpu", "-o", "train.rates=[0.002, 0.01]"]


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder; gives the exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main(["bench", *arguments])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


def test_a_search_from_its_outlook_to_the_sentence(bench, tmp_path):
    given = [*SMALL, "--fusion", "concat,sum,late", "--budget", "1h", "--out", "suite"]
    code, out, err = bench(*given)
    assert code == 0
    assert "of a budget of 60 min about " in err
    assert "6 candidates (combinations x 2 learning rates): 6 for 4 epochs" in err
    assert "Chosen among 3 fusions on validation." in out
    records = list(read_records(tmp_path / "suite" / "records.jsonl").values())
    confirmed = [one for one in records if one.phase == "confirm"]
    assert len(confirmed) == 3 * 2
    assert all(one.search is not None for one in confirmed)
    assert not any(one.metrics for one in records if one.phase == "search")  # quick reads test for what is confirmed
    # Asked again, nothing is done again, and the same is shown.
    before = (tmp_path / "suite" / "records.jsonl").read_bytes()
    code, again, err = bench(*given)
    assert (code, again) == (0, out)
    assert (tmp_path / "suite" / "records.jsonl").read_bytes() == before
    assert "of a budget" not in err


@pytest.mark.full
def test_what_was_stopped_is_shown_and_not_compared(bench, tmp_path, monkeypatch):
    given = [*SMALL, "--fusion", "concat,sum,late,max,mean,product"]
    code, out, _ = bench(*given, "--budget", "1h", "--out", "suite")
    assert code == 0
    assert "Stopped early" not in out
    # A machine on which an epoch takes 10 s, as its folder says: 240 s to confirm trainings of 4 epochs, 200 s for the
    # two rates of two inputs, 120 s for an epoch of 12 candidates and 160 s for 4 epochs of four of them make 720 s.
    # What trainings really take is paid from these.
    monkeypatch.setattr(Ledger, "ratio", 1.0)
    means = json.loads((tmp_path / "suite" / "budget.json").read_text())
    means |= {"setup": 0.0, "once": 0.0, "prices": {key: [0.0, 10.0] for key in means["prices"]}}
    (tmp_path / "scarce").mkdir()
    (tmp_path / "scarce" / "budget.json").write_text(json.dumps(means))
    given += ["--budget", "740s", "--out", "scarce"]
    code, out, err = bench(*given)
    assert code == 0
    assert "12 candidates (combinations x 2 learning rates): 12 for 1 epoch, then 4 for 4 epochs\n" in err
    records = list(read_records(tmp_path / "scarce" / "records.jsonl").values())
    fused = [one for one in records if one.rung and not one.index and not one.fusion.startswith("only:")]
    assert Counter(one.rung.epochs for one in fused) == {1: 12, 4: 4}
    stopped = {one.fusion for one in records if one.stopped}
    compared = {one.fusion for one in records if one.purpose == "comparison"}
    assert len(stopped - compared) >= 2
    assert all(one.rung.epochs < 4 and not one.metrics for one in records if one.stopped)
    table, below = out.split(
        "Stopped early by the budget, on validation: trained for fewer epochs, and so not compared"
    )
    for name in stopped - compared:
        assert re.search(rf"^{name} +[12] of 4 ", below, re.MULTILINE)
        assert not re.search(rf"^{name} ", table, re.MULTILINE)
    ranking = {row["fusion"]: row for row in json.loads(bench(*given, "--json")[1])["ranking"]}
    for name in stopped - compared:
        assert ranking[name]["metrics"] == ranking[name]["validation"] == {}
        assert ranking[name]["stopped"][0]["epochs"] < 4
        assert not ranking[name]["best_on_validation"]


def test_one_that_is_too_small_trains_nothing(bench, tmp_path):
    code, out, err = bench(*SMALL, "--fusion", "concat,sum", "--budget", "0.01s", "--out", "suite")
    assert (code, out) == (2, "")
    error = [line for line in err.splitlines() if line.startswith("mmkit: error")]
    assert len(error) == 1
    assert "is too small even for trainings of one epoch: it takes" in error[0]
    assert "or more, or fewer --seeds" in error[0]
    assert (tmp_path / "suite" / "records.jsonl").read_text() == ""


@pytest.mark.parametrize("text", ["abc", "30", "-5m", "0s", "5m5", ""])
def test_what_is_no_time_is_refused(bench, text):
    code, _, err = bench(*SMALL, "--budget", text)
    assert code == 2
    assert "--budget takes a time, as in 30m, 90s or 1h30m; got" in err


def test_several_encoders_of_an_input_in_one_option_are_all_combined():
    given = ["tcn:width=8,layers=2,fcn", "fcn:width=16"]
    made = plan(installed(), task="digits", encoders={"spoken": given}, fusions=["concat,late"])
    spoken = [str(one.encoders["spoken"]) for one in made.combinations if one.label == "concat"]
    assert len(spoken) == 3
    assert [one.split(":")[0] for one in spoken] == ["tcn", "fcn", "fcn"]
    assert len(made.combinations) == 6
    assert [str(one.encoders["spoken"]) for one in made.baselines if "spoken" in one.encoders] == spoken


def test_what_was_measured_on_other_rows_is_measured_anew(bench, tmp_path, monkeypatch):
    """Interrupted before its first run there is no record yet that would say that the data is another."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    def samples(rows):
        lines = [f"{row / rows},{'pqr'[row % 3]},{'no' if row % 2 else 'yes'}" for row in range(rows)]
        (tmp_path / "table.csv").write_text("\n".join(["a,b,label", *lines]))
        assert bench(*given)[0] == 130
        return json.loads((tmp_path / "suite" / "budget.json").read_text())["samples"]

    given = ["--data", "table.csv", "--target", "label", *SMALL[2:], "--fusion", "attention", "--budget", "1h"]
    given += ["--out", "suite"]
    monkeypatch.setattr("mmkit.experiments.steps.Steps._attempts", stop)
    assert (samples(100), samples(400)) == (60, 240)


@pytest.mark.full
@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_an_interrupted_search_goes_on_to_the_same_end(tmp_path):
    given = [sys.executable, "-m", "mmkit", "bench", *SMALL, "--fusion", "concat,sum,late", "--budget", "1h"]
    environment = {**os.environ, "MMKIT_CACHE": str(tmp_path / "cache")}

    def records(name):
        return read_records(tmp_path / name / "records.jsonl")

    run = subprocess.Popen([*given, "--out", str(tmp_path / "cut")], env=environment, stderr=subprocess.PIPE, text=True)
    file = tmp_path / "cut" / "records.jsonl"
    while run.poll() is None and (not file.exists() or file.read_text().count("\n") < 5):
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 130
    assert "are finished and kept in" in err
    began = records("cut")
    subprocess.run([*given, "--out", str(tmp_path / "cut")], env=environment, check=True, capture_output=True)
    subprocess.run([*given, "--out", str(tmp_path / "whole")], env=environment, check=True, capture_output=True)
    cut, whole = records("cut"), records("whole")
    assert began.keys() < cut.keys()
    assert cut.keys() == whole.keys()
    for id_, one in whole.items():
        other = cut[id_]
        assert (one.purpose, one.phase, one.index, one.rung) == (other.purpose, other.phase, other.index, other.rung)
        assert (one.validation, one.metrics) == (other.validation, other.metrics)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_several_runs_at_once_are_refused_also_by_a_dry_run(bench, tmp_path, dry):
    code, out, err = bench(*SMALL, "--fusion", "concat", "--budget", "1h", "--workers", "2", *dry)
    assert (code, out) == (2, "")
    assert "leave out --workers and --engine, or --budget" in err
