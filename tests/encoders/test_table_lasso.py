"""The encoder of wide tables: its definition, its penalty, and that it finds two columns of many."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import mmkit
from mmkit.encoders.table_lasso import TableLassoEncoder
from mmkit.transforms.table import TableTransform

ROWS = [
    {"age": 30.0, "height": 1.7, "town": "Oslo", "member": "yes"},
    {"age": None, "height": 1.8, "town": None, "member": "no"},
    {"age": 50.0, "height": None, "town": "Bergen", "member": None},
    {"age": 40.0, "height": 1.6, "town": "Bodo", "member": "no"},
]


def fitted(rows):
    transform = TableTransform()
    transform.fit(rows)
    return transform


def built(rows=ROWS, **options):
    torch.manual_seed(0)
    return TableLassoEncoder(fitted(rows), **{"width": 5, "hidden": 7, "layers": 1, **options}).double()


def batch_of(rows):
    batch = fitted(ROWS)(rows)
    return {**batch, "numbers": batch["numbers"].double()}


def test_it_is_its_definition():
    encoder, batch = built().eval(), batch_of(ROWS)
    values, flags = encoder.numbers
    town = 2 + 2  # member's, missing and unknown first
    for index, row in enumerate(ROWS):
        first = encoder.bias.clone()
        for column, name in enumerate(("age", "height")):
            first += batch["numbers"][index, column] * values[column] if row[name] is not None else flags[column]
        member, place = batch["categories"][index].tolist()
        table = encoder.categories.embedding.weight
        first += table[member] + table[town + place]
        last = encoder.layers[-1]
        expected = last.weight @ F.gelu(first[:7]) + last.bias + first[7:]
        torch.testing.assert_close(encoder(batch).tokens[index, 0], expected)


def test_its_penalty_is_the_sum_of_lengths_of_columns():
    encoder, batch = built(strength=0.7).train(), batch_of([*ROWS, {}])
    found = encoder(batch).penalties["columns"]
    assert found.shape == (5,)  # that of the missing row as well: it is of the weights alone
    universal = math.sqrt(2 * math.log(4))
    expected = 0.0
    for column in range(2):
        expected += universal * math.sqrt(sum(x**2 for x in encoder.numbers[:, column].flatten().tolist()))
    rows = encoder.categories.embedding.weight.split([4, 5])  # two values and three, beside missing and unknown
    for values, of in zip((2, 3), rows, strict=True):
        mean_square = sum(x**2 for x in of.flatten().tolist()) / values
        expected += (universal + math.sqrt(values - 2)) * math.sqrt(mean_square)
    torch.testing.assert_close(found, torch.full((5,), 0.7 * expected / math.sqrt(4)).double())
    assert encoder.eval()(batch).penalties == {}


@pytest.mark.parametrize(("rows", "columns"), [(100, 2000), (1000, 300), (10_000, 200)])
def test_noise_stays_below_its_strength_but_not_far(rows, columns):
    """The largest correlation of columns of noise with residuals, by simulation."""
    generator = np.random.default_rng(0)
    largest = [
        np.abs(generator.normal(size=(columns, rows)) @ generator.normal(size=rows)).max() / rows for _ in range(5)
    ]
    transform = TableTransform()
    transform.scales, transform.rows = {f"c{n}": (0.0, 1.0) for n in range(columns)}, rows
    scale = TableLassoEncoder(transform, strength=1.0).scale
    assert scale.shape == (columns,)
    assert 0.8 < np.mean(largest) / scale[0].item() < 1.05


@pytest.mark.parametrize("values", [2, 8])
def test_noise_of_categories_stays_below_their_strength_but_not_far(values):
    """The largest length of the gradient of a column, in the norm dual to that of the penalty, by simulation."""
    generator, rows, columns, largest = np.random.default_rng(0), 400, 300, []
    for _ in range(5):
        residuals = generator.normal(size=rows)
        codes = generator.integers(0, values, (columns, rows))
        sums = np.stack([np.where(codes == value, residuals - residuals.mean(), 0).sum(1) for value in range(values)])
        largest.append(np.sqrt(values * (sums**2).sum(0)).max() / rows)
    transform = TableTransform()
    transform.values = {f"c{n}": {str(value): value + 2 for value in range(values)} for n in range(columns)}
    transform.rows = rows
    assert 0.8 < np.mean(largest) / TableLassoEncoder(transform, strength=1.0).scale[0].item() < 1.05


def test_rows_of_nothing_do_not_count_however_they_are_read():
    columns = {"x": [1.0, None, 3.0, None], "kind": ["a", "b", None, None]}
    transform = TableTransform()
    transform.fit([{"x": 1.0, "kind": "a"}, {"kind": "b"}, {"x": 3.0}, {}, None])
    assert transform.rows == 3
    arrow = TableTransform()
    arrow.fit(mmkit_rows(columns))
    assert arrow.state() == transform.state()
    again = TableTransform()
    again.restore(transform.state())
    assert again.rows == 3


def mmkit_rows(columns):
    """Rows that are read column by column, as own data gives them."""
    import pyarrow as pa

    class Rows(list):
        def arrow(self, index, names=None):
            table = pa.table({n: pa.array(c) for n, c in columns.items()}).select(names or list(columns)).take(index)
            made = [c.combine_chunks().dictionary_encode() if pa.types.is_string(c.type) else c.combine_chunks()
                    for c in table.columns]  # fmt: skip
            return pa.record_batch(made, names=table.column_names)

    return Rows([{n: c[i] for n, c in columns.items()} for i in range(4)])


@pytest.mark.full
@pytest.mark.parametrize("encoder", ["table-lasso", "table-mlp"])
def test_two_columns_of_many_are_found_by_it_alone(encoder):
    """180 rows; the class is the sign of the sum of two columns of 1,000, as a regression with an L1 penalty finds."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=(180, 1000))
    table = {f"c{n}": values[:, n].tolist() for n in range(1000)}
    table["y"] = np.where(values[:, :2].sum(1) > 0, "yes", "no").tolist()
    suite = mmkit.bench(
        data=table, target="y", encoders={"table": encoder}, fusion="concat", seeds=1, training={"lr": 1e-2},
        cost=False, yardsticks=False, progress=False,
    )  # fmt: skip
    (alone,) = [row for row in suite.rows if row.fusion == "only:table"]
    score = alone.spread("accuracy").mean
    assert score > 0.8 if encoder == "table-lasso" else score < 0.65
