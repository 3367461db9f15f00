"""Run the commands of a scenario's page, one after the other, and show what they print.

    python benchmarks/scenarios sentiment FOLDER            in FOLDER, which gets the table and the results
    python benchmarks/scenarios sentiment FOLDER --write    and put what is printed into the page

A block of `sh` or `python` on the page is run; a block of `text` right after it is what it prints, folded at 80 columns
as a terminal would.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDED: dict[str, Any] = {
    "break_long_words": False,
    "break_on_hyphens": False,
    "replace_whitespace": False,
    "expand_tabs": False,
}
PROGRAMS = 'python() { "$PYTHON" "$@"; }\nmmkit() { "$PYTHON" -m mmkit "$@"; }\n'
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """What is run, and what the page says that it prints.

    Args:
        language: "sh" or "python".
        code: as it stands on the page.
        shown: what follows it; None where the page shows nothing.
        at: where that begins and ends on the page; None where it shows nothing.
    """

    language: str
    code: str
    shown: str | None
    at: tuple[int, int] | None

    def run(self, folder: Path) -> str:
        """What it prints, run in a folder; `python` and `mmkit` are those of this environment.

        Raises:
            SystemExit: it fails.
        """
        call = [sys.executable, "-c", self.code]
        if self.language == "sh":
            call = ["bash", "-euo", "pipefail", "-c", PROGRAMS + self.code]
        environment = os.environ | {
            "COLUMNS": "80",
            "TERM": "dumb",
            "PYTHONUTF8": "1",
            "PYTHON": sys.executable,
            "MMKIT_CACHE": str(folder.resolve() / "cache"),
        }
        printed, told, code = _at_a_terminal(call, folder, environment)
        if code:
            raise SystemExit(f"this failed:\n{self.code}\n{printed}{told}")
        lines = [part for line in printed.splitlines() for part in textwrap.wrap(line, 80, **FOLDED) or [""]]
        return "".join(f"{line}\n" for line in lines)


def _at_a_terminal(call: list[str], folder: Path, environment: dict[str, str]) -> tuple[str, str, int]:
    """What a call writes to stdout, which is a terminal to it, and to stderr; and its exit status."""
    ours, its = os.openpty()
    parts = []
    with tempfile.TemporaryFile() as told:
        started = subprocess.Popen(call, cwd=folder, env=environment, stdout=its, stderr=told, stdin=subprocess.DEVNULL)
        os.close(its)
        with contextlib.suppress(OSError):  # as Linux ends what is read of a terminal
            while part := os.read(ours, 65_536):
                parts.append(part)
        os.close(ours)
        code = started.wait()
        told.seek(0)
        return b"".join(parts).decode().replace("\r\n", "\n"), told.read().decode(), code


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page that are run, in order."""
    for found in BLOCK.finditer(page):
        at = None if found[3] is None else found.span(3)
        yield Block(found[1], found[2], found[3], at)


def prepare(folder: Path) -> None:
    """Make a folder where the commands of pages find the scripts of this repository."""
    folder.mkdir(parents=True, exist_ok=True)
    scripts = folder / "benchmarks"
    if not scripts.exists():
        scripts.symlink_to(ROOT / "benchmarks", target_is_directory=True)


def main() -> None:
    names = sorted(page.parent.name for page in HERE.glob("*/README.md"))
    asked = argparse.ArgumentParser(prog="python benchmarks/scenarios", description="Run a scenario.")
    asked.add_argument("scenario", choices=names)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--write", action="store_true", help="put what is printed into the page")
    given = asked.parse_args()
    prepare(given.folder)
    page = HERE / given.scenario / "README.md"
    printed = []
    for block in blocks(page.read_text("utf-8")):
        print("".join(f"$ {line}\n" for line in block.code.splitlines()), flush=True)
        printed.append(block.run(given.folder))
        print(printed[-1], flush=True)
    if given.write:
        text = page.read_text("utf-8")  # it may have been edited since
        for block, output in reversed(list(zip(blocks(text), printed, strict=True))):
            if block.at is not None:
                text = text[: block.at[0]] + output + text[block.at[1] :]
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
