"""Event files of the runs of a suite, for TensorBoard: one folder a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmkit.experiments.run import Run
from mmkit.experiments.saving import model_folder
from mmkit.records.record import Fold, Purpose
from mmkit.training.events import Events

FOLDER = "tensorboard"


@contextmanager
def events_of(folder: Path | None, run: Run, purpose: Purpose, fold: Fold | None) -> Iterator[Events | None]:
    """The writer of a run's event files, which is closed after it.

    Args:
        folder: of the suite; None writes none.
        run: the run.
        purpose: of its record; several rates are tried with one seed, so the folder of a search names the rate.
        fold: which one it is.
    """
    if folder is None:
        yield None
        return
    parts = [model_folder(folder, run.combination).name]
    parts += [f"fold-{fold.number}"] if fold else []
    parts.append(f"seed-{run.seed}")
    parts += [f"search-lr-{run.training.lr:g}-epochs-{run.training.epochs}"] if purpose == "search" else []
    events = Events(folder / FOLDER / "-".join(parts))
    try:
        yield events
    finally:
        events.close()
