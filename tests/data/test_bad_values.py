"""Rejected values: if a transform fails, values are tried alone, and only the bad ones are named."""

import pytest
import torch

from mmkit.contract import Samples
from mmkit.data.bad_values import PROBED, RejectedError, fit_transform, transform_batch, without
from mmkit.data.dataset import Dataset
from mmkit.data.splits import Splits
from mmkit.errors import ContractError, DataError, UsageError
from mmkit.system.settings import Settings
from mmkit.transforms.table import TableTransform
from mmkit.transforms.truth import Categories, Numbers


class Picky:
    """A transform of whole numbers that raises `error` on a negative one."""

    augments = True

    def __init__(self, error=ValueError):
        self.error = error
        self.known = None
        self.calls = []

    def fit(self, values):
        self.known = [value + 0 for value in values if value is not None]
        if len({type(value) for value in self.known}) > 1:
            raise DataError("numbers of one type, please")

    def __call__(self, values, generator=None):
        self.calls.append(list(values))
        if any(value is not None and value < 0 for value in values):
            raise self.error("negative")
        mask = torch.tensor([value is not None for value in values])
        return {"x": torch.tensor([value or 0 for value in values]), "mask": mask}


IDS = ["a", "b", "c", "d"]


def samples(values, truth=(0, 1, 0, 1)):
    return Samples(IDS, {"n": values}, list(truth))


class TestTransformBatch:
    def test_values_that_fail_alone_are_named_with_their_reasons(self):
        with pytest.raises(RejectedError) as caught:
            transform_batch("n", Picky(), [1, -2, -3], column=[1, -2, -3, None], ids=IDS)
        assert caught.value.lines == [
            "sample b, input n: ValueError: negative",
            "sample c, input n: ValueError: negative",
        ]
        assert str(caught.value).startswith("sample b and 1 more, input n: ValueError: negative; --on-error skip")
        assert isinstance(caught.value.__cause__, ValueError)

    def test_the_whole_column_is_tried_if_a_batch_of_it_fails(self):
        with pytest.raises(RejectedError) as caught:
            transform_batch("n", Picky(), [-2], column=[-1, -2, 3, 4], ids=IDS)
        assert list(caught.value.reasons) == ["a", "b"]

    def test_values_are_not_tried_alone_if_nothing_fails(self):
        picky = Picky()
        transform_batch("n", picky, [1, 2], column=[1, 2, -3, 4], ids=IDS)
        assert picky.calls == [[1, 2]]

    @pytest.mark.parametrize(("error", "raised"), [(ValueError, ValueError), (DataError, RejectedError)])
    def test_a_transform_that_fails_on_every_value_is_broken_unless_it_blames_the_data(self, error, raised):
        with pytest.raises(raised):
            transform_batch("n", Picky(error), [-1, -2], column=[-1, -2, None, None], ids=IDS)

    def test_a_failure_that_no_single_value_causes_is_passed_on(self):
        def crowded(values, generator=None):
            if len(values) > 1:
                raise MemoryError("too many")
            return {"mask": torch.ones(1, dtype=torch.bool)}

        with pytest.raises(MemoryError, match="too many"):
            transform_batch("n", crowded, [1, 2], column=[1, 2, 3, 4], ids=IDS)

    @pytest.mark.parametrize("error", [UsageError, ContractError])
    def test_a_failure_that_is_not_about_data_is_passed_on(self, error):
        picky = Picky(error)
        with pytest.raises(error, match="negative"):
            transform_batch("n", picky, [1, -2], column=[1, -2, 3, 4], ids=IDS)
        assert len(picky.calls) == 1


