"""What every test stands on: one thread, one seed."""

import gc
import itertools
import json
import os
import subprocess
import sys
import sysconfig
import textwrap
import venv

import pytest
import torch

import mmkit.cli
from mmkit.contract import Samples
from mmkit.experiments import breakdown, costs, pace
from mmkit.metrics import intervals
from mmkit.registry.catalog import installed

os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start: several tests run at once
# Of times and intervals it is tested that they are told; they need not be told well.
pace.CALLS, costs.ROUNDS, breakdown.ROUNDS, intervals.DRAWS = 0, 4, 4, intervals.FEWER
_numbers = itertools.count()


def pytest_collection_modifyitems(items):
    """What takes minutes comes first: processes take file after file, and none waits for another at the end."""
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


def pytest_collection_finish():
    """What is there before the first test stays: the collector of garbage need not look at it again and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _repeatable():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs the command line in this process, in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("MMKIT_DEVICE", "MMKIT_THREADS"):
        monkeypatch.delenv(name, raising=False)

    def run_(*arguments):
        with pytest.raises(SystemExit) as end:
            mmkit.cli.main([*map(str, arguments)])
        return (end.value.code, *capsys.readouterr())

    return run_


class Everything:
    """A task with an input of each modality; in every other sample one of them is missing."""

    def __init__(self):
        self.inputs = {"title": "text", "photo": "image", "sound": "audio", "signal": "series", "type": "table"}
        self.target, self.metric, self.encoders, self.training = "classes", "accuracy", {}, {}

    def split(self, name):
        generator = torch.Generator().manual_seed(0)
        columns = {}
        for number, (given, kind) in enumerate(self.inputs.items()):
            modality = installed().find("modality", kind).load()()
            columns[given] = [None if i % 10 == 2 * number else modality.example(generator) for i in range(16)]
        return Samples([f"{name}-{i}" for i in range(16)], columns, ["ab"[i % 2] for i in range(16)])


@pytest.fixture
def everything():
    return Everything


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Writes a distribution as pip would leave it, on the path for this test; returns the name of its module."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def write(name, source, *, version="1.0", group="mmkit.v1", requires=(), suffix=""):
        module = f"made_{next(_numbers)}"
        (site / f"{module}.py").write_text(textwrap.dedent(source).replace("THIS", module))
        info = site / f"{name.replace('-', '_')}-{version}{suffix}.dist-info"
        info.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", *lines, "", "A description: long", ""]))
        (info / "entry_points.txt").write_text(f"[console_scripts]\nx = y:z\n\n[{group}]\n{name} = {module}\n")
        return module

    vars(write)["site"] = site
    yield write
    for module in set(sys.modules) - before:
        if module.startswith("made_"):
            del sys.modules[module]


class Environment:
    """A fresh environment that sees what the running one has, and what is installed into it."""

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "venv", with_pip=False)
        self.python = folder / "venv" / "bin" / "python"
        site = next((folder / "venv" / "lib").glob("python*/site-packages"))
        # addsitedir, not a bare path: an editable mmkit is found by a .pth file in there.
        (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def install(self, name, files):
        """Write a project's files and let pip build and install it."""
        for path, text in files.items():
            (self.folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name / path).write_text(text)
        self.install_folder(self.folder / name)

    def install_folder(self, folder):
        """Let pip build and install a project that is there."""
        self.pip("install", folder)

    def pip(self, command, *arguments, cwd=None):
        """Run a command of pip that builds what lies on this machine."""
        offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        line = [sys.executable, "-m", "pip", "--python", self.python, command, *offline, *arguments]
        subprocess.run(line, check=True, cwd=cwd)

    def mmkit(self, *arguments):
        """Run a command in an empty folder, away from every source."""
        (self.folder / "empty").mkdir(exist_ok=True)
        return self.run("mmkit", *arguments, cwd=self.folder / "empty")

    def run(self, module, *arguments, cwd):
        """Run a module of the environment."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MMKIT_")}
        return subprocess.run(
            [self.python, "-m", module, *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def outside(tmp_path):
    return Environment(tmp_path)


@pytest.fixture
def written(tmp_path):
    """Writes a table, given as a mapping of columns, in a format; returns the path as text."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.parquet

    def write(columns, kind, name="table"):
        path = tmp_path / f"{name}.{kind}"
        table = pa.table(columns)
        if kind in {"csv", "tsv"}:
            pa.csv.write_csv(table, path, pa.csv.WriteOptions(delimiter="\t" if kind == "tsv" else ","))
        elif kind == "jsonl":
            lines = [json.dumps(row, ensure_ascii=False, default=str) for row in table.to_pylist()]
            path.write_text("\n".join(lines) + "\n", "utf-8")
        elif kind == "parquet":
            pa.parquet.write_table(table, path)
        else:
            pa.feather.write_feather(table, path, compression="uncompressed")
        return str(path)

    return write


class Frame:
    """The least that a frame of another library has."""

    def __init__(self, columns):
        import pyarrow as pa

        self._table = pa.table(columns)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.fixture
def frame():
    """A frame of some library that speaks Arrow."""
    return Frame
