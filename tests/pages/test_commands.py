"""Every command of every page is taken by the command line: run, tried by a dry run, or, with placeholders, parsed.

Commands are collected from all pages, so those of a new page are tested unasked. Of the shell blocks, each command of
mmkit is run, a bench as a dry run, where it is of all fusions with two of them, a train for one epoch. Where a
component needs weights it gets the options of its spec's example, so that nothing is downloaded. With a placeholder
(NAME, FILE, TASK) or a name that a page makes up, a command is parsed, and the components that it names are looked up
with their options; so is code within a line, which may be a part of one.
"""

import re
import shlex
import sys
import tomllib

import pytest
import typer

import mmkit
import mmkit.cli
from mmkit.registry.builtin.tasks import FRUIT
from mmkit.registry.options import parse_component, split_commas, write_value

# What stands for something of the reader's.
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b")
# What a page has the reader write: the plugins of examples.
MADE = re.compile(r"\bacme|\bscored\b")
# Options that name components, of which kind.
KINDS = {
    "task": "task",
    "encoder": "encoder",
    "text_encoder": "encoder",
    "fusion": "fusion",
    "head": "head",
    "objective": "objective",
    "balance": "balance",
}


def parsed(command):
    """The context of the last command, with all options and arguments read; nothing is run."""
    group = typer.main.get_command(mmkit.cli._app())
    context = group.make_context("mmkit", mmkit.cli._global_first(shlex.split(command)[1:]))
    while hasattr(group, "resolve_command") and (rest := [*context._protected_args, *context.args]):
        name, group, rest = group.resolve_command(context, rest)
        context = group.make_context(name, rest, parent=context)
    return context


def components(context):
    """(kind, text) of each component that a parsed command names."""
    for option, kind in KINDS.items():
        given = context.params.get(option)
        for text in [given] if isinstance(given, str) else given or []:
            of_input = option == "encoder" and re.match(r"[\w-]+=", text)
            several = [text] if ":" in text else split_commas(text)  # commas separate bare names
            named = [one for one in several if one != "all" and not one.startswith("only:")]
            yield from ((kind, one.partition("=")[2] if of_input else one) for one in named)


@pytest.fixture(scope="module")
def begun(repository):
    """The commands that have mmkit write a plugin, by its name: it is used as a folder, and once installed by name."""
    return repository.begun


def stands_for_something(command, begun=()):
    """Whether a command has a placeholder in it, or the name of what only the reader has."""
    named = "|".join(begun)
    installed = named and " new " not in command and re.search(rf"(?<![./\w-])({named})\b", command)
    return bool(PLACEHOLDER.search(command) or MADE.search(command) or installed)


def look_up(command, begun=()):
    """Parse a command, and choose each component that it names, with its options."""
    if command.split()[1:] in (["--help"], ["--version"]):
        return
    for kind, text in components(parsed(command)):
        name = parse_component(text)[0]
        if not stands_for_something(name, begun):
            mmkit.installed().choose(kind, text)


def without_weights(command):
    """The command with the options of the spec's example where a component would need weights."""
    found = command
    for kind, text in components(parsed(command)):
        name = parse_component(text)[0]
        entries = [entry for entry in mmkit.installed().available(kind) if entry.name == name]
        if entries and (example := getattr(entries[0].spec, "example", ())):
            options = ",".join(f"{option}={write_value(value)}" for option, value in example)
            found = found.replace(shlex.quote(text) if shlex.quote(text) in found else text, f"{name}:{options}")
    return found


