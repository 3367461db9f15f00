"""Costs of a model that do not depend on the machine: parameters, and FLOPs per sample.

FLOPs are those of matrix products, convolutions and attention; a multiplication and its addition count as two.
Normalisations, activations and element-wise operations are not counted, as is usual.
"""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmkit.contract import Features
from mmkit.system.state import own_state

_PRODUCTS = re.compile(
    r"(^|_)((add|badd)?b?mm|(add)?mv|v?dot|matmul|conv\w*|fft|attention|transformer|lstm|gru|rnn"
    r"|linear|(bi|tri)linear|cdist|einsum|cholesky|eigh?|inv|lu|qr|svd|solve|lstsq)(_|$)"
)
"""Names of operations that contain products; one without a formula is reported."""
_OURS = {"aten", "prim", "prims"}


@dataclass(frozen=True)
class Flops:
    """FLOPs of one sample.

    Args:
        per_sample: mean over the batch; None if unknown.
        counted: the FLOPs that could be counted: equal to `per_sample`, or a lower bound of it.
        uncounted: operations without a formula.
        reason: why `per_sample` is unknown.
    """

    per_sample: float | None
    counted: float | None = None
    uncounted: tuple[str, ...] = ()
    reason: str | None = None


def parameters(model: nn.Module) -> tuple[int, int]:
    """The number of parameters, and of trained ones; a shared parameter counts once."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)


def added(parts: Sequence[Flops]) -> Flops:
    """The sum of the FLOPs of parts that each see every sample once."""
    counted = sum(part.counted or 0.0 for part in parts)
    uncounted = tuple(sorted({name for part in parts for name in part.uncounted}))
    unknown = [part for part in parts if part.per_sample is None]
    return Flops(None if unknown else counted, counted, uncounted, unknown[0].reason if unknown else None)


@own_state(seed=0)
def flops_per_sample(model: nn.Module, batch: Mapping[str, Any]) -> Flops:
    """FLOPs per sample of `model(batch)` in evaluation. The model itself is neither run nor changed.

    A copy runs on the meta device, which computes shapes only. If the computation depends on values (sequences packed
    by their lengths), the copy runs on the batch, on the CPU, without the fused kernels that hide their products;
    padding that is not computed is then not counted.

    Args:
        model: called with the batch.
        batch: tensors and features, in mappings that may be nested; dim 0 of each is the batch.
    """
    try:
        duplicate = copy.deepcopy(model).eval()
    except Exception as error:  # noqa: BLE001  (a third party's module may raise anything; the FLOPs are then unknown)
        return Flops(None, reason=f"the model cannot be copied: {_line(error)}")
    with contextlib.suppress(Exception):  # it may also need values, which meta tensors lack
        return _count(duplicate, batch, "meta")
    try:
        with _unfused():
            # A new copy, because the first one may hold meta tensors now.
            return _count(copy.deepcopy(model).eval(), batch, "cpu")
    except Exception as error:  # noqa: BLE001  (as above)
        return Flops(None, reason=f"the model can be run neither on the meta device nor on CPU: {_line(error)}")


def _count(model: nn.Module, batch: Mapping[str, Any], device: str) -> Flops:
    moved = _to(batch, device)
    samples = _size(moved)
    model = model.to(device).requires_grad_(requires_grad=False)  # hooks fail on parameters that modules return
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    # The inner mode, the counter, decomposes operations; the outer one sees the operations that result.
    with torch.no_grad(), _SeenProducts() as seen, counter:
        model(moved)
    counted = counter.get_total_flops() / samples
    uncounted = tuple(sorted(name for name in seen.products if name not in _names(counter.flop_registry)))
    if uncounted:
        return Flops(None, counted, uncounted, f"no formula for {', '.join(uncounted)}")
    return Flops(counted, counted)


class _SeenProducts(TorchDispatchMode):
    """Collects the names of operations that may contain products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        space, _, name = str(func.overloadpacket).partition(".")
        if space not in _OURS or _PRODUCTS.search(name):
            self.products.add(f"{space}.{name}")
        return func(*args, **(kwargs or {}))


def _names(registry: Mapping[Any, Any]) -> set[str]:
    return {str(operation) for operation in registry}


@contextlib.contextmanager
def _unfused() -> Iterator[None]:
    """A context without the fused CPU kernels that compute several products in one operation."""
    onednn: Any = torch.backends.mkldnn  # its `flags` would change the precision as well, and warn
    onednn_was, fast_was = onednn.enabled, torch.backends.mha.get_fastpath_enabled()
    onednn.enabled = False
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        onednn.enabled = onednn_was
        torch.backends.mha.set_fastpath_enabled(fast_was)


def _to(values: Any, device: str) -> Any:
    if isinstance(values, Tensor):
        return values.detach().to(device)
    if isinstance(values, Mapping):
        return {name: _to(value, device) for name, value in values.items()}
    return values.to(device) if isinstance(values, Features) else values


def _size(values: Mapping[str, Any]) -> int:
    """B, by the first tensor."""
    for value in values.values():
        if isinstance(value, Tensor):
            return value.shape[0]
        if isinstance(value, Features):
            return value.mask.shape[0]
        if isinstance(value, Mapping):
            return _size(value)
    raise ValueError("the batch holds no tensor")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _matrix_vector(matrix: Sequence[int], _vector: Sequence[int], **_: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _added_matrix_vector(_added: Sequence[int], matrix: Sequence[int], _vector: Sequence[int], **_: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _inner(vector: Sequence[int], _other: Sequence[int], **_: Any) -> int:
    return 2 * vector[0]


def _summed_products(_added: Sequence[int], left: Sequence[int], right: Sequence[int], **_: Any) -> int:
    return 2 * left[0] * left[1] * left[2] * right[2]


_FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mv: _matrix_vector,
    torch.ops.aten.addmv: _added_matrix_vector,
    torch.ops.aten.dot: _inner,
    torch.ops.aten.addbmm: _summed_products,
}
"""Formulas of products that torch's counter lacks."""
