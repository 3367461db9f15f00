"""What the tests of pages share: every page of the repository, taken apart, and the scripts of `.ci`."""

import importlib
import itertools
import re
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
# A command that has mmkit write a plugin for the reader.
BEGIN = re.compile(r"mmkit plugins new [a-z]+ ([a-z][\w-]*)$")
# A command that makes the table of a scenario, in a folder of the reader's; tests/test_scenario_pages.py runs them all.
TABLE = re.compile(r"python benchmarks/scenarios/\w+/make\.py ([a-z]+)\b")
SHELLS = {"sh", "shell", "bash", "console"}
# Beginnings of commands in blocks that do not say in which language they are.
PROGRAM = re.compile(r"(mmkit|pip|python|pytest|bash|\.ci/\w+) ")


@dataclass(frozen=True)
class Page:
    """A page in Markdown.

    Args:
        path: from the root of the repository.
        text: of the page.
    """

    path: str
    text: str

    @cached_property
    def tokens(self):
        """What it consists of, tables included."""
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    def inline(self, kind):
        """Every token of a kind within its paragraphs, headings, lists and tables."""
        return [child for token in self.tokens for child in token.children or () if child.type == kind]

    @property
    def blocks(self):
        """(language, content) of each fenced block."""
        return [(token.info.strip(), token.content) for token in self.tokens if token.type == "fence"]

    @property
    def code(self):
        """Every piece of code within a line."""
        return [" ".join(token.content.split()) for token in self.inline("code_inline")]

    @cached_property
    def commands(self):
        """Each command of its shell blocks, without prompt and comment; several joined by `&&` are several.

        Indented blocks name no language: a line counts that begins like a command.
        """
        indented = [("", token.content) for token in self.tokens if token.type == "code_block"]
        found = []
        for language, content in [*self.blocks, *indented]:
            for line in content.replace("\\\n", " ").splitlines():
                if language in SHELLS or (not language and PROGRAM.match(line)):
                    plain = re.sub(r"(^|\s)#\s.*|^\$ ", "", line)
                    found += [" ".join(one.split()) for one in plain.split("&&") if one.strip()]
        return found

    @property
    def quoted_commands(self):
        """The code within its lines that begins like a command of mmkit."""
        return [code for code in self.code if re.match(r"mmkit \S", code)]

    @cached_property
    def anchors(self):
        """What may stand after # in a link to it, as GitHub makes it of the headings."""
        found = []
        tokens = self.tokens
        for opening, token in itertools.pairwise(tokens):
            if opening.type == "heading_open":
                shown = "".join(child.content for child in token.children)
                slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
                same = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", one) is not None for one in found)
                found.append(f"{slug}-{same}" if same else slug)
        return found


def tracked(root=ROOT):
    """Every file of the repository that git knows or would add, from its root."""
    command = ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in listed if (root / path).exists()]


FILES = tracked()
PAGES = [Page(path, (ROOT / path).read_text("utf-8")) for path in FILES if path.endswith(".md")]


@dataclass(frozen=True)
class Repository:
    """The repository that the tests stand in."""

    root: Path = ROOT
    files: tuple = tuple(FILES)
    pages: tuple = tuple(PAGES)

    @staticmethod
    def page(path, text):
        """A page that is not there, for controls."""
        return Page(path, text)

    @cached_property
    def begun(self):
        """The commands of all pages that begin a plugin or make a table, by the name of what is there then."""
        commands = [command for page in self.pages for command in page.commands]
        return {found[1]: one for one in commands if (found := BEGIN.match(one) or TABLE.match(one))}

    def ignores(self, path):
        """Whether git ignores a path: it is there on some machines only."""
        command = ["git", "-C", self.root, "check-ignore", "--quiet", path]
        return subprocess.run(command, check=False).returncode == 0

    def script(self, name) -> ModuleType:
        """A script of `.ci`, or a module that it imports."""
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(self.root / ".ci")
            return importlib.import_module(name)


@pytest.fixture(scope="session")
def repository():
    return Repository()


def pytest_generate_tests(metafunc):
    """A test that takes `page` is run for each page, one that takes `documented` for each command of mmkit."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", [pytest.param(page, id=page.path) for page in PAGES])
    if "documented" in metafunc.fixturenames:
        first = {}
        for page in PAGES:
            for command in page.commands:
                if command.startswith("mmkit "):
                    first.setdefault(command, page.path)
        metafunc.parametrize("documented", [pytest.param(one, id=f"{path}: {one}") for one, path in first.items()])
