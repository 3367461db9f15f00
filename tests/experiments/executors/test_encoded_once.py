"""Frozen encoders run once over each row, however many workers and runs read their features."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.experiments.executors import cases

SCRIPT = """
import os
import sys

import mmkit
import torch
from mmkit.encoders.fcn import FcnEncoder
from mmkit.plugin import EncoderSpec


class Seen(FcnEncoder):
    def __init__(self, transform, *, width: int = 16):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            super().__init__(transform, width=width)
        self.requires_grad_(requires_grad=False)
        self.frozen = True

    def train(self, mode=True):
        return super().train(mode=False)

    def forward(self, batch):
        worker = any("executors.worker" in one for one in sys.orig_argv)
        with open(os.environ["SEEN"], "a") as file:
            file.write(f"{'worker' if worker else 'suite'} {len(batch['mask'])}\\n")
        with torch.no_grad():
            return super().forward(batch)


spec = EncoderSpec("seen", "x:X", "Frozen", modality="series")
seen = mmkit.installed().choose("encoder", Seen, {"noise": 0.0, "time_mask": 0.0}, spec=spec)
mmkit.bench(
    task="synthetic-unique:train=96", encoders={"series": seen}, fusion=["late", "concat"], seeds=2,
    training={"epochs": 2, "min_steps": 0, "lr": 0.01}, cost=False, device="cpu", threads=1, yardsticks=False,
    out=sys.argv[1], workers=int(sys.argv[2]), cache=sys.argv[3],
)
"""


def rows(folder, workers):
    """Rows that passed the encoder, in the process of the suite and in workers; and the samples of a run."""
    file, seen = folder / "script.py", folder / f"seen {workers}"
    file.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(file), str(folder / f"out {workers}"), str(workers), str(folder / f"cache {workers}")],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        cwd=cases.ROOT,
        env={**os.environ, "SEEN": str(seen), "PYTHONPATH": str(cases.ROOT)},
    )
    assert done.returncode == 0, done.stderr
    count = Counter()
    for line in seen.read_text().splitlines():
        where, number = line.split()
        count[where] += int(number)
    samples = [one.samples for one in cases.records(folder / f"out {workers}").values() if one.samples.test]
    assert len(samples) > 4  # two fusions and two inputs alone, and several seeds
    return count, samples[0].train + samples[0].validation + samples[0].test


@pytest.mark.full
def test_two_workers_encode_each_row_of_each_input_once(tmp_path):
    alone, samples = rows(tmp_path, 1)
    shared, _ = rows(tmp_path, 2)
    assert alone["worker"] == 0
    assert shared["worker"] == 2 * samples  # two inputs
    assert shared["suite"] + shared["worker"] == alone["suite"]  # what is tried before is the same
    assert cases.compared(tmp_path / "out 1") == cases.compared(tmp_path / "out 2")
