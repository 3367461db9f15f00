"""The steps of a private training: rows by chance, clipped gradients, noise, and the account of what they spend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mmkit.contract import Batch
from mmkit.data.readings import InputBatch
from mmkit.model.network import TrainingStep
from mmkit.system.precision import Precision
from mmkit.training.optimisation import Training
from mmkit.training.privacy_accounting import Account, PrivacySpent
from mmkit.training.privacy_gradients import clipped_sum, trained
from mmkit.training.privacy_noise import Secret


@dataclass
class PrivateDescent:
    """Takes the place of the backward pass.

    Args:
        account: of what is spent.
        samples: of train.
        steps: of an epoch.
        secret: on which all chance hangs.
        most: rows whose gradients are computed at once; None is by the number of parameters.
        precision: of the forward pass.
    """

    account: Account
    samples: int
    steps: int
    secret: Secret
    most: int | None = None
    precision: Precision = "float32"

    @staticmethod
    def of(training: Training, samples: int, precision: Precision) -> PrivateDescent:
        """That of a private training on so many rows, with a fresh key.

        Raises:
            UnavailableError, UsageError: as `planned_account`.
        """
        steps = training.plan(samples)[1]
        return PrivateDescent(
            planned_account(training, samples), samples, steps, Secret.fresh(), training.micro_batch, precision
        )

    def batches(self, epoch: int) -> list[Tensor]:
        """The rows of each step of an epoch, from 1; there may be none in one."""
        first = (epoch - 1) * self.steps
        return [self.secret.rows(first + number, self.samples, self.account.rate) for number in range(self.steps)]

    def set_gradients(self, step: TrainingStep, batch: Mapping[str, InputBatch], truth: Batch, number: int) -> None:
        """Set the gradients of all parameters: the sum of the clipped ones, with noise, by the expected number of rows.

        Args:
            step: the model with its losses.
            batch: of the rows that take part; empty where there is none, so that the noise is alone.
            truth: of these rows.
            number: of the step over all epochs, from 0.
        """
        clip = self.account.asked.clip
        sums = (
            {name: torch.zeros_like(one) for name, one in trained(step).items()}
            if not batch
            else clipped_sum(step, batch, truth, clip=clip, most=self.most, precision=self.precision)
        )
        drawn = self.secret.noise(number, sum(one.numel() for one in sums.values())) * (clip * self.account.noise)
        parts = drawn.split([one.numel() for one in sums.values()])
        expected = self.samples * self.account.rate
        for (name, summed), noise in zip(sums.items(), parts, strict=True):
            noisy = summed + noise.view(summed.shape).to(summed.dtype).to(summed.device)
            step.get_parameter(name).grad = noisy / expected

    def document(self) -> dict[str, Any]:
        """What `restore` needs, as a checkpoint takes it: the key, and the noise that its steps have had."""
        return {"key": self.secret.key.hex(), "noise": self.account.noise}

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take back what `document` gave."""
        self.secret = Secret(bytes.fromhex(document["key"]))
        self.account = replace(self.account, noise=document["noise"])

    def spent(self, steps: int) -> PrivacySpent:
        """What so many steps have spent."""
        return self.account.spent(steps)

    def __str__(self) -> str:
        """What is planned, in a line."""
        expected = self.samples * self.account.rate
        return (
            f"private: in each step a row takes part with probability {self.account.rate:.3g} ({expected:,.0f} of "
            f"{self.samples:,} on average), gradients are clipped to {self.account.asked.clip:g}, the noise is "
            f"{self.account.noise:.3g} times that"
        )


def planned_account(training: Training, samples: int) -> Account:
    """The account of a private training on so many rows.

    Raises:
        UnavailableError: Opacus is not installed.
        UsageError: no noise is enough, or delta is too large.
    """
    assert training.private is not None  # noqa: S101 (only a private one has an account)
    epochs, steps = training.plan(samples)
    return Account.of(training.private, samples=samples, epochs=epochs, steps=steps)
