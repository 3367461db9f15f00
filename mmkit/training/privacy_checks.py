"""Which models can be trained privately: those whose gradient of a row hangs on that row alone.

Nothing here knows a component by its name. A few rows are taken through a training step, then again with other rows in
the second half and the same draws of chance: what changes in the first half has mixed rows. What changes in buffers was
kept from rows, and no noise covers it. And what has no rule for `torch.func.vmap` cannot take the gradients of rows
alone.

Axes: B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from traceback import walk_tb
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from mmkit.contract import Batch, Features, ModelOutput
from mmkit.data.dataset import Dataset
from mmkit.data.readings import InputBatch
from mmkit.data.sampling import augmentation
from mmkit.errors import UsageError
from mmkit.layers.packing import over_all_tokens
from mmkit.model.network import TrainingStep
from mmkit.pretrained.tuning import is_tuned
from mmkit.system.precision import Precision
from mmkit.system.ranks import ranks
from mmkit.system.state import generator_states, own_state, restore_generators
from mmkit.training.optimisation import Training
from mmkit.training.privacy_gradients import encoded_before, gradients_by_row, trained

ROWS = 16
"""That are looked at."""
LOOKS = 8
"""At how many rows so often, where inputs are missing in them."""
TOLERANCE = 1e-10
"""By which the same draws on the same shapes may differ, as a share of the greatest number."""
Found = tuple[list[tuple[str, Tensor]], dict[str, Tensor]]
"""What each part of a step finds, [B ...], with its name, in the order of the step; and the buffers after it."""


def check_asked(step: TrainingStep, training: Training, precision: Precision) -> None:
    """Refuse what trains beside the gradients of rows, or more than once.

    Raises:
        UsageError: with the reason, and what to do.
    """
    if step.balance is not None:
        raise UsageError(
            f"private training takes the gradient of each row alone, and balance {step.balance.name} changes those of "
            "a batch; leave out the balance method"
        )
    if step.teachers:
        raise UsageError(
            "private training learns from nothing that saw its rows without noise, and teachers did; leave out the "
            "objective that reads them"
        )
    if ranks().world > 1:
        raise UsageError("private training is of one process; start it without a launcher of several")
    if precision == "float16":
        raise UsageError(
            "private training clips gradients as they are, and float16 scales them by what overflowed before; take "
            "--precision bfloat16 or float32"
        )
    tuned = [given for given, name in step.model.names.items() if is_tuned(step.model.encoders[name])]
    if training.probe and tuned:
        raise UsageError(
            f"the encoder of {' and '.join(tuned)} is tuned, which trains twice on the same rows; take "
            "-o train.probe=false with private training, or tune=frozen"
        )


def check_rows_alone(step: TrainingStep, data: Dataset, precision: Precision) -> None:
    """Check that in a training step the losses of a row hang on that row alone, and that nothing of it is kept.

    Args:
        step: the model with its losses; none of it is changed.
        data: of the training split.
        precision: of the forward pass.

    Raises:
        UsageError: a component mixes rows, keeps something of them, or has no rule for `vmap`; the message names it.
    """
    with own_state(data.device, seed=0):
        index, batch, truth = max(_looked_at(data), key=lambda one: _together(one[1]))
        check_batch(step, batch, {**truth, "index": index.to(data.device)}, precision)


def _looked_at(data: Dataset) -> Iterator[tuple[Tensor, Mapping[str, InputBatch], Batch]]:
    """Rows from all over the split, which may be sorted; others, until each half has rows with all inputs."""
    stride = max(1, data.size // ROWS)
    for first in range(min(stride, LOOKS)):
        index = torch.arange(first, data.size, stride)[:ROWS]
        index = torch.cat([index[::2], index[1::2]])  # so that each half is from all over, too
        batch, truth = data.batch(index, augmentation(0, 0, 0))
        yield index, batch, truth
        if _together(batch)[0] > 1:
            return


def _together(batch: Mapping[str, InputBatch]) -> tuple[int, int]:
    """In the half of a batch that has fewer: the rows with all inputs, and those with the input that is rarest."""
    masks = [one.mask if isinstance(one, Features) else cast(Batch, one)["mask"] for one in batch.values()]
    there = torch.stack([mask.unsqueeze(-1).flatten(1).any(1) for mask in masks])  # [M B]
    halves = there.tensor_split([there.shape[1] // 2], 1)
    return (
        min(int(half.all(0).sum()) for half in halves),
        min(int(half.sum(1).min()) for half in halves),
    )


def check_batch(step: TrainingStep, batch: Mapping[str, InputBatch], truth: Batch, precision: Precision) -> None:
    """As `check_rows_alone`, of a batch with the place of each row, `index` [B]; it draws from torch's generator."""
    mode = step.training
    step.train()
    try:
        ready = encoded_before(step, batch)
        _check_mixing(step, ready, truth)
        try:
            gradients_by_row(step, trained(step), ready, truth, precision)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise UsageError(
                f"{_raiser(step, error)} cannot be trained privately: torch has no rule for its gradients of single "
                f"rows ({_first_line(error)}); {_instead(_raiser(step, error))}"
            ) from error
    finally:
        step.train(mode)


