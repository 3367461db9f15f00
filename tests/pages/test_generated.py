"""The generated parts of pages are what the source says now."""

import ast
import json

import pytest
import yaml

from mmkit.plugin import FusionSpec
from mmkit.registry.catalog import BUILTIN, installed


@pytest.fixture(scope="module")
def pages(repository):
    return repository.script("pages")


@pytest.fixture(scope="module")
def maker(repository):
    """A module of the parts of pages, by its name."""
    return lambda name: repository.script(f"parts.{name}")


@pytest.fixture(scope="module")
def made(pages, repository):
    """What each page with generated parts holds, and what it should hold."""
    return {path.relative_to(repository.root).as_posix(): (before, after) for path, before, after in pages.pages()}


def test_every_generated_part_is_fresh(pages, made):
    assert made.keys() == pages.PARTS.keys()
    assert len(made) == 10
    stale = [path for path, (before, after) in made.items() if before != after]
    assert stale == [], "run `python .ci/pages.py`"


def test_a_stale_part_is_noticed_and_written_anew(pages, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin part; written by a script -->\nold\n<!-- end part -->\nafter\n")
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PARTS", {"page.md": {"part": lambda: "new \\1"}})
    assert pages.main(["--check"]) == 1
    assert "page.md is out of date" in capsys.readouterr().out
    assert pages.main([]) == 0
    assert page.read_text() == (
        "before\n<!-- begin part; written by a script -->\n\nnew \\1\n\n<!-- end part -->\nafter\n"
    )
    assert pages.main(["--check"]) == 0


@pytest.mark.parametrize("text", ["none", "<!-- begin part -->\nhalf", 2 * "<!-- begin part -->\n<!-- end part -->\n"])
def test_a_page_without_its_marks_is_an_error(pages, text):
    with pytest.raises(ValueError, match="expected one part between"):
        pages.renewed(text, "part", "new")


def test_the_map_has_one_line_for_each_file_of_the_package(maker, repository):
    lines = maker("rooms").file_map().splitlines()
    files = [path for path in repository.files if path.startswith("mmkit/") and path.endswith(".py")]
    # The package of a room gives the room its sentence.
    listed = [path for path in files if path.count("/") != 2 or not path.endswith("/__init__.py")]
    assert [sum(f"](../{path}): " in line for line in lines) for path in listed] == [1] * len(listed)
    rooms = {path.split("/")[1] for path in files if path.count("/") > 1}
    assert {f"### mmkit/{room}/" for room in rooms} <= set(lines)


def test_a_file_without_a_docstring_is_an_error(maker, tmp_path):
    (tmp_path / "mute.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"mute\.py has no docstring"):
        maker("markdown").summary(tmp_path / "mute.py")


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("One thing.", "One thing."),
        ("One thing. Another.", "One thing."),
        ("Where is it? There.", "Where is it?"),
        ("One thing\nover two lines.\n\nMore.", "One thing over two lines."),
        ('Written as "NAME:key=value,...", values in TOML.', 'Written as "NAME:key=value,...", values in TOML.'),
    ],
)
def test_the_first_sentence_of_a_docstring(maker, docstring, sentence):
    assert maker("markdown").first_sentence(docstring) == sentence


