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


def test_float32_holds_a_value_unless_it_would_round_its_changes_away():
    changes = np.random.default_rng(0).normal(size=(20, 2))
    assert Series().decode(changes + 5).dtype == torch.float32
    far = 1.7e9 + changes
    assert Series().decode(far).dtype == torch.float64
    assert Series().decode(far).tolist() == far.tolist()
    assert Series().decode(far.tolist()).tolist() == far.tolist()
    assert torch.equal(Series().decode(Series().decode(far)), Series().decode(far))
    assert Series().decode(far.astype(np.float32)).dtype == torch.float32


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[::-1][::-1],
        lambda a: a.astype(">f4"),
        lambda a: a.astype(">f8"),
        lambda a: a.astype(">i8"),
        lambda a: a.astype(np.uint16),
        lambda a: a.astype(np.uint32),
        lambda a: a.astype(np.uint64),
        lambda a: a.astype(np.longdouble),
        lambda a: a.astype(object),
        lambda a: [[int(n) for n in row] for row in a],
        lambda a: [torch.tensor(row) for row in a],
        lambda a: torch.tensor(a.astype(np.float64)).bfloat16(),
        np.asfortranarray,
    ],
)
def test_arrays_of_any_make_are_read_by_their_numbers(change):
    plain = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert Series().decode(change(plain)).tolist() == plain.tolist()


def test_arrays_that_are_flipped_or_read_only_are_read():
    plain = np.arange(12, dtype=np.float32).reshape(4, 3)
    for view in (plain[::-1], plain[:, ::-1], plain[::2], plain.T):
        assert Series().decode(view).tolist() == view.tolist()
        view.flags.writeable = False
        assert Series().decode(view).tolist() == view.tolist()


def test_columns_of_a_table_are_read_by_position():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}, index=[7, 0])
    assert Series().decode(frame).tolist() == [[1, 3], [2, 4]]
    assert Series().decode(frame.b).tolist() == [[3], [4]]
    assert Series().decode(frame.b.astype("Int64")).tolist() == [[3], [4]]


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
