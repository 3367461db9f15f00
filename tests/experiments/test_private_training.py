"""A private training from the user's command to the folder: what it spends, says, keeps and forgets."""

import importlib
import json
import signal
import subprocess
import sys

import pytest
import torch

import mmkit
import mmkit.cli
from mmkit.encoders.series_rnn import SeriesRnnEncoder
from mmkit.errors import UsageError
from mmkit.experiments.run import Run
from mmkit.records.record import Record
from mmkit.report.privacy import privacy_notes
from mmkit.system.progress import Progress
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.privacy_accounting import PrivacySpent
from mmkit.training.privacy_noise import BYTES, Secret

TASK = "synthetic-unique:train=64,missing=0.3"
PRIVATE = {"noise": 1.2, "delta": 1e-4}  # to find it for an epsilon takes Opacus seconds
TRAINING = {"epochs": 3, "batch_size": 16, "lr": 0.01, "calibrate": True}
SMALL = {
    "task": TASK,
    "fusion": "concat",
    "encoders": {"series": "tcn:width=8,layers=1"},
    "device": "cpu",
    "threads": 1,
    "progress": False,
}
COMMAND = [
    "train", "--task", TASK, "--fusion", "concat", "--encoder", "series=tcn:width=8,layers=1", "--epochs", "2",
    "--batch-size", "16", "--device", "cpu", "--threads", "1",
]  # fmt: skip


class Notes(Progress):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def made(out, *, private=PRIVATE, training=TRAINING, **given):
    return mmkit.fit(**{**SMALL, "training": {**training, "private": private}, "out": out, **given})


def code_of(arguments):
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        mmkit.cli.main(arguments)
    return ended.value.code


def keyed(monkeypatch, sign):
    key = Secret(sign.encode() * BYTES)
    monkeypatch.setattr(Secret, "fresh", staticmethod(lambda: key))
    return key


def content(folder):
    record = json.loads((folder / "record.json").read_text())
    for name in ("seconds", "loading"):
        del record[name]
    return (folder / "model.safetensors").read_bytes(), (folder / "model.json").read_bytes(), record


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("private") / "model"
    with pytest.MonkeyPatch.context() as patch:
        keyed(patch, "k")
        made(path)
    return path


def test_the_record_says_what_opacus_counts_for_the_steps_that_were_done(folder):
    record = json.loads((folder / "record.json").read_text())
    spent = record["private"]
    assert (spent["steps"], spent["rate"], spent["delta"], spent["clip"]) == (12, 0.25, 1e-4, 1)
    accountant = importlib.import_module("opacus.accountants").RDPAccountant()
    for _ in range(12):
        accountant.step(noise_multiplier=spent["noise"], sample_rate=0.25)
    assert spent["epsilon"] == pytest.approx(accountant.get_epsilon(1e-4), rel=1e-12)
    assert spent["noise"] == 1.2
    assert Record.of(record, folder).private == PrivacySpent(**spent)
    assert Run.of(record["run"]).training.private.document() == {**PRIVATE, "clip": 1, "epsilon": None}


def test_nothing_that_saw_rows_without_noise_is_kept(folder):
    record = json.loads((folder / "record.json").read_text())
    assert [entry["loss"] for entry in record["history"]] == [None] * 3
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert "trained_on.safetensors" not in names  # it tells who was there
    assert "checkpoint" not in names  # the key was in it
    for path in folder.rglob("*"):
        if path.is_file():
            kept = path.read_bytes()
            assert b"k" * BYTES not in kept
            assert (b"k" * BYTES).hex().encode() not in kept


def test_the_same_seed_gives_other_weights_since_the_noise_is_nobodys(folder, tmp_path):
    made(tmp_path / "model")
    assert content(folder)[0] != content(tmp_path / "model")[0]


def test_without_a_folder_it_spends_the_same_and_remembers_no_rows(folder, monkeypatch):
    keyed(monkeypatch, "k")
    model, record = mmkit.fit(**SMALL, training={**TRAINING, "private": PRIVATE})
    kept = json.loads((folder / "record.json").read_text())
    assert (record.id, record.document()["private"]) == (kept["id"], kept["private"])
    assert model.trained_on is None
    ours, theirs = model.module.state_dict(), mmkit.load(folder).module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("step", [1, 5])
def test_an_interrupted_training_goes_on_to_the_same_bits_with_the_key_that_it_had(folder, tmp_path, monkeypatch, step):
    keyed(monkeypatch, "k")
    steps = []

    def ends(self, state):
        steps.append(state)
        if len(steps) == step:
            self._asked = True
            self.write(state())
            raise KeyboardInterrupt

    told = Notes()
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "after_step", ends)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "model", progress=told)
    assert any(f"private: {step + step // 4} of 12 steps are done, which spent epsilon" in note for note in told.notes)
    assert (tmp_path / "model" / "checkpoint").stat().st_mode & 0o077 == 0  # nobody else reads the key
    keyed(monkeypatch, "x")  # a fresh one, which must not be taken
    made(tmp_path / "model")
    assert content(tmp_path / "model") == content(folder)