class TestFitTransform:
    def test_a_value_on_which_it_cannot_be_fitted_is_named(self):
        with pytest.raises(RejectedError, match=r"^sample b, input n: TypeError: .*str"):
            fit_transform("n", Picky(), [1, "two", 3, None], IDS)

    def test_values_that_fail_only_together_are_not_named(self):
        with pytest.raises(DataError, match=r"^numbers of one type, please$"):
            fit_transform("n", Picky(), [1, 2.5, 3, None], IDS)

    @pytest.mark.parametrize(
        ("transform", "column", "named"),
        [
            (TableTransform(), [{"x": 1}, {"x": 2}, {"x": "two"}, None], ["c"]),
            (Categories("classes"), ["u", "v", "", None], ["c"]),
            (Categories("labels"), [["u"], [], "v", ["u", ""]], ["c", "d"]),  # no label at all is none to learn from
            (Numbers("scalar"), [1, [1, 2], 3, float("nan")], ["b", "d"]),
        ],
    )
    def test_values_that_the_transform_itself_names_are_named(self, transform, column, named):
        with pytest.raises(RejectedError) as caught:
            fit_transform("n", transform, column, IDS)
        assert list(caught.value.reasons) == named
        transform.fit([value for sample, value in zip(IDS, column, strict=True) if sample not in named])

    def test_a_failure_that_does_not_depend_on_values_is_tried_with_few_of_them(self):
        class Bare(Picky):
            tried = 0

            def fit(self, values):
                type(self).tried += 1
                raise DataError("the tokenizer is not on this machine")

        with pytest.raises(DataError, match=r"^the tokenizer is not on this machine$"):
            fit_transform("n", Bare(), list(range(100)), list(map(str, range(100))))
        assert Bare.tried <= 1 + PROBED

    def test_no_value_is_named_if_all_fail_or_the_others_fail_too(self):
        with pytest.raises(TypeError):
            fit_transform("n", Picky(), ["one", "two", None, None], IDS)
        with pytest.raises(TypeError, match=r"^can only concatenate str"):
            fit_transform("n", Picky(), ["one", 2, 3.5, None], IDS)


class TestWithout:
    def test_the_value_or_its_sample_or_its_truth_is_dropped(self):
        refused = RejectedError("n", {"b": "why"})
        assert without(samples([1, 2, 3, 4]), refused, "missing").inputs["n"] == [1, None, 3, 4]
        left = without(samples([1, 2, 3, 4]), refused, "skip")
        assert (left.ids, list(left.inputs["n"]), left.truth) == (["a", "c", "d"], [1, 3, 4], [0, 0, 1])
        truth = RejectedError("truth", {"b": "why"}, of_truth=True)
        assert without(samples([1, 2, 3, 4]), truth, "missing").truth == [0, None, 0, 1]
        assert truth.lines == ["sample b, truth: why"]

    def test_nothing_is_dropped_on_fail_or_from_other_samples(self):
        with pytest.raises(RejectedError):
            without(samples([1, 2, 3, 4]), RejectedError("n", {"b": "why"}), "fail")
        with pytest.raises(RejectedError):
            without(samples([1, 2, 3, 4]), RejectedError("n", {"z": "why"}), "skip")
        with pytest.raises(RejectedError):  # what is out already and refused again would be so for ever
            without(samples([1, None, 3, 4]), RejectedError("n", {"b": "why"}), "missing")


class TestSplits:
    def splits(self, values, on_error):
        class Numbers:
            def decode(self, raw):
                return raw

        class Task:
            def split(self, name):
                return samples(values)

        return Splits(Task(), {"n": Numbers()}, Settings("cpu", on_error=on_error))

    def used(self, splits):
        def whole(left):
            return Dataset.of(left("train"), {"n": Picky()}, Picky(), augment=False)

        return splits.retry_without_rejected(whole)

    def test_a_run_can_drop_values_that_others_keep(self):
        splits = self.splits([1, -2, 3, 4], "skip")
        mine = splits.own()
        assert self.used(mine).size == 3
        assert (len(mine("train")), len(splits("train"))) == (3, 4)
        assert mine.unread == {"train": ["sample b, input n: ValueError: negative"]}
        assert splits.unread == {"train": []}

    def test_a_split_that_one_run_reads_is_read_for_all(self):
        splits = self.splits([1, 2, 3, 4], "fail")
        read = splits.own()("test")
        assert splits("test") is read

    def test_a_split_without_usable_samples_is_an_error(self):
        splits = self.splits([-1, -2, -3, -4], "skip")

        def whole(left):
            return Dataset.of(left("train"), {"n": Picky(DataError)}, Picky(), augment=False)

        with pytest.raises(
            DataError, match=r"no sample of the train split can be used: sample a, input n: negative, \.\.\."
        ):
            splits.own().retry_without_rejected(whole)

    def test_an_augmented_batch_that_fails_names_its_sample(self):
        data = Dataset.of(samples([1, -2, 3, 4]), {"n": Picky()}, Picky(), augment=True)
        data.batch(torch.tensor([0, 2]), torch.Generator())
        with pytest.raises(RejectedError, match="sample b, input n: ValueError: negative"):
            data.batch(torch.tensor([0, 1]), torch.Generator())
