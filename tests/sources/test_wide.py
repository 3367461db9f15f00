"""A table with more columns than training rows: it is said, with the columns that say most of the target alone."""

import numpy as np
import pytest
from sklearn.feature_selection import f_classif, r_regression

import mmkit
from mmkit.errors import DataError
from mmkit.sources.findings import screened


def table(rows, columns, seed=0, gaps=0.0):
    """Signal in c3 and c17 alone."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((rows, columns))
    amount = values[:, 3] - values[:, 17] + 0.3 * generator.standard_normal(rows)
    values[generator.random(values.shape) < gaps] = np.nan
    return {f"c{i}": values[:, i] for i in range(columns)}, amount


def warned(data, target):
    found = mmkit.inspect(data, target=target)
    return found, [one for one in found.findings if "learn from" in one.text]


@pytest.mark.parametrize("gaps", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["classes", "scalar"])
def test_it_is_said_with_the_columns_that_matter(kind, gaps):
    columns, amount = table(300, 400, gaps=gaps)
    truth = np.where(amount > 0, "yes", "no").tolist() if kind == "classes" else amount
    found, (one,) = warned({**columns, "y": truth}, "y")
    assert one.level == "warning"
    assert f"400 columns of a row and {found.count('train')} rows to learn from" in one.text
    assert set(one.columns[:2]) == {"c3", "c17"}
    assert "c3, c17" in one.text or "c17, c3" in one.text


def test_nothing_is_said_of_a_table_with_enough_rows():
    columns, amount = table(300, 100)
    assert warned({**columns, "y": amount}, "y")[1] == []


def test_validation_and_test_choose_no_column():
    """Columns are chosen by training rows: where the signal is in the other rows alone, it is not found."""
    columns, amount = table(300, 400)
    found = mmkit.inspect({**columns, "y": amount}, target="y")
    elsewhere = found.sides != 0
    planted = np.random.default_rng(1).standard_normal(300)
    planted[elsewhere] = 100 * amount[elsewhere]
    found, (one,) = warned({**columns, "planted": planted, "y": amount}, "y")
    assert "planted" not in one.columns


def test_the_order_is_that_of_scikit_learn():
    columns, amount = table(200, 50)
    codes = (amount > 0).astype(int)
    values = np.stack(list(columns.values()), 1)
    arrow = {name: mmkit.inspect({name: one, "y": codes}).source.columns[name] for name, one in columns.items()}
    everything = np.ones(200, bool)
    for truth, reference in ((np.where(codes, "a", "b"), f_classif(values, codes)[0]),):
        target = mmkit.inspect({**columns, "y": truth.tolist()}, target="y").target
        expected = [f"c{i}" for i in np.argsort(-reference)[:8]]
        assert screened(arrow, target, everything, most=8) == expected
    target = mmkit.inspect({**columns, "y": amount}, target="y").target
    expected = [f"c{i}" for i in np.argsort(-np.abs(r_regression(values, amount)))[:8]]
    assert screened(arrow, target, everything, most=8) == expected


def test_a_constant_column_does_not_stop_it():
    columns, amount = table(60, 100)
    columns["flat"] = np.r_[np.ones(59), 2.0]
    _, (one,) = warned({**columns, "y": amount}, "y")
    assert one.columns
    with pytest.raises(DataError):
        mmkit.inspect({"y": amount}, target="y")


def test_many_columns_that_are_alike_are_shown_by_the_first_and_the_last():
    columns, amount = table(60, 300)
    columns["c150"][:30] = np.nan
    shown = mmkit.inspect({**columns, "y": amount}, target="y").text(80).splitlines()
    begins = [line.split("  ")[0] for line in shown[2:10]]
    assert begins[:7] == ["c0", "148 more", "c149", "c150", "c151", "147 more", "c299"]
    few = mmkit.inspect({**{f"c{n}": columns[f"c{n}"] for n in range(40)}, "y": amount}, target="y").text(80)
    assert all(f"\nc{n} " in few for n in range(40))