def run(command, capsys):
    """Run a command in this process; a bench as a dry run, a train for one epoch. Gives what it prints."""
    if command.startswith("mmkit bench"):
        command = command.replace("--fusion all", "--fusion concat,attention").replace(" --dry-run", "") + " --dry-run"
    arguments = shlex.split(command)[1:]
    if arguments[0] == "train":
        arguments += ["--epochs", "1", "--lr", "0.002"]
    with pytest.raises(SystemExit) as end:
        mmkit.cli.main(arguments)
    out, err = capsys.readouterr()
    assert end.value.code == 0, err
    return out


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder with the table of a clone, an empty cache, and no hub; what is imported from the folder is forgotten."""
    monkeypatch.chdir(tmp_path)
    here = tmp_path / "mmkit" / "tasks" / "data"
    here.mkdir(parents=True)
    (here / "fruit.csv").symlink_to(FRUIT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_the_commands_were_found(repository):
    by_page = {page.path: [one for one in page.commands if one.startswith("mmkit ")] for page in repository.pages}
    assert len(by_page["README.md"]) >= 12
    assert sum(map(len, by_page.values())) >= 35
    assert sum(bool(found) for found in by_page.values()) >= 9
    assert sum(len(page.quoted_commands) for page in repository.pages) >= 15


def test_each_command_is_taken(documented, begun, elsewhere, capsys):
    look_up(documented, begun)
    whole = without_weights(documented)
    if not stands_for_something(whole, begun):
        for name, command in begun.items():
            if f"./{name}" in whole.split():
                run(command, capsys)
        assert run(whole, capsys)


def test_each_command_within_a_line_is_taken(page, begun):
    for command in page.quoted_commands:
        try:
            look_up(command, begun)
        except Exception as error:
            # A part of a command may leave out what the whole one needs.
            if type(error).__name__ != "MissingParameter":
                raise


def test_what_is_installed_and_run_beside_mmkit_is_there(page, repository, begun):
    assert faults(page, repository, begun) == []


def faults(page, repository, begun=()):
    """Every folder, extra, script and test that a command of a page names and that is not there."""
    found = []
    for command in page.commands:
        program, *arguments = shlex.split(command)
        if stands_for_something(PLACEHOLDER.sub("", command).replace("./", ""), begun):
            continue
        arguments = [one for one in arguments if not PLACEHOLDER.search(one)]
        if program == "pip":
            found += [fault for one in arguments if (fault := _uninstallable(one, repository.root))]
        elif program in {"bash", "python", "pytest"}:
            named = [one.partition("::")[0] for one in arguments if "/" in one or one.endswith(".py")]
            found += [f"there is no {one}" for one in named if not (repository.root / one).exists()]
        elif program.startswith("."):
            found += [f"there is no {program}"] if not (repository.root / program).is_file() else []
    return found


def _uninstallable(argument, root):
    """What is wrong with a folder to install, or its extras; None where nothing is, or it is no folder."""
    if not argument.startswith("."):
        return None
    folder, _, extras = argument.rstrip("]").partition("[")
    file = root / folder / "pyproject.toml"
    if not file.is_file():
        return f"there is no {folder} to install"
    possible = tomllib.loads(file.read_text())["project"].get("optional-dependencies", {})
    missing = [extra for extra in extras.split(",") if extra and extra not in possible]
    return f"{folder} has no extra {', '.join(missing)}" if missing else None


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("mmkit bnech", "No such command"),
        ("mmkit plugins shwo gated", "No such command"),
        ("mmkit bench --fuson concat", "No such option"),
        ("mmkit bench --task TASK --head NAME --encodr audio=speaker", "No such option"),
        ("mmkit bench --seeds many", "not a valid int"),
        ("mmkit bench --fusion sum,concta", "there is no fusion concta"),
        ("mmkit bench --fusion concat:wdth=3", "fusion concat has no option wdth"),
        ("mmkit bench --task TASK --encoder image=timm:modle=NAME", "encoder timm has no option modle"),
        ("mmkit bench --task TASK --head generation:model=FOLDER,beams=none", "option beams takes"),
        ("mmkit retrieve --task clipart --encoder image=open-clip-imag", "no encoder open-clip-imag"),
        ("mmkit plugins show", "Missing argument"),
        ("mmkit cache clear --everything", "No such option"),
    ],
)
def test_what_the_command_line_does_not_take_is_found(command, fault):
    with pytest.raises(Exception) as error:  # noqa: PT011 (Typer keeps its classes to itself)
        look_up(command)
    told = error.value.format_message() if hasattr(error.value, "format_message") else str(error.value)
    assert fault in told


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("mmkit bench --task clipart --encoder picture=cnn", "picture"),  # clipart has no input of that name
        ("mmkit bench --task clipart --encoder title=timm:model=NAME", "image"),  # timm reads none of text
    ],
)
def test_what_a_dry_run_refuses_is_found(command, fault, elsewhere, capsys):
    look_up(command)
    with pytest.raises(AssertionError, match=f"mmkit: error: .*{fault}"):
        run(without_weights(command), capsys)


def test_commands_are_taken_apart_as_a_shell_would(repository):
    text = """```sh
$ mmkit bench --fusion sum   # a comment
# only a comment
mmkit bench \\
    --seeds 2 && .ci/run
```
```python
mmkit bench --in-no-shell
```

    mmkit bench --indented
    and a word about it

