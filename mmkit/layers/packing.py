"""Padding left out of what is done to each token alone: linear layers, norms, activations.

Attention is still of rows, in groups of about equal length, closed up to the longest of each. Whether it pays is read
from the mask, which no graph may do: where one is made (compiling, export, tracing, a transform of `torch.func`), on
another device than a CPU, and where a hook waits for rows of the batch, a layer goes over all tokens. Both ways give
the same but for rounding, and here padding comes out as zero.

Axes: B batch, T tokens, N real tokens of all rows, G rows of a group, S tokens of its longest, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST_TOKENS = 16
"""T from which on it is looked at; a layer over fewer takes hardly longer than looking."""
MOST_REAL = 0.8
"""Share of real tokens up to which they are packed."""
GROUPS, LEAST_ROWS = 4, 8
"""Groups of rows at most, and rows of each at least."""

_allowed = ContextVar("packing is allowed", default=True)


@dataclass(frozen=True)
class Group:
    """Rows whose numbers of tokens lie next to each other, none of them empty.

    Args:
        count: of its tokens, which follow those of the group before.
        slots: [count], of each in G * S, where nothing is between the tokens of a row.
        mask: [G S], True in a slot with a token.
    """

    count: int
    slots: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of a batch are, and in which order they are packed: those of short rows first.

    Args:
        shape: B and T.
        places: [N] of each in B * T.
        groups: of the rows.
    """

    shape: tuple[int, int]
    places: Tensor
    groups: tuple[Group, ...]

    @staticmethod
    def of(mask: Tensor) -> Packing:
        """That of a mask [B T].

        >>> packing = Packing.of(torch.tensor([[True, False, True], [False, False, True]]))
        >>> packed = packing.pack(torch.arange(6.0).view(2, 3, 1))
        >>> packed.flatten(), packing.rows(packed)[0].squeeze(2)
        (tensor([5., 0., 2.]), tensor([[5., 0.],
                [0., 2.]]))
        """
        batch, length = mask.shape
        counts, order = mask.sum(1).sort()
        ordered = mask[order]
        row, column = ordered.nonzero().unbind(1)
        rank = (ordered.cumsum(1) - 1)[ordered]
        groups, first, begin = [], 0, 0
        for part in counts.tensor_split(max(1, min(GROUPS, batch // LEAST_ROWS))):
            count, longest = int(part.sum()), int(part.max())
            if count:
                slots = rank[begin : begin + count] + (row[begin : begin + count] - first) * longest
                groups.append(Group(count, slots, torch.arange(longest) < part.unsqueeze(1)))
            first, begin = first + len(part), begin + count
        return Packing((batch, length), order[row] * length + column, tuple(groups))

    def pack(self, tokens: Tensor) -> Tensor:
        """[N D] of [B T D]."""
        return tokens.flatten(0, 1).index_select(0, self.places)

    def unpack(self, packed: Tensor) -> Tensor:
        """[B T D], zero where padding is, of [N D]."""
        return _spread(packed, self.places, self.shape)

    def rows(self, packed: Tensor) -> list[Tensor]:
        """[G S D] of each group, zero where no token is, of [N D]."""
        parts = packed.split([group.count for group in self.groups])
        return [
            _spread(part, group.slots, (group.mask.shape[0], group.mask.shape[1]))
            for part, group in zip(parts, self.groups, strict=True)
        ]

    def of_rows(self, rows: Sequence[Tensor]) -> Tensor:
        """[N D] of [G S D] of each group."""
        parts = zip(rows, self.groups, strict=True)
        return torch.cat([each.flatten(0, 1).index_select(0, group.slots) for each, group in parts])


def _spread(packed: Tensor, places: Tensor, shape: tuple[int, int]) -> Tensor:
    empty = packed.new_zeros(shape[0] * shape[1], packed.shape[1])
    return empty.index_copy_(0, places, packed).unflatten(0, shape)


def worthwhile(mask: Tensor | None, module: nn.Module) -> Packing | None:
    """The packing of a mask [B T], where `module` is faster over packed tokens and may be given them."""
    if mask is None or _in_a_graph(mask) or mask.device.type != "cpu" or mask.shape[1] < LEAST_TOKENS:
        return None
    if not _allowed.get() or not 0 < int(mask.sum()) <= MOST_REAL * mask.numel() or _hooked(module):
        return None
    return Packing.of(mask)


@contextmanager
def over_all_tokens() -> Iterator[None]:
    """Layers go over all tokens here, as in a graph: what is drawn for a row does not hang on the lengths of others."""
    before = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(before)


def _in_a_graph(mask: Tensor) -> bool:
    """Whether no values can be read of a mask, or not of this call alone."""
    if torch.compiler.is_compiling() or type(mask) is not Tensor:
        return True
    if torch._C._get_tracing_state() is not None:  # noqa: SLF001
        return True
    return torch._C._functorch.maybe_current_level() is not None  # noqa: SLF001


def _hooked(module: nn.Module) -> bool:
    """Whether something looks at the modules within, and expects [B ...]."""
    for part in module.modules():
        if part is not module and (part._forward_hooks or part._forward_pre_hooks or part._backward_hooks):  # noqa: SLF001
            return True
    return False
