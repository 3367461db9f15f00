"""Imports run downstairs: the floors of the house, read off the source.

Each folder and each module at the top has a floor of its own. It may import from floors below and from its own, without
circles. Imports inside functions count as well, and may name only what is heavy and not ours. TYPE_CHECKING blocks
count, too: a type is knowledge.
"""

import ast
import sys
from pathlib import Path

import pytest

import mmkit

ROOT = Path(mmkit.__file__).parent

# From the ground to the roof, a floor each; a package stands for all of its modules.
FLOORS = (
    "errors",
    "titles",
    "plugin",
    "contract",
    "system",
    "registry",
    "scaffold",
    "layers",
    "pretrained",
    "modalities",
    "transforms",
    "encoders",
    "fusions",
    "heads",
    "objectives",
    "balances",
    "sources",
    "tasks",
    "metrics",
    "speed",
    "data",
    "features",
    "model",
    "training",
    "records",
    "report",
    "explain",
    "sharing",
    "serving",
    "experiments",
    "testing",
    "alignment",
    "api",
    "cli",
)
# A report is made of records, whoever wrote them.
ONLY = {"report": ("errors", "titles", "records", "report")}
# The face gives names of all floors, by text and when asked; `python -m mmkit` is the door.
ROOF = {"mmkit", "mmkit.__main__"}
# A saved model is the face of what is done with it: it loads these floors by name, when it is asked.
DOORS = {("mmkit.model.trained", floor) for floor in ("experiments", "explain", "sharing")}
# Of the standard library: what a start does without, and what not every system has.
LATE = {"fcntl", "importlib", "json", "tomllib", "traceback"}


def floor_of(module):
    """The number of a module's floor, and its name."""
    name = module.split(".")[1]
    return FLOORS.index(name), name


def modules(root):
    """Module name -> its syntax tree, of a package's folder."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        parts = ["mmkit", *file.relative_to(root).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(file.read_text())
    return found


def imports(module, tree, known):
    """(imported module, True where a function imports it) of each import in a tree."""
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield deeper if deeper in known else node.module, id(node) in inside


def named(tree, known):
    """The modules of mmkit that a text names whole: those may be imported by name when they are needed."""
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return sorted(known & {name for text in texts for name in (text, f"mmkit.{text}") if name.count(".") > 1})


def faults(root):
    """Every breach of the rules under a package's folder, in words."""
    trees = modules(root)
    found, graph = [], {}
    for module, tree in trees.items():
        graph[module] = set()
        for target, in_function in imports(module, tree, trees):
            ours = target.split(".")[0] == "mmkit"
            if in_function and (ours or target.split(".")[0] in sys.stdlib_module_names - LATE):
                found.append(f"{module} hides its import of {target} in a function")
            if not ours:
                continue
            graph[module].add(target)
            if module in ROOF:
                continue
            (here, name), (there, below) = floor_of(module), floor_of(target) if target != "mmkit" else (99, "mmkit")
            if there > here:
                found.append(f"{module} imports {target} from above")
            if name in ONLY and below not in ONLY[name]:
                found.append(f"{module} imports {target}; {name} knows only {', '.join(ONLY[name])}")
        for target in named(tree, trees.keys()) if module not in ROOF else ():
            (here, _), (there, above) = floor_of(module), floor_of(target)
            if there > here and (module, above) not in DOORS:
                found.append(f"{module} names {target} from above")
    return found + [f"circle: {' -> '.join(circle)}" for circle in circles(graph)]


def circles(graph):
    """One path for each import that closes a circle."""
    found, done = [], set()

    def visit(module, path):
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, [*path, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def test_imports_run_downstairs():
    assert faults(ROOT) == []


def test_every_module_has_a_floor_and_every_floor_a_module():
    standing = {floor_of(module)[1] for module in modules(ROOT) if module not in ROOF}
    assert standing == set(FLOORS)


def test_no_submodule_has_the_name_of_a_public_function():
    # `from mmkit import bench` beside mmkit/bench.py would give the module.
    submodules = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert set(mmkit.__all__) & submodules == set()
    assert all(getattr(mmkit, name) is not None for name in mmkit.__all__)


def test_packages_are_a_docstring_and_import_nothing():
    for file in ROOT.rglob("__init__.py"):
        # The face and the door are the two packages that do something; the kit has a face of its own.
        if file.parent in {ROOT, ROOT / "cli", ROOT / "testing"}:
            continue
        tree = ast.parse(file.read_text())
        assert ast.get_docstring(tree), file
        assert len(tree.body) == 1, file


@pytest.mark.parametrize(
    ("file", "source", "fault"),
    [
        ("fusions/sum.py", "import mmkit.report.table", "mmkit.fusions.sum imports mmkit.report.table from above"),
        ("fusions/sum.py", "from mmkit import api", "mmkit.fusions.sum imports mmkit.api from above"),
        ("fusions/sum.py", "from mmkit import installed", "mmkit.fusions.sum imports mmkit from above"),
        ("errors.py", "if TYPE_CHECKING:\n    from mmkit.plugin import Spec", "imports mmkit.plugin from above"),
        (
            "api.py",
            "def f():\n    from mmkit.report.table import x",
            "mmkit.api hides its import of mmkit.report.table in a function",
        ),
        ("api.py", "f = lambda: 0\ndef g():\n    import os", "mmkit.api hides its import of os in a function"),
        (
            "fusions/sum.py",
            "import importlib\nf = importlib.import_module('mmkit.report.table')",
            "mmkit.fusions.sum names mmkit.report.table from above",
        ),
        ("report/table.py", "import mmkit.fusions.sum", "mmkit.report.table imports mmkit.fusions.sum; report knows"),
        (
            "model/network.py",
            "import mmkit.model.assembly",
            "circle: mmkit.model.assembly -> mmkit.model.network -> mmkit.model.assembly",
        ),
    ],
)
def test_the_rules_catch_a_breach(tmp_path, file, source, fault):
    written = {
        "__init__.py": "",
        "errors.py": "",
        "plugin.py": "",
        "fusions/__init__.py": "",
        "fusions/sum.py": "from mmkit.errors import X\ndef f():\n    import torch",
        "model/__init__.py": "",
        "model/network.py": "import mmkit.fusions.sum",
        "model/assembly.py": "import mmkit.model.network",
        "report/__init__.py": "",
        "report/table.py": "",
        "api.py": "import mmkit.model.assembly",
    }
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert faults(tmp_path) == []
    (tmp_path / file).write_text(source)
    assert any(fault in told for told in faults(tmp_path)), faults(tmp_path)
