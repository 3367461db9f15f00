"""`mmkit cache`: list and remove what is cached: features, transformed splits, tables as read, and descriptions."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mmkit.cli.results import print_json, print_lines
from mmkit.errors import UsageError, one_of
from mmkit.features.cache import CacheEntry, cache_entries
from mmkit.features.cache import clear as removed
from mmkit.system.cache_folder import default_folder

DAY = 24 * 60 * 60


def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List what is cached, the largest first: key, size, samples, date, of what, precision, encoder."""
    folder = default_folder()
    cached = cache_entries(folder)
    if as_json:
        entries = [{"key": entry.key, "bytes": entry.size, "about": entry.about} for entry in cached]
        print_json({"schema": 1, "folder": str(folder), "entries": entries})
        return
    titles = ("key", "size", "samples", "made", "input", "precision", "encoder")
    print_lines(titles, [_line(entry) for entry in cached], ("key", "encoder"))
    print(f"{len(cached)} entries, {_size(sum(entry.size for entry in cached))} in {folder}")


def _line(entry: CacheEntry) -> list[str]:
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.made))
    if entry.about is None:
        return [entry.key, _size(entry.size), "unfinished", made, "-", "-", "-"]
    of = entry.about["of"]
    encoder = f"{entry.about.get('encoder', '-')}" + (f", copy {of['copy']}" if "copy" in of else "")
    shown = f"{entry.about.get('input', '-')} of {entry.about.get('split', '-')}"
    samples = f"{entry.about['samples']} samples"
    return [entry.key, _size(entry.size), samples, made, shown, of.get("precision", "-"), encoder]


def clear(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="Entries to remove, by the key that list shows.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all entries.")] = False,
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Remove entries at least this many days old.")
    ] = None,
) -> None:
    """Remove cached features, transformed splits, tables and descriptions; they are made again when needed."""
    folder = default_folder()
    cached = cache_entries(folder)
    known = [entry.key for entry in cached]
    if [bool(keys), everything, older_than is not None].count(True) != 1:
        raise UsageError("mmkit cache clear takes either one or more KEYs, or --all, or --older-than DAYS")
    for key in keys or ():
        if key not in known:
            raise UsageError(f"the cache has no entry {key}; {one_of(known, key)}")
    if older_than is not None and not older_than >= 0:
        raise UsageError(f"--older-than takes a number of days, 0 or more; got {older_than}")
    chosen = list(dict.fromkeys(keys)) if keys else known
    if older_than is not None:
        chosen = [entry.key for entry in cached if entry.made <= time.time() - older_than * DAY]
    print(f"{len(chosen)} entries removed, {_size(removed(folder, chosen))} freed")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
