"""Saved models, and services of them: in a process of their own, or in a thread of this one."""

import threading
from contextlib import contextmanager

import pytest

import mmkit
from mmkit.model.trained import MultimodalModel
from mmkit.registry.builtin.tasks import FRUIT
from mmkit.registry.catalog import installed
from mmkit.serving.limits import Limits
from mmkit.serving.server import Address, server_of
from mmkit.serving.service import Service
from mmkit.testing import tiny_task
from tests.serving.client import Client, Process

QUICK = {"epochs": 1, "min_steps": 0, "lr": 0.01}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Saved models by name: digits (an image and a series), fruit and fruit-late (a text and a row), and others."""
    home = tmp_path_factory.mktemp("models")

    def save(name, **asked):
        model, _ = mmkit.fit(training=QUICK, device="cpu", progress=False, **asked)
        model.save(home / name)
        return home / name

    digits = save("digits", task="digits", fusion="late")
    fruit = save("fruit", data=FRUIT, target="fruit", fusion="concat")
    late = save("fruit-late", data=FRUIT, target="fruit", fusion="late")
    weight = save("weight", data=FRUIT, target="weight", target_kind="scalar", fusion="concat")
    sounds = save("sounds", task=tiny_task({"a": "audio", "b": "text"}), fusion="concat")
    return {"digits": digits, "fruit": fruit, "fruit-late": late, "weight": weight, "sounds": sounds}


@contextmanager
def served(*folders, limits=None, token="", change=None):
    """A service in a thread of this process: its client, and itself.

    Args:
        folders: of the models.
        limits: None is the usual ones.
        token: that it asks for.
        change: called with each model that is loaded.
    """

    def load(folder):
        model = MultimodalModel.load(folder, device="cpu")
        return change(model) if change else model

    names = {folder.name: folder for folder in folders}
    service = Service(names, load, installed(), limits or Limits(seconds=60))
    address = Address(port=0, token=token)
    place = address.bound()
    server = server_of(service, address)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
    thread.start()
    client = Client(place.getsockname()[1], token)
    try:
        client.until_ready()
        yield client, service
    finally:
        server.should_exit = True
        thread.join(60)
        place.close()
        assert not thread.is_alive()


@pytest.fixture
def process(tmp_path):
    """Starts `mmkit serve` in a process of its own; all that is left of them at the end is ended."""
    started = []

    def start(*arguments, **environment):
        started.append(Process(tmp_path, arguments, environment))
        return started[-1]

    yield start
    for one in started:
        one.kill()
