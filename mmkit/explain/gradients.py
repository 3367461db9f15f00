"""Integrated gradients: how much of the way from a baseline to an input each number of it goes.

Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017, https://arxiv.org/abs/1703.01365; by
captum: Kokhlikyan et al., "Captum: A unified and generic model interpretability library for PyTorch", 2020,
https://arxiv.org/abs/2009.07896. They sum to what the output gains on that way, which is checked: steps are added until
it holds, or there are `MOST` of them.

Axes: B batch, T tokens, D width of an embedding.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmkit.errors import UnavailableError
from mmkit.explain.sample import Sample

FEWEST, MOST = 32, 256
"""Steps of the integral."""
AT_ONCE = 64
"""Steps that pass the fusion together, each with several subsets of the other inputs."""
ROWS = 4096
"""Vectors of an embedding that are in memory at once."""
CLOSE = 0.02
"""The gap that is let pass, as a share of what the output gains; and of the unit of the output, in thousandths."""

Forward = Callable[..., Tensor]


class Integral(NamedTuple):
    """What integrated gradients found.

    Args:
        attributions: of each tensor that was varied, in its shape [1 ...], on the CPU.
        gained: the output less that at the baselines.
        gap: by how much the sum of the attributions misses it.
        steps: of the integral.
    """

    attributions: tuple[Tensor, ...]
    gained: float
    gap: float
    steps: int


def needs_captum() -> Any:
    """The part of captum that is used.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        return importlib.import_module("captum.attr")
    except ImportError as error:
        raise UnavailableError(
            "attributions inside inputs need captum: pip install 'mmkit-core[explain]'; or leave them out: --no-inside"
        ) from error


def integrated(
    sample: Sample, name: str, forward: Forward, inputs: Sequence[Tensor], baselines: Sequence[Tensor]
) -> Integral | None:
    """Integrated gradients of the output of a sample; None where there are no gradients.

    Args:
        sample: that is explained.
        name: of the input that is varied.
        forward: [B], the output of tensors [B ...] in the place of `inputs`.
        inputs: [1 ...] each.
        baselines: likewise.
    """
    captum = needs_captum()
    given = [one.detach().clone().requires_grad_() for one in inputs]
    output = forward(*given)
    if not output.requires_grad:
        return None
    if any(one is None for one in torch.autograd.grad(output.sum(), given, allow_unused=True)):
        return None
    with torch.no_grad():
        gained = float(forward(*inputs)) - float(forward(*baselines))
    close = CLOSE * abs(gained) + CLOSE * 0.001 * sample.output.unit
    steps, batch = FEWEST, max(4, AT_ONCE // len(sample.contexts(name)[1]))
    while True:
        found = captum.IntegratedGradients(forward, multiply_by_inputs=True).attribute(
            tuple(inputs), tuple(baselines), n_steps=steps, method="gausslegendre", internal_batch_size=batch
        )
        parts = tuple(one.detach().cpu() for one in found)  # MPS has no float64
        gap = abs(sum(float(one.double().sum()) for one in parts) - gained)
        if gap <= close or steps >= MOST:
            return Integral(parts, gained, gap, steps)
        steps *= 2


@dataclass(frozen=True)
class Embedded:
    """The embedding of an input's whole numbers: where gradients begin.

    Args:
        module: whose output is varied.
        vectors: [1 T D], its output.
    """

    module: nn.Embedding
    vectors: Tensor


def embedded(sample: Sample, name: str, batch: Mapping[str, Tensor], leaf: str, *, same: bool) -> Embedded | None:
    """The embedding by which an encoder reads a leaf of whole numbers [1 T]; None where it has none.

    Args:
        sample: that is explained.
        name: of the input.
        batch: of it.
        leaf: of the batch.
        same: the embedding reads the numbers of the leaf as they are, not shifted.
    """
    wanted, mask = batch[leaf], batch["mask"]
    found: list[Embedded] = []

    def look(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        ids = given[0]
        fits = ids.shape == wanted.shape and not ids.is_floating_point() and isinstance(module, nn.Embedding)
        if fits and (not same or torch.equal(ids[mask], wanted[mask])):
            found.append(Embedded(module, output.detach()))  # type: ignore[arg-type]

    encoder = sample.model.network.encoders[sample.model.network.names[name]]
    hooks = [m.register_forward_hook(look) for m in encoder.modules() if isinstance(m, nn.Embedding)]
    try:
        with torch.no_grad():
            sample.encoded(name, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def mean_vector(module: nn.Embedding) -> Tensor:
    """[D], the mean of what an embedding gives for all that it knows.

    Zeros would be a point at which a model that normalises its vectors without an offset (T5, Qwen) jumps.
    """
    total = torch.zeros(1, dtype=torch.float64)
    with torch.no_grad():
        for part in torch.arange(module.num_embeddings, device=module.weight.device).split(ROWS):
            total = total + module(part).cpu().double().sum(0)
    return total / module.num_embeddings


def with_vectors(sample: Sample, name: str, at: Embedded, batch: Mapping[str, Tensor], vectors: Tensor) -> Tensor:
    """[B], the output where an embedding gives other vectors [B T D] for a batch of B rows."""
    hook = at.module.register_forward_hook(lambda *_: vectors)
    try:
        return sample.beside(name, sample.encoded(name, batch))
    finally:
        hook.remove()


def repeated(batch: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """A batch [1 ...], so many times."""
    return {leaf: tensor.expand(count, *tensor.shape[1:]) for leaf, tensor in batch.items()}
