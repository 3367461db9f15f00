"""What epsilon a private training spends, and the noise that keeps it within one: by the accountant of Opacus.

Mironov, Talwar and Zhang, "Rényi Differential Privacy of the Sampled Gaussian Mechanism", 2019,
https://arxiv.org/abs/1908.10530; Yousefpour et al., "Opacus: User-Friendly Differential Privacy Library in PyTorch",
2021, https://arxiv.org/abs/2109.12298. Two sets of rows are neighbours where one has one row more than the other.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mmkit.errors import UnavailableError, UsageError
from mmkit.training.privacy import Private


@dataclass(frozen=True)
class PrivacySpent:
    """What a differentially private training has spent.

    Args:
        epsilon: spent by `steps`, for whoever sees the weights.
        delta: the probability that more was lost.
        clip: norm to which the gradient of each row was clipped.
        noise: deviation of the noise in multiples of `clip`.
        rate: the probability by which a row took part in a step.
        steps: that were done.
        accountant: that counted.
    """

    epsilon: float
    delta: float
    clip: float
    noise: float
    rate: float
    steps: int
    accountant: str


@dataclass(frozen=True)
class Account:
    """The account of a private training.

    Args:
        asked: by the user.
        noise: deviation in multiples of the clipping norm.
        rate: the probability by which a row takes part in a step.
    """

    asked: Private
    noise: float
    rate: float

    @staticmethod
    def of(asked: Private, *, samples: int, epochs: int, steps: int) -> Account:
        """The account of a training.

        Args:
            asked: by the user.
            samples: of train.
            epochs: that are planned.
            steps: of an epoch; a row takes part in one of them on average.

        Raises:
            UnavailableError: Opacus is not installed.
            UsageError: no noise is enough, or delta is too large for so few samples.
        """
        assert asked.delta is not None  # noqa: S101 (`Private` has checked it)
        if asked.delta * samples >= 1:
            raise UsageError(
                f"delta={asked.delta:g} allows giving away one of {samples:,} rows as it is; take less than "
                f"1 / {samples:,}, such as delta={_below(samples):g}"
            )
        noise = asked.noise
        if noise is None:
            assert asked.epsilon is not None  # noqa: S101 (likewise)
            noise = noise_for(asked.epsilon, asked.delta, 1 / steps, epochs * steps)
        return Account(asked, noise, 1 / steps)

    def spent(self, steps: int) -> PrivacySpent:
        """What so many steps spend."""
        assert self.asked.delta is not None  # noqa: S101 (`Private` has checked it)
        return PrivacySpent(
            epsilon_of(self.noise, self.asked.delta, self.rate, steps),
            self.asked.delta,
            self.asked.clip,
            self.noise,
            self.rate,
            steps,
            f"RDP of opacus {opacus().__version__}",
        )


@lru_cache(maxsize=64)
def noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The least deviation of noise, in multiples of the clipping norm, by which no more than `epsilon` is spent.

    Found by halving, so that up to a hundredth of epsilon, or .01, is left unspent.

    Raises:
        UnavailableError: Opacus is not installed.
        UsageError: no noise is enough.
    """
    opacus()
    if epsilon <= (least := least_epsilon(delta)):
        raise UsageError(
            f"epsilon={epsilon:g} is below {least:.3g}, the least that the accountant can show at delta={delta:g}, "
            "whatever the noise; take a larger one"
        )
    find = importlib.import_module("opacus.accountants.utils").get_noise_multiplier
    try:
        with _loose():
            return float(
                find(
                    target_epsilon=epsilon,
                    target_delta=delta,
                    sample_rate=rate,
                    steps=steps,
                    accountant="rdp",
                    epsilon_tolerance=min(0.01, epsilon / 100),
                )
            )
    except ValueError as error:
        raise UsageError(
            f"epsilon={epsilon:g} is too little for {steps:,} steps at delta={delta:g}, whatever the noise; take a "
            "larger epsilon or fewer epochs"
        ) from error


def least_epsilon(delta: float) -> float:
    """What the accountant says of a training that tells nothing at all: its bound is not better than that.

    Raises:
        UnavailableError: Opacus is not installed.
    """
    opacus()
    orders = importlib.import_module("opacus.accountants").RDPAccountant.DEFAULT_ALPHAS
    with _loose():
        spent = importlib.import_module("opacus.accountants.analysis.rdp").get_privacy_spent
        return float(spent(orders=orders, rdp=[0.0] * len(orders), delta=delta)[0])


@lru_cache(maxsize=64)
def epsilon_of(noise: float, delta: float, rate: float, steps: int) -> float:
    """What epsilon is spent by a number of steps; 0 by none.

    Raises:
        UnavailableError: Opacus is not installed.
    """
    opacus()
    accountant = importlib.import_module("opacus.accountants").RDPAccountant()
    accountant.history = [(noise, rate, steps)] if steps else []
    with _loose():
        return float(accountant.get_epsilon(delta=delta))


def opacus() -> Any:
    """Opacus.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        return importlib.import_module("opacus")
    except ImportError as error:
        raise UnavailableError(
            "private training counts epsilon by Opacus, which is not installed: pip install 'mmkit-core[private]'"
        ) from error


@contextmanager
def _loose() -> Iterator[None]:
    """Inside, Opacus does not warn that orders beyond those it tries might show a smaller epsilon: its own holds."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
        yield


def _below(samples: int) -> float:
    """A power of ten that is below 1 / samples."""
    return float(f"1e-{len(str(samples))}")
