"""`mmkit train` on ranks that real launchers start: torchrun, none at all, `accelerate launch`, Ray's TorchTrainer."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import mmkit
from mmkit.cli import main as mmkit_main
from tests.launching import started, told

pytestmark = pytest.mark.minutes

TRAIN = [
    *("train", "--task", "synthetic-unique:train=64", "--encoder", "series=fcn:width=8,layers=1", "--fusion", "concat"),
    *("--lr", ".002", "--epochs", "12", "-o", "train.min_steps=0", "--device", "cpu", "--no-cache", "--threads", "1"),
]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TORCHRUN = [*LAUNCH, "-m", "mmkit", *TRAIN]


def torchrun(*arguments):
    return subprocess.run([*TORCHRUN, *arguments], capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an undisturbed training on two ranks, and the process that did it."""
    folder = tmp_path_factory.mktemp("ranks") / "whole"
    return folder, torchrun("--out", str(folder), "--ranks", "2")


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.full
class TestTorchrun:
    def test_the_first_rank_alone_writes_and_prints(self, whole):
        folder, done = whole
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("mmkit: 2 ranks train one model\n")
        assert done.stderr.count("ranks train") == 1
        assert done.stdout.count("accuracy %") == 2  # and the balanced one
        assert not (folder / "checkpoint").exists()

    def test_record_and_card_say_how_many(self, whole):
        folder, _ = whole
        record = json.loads((folder / "record.json").read_text())
        assert record["ranks"] == 2
        assert "on 2 ranks that shared each batch" in (folder / "README.md").read_text()

    def test_the_model_answers(self, whole):
        folder, _ = whole
        assert mmkit.load(folder) is not None

    def test_another_number_of_ranks_is_another_training(self, whole):
        folder, _ = whole
        command = [sys.executable, "-m", "mmkit", *TRAIN, "--out", str(folder)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 2
        assert "its ranks was 2, and now it is 1" in found.stderr

    def test_a_killed_rank_ends_all_and_the_same_command_goes_on_to_the_same_bits(self, whole, tmp_path):
        folder = tmp_path / "cut"
        run = subprocess.Popen([*TORCHRUN, "--out", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not list((folder / "checkpoint").glob("*.safetensors")):
                assert run.poll() is None, "it ended before there was a checkpoint"
                time.sleep(0.01)
            children = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, text=True, check=True)
            os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
            assert run.wait(timeout=60) != 0
        finally:
            run.kill()
            run.wait()
        assert not (folder / "record.json").exists(), "it had ended before the rank was killed"
        done = torchrun("--out", str(folder))
        assert done.returncode == 0, done.stderr
        assert "going on from the checkpoint" in done.stderr
        assert weights(folder) == weights(whole[0])


BROKEN = """
import os, sys
from mmkit.fusions.vectors import concat

def forward(self, features, real=concat.ConcatFusion.forward):
    if self.training and os.environ["RANK"] in sys.argv[1].split(","):
        raise ValueError("the card fell off the bus")
    return real(self, features)

concat.ConcatFusion.forward = forward
from mmkit.cli import main
main(sys.argv[2:])
"""


@pytest.mark.full
class TestFailure:
    @pytest.fixture
    def fail(self, tmp_path):
        """What both ranks say where some of them fail in training."""
        script = tmp_path / "broken.py"
        script.write_text(BROKEN)

        def run(ranks):
            return told(started([sys.executable, str(script), ranks, *TRAIN, "--out", str(tmp_path / "model")]))

        return run

    def test_of_one_the_first_says_which_and_why(self, fail):
        (first, second), codes = fail("1")
        assert codes == [1, 1]
        assert "mmkit: error: rank 1 of 2 has failed: " in first
        assert "the card fell off the bus" in first
        assert "the card fell off the bus" in second

    def test_of_all_one_says_it(self, fail):
        (first, second), codes = fail("0,1")
        assert codes == [1, 1]
        assert first.count("the card fell off the bus") == 1
        assert not second

    def test_other_options_on_one_are_refused(self, tmp_path):
        main = "import os, sys; from mmkit.cli import main; main([*sys.argv[1:], '--seed', os.environ['RANK']])"
        command = [sys.executable, "-c", main]
        (first, second), codes = told(started([*command, *TRAIN, "--out", str(tmp_path / "model")]))
        assert codes == [2, 2]
        assert "rank 1 of 2 has other options than rank 0" in first
        assert "Traceback" not in second  # where rank 0 has ended first, torch warns, and it says the same

    def test_a_batch_smaller_than_the_world_is_refused_by_all_in_one_line(self, tmp_path):
        given = [*TRAIN, "--batch-size", "1", "--out", str(tmp_path / "model")]
        (first, second), codes = told(started([sys.executable, "-m", "mmkit", *given]))
        assert codes == [2, 2]
        assert first.count("2 ranks share each batch, and one of this training has 1 samples") == 1
        assert not second


REJECTING = """
import os, sys
from mmkit.data.bad_values import RejectedError
from mmkit.data.readings import Live

batches = 0

def made(self, index, generator=None, real=Live.made):
    global batches
    batches += 1
    if os.environ["RANK"] == "1" and batches == 7:
        raise RejectedError(self.name, {self.ids[int(index[0])]: "the picture faded"})
    return real(self, index, generator)

Live.made = made
from mmkit.cli import main
main(sys.argv[1:])
"""

AT_ONCE = """
import os, sys
from mmkit.data.bad_values import RejectedError
from mmkit.training.frozen import Frozen

asked = set()

def dataset(self, samples, split, *, augment, real=Frozen._dataset):
    if os.environ["RANK"] == "1" and split == SPLIT and split not in asked:
        asked.add(split)
        raise RejectedError("written", {samples.ids[3]: "the picture faded"})
    return real(self, samples, split, augment=augment)

Frozen._dataset = dataset
from mmkit.cli import main
main(sys.argv[1:])
"""


@pytest.mark.full
class TestRejected:
    """A value that one rank alone meets, in the midst of training or before it, or in the end, and cannot use."""

    @pytest.fixture
    def train(self, tmp_path):
        """What both ranks say, their exit codes, and the folder of the model."""
        script = tmp_path / "rejecting.py"
        given = [
            *("train", "--task", "digits", "--limit", "64", "--fusion", "concat", "--encoder", "written=cnn:shift=1"),
            *("--encoder", "spoken=tcn:width=8,layers=1", "--lr", ".002", "--epochs", "2", "--batch-size", "16"),
            *("-o", "train.min_steps=0", "--device", "cpu", "--no-cache", "--threads", "1"),
        ]

        def run(on_error, rejecting=REJECTING):
            script.write_text(rejecting)
            folder = tmp_path / on_error
            command = [sys.executable, str(script), *given, "--on-error", on_error, "--out", str(folder)]
            return *told(started(command)), folder

        return run

    def test_both_end_and_the_first_says_why(self, train):
        (first, second), codes, folder = train("fail")
        assert codes == [4, 4]
        assert first.count("the picture faded") == 1
        assert "mmkit: error: sample " in first.splitlines()[-1]
        assert not second
        assert not (folder / "record.json").exists()

    @pytest.mark.parametrize("on_error", ["skip", "missing"])
    def test_or_both_go_on_without_it(self, train, on_error):
        (first, second), codes, folder = train(on_error)
        assert codes == [0, 0], first + second
        assert "the picture faded" in first
        record = json.loads((folder / "record.json").read_text())
        assert record["unread"]["train"] == 1
        assert record["samples"]["train"] == (63 if on_error == "skip" else 64)

    @pytest.mark.parametrize(
        ("on_error", "split", "count"),
        [("skip", "train", 63), ("skip", "test", 999), ("missing", "test", 1000)],
    )
    def test_or_they_find_before_a_split_is_used(self, train, on_error, split, count):
        (first, second), codes, folder = train(on_error, f"SPLIT = {split!r}\n{AT_ONCE}")
        assert codes == [0, 0], first + second
        record = json.loads((folder / "record.json").read_text())
        assert record["unread"] == {"train": 0, "validation": 0, "test": 0} | {split: 1}
        assert record["samples"][split] == count


SCRIPT = """
import os, sys, mmkit

def work(config):
    _, record = mmkit.fit(task="synthetic-unique:train=64", encoders={"series": "fcn:width=8,layers=1"}, device="cpu",
                          training={"epochs": 1, "min_steps": 0}, progress=False, out=config["out"], ranks=2)
    with open(config["out"] + "-" + os.environ["RANK"], "w") as file:
        file.write(str(record.ranks))

if __name__ == "__main__":
    work({"out": sys.argv[1]})
"""

TRAINER = """
import sys, ray, work
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": sys.argv[1]}})
found = TorchTrainer(work.work, train_loop_config={"out": sys.argv[1] + "/model"}, run_config=RunConfig(
    storage_path=sys.argv[1]), scaling_config=ScalingConfig(num_workers=2)).fit()
assert found.error is None
"""


@pytest.mark.full
class TestOtherLaunchers:
    @pytest.fixture
    def script(self, tmp_path):
        (tmp_path / "work.py").write_text(SCRIPT)
        return tmp_path / "work.py"

    def run(self, *command, **environment):
        return subprocess.run(
            [sys.executable, *map(str, command)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def test_ray(self, script, tmp_path):
        pytest.importorskip("ray.train.torch")
        trainer = tmp_path / "trainer.py"
        trainer.write_text(TRAINER)
        done = self.run(trainer, tmp_path, RAY_AUTH_MODE="disabled")
        assert done.returncode == 0, done.stderr
        assert [(tmp_path / f"model-{rank}").read_text() for rank in range(2)] == ["2", "2"]

    def test_accelerate(self, script, tmp_path):
        pytest.importorskip("accelerate")
        given = ("--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no")
        launch = ("-m", "accelerate.commands.launch", *given, "--dynamo_backend", "no", "--main_process_port", "0")
        done = self.run(*launch, script, tmp_path / "model")
        assert done.returncode == 0, done.stderr
        assert [(tmp_path / f"model-{rank}").read_text() for rank in range(2)] == ["2", "2"]

    def test_accelerate_that_starts_one_process_is_an_error(self, script, tmp_path):
        pytest.importorskip("accelerate")
        launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1")
        done = self.run(*launch, script, tmp_path / "model")
        assert done.returncode != 0
        assert "2 ranks are asked for, and 1 was started" in done.stderr


def test_without_a_launcher_two_ranks_are_an_error_before_anything_is_read(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        mmkit_main([*TRAIN, "--ranks", "2", "--out", str(tmp_path / "model")])
    assert ended.value.code == 2
    assert "2 ranks are asked for, and 1 was started" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
