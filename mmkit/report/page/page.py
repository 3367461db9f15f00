"""The page of a suite, made of its folder: what it says is gathered here, how it looks is in `templates`."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from mmkit.errors import UnavailableError
from mmkit.records.folds import reliability_of
from mmkit.records.record import Record
from mmkit.records.worst import read_worst
from mmkit.report.breakdown import details
from mmkit.report.classes import calibration_error, classes
from mmkit.report.curves import curves
from mmkit.report.information import structure
from mmkit.report.inputs import inputs
from mmkit.report.page.charts import against_cost, noise, reliability, seeds
from mmkit.report.page.choice import Choice, choice
from mmkit.report.page.errors import worst_of
from mmkit.report.page.folder import Folder
from mmkit.report.page.measured import Measured, measured, pareto
from mmkit.report.page.table import details_of, table_of
from mmkit.report.page.trust import checks
from mmkit.report.summary import names
from mmkit.report.values import is_share, written
from mmkit.report.verdict import level_with_the_best, verdict
from mmkit.titles import title_of

COLUMNS = 60
"""Columns of a user's table that are shown."""


def check_installed() -> None:
    """Nothing, where all that a page needs is installed.

    Raises:
        UnavailableError: something is not.
    """
    for module in ("jinja2", "matplotlib"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UnavailableError(
                f"a page needs {module}, which is not installed: pip install 'mmkit-core[report]', or take --markdown, "
                "--csv or --json"
            ) from error


def page(folder: Path) -> str:
    """One HTML file of the suite in a folder, which asks for no other file.

    Raises:
        UnavailableError: what draws it is not installed.
        UsageError: it is no folder of a suite.
        DataError: something in it cannot be read.
    """
    check_installed()
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 (an extra)
    from markupsafe import Markup  # noqa: PLC0415

    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    given = _given(Folder.read(folder))
    drawn = {name: Markup(svg) for name, svg in _drawings(given).items()}  # noqa: S704 (matplotlib escapes names)
    own = {name: Markup(_template(name)) for name in ("style.css", "table.js")}  # noqa: S704 (ours)
    return environment.get_template("page.html").render(given | {"charts": drawn, "own": own})


def _template(name: str) -> str:
    return (resources.files("mmkit.report.page") / "templates" / name).read_text("utf-8")


def _given(folder: Folder) -> dict[str, Any]:
    """What the template is given, by name."""
    found = measured(folder)
    said = verdict(folder.rows, folder.terms)
    chosen = choice(found, said)
    row = chosen.chosen.row if chosen else None
    of_classes = classes(row) if row else None
    level = [id(one) for one in level_with_the_best(folder.rows, folder.terms)]
    ours = [one for one in found if not one.row.yardstick]
    # That of folds is joined, and knows all samples.
    any_record = ours[0].row.records[0] if ours else folder.records[0]
    given: dict[str, Any] = {
        "folder": folder,
        "task": _task(folder, any_record),
        "record": any_record,
        "found": found,
        "choice": chosen,
        "sentence": said.sentence() if said else "",
        "finding": said.document()["finding"] if said else "",
        "metric": title_of(found[0].row.metric) if found else "",
        "table": table_of(found) if found else None,
        "details": details_of(row) if row else [],
        "front": [one.name for one in pareto(ours)],
        "level": [one.number for one in found if id(one.row) in level],
        "classes": of_classes,
        "inputs": inputs(folder.rows),
        "curves": curves(folder.rows),
        "detailed": details(folder.rows),
        "information": structure(folder.rows, folder.terms),
        "bins": reliability_of(row.records) if row else [],
        "ece": calibration_error(reliability_of(row.records)) if row else None,
        "errors": worst_of(folder, row) if row else [],
        "checks": checks(folder, found, of_classes),
        "failures": _failures(folder),
        "model": _model(folder, chosen),
        "columns": COLUMNS,
        "percent": lambda value: "-" if value is None else f"{100 * value:.1f}",
        "written": written,
        "is_share": is_share,
        "title_of": title_of,
    }
    return given | {"absent": _absent(given, ours)}


def _task(folder: Folder, record: Record) -> str:
    """What was asked, as a title."""
    target = folder.data.get("target")
    if not target:
        return record.task
    source = Path(str(folder.data["source"]["data"])).name
    return f"{', '.join(target['columns'])} of {source}"


def _drawings(given: Mapping[str, Any]) -> dict[str, str]:
    chosen = given["choice"]
    number = chosen.chosen.number if chosen else 0
    ours = [one for one in given["found"] if not one.row.yardstick]
    return {
        "cost": against_cost(ours, number),
        "narrow_cost": against_cost(ours, number, narrow=True),
        "seeds": seeds(given["found"], number),
        "narrow_seeds": seeds(given["found"], number, narrow=True),
        "noise": noise(*given["curves"]) if given["curves"] else "",
        "narrow_noise": noise(*given["curves"], narrow=True) if given["curves"] else "",
        "reliability": reliability(given["bins"], len(chosen.chosen.row.records) if chosen else 1),
    }


def _failures(folder: Folder) -> list[tuple[str, int, str]]:
    """Of each combination that failed: its name, with how many seeds, and why."""
    return [
        (name, often, error)
        for row, name in zip(folder.rows, names(folder.rows), strict=True)
        for error, often in Counter(row.errors).items()
    ]


def _model(folder: Folder, chosen: Choice | None) -> str:
    """The folder of the saved model of the proposed row; empty where there is none."""
    ids = [record.id for record in chosen.chosen.row.trainings] if chosen else []
    return next((str(folder.models[one]) for one in ids if one in folder.models), "")


def _absent(given: Mapping[str, Any], ours: Sequence[Measured]) -> list[str]:
    """What the page leaves out, and what would put it there."""
    folder, said = given["folder"], []
    if not given["sentence"] and ours:
        said.append("A verdict: it takes a fusion and each input alone, of at least one seed.")
    if not any(one.milliseconds for one in ours):
        said.append("Cost: it was not measured (bench --no-cost).")
    if ours and not any(len(one.seeds) > 1 for one in ours):
        said.append("Seeds beside each other: there is one (bench --seeds).")
    row = given["choice"].chosen.row if given["choice"] else None
    if row and not row.tested:
        said.append("Figures on test: it was not read yet; the same command of bench goes on.")
    elif row and row.records[0].confusion is None:
        said.append("Classes, confusion and calibration: numbers, texts and more than 100 classes have none.")
    if ours and not given["inputs"]:
        said.append("What the answers hang on, input by input: bench --protocol full measures it.")
    elif ours and not given["information"]:
        said.append(
            "Whether inputs are redundant, unique or synergistic: it takes each input alone, in the full protocol too, "
            "and classes, labels or one number."
        )
    if ours and not given["detailed"]:
        said.append("Costs in detail, by part, input and size of the batch: bench --protocol full measures them.")
    if ours and not given["errors"]:
        kept = given["choice"] and read_worst(folder.path, [one.id for one in given["choice"].chosen.row.trainings])
        whose = f"{given['choice'].chosen.name} has none" if kept else "bench --with-samples keeps them"
        said.append(f"The worst errors with their samples: {whose}.")
    if not folder.data:
        said.append("A description of columns: the task is no table of one's own.")
    if not folder.command:
        said.append("The command: the suite was asked for in Python.")
    return said
