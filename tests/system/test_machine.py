import getpass
import json
import platform
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from mmkit.system import machine as machine_module
from mmkit.system.machine import libraries, machine, software


def test_a_machine_is_described_in_plain_values_that_stay_the_same():
    found = machine()
    assert json.loads(json.dumps(found)) == found
    assert found == machine()
    assert found["cpu"]
    assert 1 <= found["cores"] <= found["cores_total"]
    assert found["threads"] == torch.get_num_threads() == 1
    assert found["memory_bytes"] > 1 << 28
    assert len(found["gpus"]) == torch.cuda.device_count()


def test_software_is_described_by_its_versions():
    found = software()
    assert json.loads(json.dumps(found)) == found
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__
    assert found["mmkit"]
    assert found["cuda"] == torch.version.cuda


def test_no_host_user_or_place_is_named():
    said = json.dumps([machine(), software()])
    private = {getpass.getuser(), str(Path.home()), str(Path.cwd()), sys.prefix}
    assert not [name for name in private if len(name) > 2 and name in said]
    assert f'"{platform.node()}"' not in said
    assert "/" not in said


def test_the_limits_of_a_container_count(monkeypatch):
    files = {"/sys/fs/cgroup/cpu.max": "150000 100000\n", "/sys/fs/cgroup/memory.max": "1048576\n"}
    monkeypatch.setattr(machine_module, "_read", lambda path: files.get(str(path), ""))
    found = machine()
    assert (found["cpu_quota"], found["memory_bytes"]) == (1.5, 1048576)


@pytest.mark.parametrize("said", ["max 100000\n", ""])
def test_a_container_without_limits_has_none(monkeypatch, said):
    monkeypatch.setattr(machine_module, "_read", lambda path: said)
    assert machine()["cpu_quota"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/cpuinfo")
def test_a_processor_without_a_model_name_is_known_by_its_architecture(monkeypatch):
    monkeypatch.setattr(machine_module, "_read", lambda path: "processor : 0\nBogoMIPS : 50.00\n")
    assert machine()["cpu"] == platform.machine()


def test_libraries_are_what_a_plugin_requires_without_extras(monkeypatch):
    lines = [
        "torch>=2",
        "numpy; python_version >= '3'",
        "rich; extra == 'more'",
        "no-such-thing",
        "pluggy; python_version < '3'",
    ]
    monkeypatch.setattr(metadata, "requires", {"acme": lines}.get)
    assert libraries(["acme"]) == {"numpy": metadata.version("numpy"), "torch": metadata.version("torch")}


def test_of_what_is_not_installed_and_of_mmkit_itself_there_are_none():
    assert libraries(["no-such-plugin", "mmkit-core"]) == {}


def test_a_line_of_old_metadata_that_is_no_requirement_is_skipped(distribution):
    distribution("oldie", "", requires=("numpy (>=1.0.*)", "torch"))
    assert libraries(["oldie"]) == {"torch": metadata.version("torch")}
