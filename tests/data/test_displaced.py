"""Splits with an input missing, or with other samples' values, against the split written out that way."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from mmkit.contract import Features, Samples
from mmkit.data.dataset import Dataset
from mmkit.data.displaced import Displaced, displaced, without
from mmkit.data.readings import Live
from mmkit.transforms.series import SeriesTransform
from mmkit.transforms.text import TextTransform
from mmkit.transforms.truth import Categories

TEXTS = ["one", "two words", "three words here", None, "five", "six", "seven of them", "eight"]
SERIES = [torch.tensor([[float(i), 1.0]] * (i + 1)) for i in range(8)]


@pytest.fixture
def made():
    """A function: the data set of values of both inputs, and the transforms that it was made by."""
    text, series, truth = TextTransform(), SeriesTransform(), Categories("classes")
    text.fit(TEXTS)
    series.fit(SERIES)
    truth.fit(["a", "b"])

    def make(texts=TEXTS, of_series=SERIES):
        samples = Samples([str(i) for i in range(8)], {"text": texts, "series": of_series}, ["a", "b"] * 4)
        return Dataset.of(samples, {"text": text, "series": series}, truth, augment=False)

    return make


def rows(data, index=None):
    return data.batch(torch.arange(data.size) if index is None else torch.tensor(index))


def source_of(data, name):
    one = data.inputs[name]
    assert isinstance(one, Displaced)
    return one.source


def same(found, expected):
    for name in expected:
        assert found[name].keys() == expected[name].keys()
        for leaf in expected[name]:
            assert torch.equal(found[name][leaf], expected[name][leaf]), (name, leaf)


def test_values_of_other_samples_are_those_of_the_values_exchanged(made):
    data = made()
    changed = displaced(data, "text", 1.0, Generator().manual_seed(3))
    source = source_of(changed, "text").tolist()
    assert sorted(source) == list(range(8))
    assert all(own != other for own, other in enumerate(source))
    expected = made(texts=[TEXTS[i] for i in source])
    for index in (None, [3], [6, 1, 1]):
        found, truth = rows(changed, index)
        by_hand, own_truth = rows(expected, index)
        same(found, by_hand)
        assert torch.equal(truth["label"], own_truth["label"])


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 1), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_a_share_of_the_samples_changes_and_a_larger_one_holds_it(made, share, count):
    data = made()
    places = torch.arange(8)

    def moved(of):
        source = source_of(displaced(data, "series", of, Generator().manual_seed(1)), "series")
        return set(places[source != places].tolist())

    assert len(moved(share)) == count
    assert moved(share) <= moved(1.0)


def test_a_missing_input_has_an_empty_mask_and_the_others_are_untouched(made):
    data = made()
    before, _ = rows(data)
    found, _ = rows(without(data, ["text"]))
    assert not found["text"]["mask"].any()
    same({"series": found["series"]}, {"series": before["series"]})
    none, _ = rows(without(data, ["text", "series"]))
    assert not none["text"]["mask"].any()
    assert not none["series"]["mask"].any()
    assert before["text"]["mask"].any()


def test_groups_of_like_length_are_masked_group_by_group(made):
    data = made(of_series=[torch.ones(200 if i % 4 == 0 else 2, 2) for i in range(8)]).grouped(["series"])
    grouped, _ = rows(data)
    assert hasattr(grouped["series"], "groups")
    found, _ = rows(without(data, ["series"]))
    assert not any(group["mask"].any() for group in found["series"].groups)


def test_features_and_values_transformed_when_asked():
    class Given:
        def rows(self, index, generator=None, *, host=None):
            values = torch.arange(8.0)[index, None].expand(-1, 3)
            return Features.of(values, torch.ones(len(index), dtype=torch.bool), values)

        def to(self, device):
            return self

    data = Dataset(8, {"a": Given()}, {"mask": torch.ones(8, dtype=torch.bool)})
    missing = without(data, ["a"]).batch(torch.arange(4))[0]["a"]
    assert not missing.present().any()
    assert not missing.vector().any()
    moved = displaced(data, "a", 1.0, Generator().manual_seed(0))
    found = moved.batch(torch.arange(8))[0]["a"].vector()[:, 0]
    assert found.tolist() == [float(i) for i in source_of(moved, "a")]

    text = TextTransform()
    text.fit(TEXTS)
    live = Dataset(8, {"a": Live("a", text, TEXTS, [str(i) for i in range(8)])}, data.truth)
    moved = displaced(live, "a", 1.0, Generator().manual_seed(0))
    expected = text([TEXTS[i] for i in source_of(moved, "a")])
    same(moved.batch(torch.arange(8))[0], {"a": expected})
