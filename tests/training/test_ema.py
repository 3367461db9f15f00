"""The average of the weights over steps, against its formula; and that it is what is validated and kept."""

import pytest
import torch
from torch import nn

from mmkit.contract import ModelOutput
from mmkit.data.dataset import Dataset
from mmkit.data.whole import Whole
from mmkit.training.ema import Ema
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_the_average_follows_its_formula(decay):
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    ema, expected = Ema([weight], decay), [1.0, -2.0]
    for step in range(1, 30):
        with torch.no_grad():
            weight.add_(0.1 * step)
        ema.update()
        share = min(decay, (1 + step) / (10 + step))
        expected = [share * old + (1 - share) * new for old, new in zip(expected, weight.tolist(), strict=True)]
    assert ema.averages[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_inside_the_weights_are_the_average_and_then_what_they_were():
    weight = nn.Parameter(torch.tensor([1.0]))
    ema = Ema([weight], 0.9)
    with torch.no_grad():
        weight.fill_(5.0)

    def look():
        with ema.applied():
            assert weight.item() == 1.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        look()
    assert weight.item() == 5.0


class Line(nn.Module):
    balance = None

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, batch, truth):
        self.seen.append(self.w.item())
        error = batch["x"]["x"] * self.w - truth["values"]
        return {"head": error.square().mean()}, ModelOutput({}, None, error)


def test_the_average_is_validated_and_kept_and_training_goes_on_from_the_weights():
    x = torch.linspace(-1, 1, 16)
    mask = torch.ones(16, dtype=torch.bool)
    data = Dataset(16, {"x": Whole({"x": x, "mask": mask})}, {"values": 3 * x, "mask": mask})
    training = Training(epochs=6, min_steps=0, batch_size=8, lr=0.1)
    plain, averaged = Line(), Line()
    validated = []
    fit(plain, data, lambda: (0.0, {}), training, seed=0)

    def validate():
        validated.append(averaged.w.item())
        return float(len(validated)), {}  # the last is the best

    fit(averaged, data, validate, Training(**{**vars(training), "ema": 0.9}), seed=0)
    assert averaged.seen == plain.seen  # the same steps
    after = [*plain.seen[1:], None]
    weight, average, expected = 0.0, 0.0, []
    for step, weight in enumerate(after[:-1], start=1):
        share = min(0.9, (1 + step) / (10 + step))
        average = share * average + (1 - share) * weight
        if step % 2 == 0:
            expected.append(average)
    assert validated[:-1] == pytest.approx(expected, rel=1e-5)
    assert averaged.w.item() == validated[-1]
