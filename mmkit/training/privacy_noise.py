"""Noise that nobody can predict, and that a resumed training draws again bit for bit.

The seed of a run is no secret: it stands in its record, and 0 is the default. Whoever knows the generator of the noise
can take it off. So a private training draws a key of 256 bits from the operating system, and everything random in its
steps hangs on it: which rows take part, the noise, dropout and augmentation. The stream is SHAKE-256 of the key, of a
purpose and of the number of the step (NIST FIPS 202, https://doi.org/10.6028/NIST.FIPS.202), which cannot be told
from chance without the key; so nothing but the key must be kept to go on. It lies in the checkpoints of the training,
and is gone when it has ended: the same command, asked again, gives another model.

What is not guarded against: numbers of floating point are no real ones, and who sees exact sums may learn from their
last bits (Mironov, "On Significance of the Least Significant Bits for Differential Privacy", CCS 2012,
https://doi.org/10.1145/2382196.2382264).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

BYTES = 32
"""Of a key."""
PRECISE = 53
"""Bits of a uniform number: all that a double has."""


@dataclass(frozen=True)
class Secret:
    """The key of a private training.

    Args:
        key: of `BYTES` bytes.
    """

    key: bytes = field(repr=False)

    @staticmethod
    def fresh() -> Secret:
        """A key from the operating system."""
        return Secret(secrets.token_bytes(BYTES))

    @property
    def seed(self) -> int:
        """A seed for what is drawn by generators: augmentation and dropout."""
        return int(self._stream("seed", 0, 1)[0] >> np.uint64(1))

    def rows(self, step: int, samples: int, rate: float) -> Tensor:
        """The samples that take part in a step, each with probability `rate` for itself: Poisson sampling.

        Args:
            step: over all epochs, from 0.
            samples: of train.
            rate: from 0 to 1.
        """
        return torch.from_numpy(np.flatnonzero(self._uniform("rows", step, samples) < rate))

    def noise(self, step: int, count: int) -> Tensor:
        """[count] numbers of a standard normal distribution, float64.

        Box and Muller, "A Note on the Generation of Random Normal Deviates", Annals of Mathematical Statistics 1958.

        Args:
            step: over all epochs, from 0.
            count: of numbers.
        """
        half = -(-count // 2)
        drawn = self._uniform("noise", step, 2 * half)
        radius, angle = np.sqrt(-2 * np.log1p(-drawn[:half])), 2 * np.pi * drawn[half:]
        return torch.from_numpy(np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count])

    def _uniform(self, purpose: str, step: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """From 0 up to, but not, 1."""
        whole = self._stream(purpose, step, count) >> np.uint64(64 - PRECISE)
        return whole.astype(np.float64) * np.float64(2.0**-PRECISE)

    def _stream(self, purpose: str, step: int, count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        given = self.key + step.to_bytes(8, "little") + purpose.encode()
        return np.frombuffer(hashlib.shake_256(given).digest(8 * count), "<u8")
