"""Code that can change without a new version is known by its content; what pip has installed by its version."""

import functools
import importlib
import json
import os
import subprocess
import sys
import textwrap

import pytest
from torch import nn

from mmkit.fusions.vectors.concat import ConcatFusion
from mmkit.system import code
from mmkit.system.code import code_of, code_of_core

SOURCE = """
import math
from torch import nn
import HELPER
from HELPER import gain

SCALE = 2.0

def scaled(x):
    return x * SCALE

class Base(nn.Module):
    def forward(self, x):
        return scaled(x) + math.pi

class Fusion(Base):
    reads = dict

    @property
    def width(self):
        return 3

    def forward(self, x):
        return super().forward(x)[..., 0] * gain(x)
"""
HELPER = """
def gain(x):
    return 1
"""


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes two modules on the path, as a user's folder has them, and gives a class of the first."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(source=SOURCE, helper=HELPER):
        for made in names:
            sys.modules.pop(made, None)
        names[:] = [f"own_{tmp_path.name[-1]}_a", f"own_{tmp_path.name[-1]}_b"]
        for name, text in zip(names, (source, helper), strict=True):
            (tmp_path / f"{name}.py").write_text(text.replace("HELPER", names[1]))
        importlib.invalidate_caches()
        for cached in (tmp_path / "__pycache__").glob("*"):
            cached.unlink()
        return importlib.import_module(names[0])

    yield write
    for made in names:
        sys.modules.pop(made, None)


def in_notebook(source, **names):
    """The names of a cell of a notebook, whose module has no file."""
    scope = {"__name__": "__main__", **names}
    exec(textwrap.dedent(source), scope)
    return scope


def test_the_same_code_has_the_same_hash(written):
    assert code_of(written().Fusion) == code_of(written().Fusion) != ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SCALE = 2.0", "SCALE = 3.0"),
        ("x * SCALE", "x + SCALE"),
        ("math.pi", "math.e"),
        ("return 3", "return 4"),
        ("[..., 0]", "[..., 1]"),
        ("reads = dict", "reads = list"),
    ],
)
def test_any_change_of_its_module_counts(written, before, after):
    first = code_of(written().Fusion)
    assert SOURCE.count(before) == 1
    assert code_of(written(SOURCE.replace(before, after)).Fusion) != first


def test_a_change_of_a_module_that_it_imports_counts(written):
    first = code_of(written().Fusion)
    assert code_of(written(helper=HELPER.replace("1", "2")).Fusion) != first


def test_a_constant_that_is_set_while_the_program_runs_counts(written):
    module = written()
    first = code_of(module.Fusion)
    module.SCALE = 5.0
    assert code_of(module.Fusion) != first


def test_a_file_that_was_edited_after_it_was_imported_is_not_taken_for_what_runs(written, tmp_path):
    module = written()
    (tmp_path / f"{module.__name__}.py").write_text(SOURCE.replace("2.0", "7.0").replace("HELPER", "json"))
    mixed = code_of(module.Fusion)  # the new file, and the old code
    module = written(SOURCE.replace("2.0", "7.0"))
    assert code_of(module.Fusion) != mixed


class TestNotebook:
    CELL = """
        class Fusion(Base):
            width = WIDTH
            def forward(self, x):
                return scaled(x) * 2
        def scaled(x):
            return x + 1
        """

    @pytest.fixture(autouse=True)
    def _no_script(self, monkeypatch):
        """In a notebook no file is run; the tests may be begun by one."""
        monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)

    def made(self, cell=CELL, width=4):
        return in_notebook(cell, Base=nn.Module, WIDTH=width)["Fusion"]

    def test_a_cell_that_is_run_again_has_the_same_hash(self):
        assert code_of(self.made()) == code_of(self.made()) != ""

    @pytest.mark.parametrize(("before", "after"), [("x) * 2", "x) * 3"), ("x + 1", "x + 2"), ("scaled(x)", "abs(x)")])
    def test_what_it_computes_counts(self, before, after):
        assert code_of(self.made()) != code_of(self.made(self.CELL.replace(before, after)))

    def test_an_attribute_counts(self):
        assert code_of(self.made(width=4)) != code_of(self.made(width=5))

    def test_a_comment_does_not(self):
        assert code_of(self.made()) == code_of(self.made("\n        # for the paper" + self.CELL))

    def test_what_an_outer_function_holds_counts(self):
        cell = """
            def make(gain):
                class Fusion(Base):
                    def forward(self, x):
                        return x * gain
                return Fusion
            """
        make = in_notebook(cell, Base=nn.Module)["make"]
        assert code_of(make(1)) == code_of(make(1)) != code_of(make(2))

    @pytest.mark.parametrize("wrapper", ["staticmethod", "classmethod", "property", "functools.cache", "keep", "later"])
    def test_functions_within_others_count(self, wrapper):
        def keep(function):
            @functools.wraps(function)
            def inner(*given):
                return function(*given)

            return inner

        def made(number):
            cell = f"""
                @{wrapper}
                def helper(self=None):
                    return {number}
                class Fusion(Base):
                    pass
                """
            where = {"functools": functools, "keep": keep, "later": functools.cached_property, "Base": nn.Module}
            scope = in_notebook(cell, **where)
            scope["Fusion"].helper = scope["helper"]
            return scope["Fusion"]

        assert code_of(made(1)) == code_of(made(1)) != code_of(made(2))

    def test_code_that_cannot_be_seen_has_no_hash(self):
        assert (
            code_of(in_notebook("class Fusion(Base):\n    forward = act", Base=nn.Module, act=nn.ReLU())["Fusion"])
            is None
        )


