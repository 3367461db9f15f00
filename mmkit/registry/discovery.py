"""Finds the installed distributions with an entry point in a group `mmkit.v*`, from their metadata, without imports.

The `entry_points.txt` of each distribution on the path is read first. That is twice as fast as `importlib.metadata`,
which reads all metadata of all distributions; it is used only for zip files and custom finders. If a distribution is
on the path twice, the first one counts, as for imports; if twice in one folder, the newer one, and that is said. What
an interrupted pip leaves behind, `~name` or a folder without metadata, is no distribution.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

Read = Callable[[str], str | None]
"""Returns the text of one file of a distribution's metadata, None if there is no such file."""


class Registration(NamedTuple):
    """One entry point.

    Args:
        distribution: name of the distribution, as spelt in its metadata.
        version: of the distribution.
        group: "mmkit.v1", or that of another version of the plugin interface.
        name: of the entry point.
        module: that the entry point names: the module with the hooks.
        requires: the distribution's own requirements (PEP 508).
    """

    distribution: str
    version: str
    group: str
    name: str
    module: str
    requires: tuple[str, ...] = ()


class Found(NamedTuple):
    """The result of a scan.

    Args:
        registrations: in the order of the path.
        versions: of all installed distributions, by normalised name.
        doubled: a line for each plugin that one folder holds in several versions.
    """

    registrations: tuple[Registration, ...] = ()
    versions: Mapping[str, str] = MappingProxyType({})
    doubled: tuple[str, ...] = ()


def normalised(name: str) -> str:
    """The name of a distribution in normal form: lower case, one hyphen for each run of `-`, `_` and `.`."""
    name = name.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


def scan(path: Iterable[str] | None = None) -> Found:
    """All registrations on a path. An empty entry, which means the working directory, is not searched.

    Args:
        path: folders and zip files, in the order of precedence; None is `sys.path`.
    """
    registrations: list[Registration] = []
    versions: dict[str, str] = {}
    doubled: list[str] = []
    for name, version, read, others, _ in _distributions(path):
        key = normalised(name)
        if key in versions:
            continue
        versions[key] = version
        entries = list(_entries(read("entry_points.txt") or ""))
        if entries:
            fields = _header(read("METADATA") or read("PKG-INFO") or "")
            requires = fields.get("requires-dist") or _without_extras(read("requires.txt") or "")
            spelt = fields.get("name", [name])[0]
            versions[key] = fields.get("version", [version])[0]
            registrations += [Registration(spelt, versions[key], *entry, tuple(requires)) for entry in entries]
            if others:
                doubled.append(
                    f"{spelt} is installed as {' and '.join([*others, version])} in one folder; {version} counts: "
                    f"uninstall it until pip finds no more, then install it again"
                )
    return Found(tuple(registrations), versions, tuple(doubled))


class _Distribution(NamedTuple):
    """A distribution, the older versions beside it, and whether it was installed by pip."""

    name: str
    version: str
    read: Read
    others: tuple[str, ...] = ()
    whole: bool = True


def _distributions(path: Iterable[str] | None) -> Iterator[_Distribution]:
    # An empty entry is the working directory; no plugin is loaded from there.
    for entry in [entry for entry in (sys.path if path is None else path) if entry]:
        try:
            inside = sorted(os.listdir(entry))  # noqa: PTH208 (pathlib costs more than the whole scan)
        except NotADirectoryError:
            yield from _by_importlib(entry)
            continue
        except OSError:
            continue
        yield from _newest(filter(None, (_distribution(entry, folder) for folder in inside)))
        if entry.endswith(".egg"):
            yield from _by_importlib(entry)
    if path is None and any(_is_custom(finder) for finder in sys.meta_path):
        yield from _by_importlib(None)


def _distribution(entry: str, folder: str) -> _Distribution | None:
    """The distribution whose metadata is in a folder of `entry`; None if it is not whole."""
    stem, dot, kind = folder.rpartition(".")
    if not dot or kind.lower() not in {"dist-info", "egg-info"} or folder.startswith("~"):
        return None
    read = _reader(f"{entry}/{folder}")
    if kind.lower() == "dist-info":
        name, _, version = stem.rpartition("-")
        if not os.path.exists(f"{entry}/{folder}/METADATA"):  # noqa: PTH110 (as above)
            return None
    else:  # NAME-VERSION-pyX.Y, or the bare name in a source tree
        name, version = [*stem.split("-"), ""][:2]
        version = version or _header(read("PKG-INFO") or "").get("version", [""])[0]
    return _Distribution(name or stem, version, read, whole=kind.lower() == "dist-info")


def _newest(found: Iterable[_Distribution]) -> list[_Distribution]:
    """Of each name the newest version, with the others."""
    by_name: dict[str, list[_Distribution]] = {}
    for one in found:
        by_name.setdefault(normalised(one.name), []).append(one)
    newest = []
    for same in by_name.values():
        last = same[0] if len(same) == 1 else max(same, key=lambda one: (*_order(one.version), one.whole))
        others = [one.version for one in same if one.version != last.version]
        newest.append(last._replace(others=tuple(dict.fromkeys(others))))
    return newest


def _order(version: str) -> tuple[bool, object]:
    """What orders versions; those that are none come first."""
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 (two versions of one name are rare)

    try:
        return True, Version(version)
    except InvalidVersion:
        return False, version


def _is_custom(finder: object) -> bool:
    return hasattr(finder, "find_distributions") and getattr(finder, "__name__", "") != "PathFinder"


def _by_importlib(entry: str | None) -> Iterator[_Distribution]:
    """The distributions that `importlib.metadata` finds, in one entry of the path or by all finders."""
    from importlib import metadata  # noqa: PLC0415 (a third of the time that listing plugins takes; rarely needed)

    for distribution in metadata.distributions() if entry is None else metadata.distributions(path=[entry]):
        name = distribution.metadata["Name"]
        if name:
            yield _Distribution(name, distribution.version, distribution.read_text)


def _reader(folder: str) -> Read:
    def read(file: str) -> str | None:
        try:
            with open(f"{folder}/{file}", encoding="utf-8-sig", errors="replace") as text:  # noqa: PTH123
                return text.read()
        except OSError:
            return None

    return read


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    """Group, name and module of each entry point in a group `mmkit.v*`."""
    if "mmkit.v" not in text:
        return
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[] \t")
        elif "=" in line and group.startswith("mmkit.v") and group[7:].isdecimal() and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield group, name.strip(), value.partition("[")[0].strip()  # extras are ignored


def _header(text: str) -> dict[str, list[str]]:
    """The header fields of a metadata file by lower-case name, without its body, the description."""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            fields.setdefault(name.strip().lower(), []).append(value.strip())
    return fields


def _without_extras(text: str) -> list[str]:
    lines = [line.strip() for line in text.partition("[")[0].splitlines()]
    return [line for line in lines if line]