def test_what_is_killed_before_its_first_step_keeps_its_key(folder, tmp_path, monkeypatch):
    keyed(monkeypatch, "k")

    def dies(*_, **__):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("mmkit.training.loop._descend", dies)
        with pytest.raises(SystemExit):
            made(tmp_path / "model")
    keyed(monkeypatch, "x")
    made(tmp_path / "model")
    assert content(tmp_path / "model") == content(folder)


SCRIPT = """
import os, signal, sys
import mmkit
from mmkit.training.privacy_descent import PrivateDescent
from mmkit.training.privacy_noise import BYTES, Secret

out, end, sign = sys.argv[1], int(sys.argv[2]), sys.argv[3]
Secret.fresh = staticmethod(lambda: Secret(sign.encode() * BYTES))
ours, steps = PrivateDescent.set_gradients, []

def watched(*given):
    steps.append(given)
    if len(steps) == end:
        os.kill(os.getpid(), signal.SIGKILL)
    ours(*given)

PrivateDescent.set_gradients = watched
mmkit.fit(task=TASK, fusion="concat", encoders={"series": "tcn:width=8,layers=1"}, device="cpu", threads=1, out=out,
          progress=False, training={**TRAINING, "private": PRIVATE}, checkpoint_epochs=2)
"""


@pytest.mark.full
def test_a_killed_process_goes_on_to_the_same_bits_with_its_first_key(tmp_path):
    """Killed before a checkpoint, between two, and again: steps that are done anew have the noise that they had."""
    named = f"TASK, TRAINING, PRIVATE = {TASK!r}, {TRAINING!r}, {PRIVATE!r}"
    (tmp_path / "script.py").write_text(named + SCRIPT)

    def run(out, end, sign):
        command = [sys.executable, "script.py", out, str(end), sign]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode

    assert run("plain", -1, "k") == 0
    for end, sign in ((3, "k"), (10, "x"), (2, "y")):
        assert run("ended", end, sign) == -signal.SIGKILL
    assert run("ended", -1, "z") == 0
    assert content(tmp_path / "ended") == content(tmp_path / "plain")


def test_another_epsilon_is_another_training(folder):
    with pytest.raises(UsageError, match=r"holds another training: its train.private.noise was 1.2, and now it is 8"):
        made(folder, private={**PRIVATE, "noise": 8})


def test_small_parts_give_the_same_but_for_rounding(folder, monkeypatch):
    keyed(monkeypatch, "k")
    plain = {"series": "tcn:width=8,layers=1,dropout=0"}
    given = {**SMALL, "encoders": plain}
    whole, _ = mmkit.fit(**given, training={**TRAINING, "private": PRIVATE})
    parts, _ = mmkit.fit(**given, training={**TRAINING, "private": PRIVATE, "micro_batch": 3})
    ours, theirs = whole.module.state_dict(), parts.module.state_dict()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-3)


def test_an_average_over_steps_and_empty_batches_go_with_it(monkeypatch):
    """A rate of 1/64 of 64 rows: about a third of the steps has no row, and makes one by noise alone."""
    key = keyed(monkeypatch, "e")
    sizes = [len(key.rows(step, 64, 1 / 64)) for step in range(64)]
    assert 0 in sizes
    training = {"epochs": 1, "batch_size": 1, "lr": 0.001, "ema": 0.9, "private": {"noise": 1.0, "delta": 1e-4}}
    _, record = mmkit.fit(**SMALL, training=training)
    assert record.private.steps == 64
    assert record.private.noise == 1.0


def test_the_command_tells_what_is_covered_and_what_not(tmp_path, capsys):
    out = tmp_path / "model"
    assert code_of([*COMMAND, "--out", str(out), "--private", "epsilon=3,delta=1e-4,clip=0.5"]) == 0
    shown = capsys.readouterr()
    text = " ".join(shown.out.split())
    record = Record.of(json.loads((out / "record.json").read_text()), out)
    assert record.private.clip == 0.5
    assert 2.9 < record.private.epsilon <= 3
    for note in privacy_notes(record):
        assert note in text
        assert f"- {note}" in (out / "README.md").read_text()
    assert f"epsilon {record.private.epsilon:.3g} at delta 0.0001 was spent, by 8 steps" in text
    assert "what is fitted on train without noise" in text
    assert "hashes of the rows" not in (out / "README.md").read_text()
    assert "private: the learning rate is 0.002; none is searched" in " ".join(shown.err.split())


