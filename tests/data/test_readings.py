"""What a data set holds of an input: the same rows as the transform gives of them alone, however they are stored."""

import pytest
import torch

from mmkit.data import whole as whole_module
from mmkit.data.dataset import Dataset
from mmkit.data.grouping import Grouped, short_and_long
from mmkit.data.readings import Live, reading
from mmkit.data.whole import Whole, whole
from mmkit.transforms.mel import MelTransform
from mmkit.transforms.series import SeriesTransform
from mmkit.transforms.text import TextTransform


class Numbers:
    """Lists of numbers to padded rows; a value of None is missing.

    Args:
        padding: of `numbers`.
        least: steps that each batch has at least.
        odd: more leaves, of a value and the T of its batch.
    """

    augments = False

    def __init__(self, padding=1, least=1, odd=None):
        self.padding, self.least, self.odd, self.seen = padding, least, odd, []

    def __call__(self, values, generator=None):
        self.seen.append(len(values))
        steps = max(self.least, *(0 if v is None else len(v) for v in values))
        numbers = torch.full((len(values), steps), self.padding)
        mask = torch.zeros(len(values), steps, dtype=torch.bool)
        for row, value in enumerate(values):
            if value is not None:
                numbers[row, : len(value)] = torch.tensor(value)
                mask[row, : len(value)] = torch.tensor([number >= 0 for number in value])
        batch = {"numbers": numbers, "wide": numbers[..., None].float().expand(-1, -1, 20).clone(), "mask": mask}
        return batch | (self.odd(values, steps) if self.odd else {})


RAGGED = [[3, 4], [5], None, [7, -1, 9, 8, 2, 6], [1, 1, 1]]
IDS = [str(i) for i in range(5)]
INDICES = ([0, 1], [2], [4, 2, 0], [3, 1], [0, 1, 2, 3, 4])


def same(found, expected):
    assert found.keys() == expected.keys()
    for leaf, tensor in expected.items():
        assert torch.equal(found[leaf], tensor), leaf


@pytest.fixture(params=["rectangle", "in a row", "in parts", "in parts, in a row"])
def stored(request, monkeypatch):
    """Each way in which a split is stored."""
    if "row" in request.param:
        monkeypatch.setattr(whole_module, "DENSE", 0)
    if "parts" in request.param:
        monkeypatch.setattr(whole_module, "AT_ONCE", 2)
    return request.param


