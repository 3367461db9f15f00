"""What the tests of explanations share: a task whose classes are planted in one place of each input, and its model."""

import random

import pytest
import torch

import mmkit

WORDS = {"good": "excellent", "bad": "terrible"}
PLAIN = ("the", "a", "shop", "came", "today", "box", "blue", "table", "with", "some", "other", "and", "we", "saw", "it")
SEGMENT = slice(20, 28)
PATCH = (slice(2, 7), slice(8, 13))


def sample(generator, label):
    """A sample in which the class stands in one word, one patch, one column and one stretch."""
    sign = 1.0 if label == "good" else -1.0
    words = [generator.choice(PLAIN) for _ in range(7)]
    words.insert(generator.randint(0, 7), WORDS[label])
    noise = torch.Generator().manual_seed(generator.randint(0, 2**31))
    pixels = (100 + 20 * torch.rand(1, 16, 16, generator=noise)).to(torch.uint8)
    pixels[0][PATCH] = 250 if label == "good" else 5
    signal = 0.3 * torch.randn(40, 1, generator=noise)
    signal[SEGMENT] += 2 * sign
    row = {
        "noise": generator.gauss(0, 1),
        "size": 10 + 3 * sign + generator.gauss(0, 0.5),
        "shop": generator.choice("ab"),
    }
    return {"text": " ".join(words), "image": pixels, "series": signal, "table": row}


ENCODERS = {
    "image": "cnn:width=16,layers=2",
    "series": "fcn:width=16",
    "table": "table-mlp:hidden=16,layers=1",
    "text": "bag:width=16",
}


class Planted:
    """Good or bad; every other value is missing, so that each input is needed."""

    description = "Classes that are planted in one place of each input."
    target, metric = "classes", "accuracy"

    def __init__(self, *, count: int = 128):
        self.inputs = {name: name for name in ENCODERS}
        self.encoders = ENCODERS
        self.training = {"epochs": 12, "min_steps": 0, "lr": 0.01, "batch_size": 16}
        self.count = count

    def split(self, name):
        generator = random.Random(name)
        labels = [("good", "bad")[i % 2] for i in range({"train": self.count, "validation": 32, "test": 16}[name])]
        rows = [sample(generator, label) for label in labels]
        for row in rows:
            for one in row:
                if generator.random() < 0.5:
                    row[one] = None
        return mmkit.Samples(
            [f"{name}-{i}" for i in range(len(rows))], {n: [row[n] for row in rows] for n in self.inputs}, labels
        )


def trained(fusion, **given):
    """A model of the planted task."""
    return mmkit.fit(task=Planted, fusion=fusion, device="cpu", progress=False, **given)[0]


@pytest.fixture(scope="session")
def model():
    """A trained model, which tests leave as it is."""
    return trained("gated:width=16")


@pytest.fixture(scope="session")
def good():
    """A sample of the class good, which training has not seen."""
    return sample(random.Random("new"), "good")
