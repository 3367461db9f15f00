"""Writes the generated parts of pages: rooms, the map of files, the fusions, the fields of a record, marks of tests.

    python .ci/pages.py             writes them
    python .ci/pages.py --check     only names the pages that are out of date; exit code 1 where one is

A generated part stands between `<!-- begin NAME ... -->` and `<!-- end NAME -->`; the rest of a page is written by
hand. `tests/pages/test_generated.py` compares all parts with what this file makes of the source.
"""

from __future__ import annotations

import ast
import json
import re
import statistics
import sys
import textwrap
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import docstring_parser
import torch

from mmkit.contract import Features, Target
from mmkit.plugin import FAMILIES, FusionSpec
from mmkit.records import breakdown, controls, record
from mmkit.registry.catalog import BUILTIN, Entry, installed
from mmkit.registry.options import describe, options_of, write_value
from mmkit.speed.flops import flops_per_sample, parameters

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "mmkit"
FLOORS = ROOT / "tests" / "test_floors.py"
SOURCE = re.compile(r",?\s*(https?://\S+)$")
RECORD_PARTS = (
    record.Fold,
    record.SampleCounts,
    record.RateSearch,
    record.Tried,
    record.Phase,
    record.Calibrated,
    record.Reliability,
    record.ReliabilityBin,
    record.Refit,
    record.Privacy,
    record.Loading,
    record.Speed,
    record.Twin,
    record.Cost,
    breakdown.Breakdown,
    breakdown.Part,
    breakdown.Closure,
    breakdown.Saving,
    breakdown.Sweep,
    breakdown.BatchSize,
    breakdown.Mode,
    controls.Controls,
    controls.Subset,
    controls.Noise,
    controls.Contribution,
)
WIDTH, CLASSES, TOKENS = 128, 10, 32
"""The sizes at which fusions are counted: of each input and the result, of the target, and tokens of an input."""
SPEED = ROOT / "benchmarks" / "records" / "fusions.json"
PUBLISHED = ROOT / "benchmarks" / "records" / "fusions_public.json"
SIZES = ((8, 128), (64, 128), (512, 128), (64, 512))
"""B and D of the fusions that are timed beside published ones."""
OBVIOUS = ROOT / "benchmarks" / "fusions" / "obvious"
EVIDENCE = ROOT / "benchmarks" / "records" / "evidence"
EXPORTS = ROOT / "benchmarks" / "records" / "exports.json"
READS = {
    "vectors": "read one vector of each input",
    "tokens": "read all tokens of each input",
    "outputs": "read a prediction of each",
    "both": "read features and a prediction of each input",
    "inner": "act between the parts of encoders, and read what stands there",
}
"""What the fusions of a family do, by family."""


