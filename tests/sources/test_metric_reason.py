"""Why balanced accuracy measures: the share of the largest class, as it is read."""

import pyarrow as pa
import pytest

from mmkit.sources.targets import read_target


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        (90, 10, "balanced_accuracy, since good is 90 % of all"),
        (51, 49, "balanced_accuracy, since good is 51 % of all"),
        (601, 599, "balanced_accuracy, since good is more than half of all"),  # 50.08 %
        (50, 50, "measured by accuracy"),
    ],
)
def test_the_reason_agrees_with_the_rule(good, bad, told):
    column = pa.chunked_array([pa.array(["good"] * good + ["bad"] * bad)])
    assert read_target({"y": column}, None).reason.endswith(told)
