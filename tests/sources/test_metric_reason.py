"""Why balanced accuracy measures: the share of the largest class, as it is read.

Of two classes with shares p and 1 - p and recalls r and s, accuracy is pr + (1 - p)s and balanced accuracy (r + s) / 2:
they differ by (p - 1/2)(r - s), so below 60 % by a tenth at most, whatever the answers are.
"""

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from mmkit.sources.targets import UNEVEN, read_target


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        (90, 10, "measured by balanced accuracy, since good is 90 % of all"),
        (61, 39, "measured by balanced accuracy, since good is 61 % of all"),
        (60, 40, "measured by accuracy"),
        (51, 49, "measured by accuracy"),
        (601, 599, "measured by accuracy"),
        (50, 50, "measured by accuracy"),
    ],
)
def test_the_reason_agrees_with_the_rule(good, bad, told):
    column = pa.chunked_array([pa.array(["good"] * good + ["bad"] * bad)])
    assert read_target({"y": column}, None).reason.endswith(told)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((51, 30, 19), "measured by balanced accuracy, since a is 51 % of all"),
        ((601, 300, 299), "measured by balanced accuracy, since a is more than half of all"),  # 50.08 %
        ((50, 25, 25), "measured by accuracy"),
    ],
)
def test_of_more_than_two_classes_one_half_is_uneven(counts, told):
    rows = [name for name, count in zip("abc", counts, strict=True) for _ in range(count)]
    assert read_target({"y": pa.chunked_array([pa.array(rows)])}, None).reason.endswith(told)


def test_below_the_bound_both_measures_of_any_answers_are_within_a_tenth():
    generator = np.random.default_rng(0)
    truth = np.array([0] * round(1000 * UNEVEN) + [1] * round(1000 * (1 - UNEVEN)))
    for chance in (0.0, 0.3, 0.9, 1.0):
        said = (generator.random(1000) < chance).astype(int)
        assert abs(sk.accuracy_score(truth, said) - sk.balanced_accuracy_score(truth, said)) <= UNEVEN - 0.5 + 1e-9
