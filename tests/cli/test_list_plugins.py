"""`mmkit list-plugins`, and the door that every command goes through."""

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

import mmkit
from mmkit.cli import COMMANDS, main
from mmkit.cli.list_plugins import COLUMNS

PLUGIN = """
from mmkit.plugin import FusionSpec, EncoderSpec, hookimpl

@hookimpl
def mmkit_fusions():
    yield FusionSpec("braid", "THIS:Fusion", "A summary\\twith a tab, and so long that eighty columns would cut it off")

@hookimpl
def mmkit_encoders():
    yield EncoderSpec("sniff", "THIS:Encoder", "Reads smells", modality="smell")
"""


@pytest.fixture
def mmkit_command(capsys):
    """Runs a command in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        return left.value.code, *capsys.readouterr()

    return run


def _rows(text):
    return [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in text.splitlines()]


def test_plain_lines_have_a_field_for_each_column(mmkit_command, distribution):
    distribution("acme", PLUGIN)
    code, out, err = mmkit_command("list-plugins")
    assert (code, err) == (0, "")
    assert {
        "kind": "fusion",
        "name": "braid",
        "status": "ok",
        "distribution": "acme",
        "version": "1.0",
        "summary": "A summary with a tab, and so long that eighty columns would cut it off",
        "reason": "",
        "takes": "1+ inputs",
    } in _rows(out)
    assert mmkit_command("list-plugins", "--plain") == (0, out, "")
    assert "\x1b" not in out


@pytest.mark.parametrize("options", [[], ["--json"], ["--kind", "fusion", "--plain"], ["--status", "broken"]])
def test_plugins_list_is_the_same_command(mmkit_command, distribution, options):
    distribution("acme", PLUGIN)
    distribution("zeta", "raise RuntimeError('boom')")
    group: Any = COMMANDS["plugins"]
    assert group["list"][0] == COMMANDS["list-plugins"][0]
    found = mmkit_command("plugins", "list", *options)
    assert found == mmkit_command("list-plugins", *options)
    assert found[1]


def test_the_json_document(mmkit_command, distribution):
    distribution("acme", PLUGIN, requires=["numpy"])
    module = distribution("zeta", "raise RuntimeError('boom')")
    code, out, _ = mmkit_command("list-plugins", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (0, 1)
    by_name = {entry["full_name"]: entry for entry in document["plugins"]}
    required = {"kind", "name", "full_name", "distribution", "version", "status", "reason", "summary"}
    assert all(required <= set(entry) for entry in document["plugins"])
    assert by_name["acme/sniff"]["modality"] == "smell"
    assert by_name["acme/sniff"]["requires"] == ["numpy"]
    assert by_name["mmkit-core/late"]["combines"] == "outputs"
    assert by_name["mmkit-core/digits"]["modalities"] == {"spoken": "series", "written": "image"}
    assert by_name["zeta"] | {"requires": []} == {
        "kind": "plugin",
        "name": "zeta",
        "full_name": "zeta",
        "distribution": "zeta",
        "version": "1.0",
        "status": "broken",
        "reason": "RuntimeError: boom",
        "summary": "",
        "requires": [],
        "place": f"{distribution.site / module}.py:1",
    }


def test_filters(mmkit_command, distribution):
    distribution("acme", PLUGIN)
    distribution("zeta", "", group="mmkit.v2")
    assert {row["kind"] for row in _rows(mmkit_command("list-plugins", "--kind", "head")[1])} == {"head"}
    assert [row["name"] for row in _rows(mmkit_command("list-plugins", "--modality", "smell")[1])] == ["sniff"]
    rows = _rows(mmkit_command("list-plugins", "--family", "outputs")[1])
    assert {"late", "log-pool"} <= {row["name"] for row in rows}
    assert {row["kind"] for row in rows} == {"fusion"}
    of_text = {(row["kind"], row["name"]) for row in _rows(mmkit_command("list-plugins", "--modality", "text")[1])}
    assert {("modality", "text"), ("encoder", "bag"), ("task", "clipart")} <= of_text
    assert ("encoder", "cnn") not in of_text
    assert [row["name"] for row in _rows(mmkit_command("list-plugins", "--status", "incompatible")[1])] == ["zeta"]
    assert [row["name"] for row in _rows(mmkit_command("list-plugins", "--kind", "plugin")[1])] == ["zeta"]


def test_a_modality_is_listed_with_the_one_whose_decoded_values_it_has(mmkit_command, distribution):
    distribution(
        "acme",
        """
        from mmkit.plugin import ModalitySpec, hookimpl

        @hookimpl
        def mmkit_modalities():
            yield ModalitySpec("radio", "mmkit.modalities.audio:Audio", "Waves", values="audio")
        """,
    )
    for modality in ("audio", "radio"):
        found = _rows(mmkit_command("list-plugins", "--modality", modality)[1])
        assert "radio" in {row["name"] for row in found if row["kind"] == "modality"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["list-plugins", "--kind", "fusions"],
            "unknown --kind fusions; did you mean fusion? Possible: balance, encoder, fusion",
        ),
        (
            ["list-plugins", "--status", "fine"],
            "unknown --status fine; Possible: blocked, broken, incompatible, ",
        ),
        (["list-plugins", "--family", "vector"], "unknown --family vector; did you mean vectors? Possible: "),
        (["list-plugins", "--modality", "txt"], "unknown --modality txt; did you mean text? Possible: audio, image, "),
        (["list-plugins", "--kin", "head"], "No such option: --kin"),
        (["list-plugins", "surplus"], "Got unexpected extra argument"),
        (["list-plugin"], "No such command 'list-plugin'. Did you mean 'list-plugins'"),
        (["plugins", "shw"], "No such command 'shw'. Did you mean 'show'"),
        (["list-plugins", "--no-plugin"], "--no-plugin takes the name of a distribution; got none"),
        (["list-plugins", "--no-plugin", "acm"], "there is no plugin acm to leave out; did you mean acme?"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(mmkit_command, distribution, arguments, line):
    distribution("acme", PLUGIN)
    code, out, err = mmkit_command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"mmkit: error: {line}")
    assert err.count("\n") == 1


def test_broken_plugins_cost_one_line_each_and_the_rest_is_listed(mmkit_command, distribution):
    acme = distribution("acme", "raise RuntimeError('boom')")
    beta = distribution("beta", "import sys; sys.exit('gone')")
    distribution("gamma", "raise RuntimeError", group="mmkit.v2")
    distribution("delta", PLUGIN)
    code, out, err = mmkit_command("list-plugins")
    assert code == 0
    assert err.splitlines() == [
        f"mmkit: plugin acme is broken and left out: RuntimeError: boom ({distribution.site / acme}.py:1)",
        f"mmkit: plugin beta is broken and left out: it calls sys.exit('gone') ({distribution.site / beta}.py:1)",
    ]
    status = {row["name"]: row["status"] for row in _rows(out)}
    assert (status["acme"], status["beta"], status["gamma"], status["braid"], status["concat"]) == (
        "broken",
        "broken",
        "incompatible",
        "ok",
        "ok",
    )


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("given", [["--no-plugin", "acme"], ["--no-plugin=Acme"]])
def test_no_plugin_works_before_and_after_the_command(mmkit_command, distribution, given, place):
    distribution("acme", "raise RuntimeError('boom')")
    distribution("beta", "raise RuntimeError('boom')")
    arguments = ["list-plugins"]
    arguments[place:place] = [*given, "--no-plugin", "beta"]
    code, out, err = mmkit_command(*arguments)
    assert (code, err) == (0, "")
    assert [row["status"] for row in _rows(out) if row["name"] in {"acme", "beta"}] == ["blocked", "blocked"]


def test_the_environment_blocks_plugins(mmkit_command, distribution, monkeypatch):
    distribution("acme", "raise RuntimeError('boom')")
    monkeypatch.setenv("MMKIT_DISABLE_PLUGINS", "acme")
    assert mmkit_command("list-plugins")[2] == ""
    monkeypatch.delenv("MMKIT_DISABLE_PLUGINS")
    monkeypatch.setenv("MMKIT_PLUGINS", "other")
    assert mmkit_command("list-plugins")[2] == ""


def test_a_table_on_a_terminal_is_not_cropped(mmkit_command, distribution, monkeypatch):
    distribution("acme", PLUGIN)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "70")
    code, out, _ = mmkit_command("list-plugins")
    assert code == 0
    assert "\t" not in out
    out = re.sub(r"\x1b\[[\d;]*m", "", out)
    assert max(map(len, out.splitlines())) <= 70
    told = " ".join(out.split())
    assert {"braid", "cross-attention", "synthetic-regression"} <= set(told.split())
    # Long words may be folded, but nothing is cut off.
    assert "…" not in out
    assert mmkit_command("list-plugins", "--plain")[1].count("\t") > 100


def test_version_and_help(mmkit_command):
    assert mmkit_command("--version") == (0, f"mmkit {mmkit.__version__}\n", "")
    code, out, err = mmkit_command("--help")
    assert (code, err) == (0, "")
    assert {line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.strip()} == set(COMMANDS)
    assert mmkit_command() == (0, out, "")


def test_every_command_has_its_own_help(mmkit_command):
    def walk(table, *before):
        for name, entry in table.items():
            if isinstance(entry, tuple):
                code, out, err = mmkit_command(*before, name, "--help")
                assert (code, err) == (0, "")
                assert out.startswith(f"Usage: mmkit {' '.join([*before, name])} ")
            else:
                walk(entry, *before, name)

    walk(COMMANDS)


def test_an_unexpected_error_is_one_line_and_traceback_shows_it(mmkit_command, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("a mistake\nof ours")

    monkeypatch.setattr("mmkit.cli.list_plugins.catalog", fail)
    code, _, err = mmkit_command("list-plugins")
    assert (code, err) == (
        1,
        "mmkit: error: unexpected ZeroDivisionError: a mistake of ours; --traceback shows where it comes from\n",
    )
    code, _, err = mmkit_command("list-plugins", "--traceback")
    assert code == 1
    assert "Traceback (most recent call last)" in err


@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_interrupted_is_130(mmkit_command, monkeypatch, how):
    def stop(*_):
        if how == "ctrl-c":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("mmkit.cli.list_plugins.catalog", stop)
    assert mmkit_command("list-plugins") == (130, "", "mmkit: interrupted\n")
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_of_mmkit_gives_its_exit_code(mmkit_command, monkeypatch):
    def fail(*_):
        raise mmkit.errors.DataError("no\ndata")

    monkeypatch.setattr("mmkit.cli.list_plugins.catalog", fail)
    assert mmkit_command("list-plugins") == (4, "", "mmkit: error: no data\n")


HEAVY = {"torch", "numpy", "pydantic", "rich", "importlib.metadata", "packaging", "docstring_parser"}


@pytest.mark.parametrize("arguments", [["list-plugins"], ["plugins", "list"], ["--help"], ["plugins", "--help"]])
def test_what_starts_imports_nothing_heavy(arguments):
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mmkit", *arguments], capture_output=True, text=True, check=True
    )
    imported = set(re.findall(r"\| +([\w.]+)$", found.stderr, re.MULTILINE))
    assert "mmkit.cli" in imported
    assert imported & (HEAVY | {"mmkit.cli.bench", "mmkit.contract"}) == set()


def test_importing_mmkit_imports_nothing_heavy():
    code = "import sys, mmkit; print(sorted(sys.modules)); mmkit.installed"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "numpy", "pydantic", "pluggy", "typer"}.isdisjoint(eval(found.stdout))


def test_python_m_mmkit_loads_nothing_from_the_working_directory(distribution, tmp_path):
    distribution("acme", PLUGIN)
    found = subprocess.run(
        [sys.executable, "-m", "mmkit", "list-plugins"],
        capture_output=True,
        text=True,
        check=True,
        cwd=distribution.site,
    )
    assert "concat" in found.stdout
    assert "acme" not in found.stdout


@pytest.mark.parametrize(("given", "then"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_set_otherwise(monkeypatch, given, then):
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit):
        mmkit.cli.main(["--version"])
    assert os.environ["OMP_WAIT_POLICY"] == then
