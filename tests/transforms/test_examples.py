"""Examples of fitted transforms: values of the kind that they were fitted on."""

import pytest
import torch

from mmkit.transforms.series import SeriesTransform
from mmkit.transforms.table import TableTransform
from mmkit.transforms.text import TextTransform
from mmkit.transforms.vocabulary import UNKNOWN


def drawn(transform, count=50):
    generator = torch.Generator().manual_seed(0)
    return [transform.example(generator) for _ in range(count)]


def test_texts_are_of_known_words():
    transform = TextTransform()
    transform.fit(["a red house", "the blue sea"])
    batch = transform(drawn(transform))
    assert set(batch["tokens"][batch["mask"]].tolist()) == set(range(UNKNOWN + 1, transform.size))
    assert batch["mask"].sum(1).min() >= 2


def test_texts_of_an_empty_vocabulary_are_words_all_the_same():
    transform = TextTransform(min_count=2)
    transform.fit(["a red house"])
    assert all(drawn(transform, 3))


def test_series_have_the_channels_and_the_size_of_training():
    transform = SeriesTransform()
    transform.fit([torch.tensor([[100.0, -3.0], [104.0, -1.0]])])
    steps = torch.cat(drawn(transform, 200))
    assert steps.shape[1] == 2
    torch.testing.assert_close(steps.mean(0), torch.tensor([102.0, -2.0]), atol=0.2, rtol=0)


def test_rows_have_every_column_and_known_categories():
    transform = TableTransform()
    transform.fit([{"size": 3.0, "shop": "a", "sold": True}, {"size": 5.0, "shop": "b", "sold": False}])
    rows = drawn(transform)
    assert {tuple(sorted(row)) for row in rows} == {("shop", "size", "sold")}
    assert {row["shop"] for row in rows} == {"a", "b"}
    assert sum(row["size"] for row in rows) / len(rows) == pytest.approx(4, abs=0.6)
    assert transform(rows)["mask"].all()