def first_sentence(text: str) -> str:
    """Of a docstring, on one line."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.?!])\s+(?=[A-Z])", paragraph)[0]


def summary(file: Path) -> str:
    """The first sentence of a module's docstring.

    Raises:
        ValueError: it has none.
    """
    text = ast.get_docstring(ast.parse(file.read_text("utf-8")))
    if not text:
        raise ValueError(f"{file} has no docstring; its first sentence says what the file is for")
    return first_sentence(text)


def floors(name: str = "FLOORS") -> Any:
    """A constant of the floors test: the order of the rooms, or what a room is confined to."""
    for node in ast.parse(FLOORS.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise ValueError(f"{FLOORS} assigns no {name}")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; a bar within a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def rooms() -> str:
    """The rooms of mmkit/ from the roof down, each with what it is for."""
    rows = []
    for name in reversed(floors()):
        path = PACKAGE / name
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        shown = f"{name}/" if path.is_dir() else file.name
        rows.append((f"[`{shown}`]({shown})", summary(file)))
    confined = "".join(
        f"\n\n`{room}` imports only {', '.join(f'`{one}`' for one in known if one != room)}."
        for room, known in floors("ONLY").items()
    )
    return table(("room", "what it is for"), rows) + confined


def file_map() -> str:
    """Every file of mmkit/, one line each, room by room from the roof down."""
    top = sorted(file for file in PACKAGE.glob("*.py"))
    parts = ["### mmkit/", "", *map(_line, top)]
    for name in reversed(floors()):
        room = PACKAGE / name
        if room.is_dir():
            files = sorted(room.rglob("*.py"), key=lambda file: (len(file.relative_to(room).parts) > 1, file))
            parts += ["", f"### mmkit/{name}/", "", summary(room / "__init__.py"), ""]
            parts += [_line(file, room) for file in files if file.parent != room or file.name != "__init__.py"]
    return "\n".join(parts)


def _line(file: Path, room: Path = PACKAGE) -> str:
    return f"- [`{file.relative_to(room)}`](../{file.relative_to(ROOT)}): {summary(file)}"


def registry() -> str:
    """The fusions that ship with mmkit: a table of all, then each with its paper and its options."""
    entries = [entry for entry in installed().available("fusion") if entry.distribution == BUILTIN]
    families: dict[str, list[Entry]] = {name: [] for name in FAMILIES}
    for entry in entries:
        families[typing.cast(FusionSpec, entry.spec).family].append(entry)
    rows = [
        (f"[`{entry.name}`](#{entry.name})", entry.summary, reads, _inputs(entry))
        for reads, members in families.items()
        for entry in members
    ]
    ordered = [entry for members in families.values() for entry in members]
    parts = [table(("fusion", "what it does", "reads", "inputs"), rows), costs(ordered)]
    for reads, members in families.items():
        title = "Fusions within encoders" if reads == "inner" else f"Fusions of {reads}"
        parts.append(f"## {title}\n\nThey {READS[reads]}.")
        parts += map(_fusion, members)
    return "\n\n".join(parts)


def costs(entries: Sequence[Entry]) -> str:
    """A table of what fusions cost: counted here at two and three inputs, and timed by the record of their speed."""
    timed = {
        row["fusion"]: row["seconds"]["mmkit"]
        for row in json.loads(SPEED.read_text("utf-8"))["rows"]
        if (row["batch"], row["width"], row["inputs"], row["what"]) == (64, WIDTH, 2, "forward")
        and row["tokens"] in {1, TOKENS}
        and row["missing"] == (row["tokens"] > 1)
    }
    rows = []
    taken = exported_as("fusion")
    for entry in entries:
        spec = typing.cast(FusionSpec, entry.spec)
        counts = [_counted(entry, inputs) for inputs in (2, 3)]
        ratio = f"{timed[entry.name] / timed['concat']:.2g}" if entry.name in timed else "-"
        missing = "neutral" if spec.removable else "leaves a trace"
        figures = (*(cell for two in counts for cell in two), ratio)
        rows.append((f"[`{entry.name}`](#{entry.name})", missing, *figures, taken.get(entry.name, "-")))
    said = (
        f"Every input and the result are {WIDTH} wide, other options as they are; {CLASSES} classes for fusions that "
        f"read outputs, and {TOKENS} tokens of each input for those that read tokens. Parameters, and "
        "multiply-accumulates (MACs) of one sample, are counted; time is that of a forward pass of 64 samples on a CPU "
        "over that of `concat` ([the record](../../benchmarks/records/fusions.json)). A missing input is *neutral* "
        "where the result is that of a fusion built without it. Exports are the formats of `mmkit export` that gave "
        "what torch gives in [a run](../../benchmarks/records/exports.json); - was not tried."
    )
    counted = ("parameters, 2 inputs", "MACs", "parameters, 3 inputs", "MACs", "time")
    heads = ("fusion", "missing input", *counted, "exports")
    return "\n".join([*textwrap.wrap(said, 120), "", table(heads, rows)])


def _counted(entry: Entry, inputs: int) -> tuple[str, str]:
    """Parameters and MACs of a sample; "-" where it does not take so many inputs, or refuses their size."""
    spec = typing.cast(FusionSpec, entry.spec)
    if not spec.min_inputs <= inputs <= (spec.max_inputs or inputs):
        return "-", "-"
    width = CLASSES if spec.family == "outputs" else WIDTH
    asked: tuple[Any, ...] = (Target("classes", CLASSES),) if spec.family in {"outputs", "both"} else ()
    with torch.random.fork_rng():
        try:
            options = {"width": WIDTH} if "width" in options_of(entry.load()) else {}
            widths = {f"input{i}": width for i in range(inputs)}
            asked = (*asked, dict.fromkeys(widths, ())) if spec.inner else asked
            fusion = entry.load()(widths, *asked, **options)
        except ValueError:  # for example tensor fusion: the outer product would be too large
            return "-", "-"
        tokens = TOKENS if spec.family == "tokens" else 1
        given = {f"input{i}": Features.of(torch.randn(2, tokens, width)) for i in range(inputs)}
        outputs = {name: Features.of(torch.randn(2, CLASSES)) for name in given}
    called = _Pair(fusion) if spec.family == "both" else fusion
    flops = flops_per_sample(called, {"features": given, "outputs": outputs} if called is not fusion else given)
    return f"{parameters(fusion)[0]:,}", f"{(flops.counted or 0) / 2:,.0f}"


class _Pair(torch.nn.Module):
    """A fusion of features and outputs, called with one mapping."""

    def __init__(self, fusion: torch.nn.Module) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, given: dict[str, dict[str, Features]]) -> Features:
        found: Features = self.fusion(given["features"], given["outputs"])
        return found


def _inputs(entry: Entry) -> str:
    spec = typing.cast(FusionSpec, entry.spec)
    if spec.max_inputs is None:
        return f"{spec.min_inputs}+"
    return f"{spec.min_inputs}-{spec.max_inputs}" if spec.max_inputs != spec.min_inputs else str(spec.min_inputs)


def _fusion(entry: Entry) -> str:
    component = entry.load()
    file = Path(*component.__module__.split(".")).with_suffix(".py").relative_to("mmkit/fusions")
    parts = [f"### {entry.name}", f"{entry.summary}. Source: [`{file}`]({file})."]
    if entry.spec and entry.spec.formula:
        parts.append(f"`{entry.spec.formula}`")
    paper = entry.spec.paper if entry.spec else ""
    if found := SOURCE.search(paper):
        parts.append(f"Paper: [{paper[: found.start()]}]({found[1]}).")
    elif paper:
        parts.append(f"Paper: {paper}.")
    if entry.spec and entry.spec.avoids:
        parts.append(f"Avoided here: {entry.spec.avoids}.")
    if isinstance(entry.spec, FusionSpec) and entry.spec.companion:
        parts.append(f"Objective `{entry.spec.companion}` comes along; `--objective none` leaves it out.")
    options = options_of(component).values()
    rows = [
        (f"`{o.name}`", describe(o.annotation), f"`{write_value(o.default)}`", o.help.removesuffix("."))
        for o in options
    ]
    parts.append(table(("option", "takes", "default", "meaning"), rows) if rows else "It has no options.")
    return "\n\n".join(parts)


def exported_as(kind: str) -> dict[str, str]:
    """The formats that each fusion or encoder was exported to, by name, as the record has it."""
    found = json.loads(EXPORTS.read_text("utf-8"))[kind]
    return {
        name: ", ".join(one for one, apart in formats.items() if isinstance(apart, float)) or "none"
        for name, formats in found.items()
    }


def exports() -> str:
    """Which encoders and fusions can be exported, and to what."""
    parts = []
    for kind in ("encoder", "fusion"):
        taken = exported_as(kind)
        entries = [entry for entry in installed().available(kind) if entry.distribution == BUILTIN]
        rows = [(f"`{entry.name}`", entry.summary, taken.get(entry.name, "-")) for entry in entries]
        parts.append(table((kind, "what it does", "exports"), rows))
    return "\n\n".join(parts)


def fields() -> str:
    """The fields of a record, and of the parts that it consists of, off their docstrings."""
    parts = [_fields(record.Record)]
    for part in RECORD_PARTS:
        parts += [f"### {part.__name__}", first_sentence(part.__doc__ or ""), _fields(part)]
    return "\n\n".join(parts)


def _fields(of: type) -> str:
    parsed = docstring_parser.parse(of.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)
    helps = {one.arg_name: " ".join((one.description or "").split()) for one in parsed.params}
    hints = typing.get_type_hints(of)
    if helps.keys() != hints.keys():
        raise ValueError(f"{of.__name__} documents {sorted(helps)}, and its fields are {sorted(hints)}")
    return table(("field", "type", "meaning"), ((f"`{name}`", _type(hints[name]), helps[name]) for name in hints))


def _type(annotation: Any) -> str:
    """A type, with a link where it is a part of the record with a table of its own."""
    names = "|".join(part.__name__ for part in RECORD_PARTS)
    return re.sub(rf"\b({names})\b", lambda found: f"[{found[1]}](#{found[1].lower()})", describe(annotation))


def speeds() -> str:
    """What fusions take over their obvious forms, of the record: one line each, all built-in ones."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(SPEED.read_text("utf-8"))["rows"]:
        found.setdefault(row["fusion"], []).append(row)
    lines = []
    for entry in installed().available("fusion"):
        if entry.distribution != BUILTIN:
            continue
        rows = found.get(entry.name, [])
        held = sum(row["ratio"] <= row["goal"] for row in rows)
        medians = [_median(rows, batch, missing=missing) for missing in (False, True) for batch in (8, 64, 512)]
        why = _constant(OBVIOUS / f"{entry.name.replace('-', '_')}.py", "WHY") if held < len(rows) else ""
        lines.append((f"`{entry.name}`", f"{held} of {len(rows)}" if rows else "-", *medians, why))
    heads = ("fusion", "goal kept", *("B 8", "B 64", "B 512") * 2, "what the form leaves out")
    return table(heads, lines)


