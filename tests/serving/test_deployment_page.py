"""What the page on deployment proposes, checked as far as this machine allows."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import mmkit.cli
from mmkit.serving.guard import OPEN, token_in
from mmkit.serving.limits import Limits
from mmkit.serving.metrics import Metrics

PAGE = Path(mmkit.cli.__file__).parents[1] / "serving" / "README.md"
TEXT = PAGE.read_text("utf-8")


def block(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


def parsed(arguments):
    """The parameters of a command line of `serve`."""
    group: Any = typer.main.get_command(mmkit.cli._app())
    context = group.make_context("mmkit", list(arguments))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    return command.make_context(name, rest, parent=context).params


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_takes_the_unit(tmp_path):
    program = shutil.which("true")
    unit = tmp_path / "mmkit.service"
    unit.write_text(block("ini").replace("/opt/mmkit/bin/mmkit", program))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(block("ini").replace("/opt/mmkit/bin/mmkit", program).replace("PrivateTmp=yes", "PrivateTemp=yes"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "PrivateTemp" in done.stderr  # it looks


def test_the_command_of_the_unit_is_taken():
    (line,) = re.findall(r"ExecStart=\S+ (.*)", block("ini"))
    given = parsed(line.replace("${CREDENTIALS_DIRECTORY}", "/run/credentials").split())
    assert (given["host"], given["threads"]) == ("127.0.0.1", 2)
    (stops,) = re.findall(r"TimeoutStopSec=(\d+)", block("ini"))
    assert int(stops) > Limits().seconds + 5  # as long as it takes to answer what was taken


def test_the_command_of_the_container_is_taken():
    text = block("dockerfile")
    entry = ast.literal_eval(re.findall(r"ENTRYPOINT (\[.*\])", text)[0])
    given = parsed(entry[1:])
    assert (given["host"], str(given["token_file"])) == ("0.0.0.0", "/run/secrets/token")
    health = ast.literal_eval(re.findall(r"HEALTHCHECK CMD (\[.*\])", text)[0])
    compile(health[2], "HEALTHCHECK", "exec")
    assert "/readyz" in OPEN
    (port,) = re.findall(r"EXPOSE (\d+)", text)
    assert int(port) == given["port"]
    assert all(line.split()[0].isupper() for line in text.splitlines() if line)


def test_the_proxy_limits_what_the_service_limits():
    text = block("nginx")
    assert text.count("{") == text.count("}")
    (size,) = re.findall(r"client_max_body_size (\d+)m;", text)
    assert int(size) * 2**20 == Limits().body
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", text)
    assert int(seconds) > Limits().seconds


def test_the_token_that_the_page_makes_is_taken(tmp_path):
    (line,) = re.findall(r"python -c '(import secrets.*?)' > TOKEN", TEXT)
    made = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout
    (tmp_path / "token").write_text(made)
    assert token_in(tmp_path / "token") == made.strip()


def test_the_figures_of_the_metrics_are_named():
    metrics = Metrics()
    metrics.serves({"a": "0"})
    found = set(re.findall(r"^# TYPE (mmkit_\w+) ", metrics.page().decode(), re.MULTILINE))
    assert found == set(re.findall(r"`(mmkit_\w+)`", TEXT))