def test_a_plain_training_says_nothing_of_privacy():
    model, record = mmkit.fit(**SMALL, training={"epochs": 1, "batch_size": 16})
    assert record.private is None
    assert privacy_notes(record) == []
    assert "Privacy" not in model.card


def test_a_configuration_file_takes_it(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('[train]\nprivate = "noise=1.2,delta=1e-4"\n')
    assert code_of([*COMMAND, "--out", str(tmp_path / "model"), "--config", str(config)]) == 0
    assert json.loads((tmp_path / "model" / "record.json").read_text())["private"]["delta"] == 1e-4


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--private", "epsilon=3"], "private needs delta"),
        (["--private", "epsilon=3,delta=0.1"], "delta=0.1 allows giving away one of 64 rows"),
        (["--private", "epsilon=3,delta=1e-4", "--refit"], "leave out --refit"),
        (["--private", "epsilon=3,delta=1e-4", "--balance", "ogm"], "balance ogm changes those of a batch"),
        (["--private", "epsilon=3,delta=1e-4", "--precision", "float16"], "take --precision bfloat16"),
        (["--private", "epsilon=3,delta=1e-4", "--objective", "contrastive"], "objective contrastive looks at several"),
        (["--private", "epsilon=3,delta=1e-4", "--encoder", "right=fcn"], "the encoder of right looks at several"),
        (["--private", "epsilon=3,delta=1e-4", "-o", "train.patience=3"], "leave out train.patience"),
    ],
)
def test_what_is_refused_is_refused_in_one_line_before_anything_is_trained(tmp_path, capsys, given, reason):
    assert code_of([*COMMAND, "--out", str(tmp_path / "model"), *given]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert reason in error[-1]
    assert "Traceback" not in "".join(error)
    assert not list((tmp_path / "model").glob("checkpoint/*.safetensors"))


def test_bench_refuses_it(capsys, tmp_path):
    asked = ["bench", "--task", TASK, "--fusion", "concat", "-o", "train.private=epsilon=3,delta=1e-4", "--dry-run"]
    assert code_of(asked) == 2
    assert "mmkit train --private" in capsys.readouterr().err


class FrozenRecurrent(SeriesRnnEncoder):
    """An encoder that never changes, and that has no rule for gradients of single rows."""

    def __init__(self, transform, *, width: int = 8):
        super().__init__(transform, width=width)
        self.requires_grad_(requires_grad=False)
        self.frozen = True


@pytest.mark.parametrize("augmented", [False, True])
def test_features_of_frozen_encoders_are_trained_on(augmented):
    given = {**SMALL, "encoders": {"series": FrozenRecurrent}}
    options = [] if augmented else ["encoder.series.time_mask=0", "encoder.series.noise=0"]
    model, record = mmkit.fit(**given, options=options, training={**TRAINING, "private": PRIVATE})
    assert (record.encoded_anew if augmented else record.encoded_once) == ["left", "right"]
    assert record.private.steps == 12
    trained = {name for name, one in model.module.named_parameters() if one.requires_grad}
    assert trained
    assert not any(name.startswith("encoders") for name in trained)


def test_augmented_inputs_go_with_it_and_a_batch_without_rows_transforms_nothing(monkeypatch):
    keyed(monkeypatch, "e")  # of whose 64 steps some have no row
    given = {**SMALL, "encoders": {"series": "tcn:width=8,layers=1,noise=0.1,time_mask=0.2"}}
    training = {"epochs": 1, "batch_size": 1, "lr": 0.001, "private": PRIVATE}
    one = mmkit.fit(**given, training=training)[0].module.state_dict()
    two = mmkit.fit(**given, training=training)[0].module.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    keyed(monkeypatch, "f")
    other = mmkit.fit(**given, training=training)[0].module.state_dict()
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_texts_of_very_different_lengths_are_one_batch_and_bfloat16_goes_with_it():
    words = ["a b", "c d e", "f"] * 25 + [" ".join("abcdef" * 40)] * 5
    data = {
        "text": words,
        "number": [float(row % 7) for row in range(80)],
        "label": ["yn"[row % 2] for row in range(80)],
    }
    _, record = mmkit.fit(
        data=data,
        target="label",
        columns={"text": "text"},
        encoders={"text": "text-transformer:width=8,layers=1,heads=2", "table": "table-mlp:width=8"},
        fusion="concat",
        training={"epochs": 1, "batch_size": 16, "lr": 0.001, "private": PRIVATE},
        precision="bfloat16",
        device="cpu",
        threads=1,
        progress=False,
    )
    assert record.private.steps == record.samples.train // 16 + (record.samples.train % 16 > 0)
