"""A new plugin as a whole distribution: rendered from the templates beside this module, and written to a folder.

Templates are files of `string.Template`; their places are those of the files that they become, a kind's own under its
name. What is written is not a frame to be filled in but a component that works, to be changed step by step.
"""

from __future__ import annotations

import ast
import importlib.util
import keyword
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from mmkit.errors import UsageError, one_of
from mmkit.registry.catalog import Catalog
from mmkit.registry.hooks import RESERVED, is_name

TEMPLATES = Path(__file__).parent / "templates"
SUFFIX = ".template"


@dataclass(frozen=True)
class Sketch:
    """What the page of a new plugin says of its kind.

    Args:
        article: of the kind's name.
        about: what the component does, to begin with.
        bench: the command that compares it.
        change: where to begin with changes.
        parts: names of the components that come with it, by kind; {} is the plugin's name.
    """

    article: str
    about: str
    bench: str
    change: str
    parts: Mapping[str, str]


SKETCHES: Mapping[str, Sketch] = {
    "fusion": Sketch(
        "A",
        "To begin with, it weighs each input by a learned score, sample by sample.",
        "mmkit bench --fusion $chosen,concat --seeds 2",
        "Write `forward` in `fusion.py`: features of all inputs in, fused features out. Where it looks at tokens, "
        "drop `vectors=True` in `plugin.py`; where it takes two inputs and no more, say `min_inputs=2, max_inputs=2`.",
        {"fusion": "{}"},
    ),
    "encoder": Sketch(
        "An",
        "To begin with, it reads series: one convolution over time beside the steps themselves.",
        "mmkit bench --encoder spoken=$chosen --fusion concat --seeds 2",
        "Another modality is one word in `plugin.py`; `mmkit list-plugins --kind modality` lists them, and "
        "`mmkit/contract.py` says what their values are. `transform.py` makes batches of values, without weights; "
        "`encoder.py` makes features of batches. Set `augments` where the transform draws from its generator.",
        {"encoder": "{}"},
    ),
    "head": Sketch(
        "A",
        "To begin with, it predicts classes by the cosine between features and a learned direction of each.",
        "mmkit bench --head $chosen,linear --fusion concat --seeds 2",
        "Write `forward`, `loss` and `predict` in `head.py`. The truth comes from the transform that `reads` names: "
        "`Categories` for classes and labels, `Numbers` for scalars, both of `mmkit.transforms.truth`, or one of your "
        "own. Say in `plugin.py` which kinds of target it predicts.",
        {"head": "{}"},
    ),
    "objective": Sketch(
        "An",
        "To begin with, it asks that the features of each input can be read back from the fused ones.",
        "mmkit bench --objective $chosen --fusion concat --seeds 2",
        "Write `forward` in `objective.py`: all that the model found and the truth in, one loss a sample out. Where "
        "it reads the outputs of single inputs, say `unimodal=True` in `plugin.py`.",
        {"objective": "{}"},
    ),
    "balance": Sketch(
        "A",
        "To begin with, it weighs the loss of each input's own head by how far that input is behind.",
        "mmkit bench --fusion concat --balance $chosen --seeds 2",
        "Keep of `split`, `border`, `weigh` and `epoch` what you need in `balance.py`; `mmkit/contract.py` says what "
        "each is given. Say in `plugin.py` whether inputs have heads of their own, and whether these teach encoders "
        '(`unimodal="trained"`) or measure alone (`unimodal="measured"`).',
        {"balance": "{}"},
    ),
    "task": Sketch(
        "A",
        "To begin with, it asks how fast a machine runs and what it carries, in samples that it generates.",
        "mmkit bench --task $chosen --fusion concat,late",
        "Read your samples in `split` of `task.py`. Name the inputs with their modalities, the kind of target and the "
        "metric, and say the same in `plugin.py`. `description` says where the samples come from and how they were "
        "split; data that is small enough goes into the package, as `package-data` in `pyproject.toml`.",
        {"task": "{}"},
    ),
    "modality": Sketch(
        "A",
        "To begin with, it is one of clouds of points in the plane. An encoder that reads it and a task that asks of "
        "it come with it, since a kind of value alone can be neither trained on nor compared.",
        "mmkit bench --task $task --fusion concat,late",
        "Write `decode` and `example` in `modality.py`: what a raw value is, and what it is in memory. Then "
        "`transform.py` and `encoder.py`, which make batches and features of it. The task is there to try them; "
        "leave it out where you have a better one.",
        {"modality": "{}", "encoder": "{}-set", "task": "{}-shapes"},
    ),
}


