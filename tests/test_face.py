"""What a user's type checker finds in `mmkit`, installed as pip leaves it, and what `import mmkit` costs."""

import ast
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import mmkit

ROOT = Path(mmkit.__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("plugins/*/README.md"))]

SCENARIOS = sorted((ROOT / "benchmarks" / "scenarios").glob("*.py"))

# As a user would write it, line by line with the type that must be found.
SCRIPT = """
import torch

import mmkit
from mmkit.tasks.digits import Digits

suite = mmkit.bench(
    task="digits",
    encoders={"written": ["lenet", "cnn:width=32"], "spoken": "fcn"},
    fusion=["attention", "late"],
    training={"epochs": 2},
    out="runs/two-fusions",
    precision="bfloat16",
    progress=False,
)
reveal_type(suite)  # mmkit.experiments.suite.Suite
reveal_type(suite.table())  # list[dict[str, str | int | float | None]]
reveal_type(suite.rows)  # list[mmkit.report.summary.Row]
reveal_type(suite.best)  # mmkit.report.summary.Row | None
reveal_type(suite.verdict)  # mmkit.report.verdict.Verdict | None
reveal_type(suite.models)  # dict[str, pathlib.Path]
reveal_type(suite.records)  # list[mmkit.records.record.Record]
for failed in suite.failures:
    reveal_type(failed.error)  # str | None
if suite.best and (spread := suite.best.spread("accuracy")):
    reveal_type(spread.mean)  # float
if suite.verdict:
    reveal_type(suite.verdict.sentence())  # str
    reveal_type(suite.verdict.margin)  # float | None

model, record = mmkit.fit(task=Digits, fusion="low-rank:rank=8", seed=1)
reveal_type(model)  # mmkit.model.trained.MultimodalModel
reveal_type(record)  # mmkit.records.record.Record
reveal_type(record.metrics)  # dict[str, float | None]
reveal_type(model.save("digits-model"))  # None
loaded = mmkit.load("digits-model", device="cpu")
reveal_type(loaded)  # mmkit.model.trained.MultimodalModel
answers = loaded.predict([{"written": None}], on_error="missing")
reveal_type(answers)  # list[Any]
written = mmkit.predict("digits-model", data="new.csv", out="answers.parquet", workers=2)
reveal_type(written)  # mmkit.model.answer_joining.Summary
measured = mmkit.evaluate("digits-model", data="labelled.csv", target="digit", progress=False)
reveal_type(measured.document())  # dict[str, Any]
reveal_type(measured.metrics["accuracy"].low)  # float | None
reveal_type(loaded.evaluate("labelled.csv"))  # mmkit.model.evaluated.Evaluated

retrieval = mmkit.retrieve(task="clipart", encoders={"image": "cnn", "title": "bow"}, map="ridge")
reveal_type(retrieval)  # mmkit.alignment.retrieval.Retrieval
reveal_type(retrieval.directions)  # dict[str, dict[str, float | None]]
reveal_type(retrieval.chance)  # float
found = mmkit.zero_shot(task="clipart", input="image", encoder="cnn", text_encoder="bow", classes={"cat": ["cats"]})
reveal_type(found)  # mmkit.alignment.zero_shot.ZeroShot
reveal_type(found.by_class)  # dict[str, float | None]

reveal_type(mmkit.installed())  # mmkit.registry.catalog.Catalog
reveal_type(mmkit.installed().available("fusion")[0].full_name)  # str
reveal_type(mmkit.__version__)  # str
reveal_type(mmkit.Features.of(torch.zeros(2, 8)).vector())  # Tensor
reveal_type(mmkit.Samples(["1"], {"a": [1]}, [0]).ids)  # Sequence[str]
try:
    mmkit.bench(task="nothing")
except mmkit.MmkitError as error:
    reveal_type(error.exit_code)  # int
"""

# Mistakes, each with the code under which a type checker refuses it.
MISTAKES = """
import mmkit

mmkit.bench("digits")  # call-arg
mmkit.bench(taks="digits")  # call-arg
mmkit.bench(seeds="3")  # arg-type
mmkit.bench(precision="float8")  # arg-type
mmkit.bench(on_error="ignore")  # arg-type
mmkit.fit(fusion=["attention", "late"])  # arg-type
mmkit.fit(seeds=2)  # call-arg
mmkit.retrieve(task="clipart")  # call-arg
mmkit.zero_shot(task="clipart", input="image", encoder="cnn", text_encoder="bow", split="dev")  # arg-type
mmkit.load(3)  # arg-type
mmkit.load("model").predict({"written": 1})  # arg-type
mmkit.bench().verdict.sentence()  # union-attr
mmkit.bench().winner  # attr-defined
mmkit.benhc()  # attr-defined
"""


