"""A hub on loopback in place of the real one, with a cache of its own; and a small model to share."""

import importlib.util
from pathlib import Path

import huggingface_hub
import pytest

import mmkit
from mmkit.pretrained import weights
from mmkit.registry.builtin.tasks import FRUIT

spec = importlib.util.spec_from_file_location("loopback_hub", Path(__file__).with_name("loopback_hub.py"))
loopback_hub = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loopback_hub)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub where `acme` writes with the token of the environment."""
    made = loopback_hub.Hub()
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(weights, "_UNREACHABLE_UNTIL", {})
    yield made
    huggingface_hub.close_session()
    made.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a model of the table of fruit, with all that a training leaves in it."""
    folder = tmp_path_factory.mktemp("trained") / "fruit"
    mmkit.fit(
        data=FRUIT,
        target="fruit",
        fusion="concat",
        training={"epochs": 1, "min_steps": 0},
        out=folder,
        licence="Apache-2.0",
        progress=False,
        device="cpu",
    )
    return folder
