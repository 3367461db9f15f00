"""A suite transforms each split once, however many runs read it."""

from collections import Counter

import pytest
import torch

import mmkit
from mmkit.data.columns import Column
from mmkit.data.whole import whole
from mmkit.experiments.plan import plan
from mmkit.experiments.suite import carry_out
from mmkit.features import sharing
from mmkit.features.sharing import Shared
from mmkit.transforms.table import TableTransform
from mmkit.transforms.truth import Categories

TASK = "synthetic-redundant:modality=table,train=72"
SMALL = {"epochs": 1, "min_steps": 0}


@pytest.fixture
def seen(monkeypatch):
    """How often a transform was called with so many values, and fitted."""
    counts = Counter()
    for transform in (TableTransform, Categories):
        for name in ("__call__", "fit"):
            method = getattr(transform, name)

            def counted(self, values, *rest, name=name, kind=transform.__name__, method=method):
                counts[kind, name, len(values)] += 1
                return method(self, values, *rest)

            monkeypatch.setattr(transform, name, counted)
    return counts


@pytest.mark.full
def test_a_suite_of_thirty_runs_transforms_each_split_once(seen, tmp_path):
    encoders = {"table": ["table-mlp:width=8", "table-mlp:width=16"]}
    planned = plan(mmkit.installed(), task=TASK, encoders=encoders, fusions=["concat", "sum", "mean"], seeds=5,
                   training=SMALL)  # fmt: skip
    suite = carry_out(planned, tmp_path, mmkit.installed(), cost=False, yardsticks=False)
    assert not suite.failures
    assert len(suite.records) >= 30
    sizes = {name: getattr(suite.records[-1].samples, name) for name in ("train", "validation", "test")}
    assert len(set(sizes.values())) == 3
    for size in sizes.values():
        assert seen["TableTransform", "__call__", size] == 2  # two inputs
        assert seen["Categories", "__call__", size] == 1
    assert seen["TableTransform", "fit", 72] == 2
    assert seen["Categories", "fit", 72] == 1


class TestKept:
    def transform(self):
        made = TableTransform()
        made.fit(VALUES)
        return made

    def read(self, shared, transform, values):
        ids = [str(i) for i in range(len(values))]
        return shared.whole("a", transform, values, lambda: whole("a", transform, values, ids))

    def test_equal_columns_share_and_others_do_not(self):
        shared, transform = Shared(), self.transform()
        first = self.read(shared, transform, Column(VALUES))
        assert self.read(shared, transform, Column(VALUES)) is first
        assert self.read(shared, transform, Column(VALUES[:2])) is not first
        assert self.read(shared, self.transform(), Column(VALUES)) is not first

    def test_what_was_used_last_is_kept_within_the_bound(self, monkeypatch):
        shared, transform = Shared(), self.transform()
        columns = [Column(VALUES[:n]) for n in (3, 2, 4)]
        first = self.read(shared, transform, columns[0])
        second = self.read(shared, transform, columns[1])
        assert self.read(shared, transform, columns[0]) is first
        monkeypatch.setattr(sharing, "AT_MOST", first.size + second.size)
        third = self.read(shared, transform, columns[2])  # larger than the second, which was used first
        assert self.read(shared, transform, columns[2]) is third
        assert self.read(shared, transform, columns[1]) is not second

    def test_one_is_kept_however_large(self, monkeypatch):
        shared, transform, column = Shared(), self.transform(), Column(VALUES)
        monkeypatch.setattr(sharing, "AT_MOST", 1)
        assert self.read(shared, transform, column) is self.read(shared, transform, column)


VALUES = [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}, {"x": 5.0}]


class TestFitted:
    """A transform that is fitted without drawing is shared over seeds; one that draws is not."""

    def asked(self, shared, draws):
        choice = mmkit.installed().choose("encoder", "table-mlp")

        def make():
            torch.rand(1 if draws else 0)
            return object()

        return shared.transform("a", choice, TableTransform, COLUMN, make)

    @pytest.mark.parametrize("draws", [True, False])
    def test_of_another_seed(self, draws):
        shared = Shared()
        torch.manual_seed(0)
        first = self.asked(shared, draws)
        after = torch.get_rng_state()
        torch.manual_seed(1)
        state = torch.get_rng_state()
        other = self.asked(shared, draws)
        assert (other is first) is not draws
        assert torch.equal(torch.get_rng_state(), state) is not draws
        if not draws:
            torch.manual_seed(0)
            assert self.asked(shared, draws) is first
            assert torch.equal(torch.get_rng_state(), after)


COLUMN = Column(VALUES)