def rendered(kind: str, name: str, catalog: Catalog) -> dict[str, str]:
    """The files of a new distribution, by their paths in it.

    Args:
        kind: of component, one of `SKETCHES`.
        name: of the component and of the distribution; the package is called so too, with underscores.
        catalog: of what is installed: where a name is taken, the full name stands in commands and tests.

    Raises:
        UsageError: no such kind, or a name that a component, a distribution or a package cannot have.
    """
    if kind not in SKETCHES:
        raise UsageError(f"there is no kind of component {kind}; {one_of(SKETCHES, kind)}")
    sketch = SKETCHES[kind]
    package = package_of(name)
    full = {part: f"{name}/{of}" if taken(catalog, part, of) else of for part, of in parts_of(kind, name).items()}
    words = {
        "name": name,
        "kind": kind,
        "package": package,
        "stem": _stem(name, kind),
        "article": sketch.article,
        "chosen": full[kind],
        "encoder": full.get("encoder", ""),
        "task": full.get("task", ""),
    }
    files = {}
    for home in (TEMPLATES, TEMPLATES / kind):
        for file in sorted(home.rglob(f"*{SUFFIX}")):
            path = file.relative_to(home).with_suffix("")
            if (home == TEMPLATES and path.parts[0] in SKETCHES) or path.name == "README.md":
                continue
            files[_place(path, package)] = Template(file.read_text(encoding="utf-8")).substitute(words)
    words["bench"] = Template(sketch.bench).substitute(words)
    words["about"] = _filled(f"{sketch.article} {kind} for mmkit. {sketch.about}")
    words["change"] = _filled(sketch.change)
    words["files"] = "\n".join(
        f"| `{path}` | {_says(text)} |"
        for path, text in sorted(files.items())
        if path.startswith("src/") and path.endswith(".py") and Path(path).name not in {"__init__.py", "plugin.py"}
    )
    readme = (TEMPLATES / f"README.md{SUFFIX}").read_text(encoding="utf-8")
    return files | {"README.md": Template(readme).substitute(words)}


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write a distribution into a folder, which is made where it is not there.

    Raises:
        UsageError: the folder holds something, is a file, or cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "is not empty" if folder.is_dir() else "is a file"
            raise UsageError(f"{folder} {what}; name another folder with --out DIR")
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error


def parts_of(kind: str, name: str) -> dict[str, str]:
    """The names of the components in a new distribution, by kind."""
    return {part: of.format(name) for part, of in SKETCHES[kind].parts.items()}


def taken(catalog: Catalog, kind: str, name: str) -> str:
    """The distribution that has a component of this name already; empty where none has."""
    found = catalog.named(name, kind)
    return found[0].distribution if found else ""


def package_of(name: str) -> str:
    """The package of a new distribution.

    Raises:
        UsageError: a name that a component, a distribution or a package cannot have.
    """
    if not is_name(name):
        raise UsageError(f"a name is lower-case words of letters and digits joined by hyphens; got {name!r}")
    package = name.replace("-", "_")
    why = ""
    if name in RESERVED:
        why = f"{name} has a meaning of its own where components are chosen"
    elif not package.isidentifier():
        why = f"a Python package cannot be called {package}, for its first character"
    elif keyword.iskeyword(package):
        why = f"{package} is a word of the language Python"
    elif package in sys.stdlib_module_names:
        why = f"{package} is a module of Python's own library"
    elif importlib.util.find_spec(package) is not None:
        why = f"a package {package} is installed, and one would hide the other"
    if why:
        raise UsageError(f"{why}; take another name, such as my-{name}")
    return package


def _stem(name: str, kind: str) -> str:
    """What the classes' names begin with: of "soft-vote", and of the fusion "soft-vote-fusion", SoftVote."""
    return "".join(word.capitalize() for word in (name.removesuffix(f"-{kind}") or name).split("-"))


def _place(path: Path, package: str) -> str:
    if path.parts[0] == "package":
        return Path("src", package, *path.parts[1:]).as_posix()
    if path.parts[0] == "tests":
        return f"tests/test_{package}.py"
    return ".gitignore" if path.name == "gitignore" else path.as_posix()


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


def _says(source: str) -> str:
    """The first line of a module's docstring, without its full stop."""
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0].rstrip(".")
