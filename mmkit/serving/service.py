"""The models in service: loaded, warmed, and exchanged without a lost request."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Generator

from mmkit.errors import MmkitError, UsageError
from mmkit.model.description import digest_of, unchanged
from mmkit.model.trained import MultimodalModel
from mmkit.registry.catalog import Catalog
from mmkit.serving.answering import Answers, Question
from mmkit.serving.batching import Batcher
from mmkit.serving.limits import Limits
from mmkit.serving.metrics import Metrics
from mmkit.serving.schema import Schema
from mmkit.serving.windows import unit_of
from mmkit.sharing.names import title_of

Load = Callable[[Path], MultimodalModel]
CELLS = {"number": 1.0, "category": "", "date": "2024-05-01", "tags": [""], "text": "text"}
"""A cell of each kind of column, by which a model is warmed."""
_log = logging.getLogger("mmkit.serving")


@dataclass(frozen=True)
class Loaded:
    """A model as it was loaded once from its folder.

    Args:
        model: trained.
        digest: of the folder.
        schema: what it asks for.
    """

    model: MultimodalModel
    digest: str
    schema: Schema

    @staticmethod
    def of(folder: Path, load: Load, catalog: Catalog, limits: Limits) -> Loaded:
        """The model in a folder, warm.

        Raises:
            DataError: the folder holds no model, or one that is damaged or was changed after it was saved; or another
                was saved there meanwhile.
            UnavailableError: a plugin or a device that it needs is not available.
        """
        with unchanged(folder) as digest:
            model = load(folder)
        schema = Schema.of(model, catalog)
        _warm(Answers(model, schema), limits)
        return Loaded(model, digest, schema)

    @property
    def streamed(self) -> dict[str, Any]:
        """The modalities of the inputs whose values have a course in time, by input."""
        modalities = {one.name: self.model.modalities[one.name] for one in self.schema.inputs if not one.row}
        return {name: one for name, one in modalities.items() if unit_of(one)}


@dataclass
class Served:
    """A model in service.

    Args:
        name: of it in addresses.
        folder: that it is loaded from.
        loaded: what answers now.
        batcher: of what answers now.
    """

    name: str
    folder: Path
    loaded: Loaded
    batcher: Batcher[Question]

    def document(self) -> dict[str, Any]:
        """What is asked and answered, as plain JSON."""
        streams = {name: unit_of(one) for name, one in self.loaded.streamed.items()}
        return {"name": self.name, "digest": self.loaded.digest, **self.loaded.schema.document(), "streams": streams}


class Service:
    """Models in service, each with its own queue and thread.

    Args:
        folders: of the models, by name; the first answers where none is named.
        load: reads the model in a folder.
        catalog: of modalities.
        limits: of each model.

    Raises:
        DataError: a folder holds no model, or one that is damaged or was changed.
        UnavailableError: a plugin or a device is not available.
    """

    def __init__(self, folders: Mapping[str, Path], load: Load, catalog: Catalog, limits: Limits) -> None:
        self.limits = limits
        self.metrics = Metrics()
        self.ending = False
        self.answered = 0
        """Requests that got an answer with status 200."""
        self._load, self._catalog = load, catalog
        self.loaded = {name: self._fresh(folder) for name, folder in folders.items()}
        """As they were loaded at first."""
        self._folders = dict(folders)
        self._exchanging = asyncio.Lock()
        self._old: set[asyncio.Task[None]] = set()
        self.models: dict[str, Served] = {}

    def start(self) -> None:
        """Begin to answer; inside a running event loop."""
        for name, loaded in self.loaded.items():
            self.models[name] = Served(name, self._folders[name], loaded, self._begun(name, loaded))
            self.metrics.waits(name, lambda name=name: self.models[name].batcher.rows)  # type: ignore[misc]  # bound now
        self._told()
        settle()

    @property
    def first(self) -> Served:
        """The model that answers where none is named."""
        return next(iter(self.models.values()))

    @property
    def stuck(self) -> str:
        """The name of a model whose batch takes longer than a request may; empty where none does."""
        now = time.monotonic()
        for name, one in self.models.items():
            if one.batcher.since is not None and now - one.batcher.since > self.limits.seconds:
                return name
        return ""

    async def reload(self) -> list[dict[str, Any]]:
        """Load the folders anew that have changed; all of them are exchanged, or none. No request is lost.

        What waits is answered by the model that it was asked of.

        Raises:
            UsageError: they are being exchanged already.
            MmkitError: a folder holds no model that can be loaded; those in service go on.
        """
        if self._exchanging.locked():
            raise UsageError("the models are being reloaded already; wait for it")
        async with self._exchanging:
            fresh = await asyncio.to_thread(self._changed)
            for name, loaded in fresh.items():
                one = self.models[name]
                old, one.batcher, one.loaded = one.batcher, self._begun(name, loaded), loaded
                self.metrics.reloads.labels(name).inc()
                _log.warning("model %s was exchanged; its digest is %s", name, loaded.digest)
                task = asyncio.create_task(old.close())
                self._old.add(task)
                task.add_done_callback(self._old.discard)
            self._told()
            if fresh:
                await asyncio.gather(*self._old)
                await asyncio.to_thread(settle)
            return [
                {"name": name, "digest": one.loaded.digest, "changed": name in fresh}
                for name, one in self.models.items()
            ]

    async def close(self) -> None:
        """Take no more, and return when all that wait are answered."""
        self.ending = True
        await asyncio.gather(*(one.batcher.close() for one in self.models.values()), *self._old)

    def _fresh(self, folder: Path) -> Loaded:
        return Loaded.of(folder, self._load, self._catalog, self.limits)

    def _changed(self) -> dict[str, Loaded]:
        return {
            name: self._fresh(one.folder)
            for name, one in self.models.items()
            if digest_of(one.folder) != one.loaded.digest
        }

    def _begun(self, name: str, loaded: Loaded) -> Batcher[Question]:
        batcher = Batcher(Answers(loaded.model, loaded.schema), self.limits, self.metrics.batch.labels(name).observe)
        batcher.start()
        return batcher

    def _told(self) -> None:
        self.metrics.serves({name: one.loaded.digest for name, one in self.models.items()})


def settle() -> None:
    """Let the garbage collector forget what stays: else it looks at a model and at torch in the middle of a batch.

    Without it a collection held one batch for half a second.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def names_of(folders: Sequence[Path]) -> dict[str, Path]:
    """The folders by the names that models have in addresses, those of the folders.

    Raises:
        UsageError: two folders have one name.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        name = title_of(folder)
        if name in found:
            raise UsageError(
                f"{found[name]} and {folder} are both called {name}, which is the name of the model in addresses; "
                "rename one of the folders"
            )
        found[name] = folder
    return found


def _warm(answers: Answers, limits: Limits) -> None:
    """Answer made-up samples of the model's modalities, alone and as a batch, so that no client waits for what is done
    once.

    An example that the model's transforms refuse is none of its task; then its samples lack that input.

    Raises:
        MmkitError: the model itself fails.
    """  # noqa: D205 - one sentence
    generator = Generator().manual_seed(0)
    model = answers.model
    made = {
        one.name: [{column.name: CELLS.get(column.kind) for column in one.columns}] * limits.most
        if one.row
        else [model.modalities[one.name].example(generator) for _ in range(limits.most)]
        for one in answers.schema.inputs
    }
    for count in (1, limits.most):
        try:
            answers([Question({name: values[n] for name, values in made.items()}) for n in range(count)])
        except Exception as error:
            raise MmkitError(
                f"the model fails on samples of its own modalities ({type(error).__name__}: {error}), so it cannot "
                "be served"
            ) from error
