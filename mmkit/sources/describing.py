"""From a source to its description: columns are guessed, the target is read, rows are split and looked over.

Nothing is trained. The same rows give the same description and the same splits, whatever the source was.

Axes: N rows.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from mmkit.errors import DataError, UsageError, one_of
from mmkit.plugin import ModalitySpec
from mmkit.sources.columns import Array, Media
from mmkit.sources.description import Description, Request
from mmkit.sources.duplicates import duplicates, equal_inputs, joined, without_values
from mmkit.sources.files import find_files
from mmkit.sources.findings import Finding, find
from mmkit.sources.folding import sides_of_folds
from mmkit.sources.given import files_of_splits, paths_of, read_splits, stamps
from mmkit.sources.guess import TABLE, Guess
from mmkit.sources.guessing import guesses
from mmkit.sources.inputs import inputs_of, names_in, store_of
from mmkit.sources.kept_descriptions import Asked, keep, kept
from mmkit.sources.looking import Decode, look
from mmkit.sources.objects import guess_objects, hashed_objects
from mmkit.sources.ordering import out_of_order, times_of
from mmkit.sources.reading import Column, Source, read
from mmkit.sources.splitting import SHARES, check_sides, given_splits, groups_of, names_of, shares_of, split, trainable
from mmkit.sources.target_names import columns_in
from mmkit.sources.targets import read_target
from mmkit.sources.tars import KEY
from mmkit.sources.types import is_plain, is_text, usual

_SHARES = re.compile(r"\s*[\d.]+\s*/.*")
_KEPT = 4

_described: OrderedDict[object, tuple[Description, list[str]]] = OrderedDict()


def describe(request: Request, modalities: Iterable[ModalitySpec], decoder: Callable[[str], Decode]) -> Description:
    """Read the data and find out what it is. The latest descriptions are kept as long as their files do not change.

    Args:
        request: what the user says.
        modalities: those that are installed.
        decoder: what reads a raw value of a modality.

    Raises:
        UsageError: a column or a kind that there is not, or a target that can be read in two ways.
        DataError: data that cannot be read, or has no row, no truth or no input.
    """
    specs = tuple(modalities)
    if request.fold:
        return describe(replace(request, fold=0), specs, decoder).of_fold(request.fold)
    key = (request, stamps(request.data, request.splits), tuple(spec.name for spec in specs))
    if (kept := _described.get(key)) is None or kept[1] != _named_files(kept[0]):
        found = _read_and_described(request, specs, decoder, key[1])
        _described[key] = found, _named_files(found)
        while len(_described) > _KEPT:
            _described.popitem(last=False)
    _described.move_to_end(key)
    return _described[key][0]


def _named_files(found: Description) -> list[str]:
    """What changes when files that cells name do."""
    source, outside = found.source, found.request.outside
    stores = [
        store_of(one, {}, source.columns, files=source.folder, outside=outside)
        for one in found.inputs
        if one.modality not in {"table", "text"}
    ]
    return [store.fingerprint for store in stores if isinstance(store, Media)]


def _read_and_described(
    request: Request, specs: Sequence[ModalitySpec], decoder: Callable[[str], Decode], files: object
) -> Description:
    """The description, which of a large table may be kept from an earlier process."""
    source = _read(request, specs)
    installed = [[spec.name, list(spec.extensions), [repr(one) for one in spec.magic]] for spec in specs]
    asked = Asked(request, {"files": repr(files), "modalities": installed}, decoder)
    found = kept(asked, source, _named, _named_files)
    if found is None:
        found = _describe(request, source, specs, decoder)
        keep(asked, found, _named_files)
    return found


def _read(request: Request, specs: Sequence[ModalitySpec]) -> Source:
    media = {spec.name: spec.extensions for spec in specs if spec.extensions}
    parts = files_of_splits(request.splits)
    if parts is None:
        return read(request.data, media, files=request.files, outside=request.outside)
    return read_splits(paths_of(request.data, parts), media, files=request.files, outside=request.outside)


def _describe(
    request: Request, source: Source, specs: Sequence[ModalitySpec], decoder: Callable[[str], Decode]
) -> Description:
    request = _completed(request, source)
    roles = _roles(request, source)
    given = dict(request.columns)
    free = {name: column for name, column in source.columns.items() if roles.get(name, "time") == "time"}
    if request.time and request.time not in given:
        free.pop(request.time)
    for name in given:
        if name in source.columns and name not in free:
            raise UsageError(f"column {name} is the {roles[name]}, and no input; leave out --column {name}=...")
    found = _guessed(free, given, specs, source, outside=request.outside)
    problems = [one.problem for one in found.values() if one.problem]
    kinds = {name: one.kind for name, one in found.items() if one.kind != "ignore"}
    inputs = inputs_of(kinds, source.columns)
    told = [Finding("warning", text) for text in source.told]
    plain = Description(request, source, found, roles, inputs, findings=told, problems=problems)
    if not request.target:
        return plain
    if not inputs and not problems:
        reasons = "; ".join(f"{name}: {one.reason}" for name, one in found.items())
        raise DataError(f"{source.name} has no column left that is an input{f' ({reasons})' if reasons else ''}")
    return _split(plain, kinds, specs, decoder)


def _completed(request: Request, source: Source) -> Request:
    """The request with the columns of the target, and what names of folders say where the user did not: the class of a
    file, and its split.
    """  # noqa: D205 - one sentence
    request = replace(
        request, target=tuple(name for text in request.target for name in columns_in(text, source.columns))
    )
    if "label" in source.made and not request.target:
        request = replace(request, target=("label",))
    if "split" in source.made and (request.splits == Request.splits or "=" in request.splits):
        request = replace(request, splits="split")
    return request


def _roles(request: Request, source: Source) -> dict[str, str]:
    """What columns are that are no inputs."""
    roles: dict[str, str] = {}
    named = [("target", request.target), ("group", request.group), ("time", [request.time]), ("id", [request.id])]
    if not _SHARES.fullmatch(request.splits):
        named.append(("splits", [request.splits]))
    for role, names in named:
        for name in names:
            if name is None:
                continue
            if name not in source.columns:
                raise UsageError(f"--{role}: {source.name} has no column {name}; {one_of(source.columns, name)}")
            if isinstance(source.columns[name], list):
                raise UsageError(f"--{role}: column {name} holds objects of Python; give strings or numbers")
            if role in {"group", "id"} and not is_plain(kind := usual(source.columns[name]).type):
                raise UsageError(f"--{role}: column {name} holds values of the type {kind}; give strings or numbers")
            if roles.get(name, role) == "target" and role != "target":
                raise UsageError(f"--{role}: column {name} is the target")
            roles.setdefault(name, role)
    return roles


def _guessed(
    free: Mapping[str, Column],
    given: Mapping[str, str],
    specs: Sequence[ModalitySpec],
    source: Source,
    *,
    outside: bool,
) -> dict[str, Guess]:
    arrow = {name: column for name, column in free.items() if not isinstance(column, list)}
    of_arrow_columns = guesses(
        arrow,
        {name: kind for name, kind in given.items() if not isinstance(free.get(name), list)},
        modalities=specs,
        files=source.folder,
        outside=outside,
    )
    found = {}
    for name, column in free.items():
        if name == KEY and name in source.made and name not in given:
            found[name] = Guess("ignore", "the keys of members of tars", 0)
            continue
        if not isinstance(column, list):
            found[name] = of_arrow_columns[name]
            continue
        guessed = guess_objects(name, column)
        if name in given:
            possible = [spec.name for spec in specs if spec.name != "table"] + ["ignore"]
            if given[name] not in possible:
                raise UsageError(f"--column {name}={given[name]}: it holds objects; {one_of(possible, given[name])}")
            guessed = Guess(given[name], "as you said", guessed.missing)
        found[name] = guessed
    return found


def _split(
    plain: Description, kinds: Mapping[str, str], specs: Sequence[ModalitySpec], decoder: Callable[[str], Decode]
) -> Description:
    """The description with target, splits and findings."""
    request, source, columns = plain.request, plain.source, plain.source.columns
    target = read_target({name: columns[name] for name in request.target}, request.target_kind)
    names = _named(request, source)
    compared, told = _compared(columns, kinds)
    media = [spec.name for spec in specs if spec.extensions and spec.name not in TABLE]
    where: Any = {"files": source.folder, "outside": request.outside, "modalities": media}
    copies = duplicates(compared, kinds, **where) if compared else None
    looked, twins = _looked(plain, media, decoder)
    copies = joined(*twins, *([] if copies is None else [copies])) if twins else copies
    groups = {name: groups_of(columns[name]) for name in request.group}
    by_share = bool(_SHARES.fullmatch(request.splits))
    _check_folds(request, by_share=by_share)
    given = None if by_share else given_splits(columns[request.splits])
    units = groups[request.group[0]] if request.group else copies
    named_by = request.group[0] if request.group else request.id
    known_by: dict[str, Any] = {
        "units": units,
        "names": None if named_by is None else names_of(columns[named_by]),
        "seed": request.split_seed,
        "shares": shares_of(request.splits) if by_share else SHARES,
    }
    folds, times, reading = None, None, ""
    if request.folds:
        folds = sides_of_folds(target, request.folds, **known_by)
        sides = folds[0]
    else:
        if request.time is not None:
            said = dict(request.columns).get(request.time)
            needed = target.known if given is None else target.known & (given >= 0)
            times, reading = times_of(request.time, columns[request.time], needed, said)
        sides = split(target.strata, times=times if by_share else None, given=given, **known_by)
        fixed = not by_share or request.time is not None
        sides = trainable(sides, target, units, fixed=fixed)
        check_sides(sides, target, fixed=fixed)
    grouped = "is a group, and no input: what it says of a row is not learnt"
    told += [Finding("note", f"{name} {grouped}", (name,)) for name in request.group]
    cut = given is not None and not (given[target.known] == 1).any()
    findings = find(
        compared,
        kinds,
        target,
        splits=sides,
        copies=copies,
        groups=groups,
        same=partial(equal_inputs, compared, kinds, **where),
        given=not by_share,
        seed=request.split_seed,
    )
    if times is not None:
        why = "groups span time" if request.group else "copies span time"
        findings += out_of_order(str(request.time), times, sides, why if by_share else "the given splits say so")
    return Description(
        request,
        source,
        plain.guesses,
        plain.roles,
        plain.inputs,
        target,
        sides,
        names["ids"],
        names["groups"],
        _how(request, source, reading, by_share=by_share, cut=cut),
        sorted([*plain.findings, *findings, *told, *looked], key=lambda one: one.level != "warning"),
        plain.problems,
        folds,
    )


def _compared(
    columns: Mapping[str, Column], kinds: Mapping[str, str]
) -> tuple[dict[str, pa.ChunkedArray], list[Finding]]:
    """The inputs as columns of Arrow that copies are found by, objects by their hashes; and which of them have none."""
    found, told = {}, []
    for name in kinds:
        column, why = columns[name], ""
        if isinstance(column, list):
            column, why = hashed_objects(column)
        found[name] = column
        if why:
            told.append(Finding("note", f"{name}: copies of its values are not seen: {why}", (name,)))
    return found, told


def _check_folds(request: Request, *, by_share: bool) -> None:
    """Check that folds are possible.

    Raises:
        UsageError: an order of time or given splits say which rows are tested.
    """
    if request.folds and request.time:
        raise UsageError(
            f"--folds {request.folds} tests every row, so some by a model that has seen later ones, and --time "
            f"{request.time} says that this must not be; leave one of them out"
        )
    if request.folds and not by_share:
        raise UsageError(
            f"--folds {request.folds} tests every row, and column {request.splits} says which rows are tested; leave "
            "one of them out (--splits 60/15/25 splits anew)"
        )


def _looked(
    plain: Description, media: Sequence[str], decoder: Callable[[str], Decode]
) -> tuple[list[Finding], list[Array]]:
    """What values tell that are read, and pictures that are nearly the same."""
    request, source = plain.request, plain.source
    findings: list[Finding] = []
    twins: list[Array] = []
    for one in plain.inputs:
        if one.modality == "table":
            continue
        first = source.columns[one.columns[0]]
        named = not isinstance(first, list) and is_text(first.type) and one.modality in media
        if isinstance(first, list):
            there = np.array([value is not None for value in first], bool)
        elif named:
            found, there = find_files(one.name, first, source.folder, outside=request.outside)
            findings += found
        else:
            there = ~without_values([source.columns[name] for name in one.columns])
        store = store_of(one, {}, source.columns, files=source.folder, outside=request.outside)
        seen = look(one.name, store, there, decoder(one.modality), deep=request.deep)
        findings += seen.findings
        if seen.twins is not None:
            twins.append(seen.twins)
    return findings, twins


def _how(request: Request, source: Source, reading: str, *, by_share: bool, cut: bool) -> str:
    if not by_share:
        says = source.splits or f"as column {request.splits} says"
        return says + (f"; validation is cut from train, seed {request.split_seed}" if cut else "")
    how = [f"by time as {reading}" if request.time else "stratified"]
    if request.group:
        how.append(f"by {request.group[0]}")
    return ", ".join([*how, f"seed {request.split_seed}"])


def _named(request: Request, source: Source) -> dict[str, Any]:
    """The names of rows, where a column has them, and the labels of the groups that they belong to, by column."""
    groups = {name: _words(source.columns[name]) for name in request.group}
    return {"ids": _ids(request, source), "groups": groups}


def _words(column: pa.ChunkedArray) -> list[str]:
    return [f"row {row}" if value is None else value for row, value in enumerate(names_in(column))]


def _ids(request: Request, source: Source) -> list[str] | None:
    if request.id is None:
        return None
    ids: list[str] = []
    for row, name in enumerate(names_in(source.columns[request.id])):
        if name is None:
            raise DataError(f"--id: row {row} has no value in column {request.id}; name every row")
        ids.append(name)
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
        raise DataError(f"--id: {twice} stands in column {request.id} more than once; an id names one row")
    return ids
