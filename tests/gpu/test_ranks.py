"""Two ranks with a card each train what one does with the whole batch; two on one card are refused."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mmkit
from mmkit.experiments.training import Keeping, plan_of_one, train
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from tests.launching import started, told

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # a warning of a new device breaks nothing

TRAINING = {"epochs": 2, "min_steps": 0, "batch_size": 31, "lr": 2e-3, "calibrate": False}


def trained(folder, device):
    """A model in a folder; all of what it does over a batch is in its batch norm and its objective."""
    planned = plan_of_one(
        installed(),
        "concat",
        task="synthetic-unique:missing=0.3,train=128",
        encoders={"series": ["fcn:width=8,layers=1"]},
        objectives=["contrastive"],
        training=TRAINING,
        settings=Settings(device),
    )
    return train(planned, folder, installed(), Keeping()).folder


def both(folder, device):
    """What two processes end with and say."""
    said, codes = told(started([sys.executable, __file__, str(folder), device]), seconds=150)
    return codes, "\n".join(said)


@pytest.mark.full
def test_two_cards_train_what_one_does(device, tmp_path):
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("this machine has one card")
    codes, said = both(tmp_path / "two", device.type)
    assert codes == [0, 0], said
    trained(tmp_path / "one", device.type)
    two, one = (load_file(tmp_path / name / "model.safetensors") for name in ("two", "one"))
    # In float32, whose last digits training makes larger; float64 is compared on the CPU.
    torch.testing.assert_close(two, one, rtol=0.05, atol=0.02)
    assert mmkit.load(tmp_path / "two") is not None


def test_two_ranks_on_one_card_are_refused(device, tmp_path):
    if device.type != "cuda" or torch.cuda.device_count() != 1:
        pytest.skip("asks for CUDA hardware: one card")
    codes, said = both(tmp_path / "two", device.type)
    assert 0 not in codes
    assert "2 ranks were started, and 1 of them can have a card of its own" in said


if __name__ == "__main__":
    trained(Path(sys.argv[1]), sys.argv[2])
