"""What a series may be given as, and what is refused."""

import numpy as np
import pytest
import torch

from mmkit.errors import DataError
from mmkit.modalities.series import Series


def test_arrays_tensors_and_lists_agree():
    expected = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    for raw in (expected, expected.double(), expected.long(), expected.numpy(), expected.tolist()):
        value = Series().decode(raw)
        assert value.dtype == torch.float32
        assert torch.equal(value, expected)
    assert Series().decode(np.arange(5)).shape == (5, 1)
    assert Series().decode([True, False]).tolist() == [[1.0], [0.0]]


def test_the_value_is_the_callers_no_longer():
    raw = np.ones((3, 2), dtype=np.float32)
    value = Series().decode(raw)
    raw[:] = 7
    assert torch.equal(value, torch.ones(3, 2))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "at least one step"),
        (np.zeros((0, 3)), r"at least one step; got shape \[0, 3\]"),
        (np.zeros((3, 0)), r"at least one step; got shape \[3, 0\]"),
        (np.zeros((2, 2, 2)), r"\[T C\], or \[T\] for one channel; got shape \[2, 2, 2\]"),
        (3.0, r"got shape \[\]"),
        ([[1.0], [float("nan")]], "step 1 does not"),
        ([1.0, 2.0, float("inf")], "step 2 does not"),
        ([1e300], "finite numbers"),
        ([1j], "real numbers"),
        ("abc", "array of numbers"),
        ([[1, 2], [3]], "array of numbers"),
        (np.array(["a"]), "array of numbers"),
        (object(), "array of numbers"),
    ],
)
def test_what_is_no_series_is_refused(raw, message):
    with pytest.raises(DataError, match=message):
        Series().decode(raw)


def test_examples_are_values():
    value = Series().example(torch.Generator().manual_seed(0))
    assert torch.equal(Series().decode(value), value)
