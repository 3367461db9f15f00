"""What plugins/README.md says is run, or is what the code says."""

import pkgutil
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

import mmkit
import mmkit.cli
import mmkit.contract
from mmkit.plugin import BalanceSpec, EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, ObjectiveSpec, TaskSpec
from mmkit.registry.catalog import installed
from mmkit.registry.hooks import HOOKS
from mmkit.scaffold.distribution import rendered
from mmkit.testing import CHECKS, check

PAGE = Path(__file__).parent.parent / "plugins" / "README.md"
TEXT = PAGE.read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]

EXAMPLES = {
    "TotalFusion": ("fusion", FusionSpec("total", "", "", vectors=True)),
    "LetterEncoder": ("encoder", EncoderSpec("letter", "", "", modality="text")),
    "PlainHead": ("head", HeadSpec("plain", "", "", targets=("classes",), vectors=True)),
    "QuietObjective": ("objective", ObjectiveSpec("quiet", "", "", vectors=True)),
    "Lighter": ("balance", BalanceSpec("lighter", "", "")),
    "Colour": ("modality", ModalitySpec("colour", "", "", encoder="rgb", travels="text")),
    "Brightness": (
        "task",
        TaskSpec("brightness", "", "", modalities=(("name", "text"), ("row", "table")), target="classes"),
    ),
}


@pytest.fixture(scope="module")
def page():
    """The names of all Python on the page, run from top to bottom."""
    found = {"__name__": "authors_page"}
    sys.modules["authors_page"] = module = type(sys)("authors_page")  # its transforms are pickled
    for block in PYTHON:
        exec(compile(block, str(PAGE), "exec"), found)
        vars(module).update(found)
    yield found
    del sys.modules["authors_page"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_keeps_the_contract(page, name):
    kind, spec = EXAMPLES[name]
    report = check(kind, page[name], spec=spec)
    assert report.ok, report
    assert [r.check.name for r in report.failed()] == []


def test_each_kind_has_an_example_and_each_example_is_checked(page):
    assert {kind for kind, _ in EXAMPLES.values()} == {spec.kind for spec in HOOKS.values()}
    classes = {name for name, value in page.items() if isinstance(value, type) and value.__module__ == "authors_page"}
    assert classes == {*EXAMPLES, "LetterTransform"}


def test_the_examples_are_trained_together(page):
    training = {"epochs": 8, "min_steps": 0, "lr": 0.01}
    _, record = mmkit.fit(
        task=page["Brightness"],
        encoders={"name": page["LetterEncoder"]},
        fusion=page["TotalFusion"],
        head=page["PlainHead"],
        objectives=[page["QuietObjective"]],
        training=training,
        device="cpu",
    )
    assert record.metrics["accuracy"] > 0.9
    mmkit.fit(task=page["Brightness"], fusion="concat", training={"epochs": 1, "min_steps": 0}, device="cpu")


def test_the_distribution_of_the_page_is_the_one_that_is_written():
    files = rendered("fusion", "soft-vote", installed())
    (toml,) = re.findall(r"```toml\n# pyproject.toml\n(.*?)```", TEXT, re.DOTALL)
    group = tomllib.loads(toml)["project"]["entry-points"]
    assert tomllib.loads(files["pyproject.toml"])["project"]["entry-points"] == group
    (hooks,) = [block for block in PYTHON if block.startswith("# src/soft_vote/plugin.py")]
    assert [spec.__dict__ for spec in given(hooks)] == [s.__dict__ for s in given(files["src/soft_vote/plugin.py"])]
    assert "keywords" in tomllib.loads(files["pyproject.toml"])["project"]


def given(source):
    """The specs of an entry module with fusions."""
    found = {}
    exec(source, found)
    return list(found["mmkit_fusions"]())


def test_every_hook_is_named():
    assert set(re.findall(r"`(mmkit_\w+)`", TEXT)) == set(HOOKS)


LEAKY = """
import torch
from mmkit.contract import Features
from mmkit.plugin import FusionSpec, hookimpl

@hookimpl
def mmkit_fusions():
    yield FusionSpec("leaky", "THIS:Leaky", "Lets batch mates look at each other")

class Leaky(torch.nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.width = 8
        self.linear = torch.nn.ModuleDict({name: torch.nn.Linear(d, 8) for name, d in widths.items()})

    def forward(self, features):
        present = {name: features[name].present().unsqueeze(1) for name in self.linear}
        total = sum(linear(features[name].vector()) * present[name] for name, linear in self.linear.items())
        return Features.of(total - total.mean(0))
"""


def test_the_report_of_the_page_is_what_is_printed(distribution, capsys):
    module = distribution("acme", LEAKY)
    with pytest.raises(SystemExit) as end:
        mmkit.cli.main(["plugins", "check", "leaky"])
    assert end.value.code == 1
    (told,) = re.findall(r"```text\n(fusion leaky: .*?)```", TEXT, re.DOTALL)
    found = capsys.readouterr().out
    assert found.rstrip().endswith(f"it stands in {distribution.site / module}.py:10")
    own = re.compile(r"it stands in \S+|\d\.\d+(e-\d+)?")  # of the machine
    assert own.sub("", found) == own.sub("", told)


def test_the_table_of_checks_is_fresh():
    table = TEXT.partition("<!-- checks -->\n")[2].partition("<!-- end of checks -->")[0]
    rows = ["| check | of | rule |", "|---|---|---|"]
    for each in CHECKS:
        more = " *Advice.*" * each.advice + " *With `--full`.*" * each.full
        kinds = "all" if set(each.kinds) == {spec.kind for spec in HOOKS.values()} else ", ".join(each.kinds)
        rows.append(f"| `{each.name}` | {kinds} | {each.rule}{more} |")
    expected = "\n".join(["", *rows, "", ""])
    assert table == expected


@pytest.mark.parametrize("text", [TEXT, mmkit.contract.__doc__], ids=["page", "contract"])
def test_every_name_of_mmkit_is_there(text):
    names = {name for name in re.findall(r"\bmmkit(?:\.\w+)+", text) if not re.search(r"\.(v\d|py)$", name)}
    assert len(names) >= 4
    for name in names:
        pkgutil.resolve_name(name)


def test_links_lead_somewhere():
    links = [
        link
        for link in re.findall(r"\]\(([^)#]+)", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
        if not link.startswith("http")
    ]
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_commands_that_need_no_installation_are_taken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    own = [
        line for line in SHELL if line.startswith(("mmkit plugins new", "mmkit plugins check ./", "mmkit plugins list"))
    ]
    assert len(own) == 3
    for line in own:
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main(shlex.split(line)[1:])
        assert end.value.code == 0
        assert capsys.readouterr().out
    for module in [module for module in sys.modules if module.partition(".")[0] == "soft_vote"]:
        del sys.modules[module]


@pytest.mark.full
def test_every_command_runs_in_its_order(outside):
    """The bench with few samples, and few epochs."""
    home = outside.folder / "empty"
    home.mkdir()
    for line in SHELL:
        program, *arguments = shlex.split(line)
        if line == "pip install -e './soft-vote[test]'":
            outside.install_folder(home / "soft-vote")
        elif program == "pip":
            outside.pip(*arguments, cwd=home)
            assert [path.name for path in (home / "dist").iterdir()] == ["soft_vote-0.1.0-py3-none-any.whl"]
        else:
            short = ["--limit", "200", "--epochs", "2", "--lr", ".01", "--no-cost"] if arguments[0] == "bench" else []
            done = outside.run(program, *arguments, *short, cwd=home)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "soft-vote" in done.stdout or program == "pytest"
