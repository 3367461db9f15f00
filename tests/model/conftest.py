"""What the tests of trained models share: a model, and a task of titles in two languages."""

import pytest

import mmkit


class Titles:
    """Chinese and English titles beside a row; three kinds of target."""

    description = "Titles with a row."

    def __init__(self, *, kind: str = "classes"):
        self.inputs = {"title": "text", "type": "table"}
        self.target, self.metric = kind, {"classes": "accuracy", "labels": "accuracy", "scalar": "rmse"}[kind]
        self.encoders, self.training = {}, {}

    def split(self, name):
        words = ["我爱北京天安门", "a red house", "我喜欢这个图片", "the blue sea"]
        count = {"train": 16, "validation": 8, "test": 8}[name]
        truth = {"classes": ["on", "off"], "labels": [["on"], ["on", "hot"], []], "scalar": [1.5, -2.0, 7.0]}
        kinds = truth[self.target]
        return mmkit.Samples(
            [f"{name}-{i}" for i in range(count)],
            {
                "title": [words[i % 4] for i in range(count)],
                "type": [{"size": float(i % 5), "shop": "ab"[i % 2]} for i in range(count)],
            },
            [kinds[i % len(kinds)] for i in range(count)],
        )


@pytest.fixture
def titles():
    return Titles


@pytest.fixture(scope="module")
def model():
    """A trained model; tests change neither its weights nor its parts."""
    small = {"epochs": 2, "min_steps": 0}
    return mmkit.fit(task="synthetic-unique:train=48", training=small, device="cpu")[0]
