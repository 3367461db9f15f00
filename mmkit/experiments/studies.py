"""A study of options: which settings of a combination are tried, by what is known of those that were.

The settings are proposed by the tree-structured Parzen estimator of Optuna: Bergstra, Bardenet, Bengio and Kégl,
"Algorithms for Hyper-Parameter Optimization", NeurIPS 2011,
https://papers.nips.cc/paper/4443-algorithms-for-hyper-parameter-optimization; Akiba et al., "Optuna: A
Next-generation Hyperparameter Optimization Framework", KDD 2019, https://arxiv.org/abs/1907.10902. Its first ten
settings are drawn at random, but for the defaults, which are tried with every learning rate before others.

A study keeps nothing: asked and told in the same order with the same seed, it proposes the same settings.
"""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Mapping
from typing import Any

from mmkit.errors import UnavailableError
from mmkit.experiments.ranges import RATE, Range

TRIES = 50
"""How often a study is asked again that proposes what was tried; then as often at random."""


class Study:
    """Proposes settings of the options of a combination.

    Args:
        ranges: of the options, by name.
        seed: of what is drawn.

    Raises:
        UnavailableError: Optuna is not installed.
    """

    def __init__(self, ranges: Mapping[str, Range], seed: int) -> None:
        self._optuna = needs_optuna()
        self._ranges = ranges
        distributions = self._optuna.distributions
        self._distributions = {
            name: distributions.IntDistribution(0, len(one.values) - 1)
            if one.ordered
            else distributions.CategoricalDistribution(range(len(one.values)))
            for name, one in ranges.items()
        }
        self._study = self._optuna.create_study(
            direction="maximize", sampler=self._optuna.samplers.TPESampler(seed=seed)
        )
        defaults = {name: one.values.index(one.default) for name, one in ranges.items()}
        rates = list(range(len(ranges[RATE].values))) if RATE in ranges else []
        for rate in sorted(rates, key=lambda index: abs(index - defaults[RATE])):
            self._study.enqueue_trial({**defaults, RATE: rate})
        if not rates:
            self._study.enqueue_trial(defaults)
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self._asked: Any = None
        self._told: dict[tuple[int, ...], float | None] = {}

    @property
    def left(self) -> int:
        """How many settings were not tried."""
        return math.prod(len(one.values) for one in self._ranges.values()) - len(self._told)

    def ask(self) -> dict[str, Any] | None:
        """The values of the next setting, by option; None where there seems to be none that was not tried."""
        for number in range(2 * TRIES):
            if not self.left:
                return None
            if number >= TRIES:  # what is left is far from what is good
                self._study.enqueue_trial(self._drawn())
            self._asked = self._study.ask(self._distributions)
            if self._setting not in self._told:
                return {name: one.values[self._asked.params[name]] for name, one in self._ranges.items()}
            self._tell(self._told[self._setting])
        return None

    def tell(self, score: float | None) -> None:
        """Say how good the setting is that was asked for last, more is better; None if its training failed."""
        self._told[self._setting] = score
        self._tell(score)

    def _drawn(self) -> dict[str, int]:
        """A setting at random."""
        return {name: self._random.randrange(len(one.values)) for name, one in self._ranges.items()}

    @property
    def _setting(self) -> tuple[int, ...]:
        return tuple(self._asked.params[name] for name in self._ranges)

    def _tell(self, score: float | None) -> None:
        if score is None or not math.isfinite(score):
            self._study.tell(self._asked, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._asked, score)


def needs_optuna() -> Any:
    """Optuna, which says nothing but warnings.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise UnavailableError(
            "--search-options needs Optuna, which is not installed: pip install 'mmkit-core[search]', or leave it out: "
            "--budget alone searches combinations and learning rates"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
