"""The scripts of `benchmarks/gpu` report what happened, and nothing that hangs or breaks hides the rest."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as driver
from benchmarks.gpu import fetch
from benchmarks.gpu.graphs import captured
from benchmarks.gpu.record import Asked, Record, attempt, smi
from mmkit.contract import Features

pytestmark = pytest.mark.minutes

ROOT = Path(__file__).parents[2]


def asked(out, **given):
    return Asked(out, torch.device("cpu"), 10, rehearse=True, **given)


class TestCaptured:
    def test_new_inputs_are_copied_in_and_outputs_are_overwritten(self):
        replay = captured(lambda features: features.vector() * 2, (Features.of(torch.ones(2, 3)),), "cpu")
        first = replay()
        assert first.tolist() == [[2.0] * 3] * 2
        assert replay(Features.of(torch.full((2, 3), 4.0))) is first
        assert first.tolist() == [[8.0] * 3] * 2

    def test_other_shapes_are_refused(self):
        replay = captured(lambda x: x + 1, (torch.ones(2, 3),), "cpu")
        with pytest.raises(ValueError, match=r"captured with 0 \[2, 3\]; got 0 \[2, 4\]"):
            replay(torch.ones(2, 4))


class TestRecord:
    def test_it_is_whole_at_every_moment_and_says_that_it_is_a_rehearsal(self, tmp_path):
        record = Record(asked(tmp_path / "gpu-x.json"), "something")
        before = json.loads((tmp_path / "gpu-x.json").read_text())
        assert (before["finished"], before["rehearsal"], before["device"]) == (False, True, "cpu")
        record.put(finished=True, cases={"a": 1})
        after = json.loads((tmp_path / "gpu-x.json").read_text())
        assert after["finished"]
        assert after["cases"] == {"a": 1}
        assert [path.name for path in tmp_path.iterdir()] == ["gpu-x.json"]

    def test_what_breaks_is_told_in_a_line(self):
        assert attempt(lambda: 3) == 3
        assert attempt(lambda: int("x\ny"))["error"].startswith("ValueError: invalid literal for int()")

    def test_clocks_are_those_that_nvidia_smi_tells(self, tmp_path, monkeypatch):
        (tmp_path / "nvidia-smi").write_text(
            "#!/bin/sh\necho 'A card, 580.1, 1980, 1990, 2619, 2619, 40, 90, 700, On'\n"
        )
        (tmp_path / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        told = smi()
        assert (told["name"], told["clocks.sm"], told["persistence_mode"]) == ("A card", "1980", "On")

    def test_and_none_where_it_is_not_there(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        assert smi() is None


class TestDriver:
    def test_what_hangs_is_stopped_with_all_that_it_started(self, tmp_path):
        left = tmp_path / "alive"
        child = f"import time, pathlib\nwhile True:\n    pathlib.Path({str(left)!r}).touch()\n    time.sleep(.05)"
        parent = (
            f"import subprocess, sys\nprint('begun', flush=True)\nsubprocess.run([sys.executable, '-c', {child!r}])"
        )
        log = io.StringIO()
        assert driver._attended([sys.executable, "-c", parent], dict(os.environ), 2.0, log) is None
        assert log.getvalue() == "begun\n"
        left.unlink()
        time.sleep(0.3)
        assert not left.exists()

    def test_the_code_of_what_ends_is_told(self):
        assert driver._attended([sys.executable, "-c", "raise SystemExit(3)"], dict(os.environ), 60, io.StringIO()) == 3

    def test_a_record_is_good_only_where_it_is_finished_and_holds_no_error(self, tmp_path):
        file = tmp_path / "gpu-cases.json"
        assert driver._faults(file) == ("it left no record", False)
        document = {"finished": True, "rows": [{"fusion": "sum", "error": None}], "cases": {"a": {"left_out": "x"}}}
        file.write_text(json.dumps(document))
        assert driver._faults(file) == ("finished, 0 errors, 1 left out for want of time", True)
        file.write_text(json.dumps(document | {"finished": False}))
        assert driver._faults(file)[1] is False
        document["rows"][0]["error"] = "RuntimeError: no"
        file.write_text(json.dumps(document))
        told, good = driver._faults(file)
        assert not good
        assert told.endswith("rows / sum: RuntimeError: no")

    def test_tests_that_ended_are_told_though_a_later_one_hung(self, tmp_path):
        lines = [
            {"test": "test_a.py::x", "outcome": "passed", "seconds": 0.1, "reason": "", "found": {}},
            {"test": "test_a.py::y", "outcome": "skipped", "seconds": 0.1, "reason": "a reason: more", "found": {}},
            {"test": "test_a.py::z", "outcome": "failed", "seconds": 0.1, "reason": "assert 1 == 2", "found": {}},
        ]
        results = tmp_path / "results"
        results.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"test": "cut o')
        told, good = driver._tests(results, asked(tmp_path), tmp_path / "gpu-tests.json", None)
        assert (told, good) == ("1 passed, 1 skipped, 1 failed", False)
        document = json.loads((tmp_path / "gpu-tests.json").read_text())
        assert [line["test"] for line in document["failed"]] == ["test_a.py::z"]
        assert document["skipped"] == {"a reason": 1}
        assert not document["finished"]

    def test_no_test_is_no_proof(self, tmp_path):
        assert driver._tests(tmp_path / "none", asked(tmp_path), tmp_path / "x.json", 5) == ("no test ran", False)

    def test_requirements_that_are_not_met_are_named(self, distribution):
        distribution("acme-glue", "", requires=["no-such-thing>=2", "numpy>=999", "nor-this; extra == 'more'"])
        found = [line for line in driver.missing() if "acme-glue" in line]
        assert found[0] == "no-such-thing>=2, which acme-glue needs, is not here"
        assert found[1].startswith("numpy>=999, which acme-glue needs, is here as ")
        assert len(found) == 2

    def test_without_a_gpu_it_says_what_can_be_done(self, tmp_path):
        if torch.cuda.is_available():
            pytest.skip("this machine has one")
        command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path / "out")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "no CUDA device that torch can use; --device cpu --rehearse tries the scripts" in done.stderr
        assert not (tmp_path / "out").exists()

    @pytest.mark.full
    def test_a_rehearsal_on_the_cpu_leaves_every_record(self, tmp_path):
        command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(tmp_path), "--device", "cpu", "--rehearse"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        names = {f"gpu-{part}.json" for part in driver.PARTS} | {"gpu-log.txt"}
        assert {path.name for path in tmp_path.iterdir()} == names
        for part in driver.PARTS:
            document = json.loads((tmp_path / f"gpu-{part}.json").read_text())
            assert document["finished"], part
            assert document["rehearsal"], part


def test_every_wheel_is_of_a_version_that_is_written_down():
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in fetch.CONSTRAINTS.read_text().splitlines()}
    assert [name for name in (*fetch.LACKING, *fetch.FROM_SOURCE) if name not in pinned] == []
