"""Packages from outside, built and installed by pip in an environment of their own: strangers, and broken ones."""

import json
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
SMALL = ["--task", "synthetic-unique:train=48", "--seeds", "1", "-o", "train.epochs=1", "-o", "train.min_steps=0"]


def project(name, group="mmkit.v1"):
    module = name.replace("-", "_")
    return (
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "1.2"\n[project.entry-points."{group}"]\n{name} = "{module}.plugin"\n'
    )


def package(name, source, group="mmkit.v1", **files):
    module = name.replace("-", "_")
    return {"pyproject.toml": project(name, group), f"{module}/__init__.py": "", f"{module}/plugin.py": source, **files}


FUSION = """
from mmkit.plugin import FusionSpec, hookimpl

@hookimpl
def mmkit_fusions():
    yield FusionSpec("twin", "mmkit.fusions.vectors.concat:ConcatFusion", "One of two of the same name")
"""
WRONG = """
import torch
from mmkit.contract import Features
from mmkit.plugin import FusionSpec, hookimpl

@hookimpl
def mmkit_fusions():
    yield FusionSpec("leaky", "acme_leaky.plugin:Leaky", "Lets batch mates look at each other")

class Leaky(torch.nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.width = 8
        self.linear = torch.nn.ModuleDict({name: torch.nn.Linear(d, 8) for name, d in widths.items()})

    def forward(self, features):
        total = sum(linear(features[name].vector()) for name, linear in self.linear.items())
        return Features.of(total - total.mean(0))
"""


@pytest.mark.full
def test_the_example_of_the_readme_is_installed_listed_checked_and_benched(outside):
    blocks = re.findall(r"```(?:toml|python)\n# (\S+\.(?:toml|py))\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    files = dict(blocks)
    assert sorted(files) == ["acme_fusion/plugin.py", "acme_fusion/scored.py", "pyproject.toml"]
    outside.install("acme-fusion", files)
    listed = outside.mmkit("list-plugins", "--kind", "fusion", "--plain")
    assert "fusion\tscored\tok\tacme-fusion\t0.1.0\tInputs weighed by a learned score" in listed.stdout
    checked = outside.mmkit("plugins", "check", "acme-fusion")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    benched = outside.mmkit("bench", "--fusion", "scored", *SMALL, "--json")
    assert benched.returncode == 0, benched.stderr
    record = json.loads(benched.stdout)["records"][0]
    assert (record["fusion"], record["plugins"]["acme-fusion"]) == ("scored", "0.1.0")


@pytest.mark.full
def test_broken_packages_cost_only_themselves(outside):
    outside.install("acme-raises", package("acme-raises", "raise RuntimeError('no licence')"))
    outside.install("acme-leaves", package("acme-leaves", "import sys\nsys.exit(7)"))
    outside.install("acme-later", package("acme-later", "raise AssertionError('imported')", group="mmkit.v2"))
    outside.install("acme-one", package("acme-one", FUSION))
    outside.install("acme-two", package("acme-two", FUSION))
    outside.install("acme-leaky", package("acme-leaky", WRONG))

    listed = outside.mmkit("list-plugins", "--json")
    assert listed.returncode == 0
    found = {(e["distribution"], e["name"]): e for e in json.loads(listed.stdout)["plugins"]}
    assert found["acme-raises", "acme-raises"]["status"] == "broken"
    assert "no licence" in found["acme-raises", "acme-raises"]["reason"]
    assert found["acme-leaves", "acme-leaves"]["status"] == "broken"
    assert found["acme-later", "acme-later"]["status"] == "incompatible"
    assert "acme-two" in found["acme-one", "twin"]["reason"]
    assert "acme-one" in found["acme-two", "twin"]["reason"]
    assert all(e["status"] == "ok" for (owner, _), e in found.items() if owner == "mmkit-core")

    benched = outside.mmkit("bench", "--fusion", "acme-one/twin", "--fusion", "concat", *SMALL, "--json")
    assert benched.returncode == 0, benched.stderr
    records = json.loads(benched.stdout)["records"]
    assert [record["fusion"] for record in records][:2] == ["acme-one/twin", "concat"]
    assert sum("plugin acme-raises is broken" in line for line in benched.stderr.splitlines()) == 1
    assert sum("plugin acme-leaves is broken" in line for line in benched.stderr.splitlines()) == 1

    ambiguous = outside.mmkit("bench", "--fusion", "twin", "--dry-run")
    assert ambiguous.returncode == 2
    assert "write acme-one/twin or acme-two/twin" in ambiguous.stderr

    shown = outside.mmkit("plugins", "show", "acme-raises", "--traceback")
    assert "RuntimeError: no licence" in shown.stdout + shown.stderr

    leaky = outside.mmkit("plugins", "check", "leaky")
    assert leaky.returncode == 1
    assert "mates failed" in leaky.stdout

    blocked = outside.mmkit("--no-plugin", "acme-raises", "list-plugins", "--json")
    entry = next(e for e in json.loads(blocked.stdout)["plugins"] if e["distribution"] == "acme-raises")
    assert entry["status"] == "blocked"