`mmkit cache
list` and `mmkit`, `mmkit.load`
"""
    page = repository.page("x.md", text)
    assert page.commands == ["mmkit bench --fusion sum", "mmkit bench --seeds 2", ".ci/run", "mmkit bench --indented"]
    assert page.quoted_commands == ["mmkit cache list"]


@pytest.mark.parametrize(
    ("command", "stands"),
    [
        ("mmkit bench --fusion sum", False),
        ("mmkit bench --task TASK", True),
        ("mmkit plugins check acme-fusion", True),
        ("mmkit plugins new fusion soft-vote", False),
        ("mmkit plugins check ./soft-vote", False),
        ("mmkit plugins check soft-vote", True),
        ("mmkit bench --fusion concat,soft-vote", True),
        ("mmkit bench --fusion very-soft-vote", False),
    ],
)
def test_what_only_the_reader_has_is_not_run(command, stands):
    assert stands_for_something(command, {"soft-vote": "mmkit plugins new fusion soft-vote"}) == stands


def test_weights_give_way_to_the_example(repository):
    command = "mmkit bench --task clipart --encoder image=timm:model=NAME,weights=FILE --fusion late"
    found = without_weights(command)
    assert found.startswith("mmkit bench --task clipart --encoder image=timm:")
    assert found.endswith(" --fusion late")
    assert "FILE" not in found
    assert without_weights("mmkit bench --fusion late:weights=equal") == "mmkit bench --fusion late:weights=equal"


def test_what_is_not_there_to_install_or_run_is_found(repository):
    text = """```sh
pip install ./plugins/mmkit-tim '.[tset]' './plugins/mmkit-timm[lora,lara]' numpy
python benchmarks/gone.py FOLDER && pytest tests/gone -x && .ci/gone
pip install ./acme-fusion -e '.[test]' && python -m mmkit && pytest tests/test_floors.py::test_x -m full && .ci/run
```"""
    assert faults(repository.page("x.md", text), repository) == [
        "there is no ./plugins/mmkit-tim to install",
        ". has no extra tset",
        "./plugins/mmkit-timm has no extra lara",
        "there is no benchmarks/gone.py",
        "there is no tests/gone",
        "there is no .ci/gone",
    ]


def test_the_records_page_reads_records(repository, tmp_path, monkeypatch):
    """Its Python, run on two lines with one id."""
    (page,) = (page for page in repository.pages if page.path == "mmkit/records/README.md")
    source, _ = (content for language, content in page.blocks if language == "python")
    file = tmp_path / "runs" / "low-rank" / "records.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"id": "a", "status": "failed"}\n{"id": "b", "status": "ok"}\n{"id": "a", "status": "ok"}\n')
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(source, names)
    assert {key: record["status"] for key, record in names["records"].items()} == {"a": "ok", "b": "ok"}
