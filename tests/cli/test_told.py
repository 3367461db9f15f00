"""What the command line tells beside results: where models lie, how to go on, and what is not to be found in stdout."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mmkit
from mmkit.cli import main
from mmkit.records.file import RecordFile
from mmkit.system.cache_folder import default_folder

SMALL = [
    *("--task", "synthetic-unique:train=48", "--fusion", "concat"),
    *("-o", "train.epochs=1", "-o", "train.min_steps=0", "--lr", "0.002"),
]
QUICK = [*SMALL, "--seeds", "1", "--no-cost"]


@pytest.fixture
def bench(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["bench", *arguments])
        return end.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_where_saved_models_lie(bench, json_):
    code, _, err = bench(*QUICK, "--save", "--out", "found", *json_)
    assert code == 0
    assert "mmkit: 3 models are in found/models; mmkit.load reads them:" in err
    told = [line.split() for line in err.splitlines() if line.startswith("  ")]
    assert {name for _, name in told} == {"concat", "only:left", "only:right"}
    for folder, _ in told:
        assert mmkit.load(folder).predict([{}])
    assert "models are" not in bench(*QUICK, "--out", "other")[2]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_any_more(bench, monkeypatch, number):
    whole, count = RecordFile.append, []

    def full(self, record):
        count.append(record)
        if len(count) == 3:
            raise OSError(number, os.strerror(number), "records.jsonl")
        whole(self, record)

    monkeypatch.setattr(RecordFile, "append", full)
    code, out, err = bench(*QUICK, "--out", "my suite")
    assert (code, out) == (1, "")
    told = err.splitlines()[-1]
    assert told == (
        f"mmkit: error: cannot write to my suite: {os.strerror(number)}; 2 of 3 runs are finished and kept in "
        "my suite; the same command with --out 'my suite' goes on there"
    )
    monkeypatch.setattr(RecordFile, "append", whole)
    code, _, err = bench(*QUICK, "--out", "my suite")
    assert code == 0
    assert "2 of 3 runs are already in my suite" in err


def test_a_model_that_cannot_be_saved(bench, monkeypatch):
    def full(*_):
        raise mmkit.errors.UsageError("cannot write to models: No space left on device; choose another folder")

    monkeypatch.setattr("mmkit.model.trained.write", full)
    code, out, err = bench(*QUICK, "--save", "--out", "suite")
    assert (code, out) == (2, "")
    assert "No space left on device; choose another folder; 0 of 3 runs are finished and kept in suite" in err


def test_an_interrupt_says_what_is_kept_and_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "mmkit", "bench", *SMALL, "--seeds", "200", "--no-cost", "--out", "suite"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        records = tmp_path / "suite" / "records.jsonl"
        until = time.monotonic() + 300
        while time.monotonic() < until and not (records.exists() and records.read_bytes().count(b"\n")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, "")
    done = records.read_bytes().count(b"\n")
    *_, kept, last = err.splitlines()
    assert last == "mmkit: interrupted"
    told = re.fullmatch(
        r"mmkit: (\d+) of 600 runs are finished and kept in suite; the same command with --out suite goes on there",
        kept,
    )
    assert told is not None
    assert int(told[1]) in {done, done - 1}  # the interrupt may come between writing a record and counting it
    assert err.count("Traceback") == 0


def test_a_wrong_metric_is_found_before_the_first_run(bench, distribution, tmp_path):
    distribution(
        "acme-late",
        """
        from mmkit.contract import Samples
        from mmkit.plugin import TaskSpec, hookimpl

        class Late:
            description, target, encoders, training = "d", "classes", {}, {}
            inputs = {"a": "table", "b": "table"}

            def split(self, name):
                columns = {k: [{k: f"{name}{i}"} for i in range(30)] for k in self.inputs}
                truth = ["x"] * 30 if name == "validation" and self.metric != "acc" else list("xyz") * 10
                return Samples([f"{name}{i}" for i in range(30)], columns, truth)

        class Spelt(Late):
            metric = "acc"

        class Single(Late):
            metric = "auroc_macro"

        @hookimpl
        def mmkit_tasks():
            for name in ("Spelt", "Single"):
                yield TaskSpec("late-" + name.lower(), "THIS:" + name, "x", modalities=(("a", "table"), ("b", "table")),
                               target="classes")
        """,
    )
    for task, code, words in (
        ("late-spelt", 2, "metric is 'acc'; classes has none such: did you mean accuracy?"),
        (
            "late-single",
            4,
            "chooses epochs by auroc_macro, which needs two classes in validation; all 30",
        ),
    ):
        for more in ([], ["--dry-run"]):
            found, out, err = bench("--task", task, "--fusion", "concat", "--out", task, *more)
            assert (found, out) == (code, "")
            assert words in err.splitlines()[-1]
        assert (tmp_path / task / "records.jsonl").read_bytes() == b""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_json_can_be_read_whatever_the_encoding(tmp_path, encoding, distribution):
    script = tmp_path / "task.py"
    script.write_text(
        """
