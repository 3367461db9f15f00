"""Learners whose scores and whose clock are given, and the folder that keeps their records: nothing is trained."""

from abc import ABC, abstractmethod
from dataclasses import replace

from mmkit.experiments.option_search import budget_of
from mmkit.experiments.protocol import Protocol, is_done
from mmkit.experiments.search import Searched
from mmkit.records.record import SampleCounts
from tests.report.records import record

SAMPLES = 1280
"""Of train: 40 epochs of 40 steps."""


class Learners(ABC):
    """What a search within a budget trains: each training takes some time of a clock, and has a score.

    Args:
        made: a plan with a budget.
        means: what was measured before.
        failing: names of what fails.
    """

    def __init__(self, made, means, failing=()):
        self.plan, self.means, self.failing = made, means, failing
        self.known, self.clock, self.trained, self.stop_after = {}, means.setup, [], None

    def name_of(self, combination):
        """What is noted of it."""
        return combination.label

    @abstractmethod
    def seconds_of(self, run):
        """What a training takes."""

    @abstractmethod
    def score_of(self, run):
        """The score on validation."""

    @abstractmethod
    def noted(self, attempt, seconds):
        """What `trained` keeps of a training."""

    def search(self):
        """Carry the protocol out with what the folder holds; what was done, and the search."""
        searched = Searched()
        budget = budget_of(self.plan, self.means, searched, self.write)

        def take(attempt, old):
            return self.write(replace(old, purpose="comparison", phase="search", index=attempt.index))

        protocol = Protocol(
            self.plan, "split", searched.training, {}, self.attempts, take, lambda _: None, lambda _: 0, budget
        )
        return protocol.carry_out(), budget

    def write(self, made):
        self.known[made.id] = made
        return made

    def attempts(self, several):
        return [(one, self.attempt(one)) for one in several]

    def attempt(self, attempt):
        run = attempt.run
        epochs, lr = run.training.plan(SAMPLES)[0], run.training.lr
        id_ = f"{run.combination.key} {lr:g} {epochs} {run.seed}"
        if is_done(self.known.get(id_), attempt):
            return self.known[id_]
        if self.stop_after is not None and len(self.trained) >= self.stop_after:
            raise KeyboardInterrupt
        seconds = self.seconds_of(run)
        self.clock += seconds
        self.trained.append(self.noted(attempt, seconds))
        known = {
            "id": id_,
            "purpose": "comparison" if attempt.rung is None else "search",
            "phase": attempt.phase,
            "index": attempt.index,
            "rung": attempt.rung,
            "seconds": seconds,
            "run": {"training": {"lr": lr}},
            "encoders": {},
            "head": str(run.combination.head),
        }
        label = run.combination.label
        if self.name_of(run.combination) in self.failing:
            return self.write(record(label, run.seed, None, status="failed", error="x", **known))
        samples = SampleCounts(SAMPLES, 2000, 500 if attempt.tested else None, {})
        metrics = {"accuracy": 0.5} if attempt.tested else {}
        return self.write(record(label, run.seed, 0.5, self.score_of(run), metrics=metrics, samples=samples, **known))