def _median(rows: Iterable[dict[str, Any]], batch: int, *, missing: bool) -> str:
    ratios = [row["ratio"] for row in rows if (row["batch"], row["missing"]) == (batch, missing)]
    return f"{statistics.median(ratios):.2f}" if ratios else "-"


def _constant(file: Path, name: str) -> str:
    """A text that a file assigns to a name; empty where it assigns none."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return str(ast.literal_eval(node.value))
    return ""


def published() -> str:
    """What fusions take over published implementations, of the record: one line each."""
    found = json.loads(PUBLISHED.read_text("utf-8"))
    lines = []
    for name, origin in found["published"].items():
        where = f"[{origin['repository']}](https://github.com/{origin['repository']}), `{origin['commit'][:7]}`"
        ratios = {
            (row["batch"], row["width"], row["what"]): row["ratio"] for row in found["rows"] if row["fusion"] == name
        }
        cells = [
            f"{ratios[size, width, 'forward']:.2f}, {ratios[size, width, 'both ways']:.2f}" for size, width in SIZES
        ]
        lines.append((f"`{name}`", where, *cells))
    heads = ("fusion", "published", *(f"B {batch}, D {width}" for batch, width in SIZES))
    return table(heads, lines)


def evidence() -> str:
    """What fusions, objectives and balance methods give, of the records that there are: tables with a column a task."""
    tasks = {}
    for file in sorted(EVIDENCE.glob("*.json")):
        found = json.loads(file.read_text("utf-8"))
        tasks[found["task"].partition(":")[0].removeprefix("synthetic-")] = {**found, "file": file.name}
    parts = (
        ("Tasks", _tasks(tasks)),
        ("Families", _families(tasks)),
        ("Fusions", _fusions(tasks)),
        ("Fusions, where an input is missing", _missing(tasks)),
        ("Objectives", _beside(tasks, "objective")),
        ("Balance methods", _beside(tasks, "balance")),
    )
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in parts)


def _tasks(tasks: Mapping[str, Any]) -> str:
    lines = []
    for name, one in tasks.items():
        counts = [f"{one['samples'][split]:,}" for split in ("train", "validation", "test")]
        encoders = ", ".join(sorted(set(one["encoders"].values())))
        level = sum(row["level_with_the_best"] for row in one["rows"])
        record = f"[{name}](records/evidence/{one['file']})"
        lines.append((record, f"`{one['task']}`", encoders, *counts, f"{level} of {len(one['rows'])}"))
    return table(("record", "task", "encoders", "train", "validation", "test", "level with the best"), lines)


def _families(tasks: Mapping[str, Any]) -> str:
    lines = []
    for family in (*FAMILIES, ""):
        cells = []
        for one in tasks.values():
            rows = [row for row in one["rows"] if row["kind"] in {"fusion", "input"} and row["family"] == family]
            means = {row["fusion"]: round(100 * statistics.fmean(row["test"]), 1) for row in rows}
            first, *more = sorted(name for name, mean in means.items() if mean == max(means.values())) or [""]
            best = f"`{first}`" + (f" and {len(more)} more" if more else "")
            cells.append(f"{statistics.median(means.values()):.1f}; {means[first]:.1f} {best}" if first else "-")
        lines.append((f"of {family}" if family else "one input", *cells))
    return table(("family", *tasks), lines)


def _fusions(tasks: Mapping[str, Any]) -> str:
    lines = []
    for fusion, rows in _plain(tasks).items():
        cells = ["-" if row is None else _evident(row) for row in rows]
        lines.append((f"`{fusion}`", *cells))
    return table(("fusion", *tasks), lines)


def _plain(tasks: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The row of each fusion, and of each single input, in each task; None where it has none there."""
    by_task = [
        {row["fusion"]: row for row in one["rows"] if row["kind"] in {"fusion", "input"}} for one in tasks.values()
    ]
    known = {name: row for rows in by_task for name, row in rows.items()}
    order = (*FAMILIES, "")
    ordered = sorted(known, key=lambda name: (order.index(known[name]["family"]), name))
    return {name: [rows.get(name) for rows in by_task] for name in ordered}


