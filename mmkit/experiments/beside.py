"""What goes beside a training where it is asked for: checkpoints, calibration, intervals, training again, controls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmkit.contract import Split
from mmkit.data.dataset import Dataset
from mmkit.data.splits import Splits
from mmkit.data.subset import with_truth
from mmkit.metrics.answers import Answers
from mmkit.metrics.calibration import calibration
from mmkit.metrics.intervals import intervals
from mmkit.metrics.tensors import Metrics
from mmkit.model.network import Model
from mmkit.model.prediction import predictions
from mmkit.model.temperature import Temperature, has_temperature
from mmkit.records.record import Calibrated, Phase, Record, Reliability
from mmkit.system.precision import Precision
from mmkit.training.calibrating import fitted_temperature
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.events import Events
from mmkit.training.frozen import Frozen
from mmkit.training.loop import Trained
from mmkit.training.phases import PROBING, TRAINING, TUNING, Chosen


@dataclass(frozen=True)
class Beside:
    """What goes beside a training; none of it unless asked for.

    Args:
        checkpoints: from which training goes on, and into which it is kept.
        events: files for TensorBoard.
        refit: the record of the same run, whose epochs are trained again on train and validation together; None trains
            on train.
        intervals: whether the record has intervals of its metrics.
        worst: the folder of a suite that keeps the worst errors on test with their samples; None keeps none.
        controls: whether the record has what the answers on test hang on.
        answers: the folder that keeps the answers on validation and test, to be blended; None keeps none.
        bits: whether the record has what they tell of the truth.
    """

    checkpoints: Checkpoints | None = None
    events: Events | None = None
    refit: Record | None = None
    intervals: bool = False
    worst: Path | None = None
    controls: bool = False
    answers: Path | None = None
    bits: bool = False


def phases_of(trained: Trained, *, tuned: bool, probing: bool) -> list[Phase]:
    """The phases of a training.

    Args:
        trained: its course.
        tuned: whether it has encoders that are tuned.
        probing: whether it ended before these were.
    """
    found = [] if trained.probed is None else [Phase(PROBING, trained.probed.planned, trained.probed.averaged)]
    last = TRAINING if not tuned else PROBING if probing else TUNING
    return [*found, Phase(last, trained.planned, trained.averaged)]


def chosen_of(record: Record) -> dict[str, Chosen]:
    """What an earlier training has chosen in each of its phases."""
    return {phase.name: Chosen(phase.planned, phase.averaged) for phase in record.phases}


def temperature_of(
    model: Model, validation: Dataset, kind: str, precision: Precision, earlier: Record | None
) -> Temperature | None:
    """The temperature of a trained model; None for a target that has none.

    Args:
        model: after its training.
        validation: the split.
        kind: of target.
        precision: of the forward pass.
        earlier: the record of the training before one that saw validation; then its temperature is taken.
    """
    if not has_temperature(kind):
        return None
    if earlier is None:
        return fitted_temperature(predictions(model, validation, precision), kind)
    return None if earlier.calibrated is None else Temperature(kind, earlier.calibrated.temperature)


def calibrated(model: Model, frozen: Frozen, splits: Splits, *, tested: bool) -> Calibrated | None:
    """What the temperature of a model does on validation, and on test if that was read; None without one."""
    if (temperature := model.temperature) is None:
        return None
    before: dict[Split, Reliability] = {}
    after: dict[Split, Reliability] = {}
    names: tuple[Split, ...] = ("validation", "test") if tested else ("validation",)
    model.temperature = None
    try:
        for name in names:
            data = frozen.dataset(splits.with_truth(name), augment=False, split=name)
            given = predictions(model, data, frozen.settings.precision)
            plain, tempered = calibration(given, temperature.kind, [None, temperature])
            before[name], after[name] = Reliability(*plain), Reliability(*tempered)
    finally:
        model.temperature = temperature
    return Calibrated(temperature.value, before, after)


def intervals_of(
    on_validation: Metrics | Answers, on_test: Metrics | Answers | None, splits: Splits
) -> dict[Split, dict[str, tuple[float, float]]]:
    """The intervals of the metrics of a run, over the groups of its samples where they have any."""

    def of(measured: Metrics | Answers, name: Split) -> dict[str, tuple[float, float]]:
        return intervals(measured, list(with_truth(splits(name)).factors.values()))

    found: dict[Split, dict[str, tuple[float, float]]] = {"validation": of(on_validation, "validation")}
    return found if on_test is None else {**found, "test": of(on_test, "test")}
