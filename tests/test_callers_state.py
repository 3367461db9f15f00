"""What the caller has set, his seed and his other threads change no figure, and are left as they were."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import mmkit
from mmkit.contract import Samples
from mmkit.data.splits import splits_of
from mmkit.experiments.costs import measure_costs
from mmkit.experiments.plan import plan
from mmkit.registry.catalog import installed
from mmkit.system.state import generator_states
from mmkit.testing import tiny_task

INPUTS = {"picture": "image", "words": "text", "line": "series", "row": "table"}
TASK = tiny_task(INPUTS)
TRAINING = {"epochs": 2, "min_steps": 0, "batch_size": 8, "sampler": "balanced"}
ENCODERS = {"picture": "cnn:size=8,flip=0.5", "words": "text-transformer:dropout=0.2"}
QUESTIONS = [{"words": "number 3 is up"}, {"row": {"x": 1.0}, "line": [[0.5, 0.5, 0.5]] * 4}]


@contextmanager
def dtype(of: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(of)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=False)


@contextmanager
def seeds() -> Iterator[None]:
    torch.manual_seed(11)
    np.random.seed(12)
    random.seed(13)
    yield


MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "float64": lambda: dtype(torch.float64),
    "bfloat16": lambda: dtype(torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
    "seeds": seeds,
}


def fitted(**options: object) -> tuple[mmkit.MultimodalModel, object]:
    model, record = mmkit.fit(
        task=TASK,
        encoders=ENCODERS,
        fusion="attention:width=8,heads=2,dropout=0.2",
        training=TRAINING,
        progress=False,
        **options,
    )
    return model, [record.metrics, record.validation, record.history, model.predict(QUESTIONS)]


@pytest.fixture(scope="module")
def alone() -> tuple[mmkit.MultimodalModel, object]:
    return fitted()


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_of_the_caller_changes_nothing(
    mode: str, alone: tuple[mmkit.MultimodalModel, object], tmp_path: Path
) -> None:
    model, figures = alone
    with MODES[mode]():
        assert fitted()[1] == figures
        answers = model.predict(QUESTIONS)
        model.save(tmp_path / "model")
        again = mmkit.load(tmp_path / "model")
        assert again.predict(QUESTIONS) == answers
    assert answers == model.predict(QUESTIONS)
    assert again.predict(QUESTIONS) == answers
    assert {p.dtype for p in again.module.parameters()} == {torch.float32}


def test_two_fits_at_once_give_what_each_gives_alone(alone: tuple[mmkit.MultimodalModel, object]) -> None:
    figures: dict[int, object] = {}
    expected = {0: alone[1], 1: fitted(seed=1)[1]}

    def work(seed: int) -> None:
        figures[seed] = fitted(seed=seed)[1]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert figures == expected


def states() -> list[str]:
    """The states of all global generators, to compare."""
    found = generator_states()
    return [str(found.pop("torch").tolist()), *(repr(state) for state in found.values())]


@pytest.mark.full
def test_bench_with_cost_leaves_the_generators_as_they_were(tmp_path: Path) -> None:
    before = states()
    mmkit.bench(
        task=TASK,
        encoders={"words": "text-transformer"},
        fusion="concat",
        seeds=1,
        baselines=False,
        training=TRAINING,
        out=tmp_path / "suite",
        cost=True,
        progress=False,
    )
    assert states() == before


def test_what_measures_and_predicts_leaves_the_generators_as_they_were(
    alone: tuple[mmkit.MultimodalModel, object],
) -> None:
    planned = plan(installed(), task=TASK, encoders={}, fusions=["concat"], training=TRAINING, seeds=1, baselines=False)
    combinations = {one.key: one for one in planned.all}
    splits = splits_of(planned.task, installed(), planned.settings)
    before = states()
    assert measure_costs(combinations, splits, planned.training, planned.settings, rounds=2, max_seconds=1).of
    alone[0].predict(QUESTIONS)
    assert states() == before


class Drawing(TASK):  # type: ignore[misc, valid-type]
    """A task that draws from the global generators, and seeds them."""

    def split(self, name: str) -> Samples:
        samples: Samples = super().split(name)
        noise = [{"x": float(np.random.rand()) + random.random()} for _ in samples.ids]
        np.random.seed(1)
        torch.manual_seed(1)
        return Samples(samples.ids, {**samples.inputs, "row": noise}, samples.truth)


def test_a_task_that_draws_reads_and_leaves_none_of_the_callers_draws() -> None:
    scores = []
    for seed in (1, 2):
        np.random.seed(seed)
        random.seed(seed)
        record = mmkit.fit(task=Drawing, fusion="concat", encoders=ENCODERS, training=TRAINING, progress=False)[1]
        scores.append(record.metrics)
        after = np.random.rand(), random.random()
        np.random.seed(seed)
        random.seed(seed)
        assert after == (np.random.rand(), random.random())
    assert scores[0] == scores[1]
