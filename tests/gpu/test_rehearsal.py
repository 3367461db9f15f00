"""The tests of the device, tried on the CPU, so that the first machine with a GPU does not find a slip of the pen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.minutes

HERE = Path(__file__).parent


def tried(tmp_path, *given):
    """The outcome of each test, by its name."""
    results = tmp_path / "results.jsonl"
    environment = {**os.environ, "MMKIT_GPU_DEVICE": "cpu", "MMKIT_GPU_RESULTS": str(results)}
    command = [sys.executable, "-m", "pytest", str(HERE), "-m", "gpu", "-q", "-p", "no:cacheprovider", *given]
    done = subprocess.run(command, cwd=HERE.parents[1], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    return {line["test"]: line for line in lines if "outcome" in line}


@pytest.mark.full
def test_all_of_them_do_but_for_what_asks_for_the_hardware(tmp_path):
    found = tried(tmp_path)
    skipped = {line["reason"].partition(":")[0] for line in found.values() if line["outcome"] == "skipped"}
    assert skipped <= {
        "a kernel of CUDA",
        "a pretrained model of another library",
        "asks for CUDA hardware",
        "its spec says fullgraph=False",
        "this CPU's library has no such kernel",
        "this system does not tell",
    }
    assert sum(line["outcome"] == "passed" for line in found.values()) > 150
    assert {test.partition("::")[0] for test, line in found.items() if line["outcome"] == "passed"} == {
        path.name for path in HERE.glob("test_*.py") if "\npytestmark = [pytest.mark.gpu" in path.read_text()
    }
