"""Reference pages that are no component's: the options of training, and each kind of target."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from mmkit import contract
from mmkit.registry.options import describe, options_of
from mmkit.training.optimisation import Training

NAMES = {"train": "training", "classes": "target", "labels": "target", "scalar": "target", "text": "target"}
"""The pages, and the kind of each."""
_PARTS = ("truth", "batch", "predicted", "answer", "metrics")


class Page(NamedTuple):
    """One page.

    Args:
        kind: "training" or "target".
        name: of the page.
        fields: what it says, by name; options are mappings of name, type, default and help.
    """

    kind: str
    name: str
    fields: dict[str, Any]


def page(name: str, kind: str | None = None) -> Page | None:
    """The page of that name; None if there is none of this kind."""
    if name not in NAMES or kind not in {None, NAMES[name]}:
        return None
    return Page(NAMES[name], name, _training() if name == "train" else _target(name))


def _training() -> dict[str, Any]:
    options = [
        {"name": o.name, "type": describe(o.annotation), "default": o.default, "help": o.help}
        for o in options_of(Training).values()
    ]
    return {
        "about": "Options of training, as -o train.NAME=VALUE; a task may recommend other defaults.",
        "options": options,
    }


def _target(name: str) -> dict[str, Any]:
    """What the contract's page says of a kind of target."""
    found: dict[str, str] = {}
    kind = part = ""
    table, _, below = (contract.__doc__ or "").partition("Kinds of target")[2].partition("\nWhere truth is missing")
    for line in table.splitlines():
        kind = line.split()[0] if re.match(r" {4}\w", line) else kind
        begun = re.match(rf" {{4}}[\w ]{{10}}({'|'.join(_PARTS)}) +(\S.*)$", line)
        if kind == name and begun:
            part, found[begun[1]] = begun[1], begun[2]
        elif kind == name and line.startswith(" " * 24):
            found[part] += f" {line.strip()}"
    macro = re.search(r"Macro averages[^.]*[.]", below)
    if macro and name in {"classes", "labels"}:
        found["metrics"] += f". {' '.join(macro[0].split())}"
    return {"about": "Kind of target of a task: what a user's truth is, and what comes of it.", **found}