class TestWhole:
    @pytest.mark.parametrize("padding", [0, 1, -7])
    @pytest.mark.parametrize("index", INDICES)
    def test_rows_are_those_of_the_transform(self, stored, padding, index):
        transform = Numbers(padding)
        held = whole("n", transform, RAGGED, IDS)
        assert (held.offsets is not None) is ("row" in stored)
        same(held.rows(torch.tensor(index)), transform([RAGGED[i] for i in index]))

    def test_without_padding_all_is_kept_as_it_is(self, stored):
        held = whole("n", Numbers(), [[1, 2], [3, 4], [5, 6]], IDS[:3])
        assert not held.along
        assert held.rows(torch.tensor([1]))["numbers"].tolist() == [[3, 4]]

    def test_an_input_that_is_missing_throughout_has_one_step(self, stored):
        held = whole("n", Numbers(), [None] * 5, IDS)
        same(held.rows(torch.tensor([0, 3])), Numbers()([None, None]))

    @pytest.mark.parametrize("present", [True, False])
    def test_a_length_that_is_the_transforms_own_stays(self, stored, present):
        # As models with as many positions as they were trained with need it.
        transform = Numbers(least=8)
        held = whole("n", transform, RAGGED if present else [None] * 5, IDS)
        assert held.rows(torch.tensor([1, 2]))["numbers"].shape == (2, 8)

    @pytest.mark.parametrize("index", INDICES)
    def test_a_least_length_is_kept(self, stored, index):
        # As encoders whose kernel is that long need it, of missing values, too.
        transform = Numbers(least=4)
        same(whole("n", transform, RAGGED, IDS).rows(torch.tensor(index)), transform([RAGGED[i] for i in index]))

    def test_lengths_in_steps_of_eight_are_the_transforms_own(self, stored):
        class Eights(Numbers):
            def __call__(self, values, generator=None):
                self.least = -(-max(1, *(0 if v is None else len(v) for v in values)) // 8) * 8
                return super().__call__(values)

        values = [[1] * n for n in (16, 8, 10, 3)] + [None]
        assert whole("n", Eights(), values, IDS).rows(torch.tensor([2]))["numbers"].shape == (1, 16)

    def test_a_leaf_that_happens_to_be_as_wide_is_not_cut(self, stored):
        transform = Numbers(odd=lambda values, _: {"other": torch.arange(6).expand(len(values), -1)})
        held = whole("n", transform, RAGGED, IDS)
        for index in INDICES:
            same(held.rows(torch.tensor(index)), transform([RAGGED[i] for i in index]))

    def test_a_leaf_whose_padding_is_not_one_value_is_cut_out_of_the_whole(self, stored):
        def countdown(values, steps):
            return {"left": torch.arange(steps, 0, -1).expand(len(values), -1) * 1}

        held = whole("n", Numbers(odd=countdown), RAGGED, IDS)
        assert "left" not in held.fills
        assert held.rows(torch.tensor([0]))["left"].tolist() == [[6, 5]]

    def test_a_leaf_with_a_length_of_its_own_is_as_of_the_whole(self, stored):
        def doubled(values, steps):
            return {"samples": torch.ones(len(values), 3 * steps + 1)}

        held = whole("n", Numbers(odd=doubled), RAGGED, IDS)
        found = held.rows(torch.tensor([0, 1]))
        assert found["samples"].shape == (2, 19)
        assert found["numbers"].shape == (2, 2)

    def test_each_value_is_transformed_once_and_a_few_more_tell_what_is_padded(self):
        transform = Numbers()
        whole("n", transform, RAGGED, IDS)
        assert transform.seen == [5, 1, 1, 1]  # a missing one, and two of different lengths

    def test_truth_keeps_its_form(self, stored):
        truth = Numbers(odd=lambda values, steps: {"mask": torch.tensor([v is not None for v in values])})
        held = whole("truth", truth, RAGGED, IDS, of_truth=True)
        assert not held.along
        same(dict(held.leaves), truth(RAGGED))


@pytest.mark.parametrize(
    ("transform", "values"),
    [
        (TextTransform(), ["a b c d e f g", "b", None, "c d", "e f g a"]),
        (SeriesTransform(), [torch.randn(9, 2), None, torch.randn(3, 2), torch.randn(1, 2), torch.randn(5, 2)]),
        (MelTransform(), [(torch.randn(1, n), 16_000) for n in (16_000, 4_000, 9_000, 600)] + [None]),
    ],
    ids=["text", "series", "mel"],
)
def test_rows_of_each_transform_that_pads_are_those_it_gives(transform, values, stored):
    transform.fit(values)
    held = whole("x", transform, values, IDS)
    for index in INDICES:
        found, expected = held.rows(torch.tensor(index)), transform([values[i] for i in index])
        assert found.keys() == expected.keys()
        for leaf, tensor in expected.items():
            torch.testing.assert_close(found[leaf], tensor)


class TestLive:
    def test_what_does_not_fit_into_memory_is_transformed_when_asked(self, monkeypatch):
        monkeypatch.setattr("mmkit.data.readings.AT_ONCE", 2)
        transform = Numbers()
        live = reading("n", transform, RAGGED, IDS, augment=False, at_most=100)
        assert isinstance(live, Live)
        assert isinstance(reading("n", transform, RAGGED, IDS, augment=False, at_most=10_000), Whole)
        same(live.rows(torch.tensor([4, 0])), transform([RAGGED[4], RAGGED[0]]))

    def test_without_augmentation_it_draws_nothing(self):
        class Noisy(Numbers):
            augments = True

            def __call__(self, values, generator=None):
                assert generator is None
                return super().__call__(values)

        Live("n", Noisy(), RAGGED, IDS, augment=False).rows(torch.tensor([0]), torch.Generator())


class TestGroups:
    def test_one_long_sample_is_apart_and_alike_ones_are_together(self):
        short, long = short_and_long(torch.tensor([5, 9, 256, 7]))
        assert (short.tolist(), long.tolist()) == ([0, 3, 1], [2])
        for alike in ([12, 12, 12], [10, 20, 30, 25], [256], [0, 0]):
            assert short_and_long(torch.tensor(alike)) is None

    def test_a_data_set_gives_groups_where_they_were_asked_for(self):
        values = [[1] * n for n in (3, 200, 2, 4)]
        data = Dataset(4, {"n": whole("n", Numbers(), values, IDS[:4])}, {"mask": torch.ones(4, dtype=torch.bool)})
        index = torch.tensor([1, 0, 3])
        together, apart = data.batch(index)[0]["n"], data.grouped(["n"]).batch(index)[0]["n"]
        assert isinstance(apart, Grouped)
        assert [group["mask"].sum(1).tolist() for group in apart.groups] == [[3, 4], [200]]
        rows = [row for group in apart.groups for row in group["mask"].sum(1).tolist()]
        assert [rows[place] for place in apart.place] == together["mask"].sum(1).tolist() == [200, 3, 4]
        assert not isinstance(data.grouped(["n"]).grouped(()).batch(index)[0]["n"], Grouped)
