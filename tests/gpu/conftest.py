"""The device under test: `MMKIT_GPU_DEVICE`, cuda where nothing is said; cpu tries the tests themselves.

With `MMKIT_GPU_RESULTS` each test writes a line of JSON to that file when it ends, so that nothing is lost if a later
one hangs.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

DEVICE = os.environ.get("MMKIT_GPU_DEVICE", "cuda")
RESULTS = os.environ.get("MMKIT_GPU_RESULTS")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: "compiled" in item.name)  # these take seconds each, so they come last
    if DEVICE != "cuda" or torch.cuda.is_available():
        return
    reason = "this machine has no CUDA device; MMKIT_GPU_DEVICE=cpu tries the tests on the CPU"
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report):
    """Called for set-up, call and tear-down; a test that passed is told once, what failed or was skipped always."""
    if RESULTS is None or (report.passed and report.when != "call"):
        return
    skipped = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
    line = {
        "test": report.nodeid.rpartition("tests/gpu/")[2],
        "outcome": report.outcome,
        "seconds": round(report.duration, 3),
        "reason": skipped.removeprefix("Skipped: ") or (str(report.longrepr)[-2000:] if report.failed else ""),
        "found": dict(report.user_properties),
    }
    with Path(RESULTS).open("a") as file:
        file.write(json.dumps(line) + "\n")


def pytest_warning_recorded(warning_message, nodeid):
    if RESULTS is not None:
        about = {"warning": f"{warning_message.category.__name__}: {warning_message.message}"[:500], "test": nodeid}
        with Path(RESULTS).open("a") as file:
            file.write(json.dumps(about) + "\n")


@pytest.fixture(autouse=True)
def _exact():
    """Float32 as it is: TF32 keeps 10 bits, and would hide what these tests look for."""
    cudnn: Any = torch.backends.cudnn  # untyped
    places = (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul)
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    yield
    for place, was in zip(places, before, strict=True):
        place.fp32_precision = was


@pytest.fixture
def device():
    return torch.device(DEVICE)


@pytest.fixture
def cuda(device):
    """For what only the hardware can show."""
    if device.type != "cuda":
        pytest.skip("asks for CUDA hardware")
    return device