def _evident(row: Mapping[str, Any]) -> str:
    """A tilde marks what cannot be told from the best, an arrow what surely lies above or below concat."""
    mean, spread = statistics.fmean(row["test"]), statistics.stdev(row["test"])
    level = " ~" if row["level_with_the_best"] else ""
    return f"{100 * mean:.1f} ± {100 * spread:.1f}{level}{_arrow(row['beyond'])}"


def _arrow(beyond: Mapping[str, Any]) -> str:
    if abs(beyond["difference"]) <= beyond["margin"]:
        return ""
    return " ↑" if beyond["difference"] > 0 else " ↓"


def _missing(tasks: Mapping[str, Any]) -> str:
    inputs = {name: sorted(one["encoders"]) for name, one in tasks.items()}
    lines = []
    for fusion, rows in _plain(tasks).items():
        if any(row and row["missing"] for row in rows):
            cells = []
            for row, names in zip(rows, inputs.values(), strict=True):
                found = row["missing"] if row else {}
                cells += [f"{100 * found[name]:.1f}" if name in found else "-" for name in names]
            lines.append((f"`{fusion}`", *cells))
    return table(("fusion", *(f"{task}, no {name}" for task, names in inputs.items() for name in names)), lines)


def _beside(tasks: Mapping[str, Any], kind: str) -> str:
    """What an objective or a balance method adds to a fusion."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    heads = {}
    for task, one in tasks.items():
        for row in one["rows"]:
            if row["kind"] == kind:
                beyond = row["beyond"]
                name = row["balance"] or ", ".join(row["objectives"])
                shown = f"{100 * beyond['difference']:+.1f} ± {100 * beyond['margin']:.1f}{_arrow(beyond)}"
                found.setdefault(name, {})[task, row["fusion"]] = shown
                heads[task, row["fusion"]] = f"{task}, {row['fusion']}"
    lines = [(f"`{name}`", *(cells.get(key, "-") for key in heads)) for name, cells in sorted(found.items())]
    return table(("", *heads.values()), lines) if lines else "Not measured yet."


def marks() -> str:
    """The marks of tests, as pyproject.toml declares them."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]["markers"]
    return table(("mark", "meaning"), ((f"`{name}`", told) for name, told in (one.split(": ", 1) for one in declared)))


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    ".github/CONTRIBUTING.md": {"map": file_map},
    "benchmarks/evidence.md": {"evidence": evidence},
    "benchmarks/fusions/README.md": {"speeds": speeds, "published": published},
    "mmkit/README.md": {"rooms": rooms},
    "mmkit/fusions/README.md": {"registry": registry},
    "mmkit/model/exporting/README.md": {"exports": exports},
    "mmkit/records/README.md": {"fields": fields},
    "tests/README.md": {"marks": marks},
}
"""The generated parts of each page: their names, and what makes them."""


def renewed(text: str, name: str, content: str) -> str:
    """A page with one generated part replaced.

    Raises:
        ValueError: the page does not mark that part exactly once.
    """
    pattern = re.compile(rf"(<!-- begin {name}\b[^>]*-->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"expected one part between <!-- begin {name} --> and <!-- end {name} -->")
    return pattern.sub(lambda found: f"{found[1]}\n{content}\n\n{found[2]}", text)


def pages() -> Iterator[tuple[Path, str, str]]:
    """Each page with generated parts: its path, what it holds, and what it should hold."""
    for path, parts in PARTS.items():
        before = after = (ROOT / path).read_text("utf-8")
        for name, make in parts.items():
            after = renewed(after, name, make())
        yield ROOT / path, before, after


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or name those that are out of date."""
    stale = [(path, after) for path, before, after in pages() if before != after]
    for path, after in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is out of date; run `python .ci/pages.py`")
        else:
            path.write_text(after, "utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
