"""`mmkit export`: a saved model as one graph that runs without mmkit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from mmkit.cli.process import prepare
from mmkit.cli.saved_model import Files, Folder, Outside, Threads, folder_of, load
from mmkit.cli.setting import catalog
from mmkit.errors import UsageError
from mmkit.model.exported import Exported
from mmkit.model.exporting.folder import TOLERANCE, export_values
from mmkit.model.exporting.signing import is_exported
from mmkit.model.exporting.table import of_table
from mmkit.model.exporting.values import examples
from mmkit.sources.streaming import stream_of
from mmkit.system.files import at_home


def export(
    ctx: typer.Context,
    model: Folder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    format: Annotated[  # noqa: A002 (what everybody calls it)
        str, typer.Option(metavar="FORMAT", help="onnx, pt2 (torch.export) or aoti (compiled for this machine).")
    ] = "onnx",
    data: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Table whose first rows it is checked with. [random values]"),
    ] = None,
    threads: Threads = None,
    files: Files = None,
    outside: Outside = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the exported model in DIR.")] = False,
) -> None:
    """Write a saved model as one graph, from tensors to its prediction, that runs without mmkit.

    The graph takes any number of samples of any length. Before anything is put into DIR it is checked against the
    model: on several samples, one, shorter ones, and with inputs missing. A README in DIR has a script that runs it.
    """
    out = at_home(out)
    if is_exported(out) and not force:
        raise UsageError(f"{out} holds an exported model; give --force to replace it, or another folder")
    prepare(threads)
    installed = catalog(ctx)
    loaded = load(folder_of(model), installed, "cpu")
    with redirect_stdout(sys.stderr):
        if data is None:
            values = examples(loaded)
        else:
            values = of_table(loaded, stream_of(data, installed, files=files, outside=outside))
        found = export_values(loaded, out, format, values)  # type: ignore[arg-type]  # checked there
    print("\n".join(lines(found)))


def lines(found: Exported) -> Iterator[str]:
    """What was written, as lines."""
    yield f"{found.folder}: {found.format}, {found.size / 1e6:,.1f} MB"
    worst = max(found.apart.values())
    yield f"checked on {len(found.apart)} kinds of batches: {worst:.1g} apart at most ({TOLERANCE:g} allowed)"
    rows = [("takes" if not place else "", one.name, one.dtype, one.shape) for place, one in enumerate(found.inputs)]
    rows += [
        ("gives" if not place else "", name, "", shape) for place, (name, shape) in enumerate(found.outputs.items())
    ]
    name_width, type_width = (max(len(row[place]) for row in rows) for place in (1, 2))
    for title, name, dtype, shape in rows:
        yield f"  {title:5}  {name:{name_width}}  {dtype:{type_width}}  {' x '.join(map(str, shape))}"
    yield f"how to run it: {found.folder / 'README.md'}"