import sys
import mmkit.cli.results as results
results.print_json({"names": ["naïve", "日本", "😀", "قط"]})
"""
    )
    found = subprocess.run(
        [sys.executable, script], env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=True
    )
    assert json.loads(found.stdout.decode(encoding)) == {"names": ["naïve", "日本", "😀", "قط"]}


def test_what_components_print_is_not_in_stdout(bench, distribution):
    distribution(
        "acme-noise",
        """
        from mmkit.encoders.fcn import FcnEncoder
        from mmkit.plugin import EncoderSpec, hookimpl

        class Noisy(FcnEncoder):
            def __init__(self, transform, *, width: int = 8):
                print("BORN")
                super().__init__(transform, width=width)

            def forward(self, batch):
                print("FORWARD")
                return super().forward(batch)

        @hookimpl
        def mmkit_encoders():
            yield EncoderSpec("noisy", "THIS:Noisy", "x", modality="series")
        """,
    )
    code, out, err = bench(*QUICK, "--encoder", "series=noisy", "--json", "--out", "a")
    assert code == 0
    assert len(json.loads(out)["records"]) == 3
    assert "BORN" in err
    assert "FORWARD" in err
    code, out, err = bench(*QUICK, "--encoder", "series=noisy", "--json", "--dry-run")
    assert len(json.loads(out)["combinations"]) == 3
    assert "FORWARD" in err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("train.epoch=3", "training has no such option; did you mean epochs?"),
        ("fusion.widht=3", "no chosen component has that option; did you mean width?"),
        ("encoder.left.widht=3", "did you mean width?"),
        ("encoder.lefft.width=3", "there is no encoder.lefft here; did you mean encoder.left?"),
        ("trian.epochs=3", "there is no trian here; did you mean train?"),
        ("head.los=focal", "did you mean loss?"),
        ("task.trian=3", "did you mean train?"),
        ("epochs=3", "-o takes fusion.key=value"),
    ],
)
def test_dotted_options_that_do_not_exist(bench, option, words):
    code, out, err = bench(*SMALL, "-o", option)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fusion", "concat,attentoin:heads=8"], "there is no fusion attentoin; did you mean attention?"),
        (["--fusion", ""], "--fusion takes NAME[:key=value,...]; got ''"),
        (["--lr", "inf"], "train: option lr takes float > 0; got inf (it is not finite)"),
        (["-o", "train.lr=inf"], "train: option lr takes float > 0; got inf (it is not finite)"),
    ],
)
def test_values_that_cannot_be_meant(bench, arguments, words):
    code, out, err = bench(*SMALL[:2], *arguments)
    assert (code, out) == (2, "")
    assert words in err


class TestHome:
    @pytest.fixture(autouse=True)
    def _home(self, tmp_path, monkeypatch):
        (tmp_path / "home").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def test_a_tilde_is_the_home_folder(self, bench, tmp_path, monkeypatch):
        (tmp_path / "home" / "bench.toml").write_text('out = "~/from-configuration"\n')
        assert bench(*QUICK, "--no-baselines", "--out", "~/suite", "--save")[0] == 0
        assert bench(*QUICK, "--no-baselines", "--config", "~/bench.toml")[0] == 0
        monkeypatch.setenv("MMKIT_CACHE", "~/features")
        assert default_folder() == tmp_path / "home" / "features"
        (saved,) = [path for path in (tmp_path / "home" / "suite" / "models").iterdir() if path.is_dir()]
        model = mmkit.load(f"~/suite/models/{saved.name}")
        model.save("~/copy")
        assert (tmp_path / "home" / "copy" / "model.json").exists()
        assert {path.name for path in (tmp_path / "home").iterdir()} >= {"suite", "from-configuration", "copy"}
        assert not list(tmp_path.glob("~*"))

    def test_in_options_as_well(self, bench, tmp_path):
        code, _, err = bench("--task", "clipart", "--fusion", "concat", "--encoder", "title=bag:vectors=~/words.vec")
        assert code == 4
        assert f"cannot read the word vectors {tmp_path}/home/words.vec" in err
        assert not list(tmp_path.glob("~*"))

    def test_a_home_folder_of_nobody_is_an_error(self, bench, tmp_path):
        code, _, err = bench(*QUICK, "--out", "~nobody-of-that-name/x")
        assert code == 2
        assert "there is no such home folder" in err
        assert not list(tmp_path.glob("~*"))


@pytest.mark.parametrize(
    ("device", "error", "words"),
    [
        ("gpu", mmkit.errors.UsageError, "one of auto, cpu, cuda, mps, .*; got gpu: a GPU is cuda here"),
        ("cuda", mmkit.errors.UnavailableError, "torch cannot use cuda on this machine"),
        ("cuda:1", mmkit.errors.UnavailableError, "torch cannot use cuda on this machine"),
        ("cuda:x", mmkit.errors.UsageError, "got cuda:x"),
        ("xpu", mmkit.errors.UsageError, "got xpu"),
        ("", mmkit.errors.UsageError, "device is one of"),
    ],
)
def test_a_device_that_is_not_there(tmp_path, monkeypatch, device, error, words):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(error, match=words):
        mmkit.load(tmp_path, device=device)


def test_stdout_that_cannot_be_written_is_one_line(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "mmkit", "list-plugins"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert found.returncode == 1
    assert found.stderr.splitlines() == ["mmkit: error: cannot write to stdout: No space left on device"]


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    command = f"{sys.executable} -m mmkit list-plugins | head -1; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert found.stderr == ""
    assert io.StringIO(found.stdout).readline().startswith("task\t")
