"""`mmkit cache`: the features of frozen encoders that are kept on the disk."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from mmkit.errors import UsageError, one_of
from mmkit.features.cache import cache_entries, default_folder
from mmkit.features.cache import clear as removed

DAY = 24 * 60 * 60


def show(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """What is kept, the largest first: key, size, samples, when it was made, of what, precision, and the encoder."""
    folder = default_folder()
    found = cache_entries(folder)
    if as_json:
        entries = [{"key": one.key, "bytes": one.size, "about": one.about} for one in found]
        print(json.dumps({"schema": 1, "folder": str(folder), "entries": entries}, indent=1))
        return
    for one in found:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.made))
        if one.about is None:
            print("\t".join([one.key, _size(one.size), "unfinished", made, "-", "-", "-"]))
        else:
            of = one.about["of"]
            encoder = f"{one.about.get('encoder', '-')}" + (f", copy {of['copy']}" if "copy" in of else "")
            shown = f"{one.about.get('input', '-')} of {one.about.get('split', '-')}"
            samples = f"{one.about['samples']} samples"
            print("\t".join([one.key, _size(one.size), samples, made, shown, of.get("precision", "-"), encoder]))
    print(f"{len(found)} entries, {_size(sum(one.size for one in found))} in {folder}")


def clear(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="Those to remove, as list shows them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Those that were made so many days ago, or earlier.")
    ] = None,
) -> None:
    """Remove what is kept; it is computed again when it is needed."""
    folder = default_folder()
    found = cache_entries(folder)
    known = [one.key for one in found]
    if [bool(keys), everything, older_than is not None].count(True) != 1:
        raise UsageError("mmkit cache clear takes KEY, one or more, or --all, or --older-than DAYS")
    for key in keys or ():
        if key not in known:
            raise UsageError(f"the cache has no {key}; {one_of(known, key)}")
    chosen = list(dict.fromkeys(keys)) if keys else known
    if older_than is not None:
        chosen = [one.key for one in found if one.made <= time.time() - older_than * DAY]
    print(f"{len(chosen)} entries removed, {_size(removed(folder, chosen))} free again")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