def examples():
    """(path, source) of each scenario, and of each example of the pages, whose first line may be "# FOLDER/FILE.py"."""
    yield from ((file.name, file.read_text("utf-8")) for file in SCENARIOS)
    for page in PAGES:
        for number, source in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)):
            named = re.match(r"# (\S+\.py)\n", source)
            yield named[1] if named else f"{page.parent.name.replace('-', '_')}_{number}.py", source


@pytest.fixture(scope="session")
def checked(tmp_path_factory, request):
    """file -> [(line number, severity, message)] of `mypy --strict` on all scripts, away from the repository."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("pyproject.toml", "README.md", "LICENSE"):  # copied, since pip builds beside the source
        (folder / "source").mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / "source")
    shutil.copytree(ROOT / "mmkit", folder / "source" / "mmkit")
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", folder / "source"], check=True)

    scripts = folder / "scripts"
    written = {"script.py": SCRIPT, "mistakes.py": MISTAKES}
    # Examples are written without annotations where a reader needs none; what they call is checked all the same.
    relaxed = "# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls\n"
    written |= {name: relaxed + source for name, source in examples()}
    for name, source in written.items():
        (scripts / name).parent.mkdir(parents=True, exist_ok=True)
        (scripts / name).write_text(source)
    cache = request.config.cache.mkdir("mypy")  # torch is read once
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--no-error-summary", "--output", "json"]
    command += [
        "--config-file",
        "",
        "--cache-dir",
        cache,
        "--python-executable",
        python,
        "--untyped-calls-exclude",
        "torch",
    ]
    done = subprocess.run([*command, *written], cwd=scripts, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    found = {name: [] for name in written}
    for line in map(json.loads, done.stdout.splitlines()):
        found[line["file"]].append(line)
    return found


@pytest.mark.full
def test_each_result_has_its_real_type(checked):
    asked = {
        number: line.partition("  # ")[2] for number, line in enumerate(SCRIPT.splitlines(), 1) if "reveal_type" in line
    }
    revealed = {}
    for line in checked["script.py"]:
        assert line["severity"] == "note", line
        revealed[line["line"]] = re.fullmatch(r'Revealed type is "(.*)"', line["message"])[1]
    # mypy writes the full name of what every file knows, too.
    short = {
        number: re.sub(r"\b(typing|torch\._tensor|builtins|mmkit\.contract)\.", "", text)
        for number, text in revealed.items()
    }
    assert short == asked
    assert len(asked) > 25
    # Answers alone, and a document as JSON has it.
    assert [text for text in short.values() if "Any" in text or "object" in text] == ["list[Any]", "dict[str, Any]"]


@pytest.mark.full
def test_wrong_names_and_types_are_refused(checked):
    asked = {
        number: line.partition("  # ")[2] for number, line in enumerate(MISTAKES.splitlines(), 1) if "  # " in line
    }
    found = {line["line"]: line["code"] for line in checked["mistakes.py"] if line["severity"] == "error"}
    assert found == asked


@pytest.mark.full
def test_the_examples_of_the_pages_are_clean(checked):
    names = [name for name, _ in examples()]
    assert {"acme_fusion/plugin.py", "mmkit_video_0.py", "own_task.py"} < set(names)
    assert len(names) == len(set(names)) >= 4
    assert [f"{name}:{line['line']}: {line['message']}" for name in names for line in checked[name]] == []


def test_the_three_lists_of_public_names_agree():
    tree = ast.parse(Path(mmkit.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    typed = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert typed == mmkit._PUBLIC
    assert sorted(typed) == sorted(mmkit.__all__)
    assert set(mmkit.__all__) < set(dir(mmkit))


def test_importing_it_imports_nothing_heavy():
    code = "import sys, mmkit; print(*sorted({name.split('.')[0] for name in sys.modules} - {'mmkit'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    bare = subprocess.run(
        [sys.executable, "-c", code.replace(", mmkit", "")], capture_output=True, text=True, check=True
    )
    brought = set(done.stdout.split()) - set(bare.stdout.split())
    assert brought <= set(sys.stdlib_module_names)


def test_help_reads_as_the_signature_and_its_parameters():
    done = subprocess.run(
        [sys.executable, "-c", "import mmkit; help(mmkit.bench)"], capture_output=True, text=True, check=True
    )
    text = " ".join(done.stdout.split())
    assert "bench(*, task: 'Named' = 'digits'," in text
    assert "Compare combinations of encoders, fusions and heads on a task, and with single-input baselines." in text
    parameters = re.findall(r"^ +(\w+): ", done.stdout, re.MULTILINE)
    assert {"task", "fusion", "seeds", "progress", "UsageError"} < set(parameters)
