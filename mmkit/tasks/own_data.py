"""A user's own table: one column is predicted from the others.

The data is read once, and described: what each column is, how rows are split, what was found. Values are read when they
are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Interval

from mmkit.contract import Samples, Split
from mmkit.errors import UsageError
from mmkit.plugin import ModalitySpec
from mmkit.registry.catalog import installed
from mmkit.registry.options import options_of, validated
from mmkit.sources.about import About
from mmkit.sources.advice import advice, recommended_encoders
from mmkit.sources.columns import Lazy, Numbered, Objects
from mmkit.sources.describing import describe
from mmkit.sources.description import Description, Request
from mmkit.sources.looking import Decode
from mmkit.sources.memory import hold
from mmkit.sources.target import Truths
from mmkit.sources.target_names import together
from mmkit.sources.targets import epoch_metric, recommended_epochs
from mmkit.sources.types import is_text
from mmkit.sources.units import SPLITS


class OwnData:
    """A user's own table: one column is predicted from the others.

    What is left out is found, with the reason: `mmkit data inspect` shows it.

    Args:
        data: CSV, TSV, JSON lines, Parquet, Arrow, tar shards, a folder of those, a folder of images, sounds or videos
            whose sub-folder is the class, a folder that `datasets` saved, or hub:NAME, what it has in its cache.
        target: the column that is to be predicted; several, with commas between them, are one target of numbers, of
            which one whose own name has a comma stands in double quotes.
        target_kind: "classes", "labels", "scalar" or "text", where the values leave it open.
        columns: kinds of columns, by name: a modality, "number", "category", "date", "date:dayfirst", "numbers", "tags"
            or "ignore".
        group: columns whose equal values stand in one split; the first decides.
        time: the column by which train is earlier than test.
        id: the column that names each row.
        split_seed: of the splits; no other seed moves them.
        splits: shares of train, validation and test; the column that says to which a row belongs; or files, as
            "validation=b.csv,test=c.csv", where `data` trains, or is the folder of them and of train=a.csv.
        files: where relative names of files begin; none is the folder of the table.
        outside: whether files may lie outside of that folder.
        folds: test every row once: so many folds, each with a test split of its own; none is one split.
        fold: which of them, from 1; 0 is all, which have no splits of their own.
        deep: whether every value is read before training; pictures that are nearly the same then stay in one split, and
            files are known by their content.

    Raises:
        UsageError: a column that there is not, or that can be read in two ways.
        DataError: data that cannot be read, or has nothing to learn from.
    """

    description: ClassVar[str] = (
        "A user's own table. The target is a column of it; the others are inputs, by what they hold. Rows are split "
        "60 % train, 15 % validation, 25 % test, each class alike, with copies in one split, unless the user says "
        "otherwise; data.json in the folder of a suite says what was found and how it was split."
    )

    def __init__(
        self,
        *,
        data: str = "",
        target: str = "",
        target_kind: Literal["classes", "labels", "scalar", "text"] | None = None,
        columns: dict[str, str] | None = None,
        group: tuple[str, ...] = (),
        time: str | None = None,
        id: str | None = None,  # noqa: A002 (the user's word for it)
        split_seed: Annotated[int, Ge(0)] = 0,
        splits: str = "60/15/25",
        files: str | None = None,
        outside: bool = False,
        folds: Annotated[int, Interval(ge=2, le=100)] | None = None,
        fold: Annotated[int, Ge(0)] = 0,
        deep: bool = False,
    ) -> None:
        request = request_of(
            {
                "data": data,
                "target": target,
                "target_kind": target_kind,
                "columns": columns,
                "group": group,
                "time": time,
                "id": id,
                "split_seed": split_seed,
                "splits": splits,
                "files": files,
                "outside": outside,
                "folds": folds,
                "fold": fold,
                "deep": deep,
            }
        )
        self.found = found = describe_installed(request)
        if found.target is None:
            names = ", ".join(found.source.columns)
            raise UsageError(f"which column of {found.source.name} is to be predicted? --target COLUMN, one of {names}")
        if found.problems:
            raise UsageError(found.problems[0])
        self.folds = folds or 0
        self.fold = fold
        self.inputs: Mapping[str, str] = {one.name: one.modality for one in found.inputs}
        self.target = found.target.kind
        self.metric = found.target.metric
        self.epoch_metric = epoch_metric(found.target, found.count("validation"))
        self.encoders: Mapping[str, str] = recommended_encoders(found)
        self.training: Mapping[str, Any] = {"epochs": recommended_epochs(found.count("train"))}

    @staticmethod
    def options(data: Any, target: str | Sequence[str] | None, about: About) -> dict[str, Any]:
        """The options, of data that Python gives: a path, or a table in memory.

        Raises:
            UsageError: it is neither.
            DataError: the table cannot be read.
        """
        return options_of_python(data, target, about)

    @staticmethod
    def describe(options: Mapping[str, object]) -> Description:
        """What is found in data, with or without a target.

        Args:
            options: as the constructor takes them.

        Raises:
            UsageError: an option that there is not, or cannot be followed.
            DataError: data that cannot be read, or has nothing to learn from.
        """
        found = describe_installed(request_of(validated("data", options, options_of(OwnData))))
        return replace(found, advice=advice(found, installed()))

    def told(self, width: int) -> str:
        """What was found, as lines of at most `width` characters."""
        return self.found.text(width)

    def summary(self) -> list[str]:
        """Target, splits and findings, a line each."""
        return self.found.summary()

    @property
    def order(self) -> Sequence[str]:
        """The ids of all rows, in their order."""
        return self.found.names

    @cached_property
    def identity(self) -> str:
        """What a run is known by in place of the options: what was read, not where it was."""
        return f"own-data {self.found.identity}"

    @property
    def known_by_time(self) -> list[str]:
        """The inputs whose values are files that are known by size and time; none with `deep`."""
        columns = self.found.source.columns
        named = [one for one in self.found.inputs if one.modality not in {*TEXTS, "series"}]
        first = {one.name: columns[one.columns[0]] for one in named}
        return [name for name, one in first.items() if not self.found.request.deep and _names_files(one)]

    def document(self) -> dict[str, Any]:
        """What was found, for `data.json`."""
        return self.found.document()

    def layout(self) -> dict[str, Any]:
        """How inputs and truth are made of columns, which a saved model keeps."""
        return self.found.layout()

    @cached_property
    def _names(self) -> Numbered | Objects:
        """The ids of all rows: one store, so that splits can be joined."""
        return Numbered() if self.found.ids is None else Objects(self.found.ids)

    @cached_property
    def _truths(self) -> Truths:
        """The truth of all rows.

        Raises:
            UsageError: the data has no target.
        """
        if self.found.target is None:
            raise UsageError("the data has no target")
        return Truths(self.found.target)

    def split(self, name: Split) -> Samples:
        """The rows of a split that have truth, in an order that no column decides."""
        found, side = self.found, SPLITS.index(name)
        if self.folds and not self.fold:
            raise UsageError(
                f"each of {self.folds} folds has splits of its own, and only a comparison (`mmkit bench`) has use for "
                "all; leave out --folds, or name one with the option fold"
            )
        rows = found.rows(side)
        return Samples(
            Lazy(self._names, rows),
            {one.name: found.column(one, side) for one in found.inputs},
            Lazy(self._truths, rows),
            {name: Lazy(Objects(labels), rows) for name, labels in found.groups.items()} or None,
        )


TEXTS = ("text", "table")
"""Modalities whose values name no files."""


def _names_files(column: Any) -> bool:
    return not isinstance(column, list) and is_text(column.type)


def describe_installed(request: Request) -> Description:
    """The description of data, by the modalities that are installed."""
    catalog = installed()
    specs = [entry.spec for entry in catalog.available("modality")]

    def decoder(modality: str) -> Decode:
        decode: Decode = catalog.find("modality", modality).load()().decode
        return decode

    return describe(request, [spec for spec in specs if isinstance(spec, ModalitySpec)], decoder)


def options_of_python(data: Any, target: str | Sequence[str] | None, about: About) -> dict[str, Any]:
    """The options of the task, of data that is a path or a table in memory.

    Raises:
        UsageError: it is neither.
        DataError: the table cannot be read.
    """
    options: dict[str, Any] = {name: value for name, value in about.items() if value is not None}
    options["data"] = _named(data)
    if target is not None:
        options["target"] = target if isinstance(target, str) else together(target)
    if "group" in options:
        options["group"] = (options["group"],) if isinstance(options["group"], str) else tuple(options["group"])
    if isinstance(splits := options.get("splits"), Mapping):
        parts = {
            name: os.fspath(part) if isinstance(part, str | os.PathLike) else hold(part)
            for name, part in splits.items()
        }
        options["splits"] = ",".join(f"{name}={part}" for name, part in parts.items())
    if "files" in options:
        options["files"] = os.fspath(options["files"])
    if "columns" in options:
        options["columns"] = dict(options["columns"])
    return options


def _named(data: Any) -> str:
    return os.fspath(data) if isinstance(data, str | os.PathLike) else hold(data)


def request_of(options: Mapping[str, Any]) -> Request:
    """The request that options of the task are."""
    kinds = options["columns"] or {}
    return Request(
        **{
            **options,
            "target": (options["target"],) if options["target"].strip() else (),
            "columns": tuple(sorted(kinds.items())),
            "group": tuple(options["group"]),
        }
    )
