"""Heads for texts: what the kit asks of them beyond other heads, and what it leaves them."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.contract import Target
from mmkit.plugin import HeadSpec
from mmkit.testing import checks_of

LETTERS = " abcdefghijklmnopqrstuvwxyz0123456789"
LONGEST = 8


class Spelling:
    """Texts letter by letter; a blank is where a text has ended."""

    augments = False

    def __init__(self, kind):
        self.kind = kind

    def fit(self, values):
        pass

    def __call__(self, values, generator=None):
        tokens = torch.zeros(len(values), LONGEST, dtype=torch.long)
        for row, value in zip(tokens, values, strict=True):
            if value is not None:
                row[: len(value)] = torch.tensor([LETTERS.index(letter) for letter in value])
        return {"tokens": tokens, "mask": torch.tensor([value is not None for value in values])}

    def state(self):
        return {}

    def restore(self, state):
        pass

    def target(self):
        return Target(self.kind, len(LETTERS))

    def inverse(self, prediction):
        rows = zip(prediction["tokens"], prediction["mask"], strict=True)
        return [{"text": "".join(LETTERS[i] for i in tokens[mask])} for tokens, mask in rows]


class Speller(nn.Module):
    """Every letter at once. What is made of each token of the features is as long as they are."""

    reads = Spelling

    def __init__(self, width, target, transform):
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.letters = nn.Linear(width, LONGEST * target.size)

    def forward(self, features):
        return self.hidden(features.tokens).tanh() * features.mask.unsqueeze(-1)

    def logits(self, output):
        return self.letters(output.sum(1)).unflatten(1, (LONGEST, -1))

    def loss(self, output, truth):
        surprise = F.cross_entropy(self.logits(output).transpose(1, 2), truth["tokens"], reduction="none").mean(1)
        return surprise.masked_fill(~truth["mask"], 0)

    def predict(self, output):
        tokens = self.logits(output).argmax(-1)
        return {"tokens": tokens, "mask": tokens > 0}


class OneByOne(Speller):
    """Stops when every text has ended, which no graph can."""

    def predict(self, output):
        tokens = torch.zeros(len(output), LONGEST, dtype=torch.long)
        for place, logits in enumerate(self.logits(output).unbind(1)):
            tokens[:, place] = logits.argmax(-1)
            if not tokens[:, place].any():
                break
        return {"tokens": tokens, "mask": tokens > 0}


class NoMask(Speller):
    def predict(self, output):
        return {"tokens": super().predict(output)["tokens"]}


class Fractions(Speller):
    def predict(self, output):
        found = super().predict(output)
        return found | {"tokens": found["tokens"].float()}


class Bare(Spelling):
    def inverse(self, prediction):
        return [answer["text"] for answer in super().inverse(prediction)]


class Unwrapped(Speller):
    reads = Bare


class CountsPadding(Speller):
    def logits(self, output):
        return super().logits(output) / output.shape[1]


SPEC = HeadSpec("speller", "", "", targets=("text",))


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (NoMask, "prediction", r"has tokens \[4 T\] and a mask \[4 T\]; got"),
        (Fractions, "prediction", "tokens are long and their mask is bool; got torch.float32"),
        (Unwrapped, "prediction", "the inverse gives a mapping with the str `text`; got"),
        (CountsPadding, "padding", "loss is off"),
    ],
)
def test_defect_is_caught(examine, component, check, message):
    result = examine("head", component, spec=SPEC, names={check})[check]
    assert result.status == "failed", result
    assert re.search(message, result.message), result.message


def test_no_sound_head_is_forbidden(examine):
    results = examine("head", Speller, spec=SPEC)
    assert [str(r) for r in results.values() if r.status not in {"passed", "not applicable"}] == []


@pytest.mark.full
@pytest.mark.parametrize("component", [Speller, OneByOne])
def test_the_answer_need_not_be_one_graph(examine, component):
    names = {c.name for c in checks_of("head", full=True) if c.full}
    results = examine("head", component, spec=SPEC, names=names)
    assert {r.status for r in results.values()} == {"passed"}, results
