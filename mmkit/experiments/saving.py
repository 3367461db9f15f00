"""Saved models of a suite: of each combination, that of the seed which is best on validation among all records."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from mmkit.data.splits import Splits
from mmkit.experiments.remembering import remembering
from mmkit.experiments.run import Run
from mmkit.model.combination import Combination
from mmkit.model.description import DESCRIPTION, WEIGHTS
from mmkit.model.trained import MultimodalModel
from mmkit.records.choice import criterion
from mmkit.records.record import Record
from mmkit.system.files import write_json

LEFT = ".left"
"""In the folder of models: those that other processes leave."""

Execute = Callable[[Run], tuple[Record, MultimodalModel]]


def model_folder(folder: Path, combination: Combination) -> Path:
    """The folder of the saved model of a combination, in the folder of a suite."""
    name = re.sub(r"[^\w.=-]+", "_", combination.label).strip("_")
    return folder / "models" / f"{name}-{combination.key[:6]}"


class BestModels:
    """Keeps the model of each combination, of the seed that is best on validation.

    Args:
        folder: of the suite.
        splits: of its task.
        records: all of the folder, by id; those that are added later count as well.
    """

    def __init__(self, folder: Path, splits: Splits, records: Mapping[str, Record]) -> None:
        self.folder = folder
        self.splits = splits
        self.records = records

    @property
    def beside(self) -> Path:
        """The folder where another process leaves the model of a run, until it is known whether it is the best."""
        return (self.folder / "models" / LEFT).resolve()

    def keep(self, run: Run, record: Record, model: MultimodalModel | Path) -> None:
        """Save the model of a run that has just ended, unless another seed of its combination is as good or better.

        Args:
            run: that has ended.
            record: of it.
            model: of it; or the folder in which another process has left it, which is moved or removed.
        """
        rank = _rank(record)
        others = [ranked for id_, ranked in self._ranks(run).items() if id_ != record.id]
        if rank is not None and all(other < rank for other in others):
            self._save(run, record, model)
        elif isinstance(model, Path):
            shutil.rmtree(model)

    def clear(self) -> None:
        """Remove what other processes have left that were ended."""
        shutil.rmtree(self.beside, ignore_errors=True)

    def complete(self, runs: Iterable[Run], execute: Execute, tell: Callable[[str], None]) -> None:
        """Train again what is best on validation and has no saved model: it was recorded without saving."""
        for run in {run.combination.key: run for run in runs}.values():
            ranks = self._ranks(run)
            best = max(ranks, key=ranks.__getitem__, default=None)
            if best is None or ranks.get(self._saved(run), float("-inf")) >= ranks[best]:
                continue
            seed = self.records[best].seed
            tell(f"{run.combination.label}, seed {seed} is trained again to save its model")
            record, model = execute(replace(run, seed=seed))
            self._save(run, record, model)

    def _ranks(self, run: Run) -> dict[str, float]:
        """How good each recorded seed of a run's combination is on validation, by id."""
        asked = {**run.document(), "seed": None}
        ranks: dict[str, float] = {}
        for id_, record in self.records.items():
            rank = _rank(record)
            if rank is None or {**record.run, "seed": None} != asked:
                continue
            if replace(run, seed=record.seed).id(self.splits) == id_:  # not of other data or other code
                ranks[id_] = rank
        return ranks

    def _saved(self, run: Run) -> str:
        """The id of the run whose model is saved; empty without one."""
        path = model_folder(self.folder, run.combination)
        try:
            id_ = json.loads(_note(path).read_text("utf-8"))["id"]
        except (OSError, ValueError, KeyError, TypeError):
            return ""
        return str(id_) if (path / DESCRIPTION).is_file() and (path / WEIGHTS).is_file() else ""

    def _save(self, run: Run, record: Record, model: MultimodalModel | Path) -> None:
        path = model_folder(self.folder, run.combination)
        _note(path).unlink(missing_ok=True)  # what says which seed it is never stands beside another model
        if not (path / DESCRIPTION).exists():
            (path / WEIGHTS).unlink(missing_ok=True)  # of a model whose description was taken away
        if isinstance(model, Path):
            if path.exists():
                shutil.rmtree(path)
            model.replace(path)
        else:
            remembering(model, self.splits).save(path)
        note = {"metric": criterion([record]).metric, "rank": _rank(record), "seed": record.seed, "id": record.id}
        write_json(_note(path), note, indent=None)


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.score.json")  # its name may hold dots


def _rank(record: Record) -> float | None:
    """How good a compared run is on validation, more being better; None where it failed or has no such score."""
    if record.status != "ok" or record.purpose != "comparison":
        return None
    rank = criterion([record]).score([record])
    return rank if math.isfinite(rank) else None