@pytest.mark.parametrize(("kind", "least"), [("fusion", 50), ("objective", 17), ("balance", 9)])
def test_the_registry_has_every_method_with_its_formula_its_paper_and_its_options(made, repository, kind, least):
    _, page = made[f"mmkit/{kind}s/README.md"]
    entries = [entry for entry in installed().available(kind) if entry.distribution == BUILTIN]
    assert len(entries) >= least
    for entry in entries:
        part = page.partition(f"\n### {entry.name}\n")[2].partition("\n### ")[0]
        assert entry.summary.replace("|", "\\|") in part, entry.name
        assert entry.spec.formula, entry.name
        assert f"\n`{entry.spec.formula}`\n" in part, entry.name
        assert entry.spec.paper.rpartition(" ")[2] in part, entry.name
        # The signature read off the source, not by way of what the page was made with.
        module, _, name = entry.spec.reference.partition(":")
        path = f"{module.replace('.', '/')}.py"
        assert f"]({path.removeprefix(f'mmkit/{kind}s/')})" in part, entry.name
        source = ast.parse((repository.root / path).read_text())
        (of,) = (node for node in source.body if isinstance(node, ast.ClassDef) and node.name == name)
        (init,) = (node for node in of.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
        for argument in init.args.kwonlyargs:
            assert f"\n| `{argument.arg}` | " in part, (entry.name, argument.arg)


def test_what_a_fusion_costs_is_counted(made):
    _, page = made["mmkit/fusions/README.md"]
    (concat,) = (line for line in page.splitlines() if line.startswith("| [`concat`](#concat) | neutral |"))
    two, three = 2 * 128 * 128, 3 * 128 * 128  # a weight for each pair of numbers, of which the result has a bias more
    counts = [f"{two + 128:,}", f"{two:,}", f"{three + 128:,}", f"{three:,}"]
    assert concat.split(" | ")[2:] == [*counts, "1", "onnx, pt2 |"]


def test_what_a_fusion_reads_is_the_room_that_it_is_in():
    for entry in installed().available("fusion"):
        if entry.distribution == BUILTIN:
            assert isinstance(entry.spec, FusionSpec)
            assert f".fusions.{entry.spec.family}." in entry.spec.reference


def test_a_bar_in_a_cell_does_not_end_it(maker):
    assert maker("markdown").table(("a", "b"), [("x | y", "z")]).splitlines()[-1] == "| x \\| y | z |"


def test_a_field_without_a_line_is_an_error(maker):
    class Part:
        """A part.

        Args:
            one: told.
        """

        one: int
        two: int

    with pytest.raises(ValueError, match=r"Part documents \['one'\], and its fields are \['one', 'two'\]"):
        maker("fields")._fields(Part)


def test_the_hooks_of_pre_commit_run_the_tools_of_the_short_check(repository):
    text = (repository.root / ".pre-commit-config.yaml").read_text()
    (local,) = yaml.safe_load(text)["repos"]
    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    check = (repository.root / ".ci" / "check").read_text()
    tools = [hook["entry"].replace(" --force-exclude", "") for hook in local["hooks"]]
    assert tools == ["ruff check", "ruff format --check", "mypy", "python .ci/pages.py --check"]
    assert [tool for tool in tools[:3] if f"\nrun {tool}" not in check] == []


def test_the_forms_of_issues_can_be_shown(repository):
    forms = [path for path in repository.files if path.startswith(".github/ISSUE_TEMPLATE/")]
    assert len(forms) == 4
    for path in forms:
        form = yaml.safe_load((repository.root / path).read_text())
        if path.endswith("config.yml"):
            assert set(form) == {"blank_issues_enabled"}
            continue
        assert {"name", "description", "labels", "body"} == set(form), path
        ids = [field["id"] for field in form["body"]]
        assert len(set(ids)) == len(ids), path
        for field in form["body"]:
            assert field["type"] in {"textarea", "input"}, path
            assert field["attributes"]["label"], path


def row(kind, fusion, family, test, beyond, **more):
    """A row of a record of evidence."""
    given = {"objectives": [], "balance": "", "missing": {}, "level_with_the_best": False, **more}
    beyond = {"of": "concat", "difference": beyond, "margin": 0.02}
    return {"kind": kind, "fusion": fusion, "family": family, "test": test, "beyond": beyond, **given}


def test_the_tables_of_evidence_say_what_its_records_say(maker, tmp_path, monkeypatch):
    rows = [
        row("fusion", "concat", "vectors", [0.5, 0.6], 0.0, missing={"left": 0.4, "right": 0.3}),
        row("fusion", "product", "vectors", [0.9, 0.9], 0.35, level_with_the_best=True),
        row("fusion", "late", "outputs", [0.5, 0.5], -0.05),
        row("fusion", "stacking", "outputs", [0.5, 0.5], 0.01),
        row("input", "only:left", "", [0.54, 0.56], 0.01),
        row("objective", "concat", "vectors", [0.6, 0.6], 0.05, objectives=["contrastive"]),
        row("balance", "concat", "vectors", [0.5, 0.5], -0.01, balance="ogm"),
    ]
    document = {
        "task": "synthetic-xor:train=8",
        "encoders": {"left": "fcn", "right": "fcn"},
        "samples": {"train": 8, "validation": 1000, "test": 20},
        "rows": rows,
    }
    (tmp_path / "synthetic-xor.json").write_text(json.dumps(document))
    module = maker("evidence")
    monkeypatch.setattr(module, "EVIDENCE", tmp_path)
    text = module.evidence()
    assert (
        "| [xor](records/evidence/synthetic-xor.json) | `synthetic-xor:train=8` | `fcn` | 8 | 1,000 | 20 | 1 of 7 |"
        in text
    )
    assert "| of vectors | 72.5; 90.0 `product` |" in text
    assert "| of outputs | 50.0; 50.0 `late` and 1 more |" in text
    assert "| one input | 55.0; 55.0 `only:left` |" in text
    assert "| `product` | 90.0 ± 0.0 ~ ↑ |" in text
    assert "| `late` | 50.0 ± 0.0 ↓ |" in text
    assert "|  | xor: no left, no right |" in text
    assert "| `concat` | 40.0, 30.0 |" in text
    assert "| `concat + contrastive` | +5.0 ± 2.0 ↑ |" in text
    assert "| `concat + ogm` | -1.0 ± 2.0 |" in text
