"""`mmkit bench --search-options` from the command line: a tiny search, to its end and in two parts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

import mmkit.cli
from mmkit.records.file import read_records

SMALL = ["--task", "synthetic-unique:train=32", "--epochs", "4", "--seeds", "2", "--no-cost", "--threads", "1"]
SMALL += ["--device", "cpu", "-o", "train.rates=[0.002, 0.01]", "--fusion", "concat,late", "--search-options"]
# All of the head is given, so an hour is enough for every setting there is: 3 widths or 2 weights, with 2 rates.
SMALL += ["-o", "head.loss=cross-entropy", "-o", "head.gamma=2.0", "-o", "head.class_weights=none", "--budget", "1h"]


def run(*arguments, code=0):
    with pytest.raises(SystemExit) as end:
        mmkit.cli.main(["bench", *arguments])
    assert end.value.code == code


def name_of(label):
    """Without the options."""
    return label if label.startswith("only:") else label.partition(":")[0]


def records_of(folder):
    return read_records(folder / "records.jsonl")


@pytest.mark.full
@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_a_search_and_one_that_was_interrupted(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    whole = tmp_path / "whole"
    run(*SMALL, "--save", "--out", str(whole))
    out, err = capsys.readouterr()
    assert "the options of 4 combinations are searched, single inputs included, in " in err
    assert "1 of 20 runs: " in err  # 3 widths or 2 weights with 2 rates, 2 rates of each input, 2 seeds of 3 rows
    records = list(records_of(whole).values())
    rungs = [one for one in records if one.rung]
    (seed,) = {one.seed for one in rungs if one.fusion == "only:left"}
    by_name = {}
    for one in rungs:
        if one.seed == seed:
            by_name.setdefault(name_of(one.fusion), []).append(one)
    assert {name: len(of) for name, of in by_name.items()} == {"concat": 6, "late": 4, "only:left": 2, "only:right": 2}
    finals = Counter(name_of(one.fusion) for one in rungs if one.seed != seed)
    assert finals == {"concat": 4, "late": 4}  # four more seeds of the best setting of each
    assert {one.status for one in rungs} == {"ok"}
    assert not any(one.metrics for one in rungs)
    assert {one.head for one in records} == {"linear"}
    confirmed = {one.fusion: one for one in records if one.phase == "confirm"}
    assert len(confirmed) == 3
    for name, one in confirmed.items():  # with the options and the rate that were best with the first seed
        best = min(by_name[name_of(name)], key=lambda each: each.validation["log_loss"])
        assert one.run["training"]["lr"] == best.run["training"]["lr"] == one.search.lr
        assert one.run["fusion"] == best.run["fusion"]
        assert len(one.search.tried) == len(by_name[name_of(name)])
        assert name in out
    # Models are saved of what is compared, and no others.
    compared = {(one.fusion, one.head) for one in records if one.purpose == "comparison"}
    assert len([one for one in (whole / "models").iterdir() if one.is_dir()]) == len(compared) == 4
    # Asked again, nothing is done again, and the same is shown.
    before = (whole / "records.jsonl").read_bytes()
    run(*SMALL, "--save", "--out", str(whole))
    assert capsys.readouterr().out == out
    assert (whole / "records.jsonl").read_bytes() == before
    # What is cut off goes on to the same end.
    cut = tmp_path / "cut"
    command = [sys.executable, "-m", "mmkit", "bench", *SMALL, "--out", str(cut)]
    file = cut / "records.jsonl"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and (not file.exists() or file.read_text().count("\n") < 9):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert len(records_of(cut)) < len(records)
    subprocess.run(command, check=True, capture_output=True)

    def scores(found):
        return {
            (json.dumps([one.run["fusion"], one.run["encoders"]]), one.run["training"]["lr"], one.seed): one.validation
            for one in found
        }

    assert scores(records_of(cut).values()) == scores(records)


@pytest.mark.full
def test_what_was_chosen_is_measured(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("mmkit.experiments.costs.MAX_SECONDS", 0.2)
    monkeypatch.setattr("mmkit.experiments.costs.ROUNDS", 3)
    given = [one for one in SMALL if one != "--no-cost"]
    run(*given, "--out", str(tmp_path / "suite"))
    for one in records_of(tmp_path / "suite").values():
        if one.purpose == "comparison":
            assert one.throughput is not None
            assert one.cost.parameters > 0
    assert "parameters" in capsys.readouterr().out


def test_without_a_budget_or_optuna_nothing_is_begun(capsys, tmp_path, monkeypatch):
    run("--task", "synthetic-unique", "--search-options", "--out", str(tmp_path / "suite"), code=2)
    assert "--search-options needs the time that it may take: add --budget" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "optuna", None)
    run(*SMALL, "--out", str(tmp_path / "suite"), code=3)
    assert "pip install 'mmkit-core[search]'" in capsys.readouterr().err
    assert not (tmp_path / "suite").exists()
