"""What the training loop does otherwise in a private training: it checks, keeps one key, and tells what is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmkit.data.dataset import Dataset
from mmkit.model.network import TrainingStep
from mmkit.system.precision import Precision
from mmkit.system.progress import Progress
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.optimisation import Training
from mmkit.training.privacy_checks import check_asked, check_rows_alone
from mmkit.training.privacy_descent import PrivateDescent
from mmkit.training.state import State


def privately(
    step: TrainingStep, data: Dataset, training: Training, precision: Precision
) -> tuple[Dataset, PrivateDescent | None]:
    """The data as a private training reads it, and what takes the place of its backward pass; None in another.

    Raises:
        UsageError: a component, or what is asked for, does not go with private training.
        UnavailableError: Opacus is not installed.
    """
    if training.private is None:
        return data, None
    data = data.grouped(())  # vmap takes one batch
    check_asked(step, training, precision)
    check_rows_alone(step, data, precision)
    return data, PrivateDescent.of(training, data.size, precision)


@contextmanager
def telling_spent(state: State, planned: int, fresh: Checkpoints | None, progress: Progress) -> Iterator[None]:
    """Inside, what a private training has spent is told where the user interrupts it; of another nothing is.

    Args:
        state: before the steps.
        planned: steps.
        fresh: keeps the state before the first step, so that a training never has a second key; None if it went on.
        progress: is told.
    """
    if (private := state.private) is None:
        yield
        return
    progress.note(str(private))
    if fresh is not None:
        fresh.write(state.document())
    try:
        yield
    except KeyboardInterrupt:
        spent = private.spent(state.done).epsilon
        progress.note(f"private: {state.done:,} of {planned:,} steps are done, which spent epsilon {spent:.3g}")
        raise
