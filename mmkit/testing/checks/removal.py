"""The check that a missing input is neutral: nothing else would change if it had never been there.

Axes: B batch, D an input's width, H fused width, M inputs.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from mmkit.errors import ContractError
from mmkit.plugin import FusionSpec
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.objective import ObjectiveSpecimen
from mmkit.testing.trees import expect_same, floats_to

SPREAD = 0.3
"""Of what two modules of unequal sizes are given in common."""


def removal(specimen: FusionSpecimen | ObjectiveSpecimen) -> str | None:
    """With an input missing in all rows it gives what it gives when it is built without that input.

    Both are computed in float64, in evaluation. Weights go from one to the other by their names. Where a weight has
    another size without the input, the two are given numbers in common that vary along the axes that stayed alone; so a
    bias, a maximum, a mean or a softmax that counts what is missing shows, and a fault in single columns may not. It
    does not apply where the spec says `removable=False`, or where the modules have nothing in common by name.
    """
    if isinstance(specimen.spec, FusionSpec) and not specimen.spec.removable:
        return "its spec says removable=False: by design a missing input leaves a trace"
    if len(specimen.names) <= specimen.spec.min_inputs:
        if getattr(specimen.spec, "max_inputs", None) == len(specimen.names):
            return f"it takes {len(specimen.names)} inputs, and no fewer"
        specimen = specimen.of_inputs(specimen.spec.min_inputs + 1)
    for name in specimen.names:
        rest = specimen.without(name)
        whole, part = specimen.fresh().double(), rest.build().double()
        if excuse := _tie(whole, part):
            return excuse
        for seed in range(2):
            inputs = floats_to(specimen.draw(4, seed=seed, absent={name: range(4)}), torch.float64)
            expected = rest.evaluate(specimen.lacking(inputs, name), part)
            try:
                expect_same(specimen.evaluate(inputs, whole), expected, "")
            except ContractError as error:
                raise ContractError(
                    f"input {name} is missing in all rows, and the result is not that of one built without "
                    f"{name}{error}; what is missing adds 0 to a sum, 1 to a product, and counts in no mean and in no "
                    "softmax"
                ) from error
    return None


def _tie(whole: nn.Module, part: nn.Module) -> str | None:
    """Give `part` the weights of `whole`; both the same new ones where sizes differ. An excuse where that fails."""
    ours, theirs = _tensors(whole), _tensors(part)
    kinds = _kinds(list(ours), list(theirs))
    groups: dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]] = {}
    for side, tensors in enumerate((ours, theirs)):
        for name, tensor in tensors.items():
            groups.setdefault(kinds[name], ({}, {}))[side][name] = tensor
    for kind, (larger, smaller) in groups.items():
        if "#" not in kind and all(n in larger and larger[n].shape == t.shape for n, t in smaller.items()):
            for name, tensor in smaller.items():
                tensor.data.copy_(larger[name].data)
            continue
        members = [*larger.values(), *smaller.values()]
        if not larger or any(t.ndim != members[0].ndim or not t.is_floating_point() for t in members):
            return f"built without an input it has another {kind}, which cannot be compared"
        if smaller:
            _give_common(kind, members)
    return None


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, by name."""
    return dict([*module.named_parameters(), *module.named_buffers()])


def _kinds(ours: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Each name with "#" for its place in a list that has another length in the other module."""
    found = {name: name.split(".") for name in (*ours, *theirs)}
    for depth in range(max(map(len, found.values()), default=0)):
        places: dict[tuple[str, ...], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        for side, names in enumerate((ours, theirs)):
            for name in names:
                if len(found[name]) > depth and name.split(".")[depth].isdigit():
                    places[tuple(found[name][:depth])][side].add(name.split(".")[depth])
        for parts in found.values():
            here, there = places.get(tuple(parts[:depth]), (set(), set()))
            if len(parts) > depth and parts[depth].isdigit() and here and there and here != there:
                parts[depth] = "#"
    return {name: ".".join(parts) for name, parts in found.items()}


def _give_common(kind: str, members: list[Tensor]) -> None:
    """Numbers that depend on the place along axes of one size in all members, and not along others."""
    sizes = [{tensor.shape[axis] for tensor in members} for axis in range(members[0].ndim)]
    shape = [size.copy().pop() if len(size) == 1 else 1 for size in sizes]
    generator = Generator().manual_seed(zlib.crc32(kind.encode()))
    values = SPREAD * torch.randn(shape, generator=generator)
    if all(bool((tensor >= 0).all()) for tensor in members):  # a variance
        values = values.abs() + SPREAD
    for tensor in members:
        tensor.data.copy_(values.to(tensor.dtype).expand(tensor.shape))
