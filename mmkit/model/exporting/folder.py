"""Exporting a model to a folder: written aside, checked against the model, then put in its place.

model.onnx, model.pt2 or compiled.pt2   the graph
signature.json   its tensors: names, types, axes, padding; the versions that made it, how far it was apart; and hashes
model.json       the fitted state of the transforms, the classes, how a table is read; as of a saved model
smoke.npz        the tensors of a few samples, and what the model predicts of them
smoke.json       the same samples raw, and their answers
README.md        how to run it without mmkit
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from mmkit.errors import MmkitError, UnavailableError, UsageError, one_of
from mmkit.model.description import DESCRIPTION
from mmkit.model.exported import Exported, Format
from mmkit.model.exporting.batches import Checked, checked
from mmkit.model.exporting.graph import FILES, Flat, check_format, traced, write
from mmkit.model.exporting.page import page
from mmkit.model.exporting.signing import FREE, SCHEMA, SIGNATURE, is_exported, signed
from mmkit.model.exporting.values import Values, examples, written
from mmkit.model.exporting.values import given as given_values
from mmkit.model.graph import Run
from mmkit.model.saving import description_of
from mmkit.model.trained import MultimodalModel, saved_parts
from mmkit.plugin import EncoderSpec
from mmkit.system.files import at_home, owned, utf8
from mmkit.system.onnx import OPSET, PACKAGES
from mmkit.system.state import own_state

TOLERANCE = 1e-5
"""How far a prediction may be from that of the model; of numbers above 1, as a share of the largest."""
OWN = frozenset({*FILES.values(), *FREE, DESCRIPTION, ".lock"})
"""What an export may have written into its folder; what else is there is the user's."""


@own_state()
def export(
    model: MultimodalModel,
    directory: str | Path,
    format: Format,  # noqa: A002
    samples: Sequence[Mapping[str, Any]] | None,
) -> Exported:
    """What `MultimodalModel.export` does."""
    return export_values(model, directory, format, examples(model) if samples is None else given_values(model, samples))


@own_state()
def export_values(
    model: MultimodalModel,
    directory: str | Path,
    format: Format,  # noqa: A002
    values: Values,
) -> Exported:
    """Export a model to a folder; values in memory are what it is checked with, and kept beside it.

    Raises:
        UsageError: an unknown format, a model that answers in texts, or a folder that holds something else, beside an
            exported model too.
        UnavailableError: a package, a compiler, or a form of an operation in that format is not there.
        DataError: a transform cannot take a value.
        MmkitError: the graph does not give what the model gives.
    """
    if format not in get_args(Format):
        raise UsageError(f"there is no format {format!r}; {one_of(get_args(Format), str(format))}")
    place = at_home(directory)
    _check_place(place)
    _check_model(model)
    check_format(format)
    cases = checked(model, values)
    flat = Flat(model.network, cases.leaves)
    try:
        program = traced(flat, cases)
        with torch.no_grad():
            expected = {what: flat(*flat.tensors(batch)) for what, batch in cases.cases.items()}
        whole_path = place.resolve()  # of which "." has a name, too; a link stays one
        fresh = whole_path.with_name(f".{whole_path.name}.fresh")
        with owned(fresh):
            try:
                _empty(fresh)
                whole = next(iter(expected.values()))
                run = write(program, fresh / FILES[format], format, cases.leaves, list(whole))
                apart = compared(run, flat, cases, expected)
                found = _described(place, fresh / FILES[format], format, cases, expected, apart)
                _write_beside(fresh, model, values, cases, whole, found)
                _exchange(fresh, whole_path)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    except UnavailableError as error:
        raise UnavailableError(f"{model.combination.label} cannot be exported as {format}: {error}") from error
    except OSError as error:
        raise UsageError(f"cannot write to {place}: {error.strerror or error}; choose another folder") from error
    return found


def _check_place(place: Path) -> None:
    if not place.exists():
        return
    if not (place.is_dir() and (is_exported(place) or not any(place.iterdir()))):
        raise UsageError(f"{place} exists and holds no exported model; choose an empty or a new folder")
    known = {*OWN, *_named_in(place / SIGNATURE)}
    if others := sorted(path.name for path in place.iterdir() if path.name not in known):
        raise UsageError(
            f"{place} holds more than an exported model, which would be lost: {', '.join(others[:5])}"
            f"{f' and {len(others) - 5} more' if len(others) > 5 else ''}; move it, or choose another folder"
        )


def _named_in(path: Path) -> Collection[str]:
    """The files that a signature names, whatever version wrote it; none where it cannot be read."""
    try:
        files: dict[str, str] = json.loads(path.read_text("utf-8"))["files"]
        return files.keys()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()


def _check_model(model: MultimodalModel) -> None:
    if model.target == "text":
        raise UsageError("a model that answers in texts makes them token by token, which is no one graph to export")
    for name, choice in model.combination.encoders.items():
        if isinstance(choice.spec, EncoderSpec) and not choice.spec.exports:
            raise UnavailableError(f"encoder {choice.name} of input {name} cannot be exported: its spec says so")


