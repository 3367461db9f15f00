"""Progress as a user sees it: bars on a terminal and in a notebook, nothing where none was asked for."""

import os
import pty
import re
import subprocess
import sys
import types

import pytest
import torch
from torch import nn

import mmkit
from mmkit.system.notebook import NotebookBars, in_notebook
from mmkit.system.progress import Progress
from mmkit.transforms.image import ImageTransform

OPTIONS = "options=['train.epochs=1', 'train.min_steps=0', 'train.lr=0.002']"
SMALL = f"task='synthetic-unique:train=48', {OPTIONS}, fusion='concat'"
CALLS = [f"mmkit.bench({SMALL}, seeds=1, cost=False", f"mmkit.fit({SMALL}"]


def on_a_terminal(code, folder):
    """What a program writes to a terminal, as both of its streams."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment
    )
    os.close(theirs)
    found = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        found += part
    os.close(ours)
    assert program.wait() == 0, found.decode()
    return found.decode()


@pytest.mark.full
def test_bars_on_a_terminal_and_nothing_where_they_are_turned_off(tmp_path):
    loud = [f"{call})" for call in CALLS]
    silent = [f"{call}, progress=False)" for call in CALLS]
    parts = on_a_terminal("; print('|'); ".join(["import mmkit", *loud, *silent]), tmp_path).split("|\r\n")
    assert len(parts) == 5
    for shown in parts[1:3]:
        assert "━" in shown
        assert re.search(r"\d/\d", shown)
    assert parts[3:] == ["", ""]


def test_in_a_pipe_there_are_no_bars_but_a_line_for_each_run(tmp_path, capfd):
    options = ["train.epochs=1", "train.min_steps=0", "train.lr=0.002"]
    asked = {"task": "synthetic-unique:train=48", "fusion": "concat", "seeds": 1, "cost": False}
    mmkit.bench(**asked, options=options, out=tmp_path / "a")
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 3
    for number, (line, name) in enumerate(zip(lines, ("concat", "only:left", "only:right"), strict=True), start=1):
        assert re.fullmatch(rf"mmkit: {number} of 3 runs: {name}, seed 1: accuracy \d+\.\d on validation, \d+ s", line)
    mmkit.bench(**asked, options=options, out=tmp_path / "b", progress=False)
    assert capfd.readouterr() == ("", "")


class Told(Progress):
    """Keeps what it is told."""

    def __init__(self):
        self.calls, self.ended = [], 0

    def __exit__(self, kind, error, at):
        self.ended += 1

    def stage(self, what):
        self.calls.append(("stage", what))

    def update(self, what, done, total=None):
        self.calls.append((what, done, total))

    def note(self, message):
        self.calls.append(("note", message))


def test_a_progress_of_ones_own_is_told_of_every_run_and_epoch(tmp_path):
    told = Told()
    asked = {"task": "synthetic-unique:train=48", "fusion": "concat", "baselines": False, "cost": False}
    options = ["train.epochs=2", "train.min_steps=0", "train.patience=5", "train.lr=0.002"]
    mmkit.bench(**asked, options=options, seeds=2, out=tmp_path / "a", progress=told)
    assert [call for call in told.calls if call[0] == "runs"] == [("runs", 0, 2), ("runs", 1, 2), ("runs", 2, 2)]
    assert ("stage", "concat, seed 1") in told.calls
    assert told.calls.count(("epochs", 2, 2)) == 2
    assert told.ended == 1
    again = Told()
    mmkit.bench(**asked, options=options, seeds=2, out=tmp_path / "a", progress=again)
    assert ("note", f"2 of 2 runs are already in {tmp_path / 'a'} and are not repeated") in again.calls
    broken = Told()
    with pytest.raises(mmkit.MmkitError):
        mmkit.bench(task="synthetic-unique", fusion="tensor:budget=1", out=tmp_path / "b", progress=broken)
    assert broken.ended == 1


class Brightness(nn.Module):
    """A frozen encoder of images: their mean."""

    reads = ImageTransform
    frozen = True
    width = 1

    def __init__(self, transform):
        super().__init__()

    def forward(self, batch):
        return mmkit.Features.of(batch["pixels"].float().mean((1, 2, 3)).unsqueeze(1), batch["mask"])


class Twins:
    """Two images of one brightness."""

    description = "Twins."

    def __init__(self):
        self.inputs, self.target, self.metric = {"left": "image", "right": "image"}, "classes", "accuracy"
        self.encoders, self.training = {}, {}

    def split(self, name):
        images = [torch.full((1, 4, 4), 20 * number, dtype=torch.uint8) for number in range(8)]
        ids = [f"{name}-{number}" for number in range(8)]
        return mmkit.Samples(ids, {"left": images, "right": images}, ["dark"] * 4 + ["bright"] * 4)


def test_retrieval_tells_how_far_its_encoders_are(tmp_path, capfd):
    told = Told()
    asked = {"task": Twins, "encoders": {"left": Brightness, "right": Brightness}, "cache": tmp_path}
    found = mmkit.retrieve(**asked, progress=told)
    assert ("features of left", 8, 8) in told.calls
    assert told.ended == 1
    silent = mmkit.retrieve(**asked, progress=False)
    assert silent.directions == found.directions
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def kernel(monkeypatch):
    """A notebook's kernel, as far as it is asked for something; a list of what it was given to show."""
    shown = []

    def publish(data, *, transient, update):
        shown.append((transient["display_id"], update, data["text/html"]))

    shell = types.SimpleNamespace(kernel=object(), display_pub=types.SimpleNamespace(publish=publish))
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    return shown


