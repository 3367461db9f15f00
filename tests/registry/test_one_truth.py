"""What the spec of a component says is what its file says, for all that is installed."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from mmkit.registry.catalog import installed

ENTRIES = [entry for entry in installed().entries if entry.spec is not None]
FIRST_PARTY = {"mmkit-core"} | {folder.name for folder in (Path(__file__).parents[2] / "plugins").glob("mmkit-*")}

CITATION = re.compile(r'"[^"]+",[^"]*?https?://\S+')
"""A title in quotes, then venue and year, then an address."""


def disagreements(entry, entries):
    """Each way in which the file of a component says something else than its spec; the rule is that of `Spec`."""
    spec = entry.spec
    module, _, name = spec.reference.partition(":")
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text("utf-8"))
    of_class = next(
        ast.get_docstring(node) for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name
    )
    of_module = ast.get_docstring(tree)
    shared = len({other.spec.reference for other in entries if other.spec.reference.startswith(f"{module}:")}) > 1
    text = of_class if shared or of_module is None else of_module
    where = f"{module}:{name}" if text is of_class else module
    first, *others = [" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n")]
    found = []
    if first != f"{spec.summary}.":
        found.append(f"the summary is {spec.summary!r}; the docstring of {where} begins with {first!r}")
    if spec.paper:
        second = others[0] if others else ""
        if not re.match(re.escape(spec.paper) + r"(?![\w/-])", second):
            found.append(f"the paper is {spec.paper!r}; the second paragraph of {where} is {second!r}")
    else:
        told = " ".join([first, *others, *(of_class or "").partition("Args:")[0].split()])
        found += [f"there is no paper, and {where} cites {match[0]}" for match in CITATION.finditer(told)]
    return found


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_spec_and_file_agree(entry):
    assert disagreements(entry, ENTRIES) == []


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.spec.paper], ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_each_paper_has_authors_a_title_a_year_and_an_address(entry):
    for work in entry.spec.paper.split("; "):
        assert re.fullmatch(r'[^"]+, "[A-Z][^"]+", [^"]*\b(19|20)\d\d\b[^"]*, https://\S+', work), work
        assert not work.endswith((".", "/"))


def test_one_work_is_cited_in_one_way():
    """The same address with the same words before it, wherever it stands."""
    works = {}
    for entry in ENTRIES:
        for work in entry.spec.paper.split("; ") if entry.spec.paper else ():
            works.setdefault(work.rpartition(", ")[2], set()).add(work)
    assert [sorted(said) for said in works.values() if len(said) > 1] == []


def test_components_of_every_distribution_here_are_compared():
    assert {entry.distribution for entry in ENTRIES} >= FIRST_PARTY
    assert {"mmkit-core", "mmkit-video"} <= FIRST_PARTY


WORK = 'Weaver, "On Braids", 1999, https://example.org/1'


def planted(distribution, summary, paper, *, module_doc=None, class_doc="A fusion.", second=False):
    """The disagreements of a component that a distribution of its own registers."""
    quoted = "" if module_doc is None else f"'''{module_doc}'''\n"
    extra = '    yield FusionSpec("plait", "THIS:Plait", "Another")\n' if second else ""
    module = distribution(
        "acme",
        f"{quoted}from mmkit.plugin import FusionSpec, hookimpl\n"
        "@hookimpl\n"
        "def mmkit_fusions():\n"
        f"    yield FusionSpec('braid', 'THIS:Braid', {summary!r}, paper={paper!r})\n{extra}"
        f"class Braid:\n    '''{class_doc}'''\n"
        "class Plait:\n    '''Another.'''\n",
    )
    entries = [entry for entry in installed().entries if entry.spec is not None]
    (entry,) = [entry for entry in entries if entry.spec.reference == f"{module}:Braid"]
    return disagreements(entry, entries)


class TestControls:
    """A component that is planted with one fault is caught, and one without any is not."""

    @pytest.mark.parametrize(
        ("doc", "paper"),
        [
            ("Braids all inputs.", ""),
            (f"Braids all inputs.\n\n{WORK}.", WORK),
            (f"Braids all inputs.\n\n{WORK}; as in others.", WORK),
            ('Braids all inputs.\n\nWeaver, "On\nBraids", 1999,\nhttps://example.org/1. What differs: much.', WORK),
        ],
    )
    def test_one_that_agrees(self, distribution, doc, paper):
        assert planted(distribution, "Braids all inputs", paper, module_doc=doc) == []

    def test_one_that_agrees_by_its_class(self, distribution):
        doc = f"Braids all inputs.\n\n    {WORK}.\n    "
        assert planted(distribution, "Braids all inputs", WORK, class_doc=doc) == []

    def test_one_of_several_in_a_module_that_agrees_by_its_class(self, distribution):
        doc = f"Braids all inputs.\n\n    {WORK}.\n    "
        assert planted(distribution, "Braids all inputs", WORK, module_doc="Two.", class_doc=doc, second=True) == []

    @pytest.mark.parametrize(
        ("doc", "paper", "message"),
        [
            ("Weaves all inputs.", "", "the summary is 'Braids all inputs'; the docstring of"),
            ("Braids all inputs", "", "the summary is"),
            ("Braids all inputs. And more.", "", "the summary is"),
            ("Braids all inputs.", WORK, "the paper is"),
            (f'Braids all inputs.\n\nRope, "On Ropes", 1998, https://example.org/2. {WORK}.', WORK, "the paper is"),
            (f"Braids all inputs.\n\nAfter {WORK}.", WORK, "the paper is"),
            (f"Braids all inputs.\n\n{WORK.replace('Braids', 'Ropes')}.", WORK, "the paper is"),
            (f"Braids all inputs.\n\n{WORK}23.", WORK, "the paper is"),
            (f"Braids all inputs.\n\n{WORK}.", "", "there is no paper, and"),
            (
                f"Braids all inputs.\n\nIt is known.\n\nSee {WORK}.",
                "",
                'cites "On Braids", 1999, https://example.org/1',
            ),
        ],
    )
    def test_one_fault_is_one_message(self, distribution, doc, paper, message):
        (found,) = planted(distribution, "Braids all inputs", paper, module_doc=doc)
        assert message in found

    def test_a_class_that_cites_what_the_spec_does_not(self, distribution):
        doc = f"All in turn.\n\n    {WORK}.\n    "
        (found,) = planted(distribution, "Braids all inputs", "", module_doc="Braids all inputs.", class_doc=doc)
        assert "there is no paper" in found

    def test_one_of_several_in_a_module_is_known_by_its_class(self, distribution):
        (found,) = planted(distribution, "Braids all inputs", "", module_doc="Braids all inputs.", second=True)
        assert "begins with 'A fusion.'" in found

    def test_no_docstring_at_all(self, distribution):
        (found,) = planted(distribution, "Braids all inputs", "", class_doc="")
        assert "begins with ''" in found