def compared(run: Run, flat: Flat, cases: Checked, expected: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
    """How far the graph is from the model, by the kind of batch.

    Raises:
        MmkitError: too far.
    """
    apart: dict[str, float] = {}
    for what, batch in cases.cases.items():
        try:
            found = run(flat.tensors(batch))
        except Exception as error:  # whatever the runtime raises on shapes that it does not take
            raise MmkitError(f"the graph fails on a batch {what}: {error}; nothing was written") from error
        for one, other in zip(found, expected[what].values(), strict=True):
            off = _apart(one, other)
            if not off <= TOLERANCE:  # NaN is not
                raise MmkitError(
                    f"the graph is {off:.2g} apart from the model on a batch {what}, {TOLERANCE:g} allowed; "
                    "nothing was written: try another format"
                )
            apart[what] = max(apart.get(what, 0.0), off)
    return apart


def _apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference; as a share of the largest number where that is above 1."""
    if found.shape != expected.shape:
        return float("inf")
    off = (found.double() - expected.double()).abs().max().item()
    return off / max(1.0, expected.double().abs().max().item())


def _described(
    place: Path,
    graph: Path,
    format: Format,  # noqa: A002
    cases: Checked,
    expected: Mapping[str, Mapping[str, Tensor]],
    apart: Mapping[str, float],
) -> Exported:
    whole, one = list(expected.values())[:2]
    outputs = {
        name: ("batch", *(size if size == one[name].shape[axis] else f"{name} {axis}" for axis, size in sizes))
        for name, sizes in ((name, list(enumerate(leaf.shape))[1:]) for name, leaf in whole.items())
    }
    return Exported(place, format, graph.stat().st_size, cases.leaves, outputs, apart)


def _write_beside(
    folder: Path, model: MultimodalModel, values: Values, cases: Checked, whole: Mapping[str, Tensor], found: Exported
) -> None:
    """Everything but the graph."""
    batches = cases.whole
    arrays: dict[str, Any] = {one.name: batches[one.input][one.leaf].numpy() for one in cases.leaves}
    arrays |= {name: leaf.numpy() for name, leaf in whole.items()}
    count = len(next(iter(values.values())))
    raw, not_kept = [], {}
    for place in range(count):
        sample = {}
        for name, column in values.items():
            try:
                sample[name] = written(column[place], f"raw.{place}.{name}", arrays)
            except TypeError as error:
                not_kept[name] = f"{error} has no form in JSON"
        raw.append(sample)
    document = description_of(saved_parts(model))
    answers = model.transforms.truth.inverse(whole)
    made_with = ("mmkit-core", "torch", "numpy", *(PACKAGES if found.format == "onnx" else ()))
    signature = {
        "schema": SCHEMA,
        "format": found.format,
        "graph": FILES[found.format],
        "inputs": [
            {
                "name": one.name,
                "input": one.input,
                "leaf": one.leaf,
                "type": one.dtype,
                "axes": list(one.shape),
                "padding": one.padding,
            }
            for one in found.inputs
        ],
        "missing": "a row of an input whose mask is False everywhere",
        "outputs": [
            {"name": name, "type": str(whole[name].dtype).removeprefix("torch."), "axes": list(axes)}
            for name, axes in found.outputs.items()
        ],
        "target": model.target,
        "names": list(model.transforms.truth.target().names),
        "precision": "float32",
        "opset": OPSET if found.format == "onnx" else None,
        "versions": {name: metadata.version(name) for name in made_with},
        "tolerance": TOLERANCE,
        "apart": dict(found.apart),
    }
    _write_json(folder / DESCRIPTION, document)
    _write_json(folder / SIGNATURE, signed(signature, folder))
    _write_json(folder / "smoke.json", {"samples": raw, "not_kept": not_kept, "answers": answers})
    with (folder / "smoke.npz").open("wb") as file:
        np.savez(file, **arrays)
    (folder / "README.md").write_bytes(utf8(page(found.format, model.combination.label, model.target)))


def _write_json(path: Path, document: object) -> None:
    path.write_bytes(utf8(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"))


def _plain(value: Any) -> Any:
    """A number of numpy or torch as that of Python."""
    return value.item()


def _empty(folder: Path) -> None:
    """Remove what a process that was killed has left."""
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _exchange(fresh: Path, place: Path) -> None:
    """Put a folder in the place of another, which is removed then."""
    for path in fresh.iterdir():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
    (fresh / ".lock").unlink(missing_ok=True)
    before = place.with_name(f".{place.name}.before")
    shutil.rmtree(before, ignore_errors=True)
    if place.exists():
        place.rename(before)
    fresh.rename(place)
    shutil.rmtree(before, ignore_errors=True)
