"""Optimisation: the options of training, parameter groups, and the learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, MinLen, doc
from torch import nn
from torch.optim import Optimizer

from mmkit.model.missing import Absence
from mmkit.training.privacy import FORM, Private

TUNE_EPOCHS = 10
"""Of `epochs`, how many at most encoders are tuned for, unless `tune_epochs` says it."""
TUNE_MICRO_BATCH = 8
TUNE_AVERAGE = 3


@dataclass(frozen=True, kw_only=True)
class Training:
    """The options of training.

    AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, https://arxiv.org/abs/1711.05101.

    Where pretrained weights of an encoder are tuned, training has two phases, after Kumar et al., "Fine-Tuning can
    Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022, https://arxiv.org/abs/2202.10054. In
    the first, `probe`, the encoder stays as it came and all else is trained on its features, as with a frozen encoder.
    In the second, all is trained, for `tune_epochs`; its start counts as epoch 0. So on validation the result is never
    behind the first phase's.

    Args:
        epochs: maximum number of epochs; raised if `min_steps` needs more.
        min_steps: minimum number of steps; 0 if only the number of epochs is given.
        batch_size: maximum number of samples per step; an epoch is divided into batches of nearly equal size.
        lr: peak learning rate of what starts from random weights, after a linear warm-up; it decays to zero along a
            cosine.
        warmup: share of the steps in the warm-up.
        weight_decay: of AdamW, of what starts from random weights.
        clip: maximum norm of the gradient; none is no clipping.
        patience: epochs without a better validation score before training stops; none never stops early.
        copies: number of augmented copies of the training split that a frozen encoder encodes, one used in each epoch;
            0 encodes in every epoch.
        sampler: "shuffle" uses every sample once per epoch; "balanced" samples classes equally, with replacement;
            "over" repeats samples of rarer classes until all are as frequent as the most frequent one; "under" leaves
            out samples of others until all are as frequent as the rarest, in each epoch others.
        mixup: alpha of mixup: pairs of samples are mixed after encoding, their losses as well, by shares of the
            distribution Beta(alpha, alpha); 0 mixes none.
        missing: what a fusion sees of a missing input, in training and afterwards: "neutral" is nothing, "token" one
            learned vector an input, "bank" one an input and pattern of missing inputs. Heads of single inputs and
            objectives see that it is missing.
        modality_dropout: probability by which an input that is there is left out of the fusion, for each sample anew,
            and never all of its inputs; in training alone. Where the fusion acts within encoders, it is left out before
            them.
        modality_draw: "inputs" leaves out each input for itself; "subsets" keeps, with the probability
            `modality_dropout`, one of all subsets of a sample's inputs, each as often.
        probe: train on features of the untuned encoders first, if encoders are tuned.
        tune_epochs: maximum number of epochs in which encoders are tuned; none is that of `epochs`, 10 at most.
        tune_lr: peak learning rate of pretrained weights; it falls from block to block by the encoder's `decay`, and is
            ten times as high for adapters.
        tune_head_lr: that of what started from random weights, while encoders are tuned, if they are probed first.
        tune_weight_decay: of pretrained matrices; norms and biases have none.
        micro_batch: maximum number of samples that pass through the model at once; gradients of a batch are summed up,
            which is the same up to rounding, but for a batch norm, a balance method, and an objective or a fusion's
            penalty that compares samples. None is 8 while encoders are tuned, without any of these, and else the whole
            batch.
        average: maximum number of the best epochs whose weights are averaged, where that is better on validation; none
            is 3 while encoders are tuned, and else 1.
        ema: decay of an exponential moving average of the weights over steps, which is validated and kept in their
            place; none keeps the weights.
        compile: compile the training step by `torch.compile`; where that is not possible, it is said, and the step runs
            as it is. Results are the same up to rounding.
        calibrate: after training, divide the logits of classes or labels by one temperature that is best on validation
            by log loss; no other target has one.
        private: differentially private training, "epsilon=E,delta=D": in each step rows take part by chance, the
            gradient of each is clipped to the norm `clip` (1), and noise is added, so that whoever sees the weights
            learns little of any one row; `noise` in place of epsilon is told its epsilon. None is plain training.
    """

    epochs: Annotated[int, Gt(0)] = 40
    min_steps: Annotated[int, Ge(0)] = 300
    batch_size: Annotated[int, Gt(0)] = 32
    lr: Annotated[float, Gt(0)] = 2e-3
    warmup: Annotated[float, Interval(ge=0, le=1)] = 0.1
    weight_decay: Annotated[float, Ge(0)] = 0.05
    clip: Annotated[float, Gt(0)] | None = 1.0
    patience: Annotated[int, Gt(0)] | None = 20
    copies: Annotated[int, Ge(0)] = 0
    sampler: Literal["shuffle", "balanced", "over", "under"] = "shuffle"
    mixup: Annotated[float, Ge(0)] = 0.0
    missing: Literal["neutral", "token", "bank"] = "neutral"
    modality_dropout: Annotated[float, Interval(ge=0, le=1)] = 0.0
    modality_draw: Literal["inputs", "subsets"] = "inputs"
    probe: bool = True
    tune_epochs: Annotated[int, Gt(0)] | None = None
    tune_lr: Annotated[float, Gt(0)] = 1e-4
    tune_head_lr: Annotated[float, Gt(0)] = 2e-4
    tune_weight_decay: Annotated[float, Ge(0)] = 1e-3
    micro_batch: Annotated[int, Gt(0)] | None = None
    average: Annotated[int, Gt(0)] | None = None
    ema: Annotated[float, Interval(gt=0, lt=1)] | None = None
    compile: bool = False
    calibrate: bool = False
    private: Annotated[Private | None, doc(f"{FORM}[,clip=C] or none")] = None

    def plan(self, samples: int) -> tuple[int, int]:
        """The number of epochs, and of steps per epoch, for a number of samples."""
        steps = math.ceil(samples / self.batch_size)
        return max(self.epochs, math.ceil(self.min_steps / steps)), steps

    @property
    def absence(self) -> Absence:
        """How missing inputs are treated."""
        return Absence(self.missing, self.modality_dropout, self.modality_draw)

    def tuning(self, *, divisible: bool) -> Training:
        """The options of the phase in which encoders are tuned.

        Args:
            divisible: whether micro-batches give what the whole batch gives, up to rounding.
        """
        return replace(
            self,
            epochs=min(self.epochs, TUNE_EPOCHS) if self.tune_epochs is None else self.tune_epochs,
            min_steps=0,
            lr=self.tune_head_lr if self.probe else self.lr,
            average=self.average or TUNE_AVERAGE,
            micro_batch=TUNE_MICRO_BATCH if self.micro_batch is None and divisible else self.micro_batch,
        )


@dataclass(frozen=True, kw_only=True)
class Search:
    """The options of the search for a learning rate, which stand beside those of `Training`.

    Args:
        rates: learning rates of which each combination gets the best on validation, where no `lr` is given.
    """

    rates: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (5e-4, 2e-3, 1e-2)


def parameter_groups(step: nn.Module, training: Training) -> list[dict[str, Any]]:
    """The trained parameters by peak learning rate, as `peak`, and weight decay.

    Those that `rates` of a module names are pretrained: their share is of `tune_lr`, and only matrices decay.
    """
    shares: dict[int, float] = {}
    for module in step.modules():
        rates: Mapping[str, float] = getattr(module, "rates", {})
        for name, share in rates.items():
            shares[id(module.get_parameter(name))] = share
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in step.parameters():
        if parameter.requires_grad:
            key = training.lr, training.weight_decay
            if id(parameter) in shares:
                decay = training.tune_weight_decay if parameter.ndim > 1 else 0.0
                key = shares[id(parameter)] * training.tune_lr, decay
            groups.setdefault(key, []).append(parameter)
    return [{"params": parameters, "peak": peak, "weight_decay": decay} for (peak, decay), parameters in groups.items()]


def set_rates(optimizer: Optimizer, share: float) -> None:
    """Set the learning rate of each of `parameter_groups` to a share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def learning_rate_share(step: int, steps: int, warmup: float) -> float:
    """The learning rate of a step as a share of the peak: linear warm-up, then a cosine to zero."""
    warm = warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
