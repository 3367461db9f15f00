"""Attention under masks, on each kernel that the device has: a row without any key gives zero, and finite gradients."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmkit.layers.attention import Attention

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # a warning of a new device breaks nothing

KERNELS = {
    "chosen": None,  # whichever torch takes when nothing is said
    "math": SDPBackend.MATH,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
"""Flash attention is not among them: it takes no mask."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.08, torch.float16: 0.02}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("keys", [1, 7, 64], ids=lambda keys: f"{keys}-keys")
def test_rows_without_any_key_are_zero_and_the_rest_is_as_in_float32(kernel, dtype, keys, device):
    if device.type == "cpu" and kernel in {"efficient", "cudnn"}:
        pytest.skip("a kernel of CUDA")
    module = Attention(64, 4).to(device)
    mask = torch.rand(6, keys, device=device) < 0.6
    mask[0], mask[1] = False, True
    given = torch.randn(6, 5, 64, device=device), torch.randn(6, keys, 64, device=device)
    expected, gradients = run(module, given, mask)
    kernels = KERNELS["math"] if kernel == "math" else KERNELS[kernel]
    try:
        if kernels is None:
            found, theirs = run(module, given, mask, dtype)
        else:
            with sdpa_kernel(kernels):
                found, theirs = run(module, given, mask, dtype)
    except RuntimeError as error:
        if "No available kernel" not in str(error):
            raise
        pytest.skip(f"{kernel} has no kernel for {dtype} with a mask of {keys} keys on this device")
    assert not found[0].any()
    for ours, wanted in zip([found, *theirs], [expected, *gradients], strict=True):
        assert ours.isfinite().all()
        off, scale = (ours.float() - wanted).abs().max().item(), wanted.abs().max().item()
        assert off <= TOLERANCE[dtype] * max(scale, 0.01), (off, scale)


def run(module, given, mask, dtype=torch.float32):
    """What it gives, and the gradients of what it was given."""
    queries, context = (tensor.clone().requires_grad_() for tensor in given)
    with torch.autocast(mask.device.type, dtype, enabled=dtype != torch.float32):
        found = module(queries, context, mask)
    weights = torch.linspace(-1, 1, found.numel(), device=found.device).view_as(found)
    return found.detach(), torch.autograd.grad((found.float() * weights).sum(), (queries, context))
