"""The fusions, objectives and balance methods that ship with mmkit: what each does, takes, computes and costs."""

from __future__ import annotations

import json
import re
import textwrap
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mmkit.cli.needs import in_full
from mmkit.contract import Features, Target
from mmkit.plugin import FAMILIES, FusionSpec
from mmkit.registry.catalog import BUILTIN, Entry, installed
from mmkit.registry.options import describe, options_of, write_value
from mmkit.speed.flops import flops_per_sample, parameters
from parts.exports import exported_as
from parts.markdown import ROOT, table

SOURCE = re.compile(r",?\s*(https?://\S+)$")
WIDTH, CLASSES, TOKENS = 128, 10, 32
"""The sizes at which fusions are counted: of each input and the result, of the target, and tokens of an input."""
SPEED = ROOT / "benchmarks" / "records" / "fusions.json"
READS = {
    "vectors": "read one vector of each input",
    "tokens": "read all tokens of each input",
    "outputs": "read a prediction of each",
    "both": "read features and a prediction of each input",
    "inner": "act between the parts of encoders, and read what stands there",
}
"""What the fusions of a family do, by family."""


def registry() -> str:
    """The fusions that ship with mmkit: a table of all, then each with its paper and its options."""
    entries = _builtin("fusion")
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
        parts += map(_method, members)
    return "\n\n".join(parts)


def objectives() -> str:
    """The objectives that ship with mmkit, as `registry` has the fusions."""
    return _methods("objective")


def balances() -> str:
    """The balance methods that ship with mmkit, as `registry` has the fusions."""
    return _methods("balance")


def _methods(kind: str) -> str:
    entries = _builtin(kind)
    rows = [(f"[`{entry.name}`](#{entry.name})", entry.summary, in_full(entry.spec)) for entry in entries]
    return "\n\n".join([table((kind, "what it does", "takes"), rows), "## Each of them", *map(_method, entries)])


def _builtin(kind: str) -> list[Entry]:
    return [entry for entry in installed().available(kind) if entry.distribution == BUILTIN]


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
        "multiply-accumulates (MACs) of one sample, are counted (≥ is without Fourier transforms); time is that of a "
        "forward pass of 64 samples on a CPU over that of `concat` "
        "([the record](../../benchmarks/records/fusions.json)). A missing input is *neutral* "
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
    if flops.counted is None:
        raise ValueError(f"the MACs of {entry.name} cannot be counted: {flops.reason}")
    least = "" if flops.per_sample is not None else "≥ "
    return f"{parameters(fusion)[0]:,}", f"{least}{flops.counted / 2:,.0f}"


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


def _method(entry: Entry) -> str:
    component = entry.load()
    file = Path(*component.__module__.split(".")[2:]).with_suffix(".py")  # the page stands in their room
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
