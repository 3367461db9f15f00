"""The rooms of mmkit/, and the map of its files."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from parts.markdown import ROOT, summary, table

PACKAGE = ROOT / "mmkit"
FLOORS = ROOT / "tests" / "test_floors.py"


def floors(name: str = "FLOORS") -> Any:
    """A constant of the floors test: the order of the rooms, or what a room is confined to."""
    for node in ast.parse(FLOORS.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise ValueError(f"{FLOORS} assigns no {name}")


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
