"""`mmkit cache`: the features of frozen encoders that are kept on the disk."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer

from mmkit.cache import clear as removed
from mmkit.cache import default_folder, held
from mmkit.errors import UsageError, one_of


def show(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """What is kept, the largest first: key, size, samples, encoder, and when it was made."""
    folder = default_folder()
    found = held(folder)
    if as_json:
        entries = [{"key": one.key, "bytes": one.size, "about": one.about} for one in found]
        print(json.dumps({"schema": 1, "folder": str(folder), "entries": entries}, indent=1))
        return
    for one in found:
        about = one.about or {}
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(about["made"])) if about else "unfinished"
        name = about.get("of", {}).get("encoder", "-")
        print("\t".join([one.key, _size(one.size), f"{about.get('samples', '-')} samples", name, made]))
    print(f"{len(found)} entries, {_size(sum(one.size for one in found))} in {folder}")


def clear(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="Those to remove, as list shows them.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Remove what is kept; it is computed again when it is needed."""
    folder = default_folder()
    known = [one.key for one in held(folder)]
    if bool(keys) == everything:
        raise UsageError("mmkit cache clear takes KEY, one or more, or --all")
    for key in keys or ():
        if key not in known:
            raise UsageError(f"the cache has no {key}; {one_of(known, key)}")
    freed = removed(folder, keys or known)
    print(f"{len(keys or known)} entries removed, {_size(freed)} free again")


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
