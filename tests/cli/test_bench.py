"""`mmkit bench` from outside: exit codes, one line for each error, stdout apart from stderr."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import termios

import pytest

import mmkit.cli

SMALL = ["--task", "synthetic-unique:train=48", "--fusion", "concat", "--epochs", "1", "--lr", "0.002"]


WORDS = ["--task", "clipart", "--encoder", "title=bag:vectors=no.txt"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MMKIT_TASK", "MMKIT_FUSION", "MMKIT_CONFIG", "MMKIT_SEEDS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bench(capsys):
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main(["bench", *map(str, arguments)])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return run


@pytest.fixture
def rejected(bench, tmp_path):
    """Runs a command that must fail with one line on stderr, nothing on stdout, and no new folder."""

    def run(*arguments):
        code, out, err = bench(*arguments)
        assert out == ""
        (line,) = err.splitlines()
        assert line.startswith("mmkit: error: ")
        assert not (tmp_path / "mmkit-runs").exists()
        return code, line

    return run


def test_if_weights_that_all_combinations_need_are_missing_nothing_is_trained(bench, tmp_path):
    arguments = ["--task", "clipart", "--encoder", "title=bag:vectors=nowhere.txt", "--out", tmp_path / "suite"]
    code, out, err = bench(*arguments)
    assert (code, out) == (4, "")
    assert "cannot read the word vectors nowhere.txt" in err
    assert (tmp_path / "suite" / "records.jsonl").read_bytes() == b""


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["--task", "digit"], 2, "there is no task digit; did you mean digits?"),
            (["--fusion", "atention"], 2, "did you mean attention?"),
            (["--fusion", "only:written"], 2, "bench trains every input alone beside the fusions"),
            (["--fusion", "concat,only:written"], 2, "make that one model: mmkit train --fusion only:written"),
            (["--fuson", "x"], 2, "No such option"),
            (["--fusion", "attention:head=2"], 2, "head"),
            (["--fusion", "attention:heads=two"], 2, "heads"),
            (["--fusion", "low-rank:rank=0"], 2, "rank"),
            (["-o", "train.lr=-1"], 2, "lr"),
            (["-o", "fusion.colour=red"], 2, "no chosen component has that option"),
            (["--encoder", "cnn"], 2, "--encoder takes INPUT=NAME"),
            (["--encoder", "writen=cnn"], 2, "did you mean written?"),
            (["--seeds", "many"], 2, "many"),
            (["--seeds", "0"], 2, "--seeds takes 1 or more"),
            (["--seed", "-1"], 2, "--seed takes 0 or more; got -1"),
            (["--protocol", "fast"], 2, "--protocol takes quick or full; got fast"),
            (["--same-within", "0"], 2, "--same-within takes more than 0; got 0"),
            (["--same-within", "nan"], 2, "--same-within takes more than 0; got nan"),
            (["--threads", "0"], 2, "--threads takes 1 or more"),
            (["--precision", "int4"], 2, "got int4"),
            (["--device", "tpu"], 2, "device is one of"),
            (["--device", "mps"], 3, "torch cannot use mps"),
            (["--config", "nowhere.toml"], 2, "cannot read --config nowhere.toml"),
            (["digits"], 2, ""),
        ],
    )
    def test_an_error_is_one_line_with_its_exit_code(self, rejected, arguments, code, message):
        found, line = rejected(*arguments)
        assert found == code
        assert message in line

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("fusion = [", "is not TOML"),
            ("fuson = 'sum'", "did you mean fusion?"),
            ("seeds = 'three'", "seeds takes int; got 'three'"),
            ("seeds = true", "seeds takes int; got True"),
            ("cost = 'no'", "cost takes bool; got 'no'"),
            ("fusion = 3", "fusion takes a string or a list of strings; got 3"),
            ("train = 3", "train is a table of options; got 3"),
            ("[train]\nlrr = 3", "lrr"),
        ],
    )
    def test_a_wrong_configuration_is_an_error(self, rejected, tmp_path, content, message):
        (tmp_path / "bench.toml").write_text(content)
        code, line = rejected("--config", "bench.toml")
        assert code == 2
        assert message in line

    def test_a_folder_that_cannot_be_written_is_an_error(self, rejected, tmp_path):
        (tmp_path / "file").write_text("")
        code, line = rejected("--out", "file/deep")
        assert code == 2
        assert "cannot write to" in line

    def test_a_damaged_record_file_is_an_error_and_not_changed(self, rejected, tmp_path):
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "records.jsonl").write_text("{]\n")
        code, line = rejected("--out", "old")
        assert code == 4
        assert "line 1 is no record" in line
        assert (tmp_path / "old" / "records.jsonl").read_text() == "{]\n"

    def test_traceback_shows_a_traceback(self, bench):
        code, _, err = bench("--task", "digit", "--traceback")
        assert code == 2
        assert "Traceback" in err


SPEAKERS = (
    "mmkit: splits share groups (train and validation 20, train and test 20, validation and test 20), such as "
    "george; figures on test do not speak of new groups\n"
)


class TestDryRun:
    def test_the_plan_is_shown_and_nothing_is_run(self, bench, tmp_path):
        code, out, err = bench("--fusion", "concat,sum", "--head", "linear", "--head", "mlp", "--dry-run")
        assert (code, err) == (0, SPEAKERS)
        assert out.splitlines()[-3] == (
            "a race of 4 fusions on validation, then the one that is best on validation and 4 inputs alone x 5 fresh "
            "seeds: 29 runs on task digits, cpu, float32"
        )
        assert out.splitlines()[-1].startswith("it will take about ")
        assert len(out.splitlines()) == 11
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "code", "failed", "message"),
        [
            (["--fusion", "concat,sum"], 0, 0, " parameters, "),
            ([*SMALL, "--fusion", "tensor:budget=1"], 2, 1, "UsageError: fusion tensor:budget=1: "),
            (WORDS, 4, 4, "DataError: cannot read the word vectors no.txt"),
            ([*WORDS, "--encoder", "title=bag", "--fusion", "tensor:budget=1"], 1, 3, "UsageError: "),
        ],
    )
    def test_each_combination_is_tried_and_the_exit_code_is_that_of_its_error(
        self, bench, tmp_path, arguments, code, failed, message
    ):
        found, out, err = bench(*arguments, "--dry-run")
        lines = out.splitlines()[:-1]
        assert (found, err) == (code, SPEAKERS if "--task" not in arguments else "")
        assert sum("Error: " in line for line in lines) == failed
        assert any(message in line for line in lines)
        assert list(tmp_path.iterdir()) == []

    def test_runs_can_be_read_from_the_json_document(self, bench):
        code, out, _ = bench("--dry-run", "--json")
        found = json.loads(out)
        assert (code, found["count"], len(found["runs"])) == (0, 17, 5)
        assert found["runs"][0]["fusion"]["name"] == "concat"
        searched = {"budget": None, "search_options": False}
        assert found["protocol"] == {"name": "quick", **searched, "race": [3, 2], "seeds": 5}
        assert [one["error"] for one in found["combinations"]] == [None] * 5
        assert all(one["parameters"] == one["trainable_parameters"] > 0 for one in found["combinations"])

    def test_components_that_all_leaves_out_are_listed_on_stderr(self, bench):
        code, out, err = bench("--head", "all", "--dry-run")
        assert code == 0
        said = "mmkit: head mmkit-core/regression is left out: predicts scalar, and the target of the task is classes"
        assert [line for line in err.splitlines() if "mmkit-core/" in line] == [said]
        assert "regression" not in out


class TestLayers:
    def test_the_command_line_overrides_the_environment_and_that_the_configuration(self, bench, tmp_path, monkeypatch):
        (tmp_path / "bench.toml").write_text(
            'fusion = "sum"\nseeds = 2\ntask = "digits"\n[train]\nlr = 0.5\nepochs = 7\n'
        )
        monkeypatch.setenv("MMKIT_CONFIG", "bench.toml")

        def planned(*arguments):
            found = json.loads(bench("--dry-run", "--json", *arguments)[1])
            (run, *_) = found["runs"]
            return run["fusion"]["name"], found["protocol"]["seeds"], run["training"]["lr"]

        assert planned() == ("sum", 2, 0.5)
        monkeypatch.setenv("MMKIT_FUSION", "mean")
        assert planned() == ("mean", 2, 0.5)
        assert planned("--fusion", "max", "--seeds", "1", "--lr", "0.25") == ("max", 1, 0.25)
        assert planned("--lr", "0.25", "-o", "train.lr=0.125")[2] == 0.125


@pytest.fixture
def _quick(monkeypatch):
    from mmkit.experiments.costs import measure_costs

    monkeypatch.setattr(
        "mmkit.experiments.steps.measure_costs",
        lambda *given, **rest: measure_costs(*given, **rest, rounds=6, max_seconds=1.0),
    )


@pytest.mark.usefixtures("_quick")
class TestRun:
    def test_tables_and_the_verdict_are_on_stdout_and_notes_on_stderr(self, bench, tmp_path):
        code, out, err = bench(*SMALL, "--seeds", "2", "--out", "found", "--confusion")
        assert code == 0
        assert "\x1b" not in out + err
        for word in ("concat", "only:left", "only:right", "macro F1", "FLOPs", "memory", "Confusion matrix of"):
            assert word in out
        assert "single input" in out
        *runs, last = (line for line in err.splitlines() if "it will take about" not in line)  # where that is long
        assert last == "mmkit: records are in found"
        runs = [line for line in runs if "it will take" not in line]  # said where the machine is slow
        assert len(runs) == 6
        assert all(" runs: " in line and " on validation, " in line for line in runs)
        assert len((tmp_path / "found" / "records.jsonl").read_text().splitlines()) == 6

    def test_no_cost_shows_no_costs(self, bench, tmp_path):
        code, out, _ = bench(*SMALL, "--seeds", "1", "--no-baselines", "--no-cost", "--json")
        (record,) = json.loads(out)["records"]
        assert (code, record["throughput"], record["cost"]["flops_per_sample"]) == (0, None, None)
        (tmp_path / "bench.toml").write_text("cost = false")
        _, out, _ = bench(*SMALL, "--seeds", "1", "--no-baselines", "--config", "bench.toml", "--json")
        assert json.loads(out)["records"][0]["throughput"] is None

    def test_json_prints_one_document(self, bench):
        code, out, _ = bench(*SMALL, "--seeds", "1", "--json", "--no-baselines")
        found = json.loads(out)
        assert code == 0
        (record,) = found["records"]
        assert record["throughput"]["inference_samples_per_s"] > 0
        assert set(record["cost"]) >= {"parameters", "flops_per_sample", "peak_memory_bytes"}
        assert found["ranking"][0]["fusion"] == "concat"

    def test_without_out_a_new_folder_is_created(self, bench, tmp_path):
        assert bench(*SMALL, "--seeds", "1", "--no-baselines", "--no-cost")[0] == 0
        assert bench(*SMALL, "--seeds", "1", "--no-baselines", "--no-cost")[0] == 0
        assert len(list((tmp_path / "mmkit-runs").iterdir())) == 2

    def test_a_failing_combination_gives_exit_code_1_and_the_others_are_shown(self, bench, tmp_path):
        code, out, err = bench(*SMALL, "--fusion", "tensor:budget=1", "--seeds", "1", "--out", "found")
        assert code == 1
        assert "runs: tensor:budget=1, race 1 failed; see the reason below" in err
        assert "failed: tensor:budget=1: UsageError" in out
        assert (out + err).count("UsageError") == 1
        assert "only:left" in out
        assert len((tmp_path / "found" / "records.jsonl").read_text().splitlines()) == 5

    def test_saved_models_predict(self, bench, tmp_path):
        assert bench(*SMALL, "--seeds", "1", "--no-baselines", "--save", "--out", "found")[0] == 0
        (folder,) = [path for path in (tmp_path / "found" / "models").iterdir() if path.is_dir()]
        assert mmkit.load(folder).predict([{}])[0]["label"] in {"00", "01", "10", "11"}

    def test_unreadable_values_are_named_or_count_as_missing(self, bench, distribution):
        distribution(
            "rotten",
            """
            from mmkit.contract import Samples
            from mmkit.plugin import TaskSpec, hookimpl

            class Rotten:
                description = "One series of each split cannot be read."
                inputs = {"a": "series", "b": "series"}
                target, metric, encoders, training = "classes", "accuracy", {}, {}

                def __init__(self): ...

                def split(self, name):
                    rows = [[[float(i % 2), 1.0]] * 4 for i in range(20)]
                    columns = {"a": [*rows[:19], "mush"], "b": rows}
                    return Samples([f"{name}-{i}" for i in range(20)], columns, ["u", "v"] * 10)

            @hookimpl
            def mmkit_tasks():
                modalities = (("a", "series"), ("b", "series"))
                yield TaskSpec("rotten", "THIS:Rotten", "Rotten", modalities=modalities, target="classes")
            """,
        )
        rest = ["--task", "rotten", *SMALL[2:], "--seeds", "1", "--no-baselines"]
        code, out, err = bench(*rest)
        assert (code, out) == (4, "")
        *findings, line = err.splitlines()
        assert [one.partition(" of 20 ")[0] for one in findings] == ["mmkit: 20", "mmkit: 20", "mmkit: 20"]
        assert line.startswith("mmkit: error: sample train-19, input a: ")
        code, out, err = bench(*rest, "--on-error", "missing", "--json")
        assert code == 0
        assert json.loads(out)["records"][0]["unread"] == {"train": 1, "validation": 1, "test": 1}
        assert "3 values could not be used and count as missing" in err
        code, out, err = bench(*rest, "--on-error", "skip", "--json")
        assert code == 0
        (record,) = json.loads(out)["records"]
        assert record["samples"]["test"] == 19
        assert record["unread"]["train"] == 1
        assert "3 values could not be used and their samples are left out:\n  sample train-19, input a: " in err


@pytest.mark.skipif(os.name != "posix", reason="a terminal is made by the operating system's own means")
def test_on_a_terminal_bars_and_tables_have_its_width(tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [
        sys.executable,
        "-m",
        "mmkit",
        "bench",
        *SMALL,
        "--seeds",
        "1",
        "--no-baselines",
        "--out",
        str(tmp_path / "o"),
    ]
    environment = {**os.environ, "TERM": "xterm"}
    for name in ("COLUMNS", "NO_COLOR"):
        environment.pop(name, None)
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # the terminal is gone when the process is
            while part := os.read(ours, 1 << 16):
                seen += part
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert process.returncode == 0, text
    assert "epochs" in text
    assert "━" in text
    assert "Scores: mean" in text
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", text) if "│" in line or "concat" in line)
