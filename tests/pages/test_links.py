"""Links between pages, their anchors, and files that pages name: all of them are there."""

import posixpath
import re
from fnmatch import fnmatchcase
from urllib.parse import unquote

import pytest

TOPS = ("mmkit", "plugins", "benchmarks", "tests", ".ci", ".github")
# What stands for something else: a placeholder, and the plugin that is written as an example.
STANDS_FOR = re.compile(r"[A-Z]{3,}|acme")
OWN_CAPITALS = re.compile(
    r"README|CHANGELOG|LICENSE|LICENCE|CONTRIBUTING|SECURITY|ISSUE_TEMPLATE|PULL_REQUEST_TEMPLATE"
)


def faults(page, repository):
    """Every link and every path of a page that leads nowhere, in words."""
    known = {*repository.files, page.path}
    folders = {posixpath.dirname(path)[:end] for path in known for end in _ends(posixpath.dirname(path))}
    tails = {path[at:] for path in known | folders for at in [0, *(end + 1 for end in _ends(path)[:-1])]}
    anchors = {other.path: other.anchors for other in (*repository.pages, page)}
    found = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        place = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), unquote(path))) if path else page.path
        if place not in known | folders | {"."}:
            found.append(f"{page.path}: {target} leads nowhere")
        elif anchor and anchor not in anchors.get(place, ()):
            found.append(f"{page.path}: {place} has no heading {anchor}")
    begun = [name.replace("-", "_") for name in repository.begun]
    for code in paths(page):
        if any(name in code for name in begun):
            continue
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), code))
        plain = code.rstrip("/")
        there = any(fnmatchcase(tail, plain) for tail in tails) if "*" in plain else plain in tails
        if not there and beside not in known | folders:
            if code.split("/")[0] in TOPS and repository.ignores(code):
                continue
            found.append(f"{page.path}: there is no {code}")
    return found


def _ends(folder):
    """Where a folder's name may be cut to get one that holds it."""
    return [*(at for at, sign in enumerate(folder) if sign == "/"), len(folder)] if folder else []


def links(page):
    """The targets within the repository of its links and images."""
    targets = [str(token.attrs["href"]) for token in page.inline("link_open")]
    targets += [str(token.attrs["src"]) for token in page.inline("image")]
    return [target for target in targets if not re.match(r"[a-z][a-z+.-]*:", target)]


def paths(page):
    """The code within its lines that names a file or a folder of the repository."""
    words = [word for code in page.code for word in code.split() if re.fullmatch(r"[\w.*/-]+", word)]
    words = [word for word in words if not STANDS_FOR.search(OWN_CAPITALS.sub("", word))]
    return [
        word
        for word in words
        if (word.split("/")[0] in TOPS and "/" in word) or (word.endswith((".py", ".md")) and not word.startswith("."))
    ]


def test_there_are_pages_links_and_paths(repository):
    assert len(repository.pages) >= 15
    assert sum(len(links(page)) for page in repository.pages) >= 200
    assert sum(len(paths(page)) for page in repository.pages) >= 20


def test_links_and_paths_lead_somewhere(page, repository):
    assert faults(page, repository) == []


def test_every_page_can_be_reached_from_the_main_one(repository):
    pages = {page.path: page for page in repository.pages}
    reached, pending = set(), ["README.md"]
    while pending:
        page = pages[pending.pop()]
        if page.path in reached:
            continue
        reached.add(page.path)
        for target in links(page):
            place = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), target.partition("#")[0]))
            pending += [path for path in (place, posixpath.join(place, "README.md")) if path in pages]
    # GitHub shows the template itself; nobody is led there.
    assert set(pages) - reached == {".github/PULL_REQUEST_TEMPLATE.md"}


def test_every_folder_of_the_package_is_named_on_its_page(repository):
    (page,) = (page for page in repository.pages if page.path == "mmkit/README.md")
    folders = {path.split("/")[1] for path in repository.files if re.fullmatch(r"mmkit/\w+/.*\.py", path)}
    assert {f"{folder}/" for folder in folders} - set(page.code) == set()


def test_every_record_of_a_claim_has_its_line_and_every_line_its_record(repository):
    (page,) = (page for page in repository.pages if page.path == "benchmarks/README.md")
    # Those of `evidence/` stand on a page of their own, which is written from them.
    kept = {name for path in repository.files for name in re.findall(r"^benchmarks/records/([^/]+)$", path)}
    assert kept - {code for code in page.code if code.endswith(".json")} == set()
    rows = re.findall(r"^\| `([\w-]+\.json)`", page.text, re.MULTILINE)
    assert set(rows) <= kept


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](../nowhere.md)", "mmkit/PAGE.md: ../nowhere.md leads nowhere"),
        ("[a](run.py)", "run.py leads nowhere"),
        ("![a](picture.png)", "picture.png leads nowhere"),
        ("[a][b]\n\n[b]: ../gone", "../gone leads nowhere"),
        ("| a |\n|---|\n| [a](gone/) |", "gone/ leads nowhere"),
        ("[a](../README.md#no-such-heading)", "README.md has no heading no-such-heading"),
        ("# One\n\n[a](#two)", "mmkit/PAGE.md has no heading two"),
        ("`mmkit/nowhere/`", "there is no mmkit/nowhere/"),
        ("- `tests/measure/test_interleave.py`", "there is no tests/measure/test_interleave.py"),
        ("`python benchmarks/gone.py FOLDER`", "there is no benchmarks/gone.py"),
        ("`no_such_file.py`", "there is no no_such_file.py"),
    ],
)
def test_what_leads_nowhere_is_found(repository, text, fault):
    (told,) = faults(repository.page("mmkit/PAGE.md", text), repository)
    assert fault in told


def test_what_leads_somewhere_is_left_alone(repository):
    text = """# A `b` c: d, e?

    [not a link](nowhere.md)

[1](../README.md#start) [2](https://example.org/x) [3](#a-b-c-d-e) [4](fusions/) [5](../README.md "title") [6](..)
`mmkit/experiments/run.py` `loop.py` `mmkit/fusions/` `tests/` `data/build_*.py` `acme_fusion/plugin.py` `mmkit/NAME.py`
`tests/__pycache__/`
`runs/low-rank/records.jsonl` `name:key=value`
"""
    assert faults(repository.page("mmkit/PAGE.md", text), repository) == []


def test_headings_of_the_same_words_have_anchors_of_their_own(repository):
    assert repository.page("x.md", "# Same\n## Same\n## An `only:INPUT`\n").anchors == [
        "same",
        "same-1",
        "an-onlyinput",
    ]