def _check_mixing(step: TrainingStep, batch: Mapping[str, InputBatch], truth: Batch) -> None:
    size = len(truth["mask"])
    if size < 2:
        return
    half = size // 2
    batch, truth = tree_map(_precise, (dict(batch), dict(truth)))
    other = torch.arange(size, device=truth["mask"].device) % half  # the first half stays, and stands in for the second
    changed: tuple[Mapping[str, InputBatch], Batch] = tree_map(lambda leaf: leaf.index_select(0, other), (batch, truth))
    state = generator_states(truth["mask"].device)
    with over_all_tokens():  # as where the gradients of rows are taken
        before, buffers = _parts(step, batch, truth, _copies(step))
        restore_generators(state)
        after, _ = _parts(step, *changed, _copies(step))
    for (part, one), (_, two) in zip(before, after, strict=True):
        if not _same(one[:half], two[:half]):
            raise UsageError(
                f"{part} looks at several rows at once in training, and private training takes each alone; "
                f"{_instead(part)}"
            )
    for name, one in step.named_buffers():
        if not torch.equal(_precise(one), buffers[name]):
            raise UsageError(
                f"{_owner(step, name)} keeps something in training ({name}), and private training keeps nothing of its "
                f"rows but sums with noise; {_instead(_owner(step, name))}"
            )


def _same(one: Tensor, two: Tensor) -> bool:
    """Whether tensors are equal, but for rounding at the size of the greatest number in them."""
    one, two = one.double(), two.double()
    most = torch.nan_to_num(one).abs().max() if one.numel() else 0.0
    return torch.allclose(one, two, rtol=0.0, atol=TOLERANCE * float(most), equal_nan=True)


def _copies(step: TrainingStep) -> dict[str, Tensor]:
    return {name: _precise(one).clone() for name, one in step.named_buffers()}


def _precise(one: Tensor) -> Tensor:
    """In float64, in which a loss of far-off pairs is no rounding; MPS has none, so that the CPU computes there."""
    one = one.cpu() if one.device.type == "mps" else one
    return one.double() if one.is_floating_point() else one


def _parts(
    step: TrainingStep,
    batch: Mapping[str, InputBatch],
    truth: Batch,
    buffers: Mapping[str, Tensor],
) -> Found:
    """What a step finds with such buffers, which it may change."""
    weights = {name: _precise(one.detach()) for name, one in step.named_parameters()}
    with torch.no_grad():
        named = {f"step.{name}": one for name, one in {**weights, **buffers}.items()}
        found: Found = functional_call(_Parts(step), named, (batch, truth))
    return found


class _Parts(nn.Module):
    """A step that gives what its parts find in place of its losses."""

    def __init__(self, step: TrainingStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, batch: Mapping[str, InputBatch], truth: Batch) -> Found:
        output = self.step.model(batch)
        found = list(_of_model(self.step, output))
        found.append(("the head", self.step.model.output_head.loss(output.output, truth)))
        for given, name in self.step.names.items():
            found.append((f"objective {given}", self.step.objectives[name](output, truth)))
        return found, dict(self.step.named_buffers())


def _of_model(step: TrainingStep, output: ModelOutput) -> Iterator[tuple[str, Tensor]]:
    called = {name: given for given, name in step.model.names.items()}
    for name, features in output.features.items():
        yield from _of(f"the encoder of {called[name]}", features)
    yield from _of("the fusion", output.fused)
    yield "the head", output.output
    for name, one in output.unimodal.items():
        yield f"the head of {called[name]}", one


def _of(part: str, features: Features) -> Iterator[tuple[str, Tensor]]:
    yield part, features.tokens
    if features.pooled is not None:
        yield part, features.pooled
    for penalty in features.penalties.values():
        yield part, penalty


def _owner(step: TrainingStep, name: str) -> str:
    """The part of a step that a parameter, a buffer or a module belongs to, in words."""
    places = {f"model.encoders.{safe}": f"the encoder of {given}" for given, safe in step.model.names.items()}
    places |= {f"model.unimodal.{safe}": f"the head of {given}" for given, safe in step.model.names.items()}
    places |= {f"objectives.{safe}": f"objective {given}" for given, safe in step.names.items()}
    places |= {"model.fusion": "the fusion", "model.head": "the head", "model.missing": "train.missing"}
    return next((told for place, told in places.items() if f"{name}.".startswith(f"{place}.")), "the model")


def _instead(part: str) -> str:
    """What to do about a part."""
    if part.startswith("objective"):
        return "leave it out (--objective none, where the fusion brings it along)"
    return "choose another, such as one without recurrence and batch normalisation"


def _raiser(step: TrainingStep, error: Exception) -> str:
    """The part of a step in whose forward pass an error was raised."""
    modules = {id(module): name for name, module in step.named_modules()}
    for frame, _ in walk_tb(error.__traceback__):
        name = modules.get(id(frame.f_locals.get("self")), "")
        if (told := _owner(step, name)) != "the model":
            return told
    return "the model"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(". ")[:100] if str(error).strip() else type(error).__name__