def test_a_notebook_is_known_by_its_kernel(kernel, monkeypatch):
    assert in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_bars_in_a_notebook_are_one_output_that_changes_and_is_empty_at_the_end(kernel, monkeypatch, capsys):
    clock = iter(range(1000, 9999))
    monkeypatch.setattr("mmkit.system.notebook.time.monotonic", lambda: next(clock))
    with NotebookBars() as bars:
        bars.update("runs", 0, 3)
        bars.stage("<a & b>, seed 0")
        bars.update("epochs", 1, 2)
        bars.update("features", 7)
        bars.update("epochs", 2, 2)
        bars.note("something")
    assert len({display for display, _, _ in kernel}) == 1
    assert [update for _, update, _ in kernel] == [False] + [True] * 5
    texts = [text for _, _, text in kernel]
    assert "&lt;a &amp; b&gt;, seed 0" in texts[1]
    assert '<progress value="1" max="2"></progress></td><td>1/2' in texts[2]
    assert "<progress></progress></td><td>7" in texts[3]
    assert "epochs" not in texts[4]
    assert texts[-1] == ""
    assert capsys.readouterr().err == "mmkit: something\n"


def test_bars_in_a_notebook_are_not_drawn_more_often_than_an_eye_sees(kernel, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("mmkit.system.notebook.time.monotonic", lambda: now[0])
    with NotebookBars() as bars:
        for step in range(1000):
            now[0] += 0.001
            bars.update("epochs", step, 1000)
    assert len(kernel) < 10
    with NotebookBars():
        pass
    assert kernel[-1][2] == ""


def test_bench_in_a_notebook_shows_them_and_else_nothing(kernel, tmp_path, capsys):
    asked = {"task": "synthetic-unique:train=48", "fusion": "concat", "seeds": 1, "baselines": False, "cost": False}
    options = ["train.epochs=1", "train.min_steps=0", "train.lr=0.002"]
    mmkit.bench(**asked, options=options, out=tmp_path / "a")
    assert len(kernel) > 2
    assert kernel[-1][2] == ""
    before = len(kernel)
    mmkit.bench(**asked, options=options, out=tmp_path / "b", progress=False)
    assert len(kernel) == before
    assert capsys.readouterr() == ("", "")