@pytest.mark.full
def test_another_process_finds_the_same(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from mmkit.system.code import code_of\n"
        "class Fusion:\n    def forward(self, x):\n        return x in {'a', 'b', 'c', 4}\n"
        "print(code_of(Fusion))\n"
    )

    def found(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run([sys.executable, script], env=environment, capture_output=True, check=True).stdout

    first = found("1")
    assert first == found("2")
    script.write_text(script.read_text().replace("4", "5"))
    assert first != found("1")


class TestInstalled:
    @pytest.fixture
    def installed(self, tmp_path, monkeypatch):
        """Writes a package where pip would put it, and gives its class."""
        site = tmp_path / "lib" / "site-packages"
        site.mkdir(parents=True)
        monkeypatch.syspath_prepend(str(site))

        def write(source, version):
            sys.modules.pop("pipped", None)
            (site / "pipped.py").write_text(f"__version__ = {version!r}\n{source}")
            for cached in site.glob("__pycache__/*"):
                cached.unlink()
            importlib.invalidate_caches()
            code._version.cache_clear()
            return importlib.import_module("pipped")

        yield write
        sys.modules.pop("pipped", None)
        code._version.cache_clear()

    def test_a_component_of_it_is_known_by_its_version_alone(self, installed):
        assert code_of(installed("class Fusion: pass", "1.0").Fusion) == ""

    def test_the_version_of_what_own_code_uses_counts(self, installed):
        def used(version):
            module = installed("def f(x): return x", version)
            cell = "class Fusion:\n    def forward(self, x):\n        return f(x)"
            return code_of(in_notebook(cell, f=module.f)["Fusion"])

        assert used("1.0") == used("1.0") != used("1.1")


class TestDistribution:
    def test_of_one_in_its_source_the_whole_package_counts(self, tmp_path, monkeypatch):
        package = tmp_path / "src" / "acme_whole"
        (package / "deep").mkdir(parents=True)
        (tmp_path / "pyproject.toml").write_text("")
        (package / "__init__.py").write_text("")
        (package / "fusion.py").write_text("class Fusion:\n    pass\n")
        (package / "deep" / "late.py").write_text("GAIN = 1\n")  # imported by nothing until it runs
        monkeypatch.syspath_prepend(str(tmp_path / "src"))
        fusion = importlib.import_module("acme_whole.fusion").Fusion
        first = code_of(fusion)
        (package / "README.md").write_text("words")
        assert code_of(fusion) == first
        (package / "deep" / "late.py").write_text("GAIN = 2\n")
        assert code_of(fusion) != first
        for name in ("acme_whole", "acme_whole.fusion"):
            del sys.modules[name]

    def test_mmkit_itself_counts_where_it_is_not_installed_as_built(self, tmp_path, monkeypatch):
        core = tmp_path / "mmkit"
        for file in ("system/code.py", "fusions/sum.py", "cli/bench.py", "errors.py"):
            (core / file).parent.mkdir(parents=True, exist_ok=True)
            (core / file).write_text("A = 1\n")
        monkeypatch.setattr(code, "__file__", str(core / "system" / "code.py"))
        ask = code_of_core.__wrapped__
        first = ask()
        (core / "cli" / "bench.py").write_text("A = 2\n")
        assert ask() == first != ""
        (core / "fusions" / "sum.py").write_text("A = 2\n")
        assert ask() != first
        monkeypatch.setattr(code, "__file__", str(tmp_path / "site-packages" / "mmkit" / "system" / "code.py"))
        assert ask() == ""

    def test_a_component_of_mmkit_has_no_hash_of_its_own(self):
        assert code_of(ConcatFusion) == ""


def test_listing_plugins_hashes_nothing(tmp_path):
    script = "import sys, mmkit.cli\ntry: mmkit.cli.main(['list-plugins', '--json'])\nexcept SystemExit: pass\n"
    script += "import json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stderr.splitlines()[-1])
    assert "mmkit.registry.catalog" in loaded
    assert [name for name in loaded if name in {"mmkit.system.code", "torch"} or name.startswith("pyarrow")] == []
