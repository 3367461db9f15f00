"""Strided convolutions of short maps: the gradients of bfloat16 are those of float32, but for rounding."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

import mmkit
from mmkit.encoders.fcn import FcnEncoder
from mmkit.encoders.mel_cnn import MelCnnEncoder
from mmkit.layers.strided import strided
from mmkit.testing import tiny_task
from mmkit.transforms.mel import MelTransform
from mmkit.transforms.series import SeriesTransform


def filled() -> None:
    """Leave freed memory full of NaN, which an operation that does not write its result would give."""
    sizes = [2**power for power in range(3, 17)]
    for dtype in (torch.float32, torch.bfloat16):
        kept = [torch.full((size,), float("nan"), dtype=dtype) for size in sizes for _ in range(8)]
        del kept


def gradients(module: nn.Module, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        result = module(x)
    weight = torch.ones_like(result)
    filled()
    return list(torch.autograd.grad(result, [x, *module.parameters()], weight))


class Strided(nn.Module):
    def __init__(self, convolution: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        return strided(self.convolution, x)


CASES = [
    *(((size,), stride) for size, stride in itertools.product((1, 2, 3, 5), (1, 2, 3))),
    *((size, 2) for size in ((1, 1), (4, 1), (1, 4), (2, 2), (5, 3))),
]


@pytest.mark.parametrize(("size", "stride"), CASES)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_gradients_of_bfloat16(size: tuple[int, ...], stride: int, kernel: int) -> None:
    torch.manual_seed(0)
    kind = nn.Conv1d if len(size) == 1 else nn.Conv2d
    convolution = kind(64, 64, kernel, stride, kernel // 2)
    x = torch.randn(3, 64, *size)
    torch.testing.assert_close(strided(convolution, x), convolution(x))
    module = Strided(convolution)
    expected = gradients(module, x, torch.float32)
    for _ in range(3):
        for found, right in zip(gradients(module, x, torch.bfloat16), expected, strict=True):
            assert found.isfinite().all()
            assert (found - right).abs().max() < 0.05 * right.abs().max()


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_encoders_of_series_and_sounds_as_short_as_they_come(steps: int) -> None:
    torch.manual_seed(0)
    values = [torch.randn(max(steps, 1), 2) if steps else None for _ in range(4)]
    of_series = SeriesTransform()
    of_series.fit([torch.randn(9, 2)])
    of_sounds = MelTransform(mels=4)
    cases = (
        (FcnEncoder(of_series, dropout=0.0, layers=4), of_series(values)),
        (
            MelCnnEncoder(of_sounds, layers=4, dropout=0.0),
            {"mel": torch.randn(4, max(steps, 1), 4), "mask": torch.full((4, max(steps, 1)), steps > 0)},
        ),
    )
    for encoder, batch in cases:
        encoder.eval()  # normalising so few positions by themselves would blow rounding up
        found: dict[torch.dtype, dict[str, Tensor]] = {}
        for dtype in (torch.float32, torch.bfloat16):
            encoder.zero_grad()
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                tokens = encoder(batch).tokens
            filled()
            tokens.square().sum().backward()
            found[dtype] = {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}
        for name, right in found[torch.float32].items():
            other = found[torch.bfloat16][name]
            assert other.isfinite().all(), (type(encoder).__name__, name)
            assert (other - right).abs().max() < 0.2 * right.abs().max() + 1e-2, (type(encoder).__name__, name)


def test_a_training_in_bfloat16_on_series_of_one_step() -> None:
    task = tiny_task({"line": "series", "row": "table"}, {"line": lambda number, _: [[float(number % 2)]]})
    for encoder in ("fcn", "tcn"):
        scores = [
            mmkit.fit(
                task=task,
                encoders={"line": encoder},
                fusion="concat",
                training={"epochs": 8, "min_steps": 0, "batch_size": 8},
                precision=precision,
                progress=False,
            )[1].metrics["accuracy"]
            for precision in ("float32", "bfloat16")
        ]
        assert scores == [1.0, 1.0]
