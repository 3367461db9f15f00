"""Encoders of tables against slow forms; missing cells, missing rows, one kind of column alone."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from mmkit.encoders.ft_transformer import FtTransformerEncoder
from mmkit.encoders.table_lasso import TableLassoEncoder
from mmkit.encoders.table_mlp import TableMlpEncoder
from mmkit.transforms.table import TableTransform

ROWS: list[dict[str, Any] | None] = [
    {"age": 30, "height": 1.7, "town": "Oslo", "member": True},
    {"age": None, "height": 1.8, "town": None, "member": False},
    None,
    {"age": 50, "height": None, "town": "Bergen", "member": None},
    {"town": "unheard of"},
]
KINDS = {"both": ("age", "height", "town", "member"), "numbers": ("age", "height"), "categories": ("town", "member")}
EVERY = pytest.mark.parametrize("build", [TableMlpEncoder, TableLassoEncoder, FtTransformerEncoder])


def rows(kind):
    kept = [row and {column: cell for column, cell in row.items() if column in KINDS[kind]} for row in ROWS]
    return [row or None for row in kept]


def fitted(kind="both"):
    transform = TableTransform()
    transform.fit(rows(kind)[:-1])
    return transform


@EVERY
@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_change_nothing(build, kind):
    transform = fitted(kind)
    encoder = build(transform, width=16).eval()
    with torch.no_grad():
        together = encoder(transform(rows(kind)))
        for index, row in enumerate(rows(kind)):
            alone = encoder(transform([row]))
            torch.testing.assert_close(together.tokens[index], alone.tokens[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(together.vector()[index], alone.vector()[0], atol=1e-5, rtol=0)


@EVERY
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", ["some", "all"])
def test_missing_rows_are_zero_and_finite(build, kind, missing):
    transform = fitted(kind)
    encoder = build(transform, width=16)
    batch = transform(rows(kind) if missing == "some" else [None, None])
    features = encoder(batch)
    assert torch.equal(features.present(), batch["mask"])
    assert not features.tokens[~batch["mask"]].any()
    (features.vector() * torch.randn(16)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or missing == "all", name
    with torch.no_grad():
        evaluated = encoder.eval()(batch)
        assert evaluated.tokens.isfinite().all()
        assert evaluated.vector().isfinite().all()


@EVERY
def test_garbage_where_nothing_is_there_is_not_read(build):
    transform = fitted()
    encoder = build(transform, width=16).eval()
    batch = transform(ROWS)
    there = batch["mask"][:, None]
    spoilt = {
        "numbers": batch["numbers"].masked_fill(~(batch["present"] & there), float("nan")),
        "present": batch["present"] | ~there,
        "categories": batch["categories"].masked_fill(~there, 10**6),
        "mask": batch["mask"],
    }
    assert torch.equal(encoder(batch).tokens, encoder(spoilt).tokens)
    assert torch.equal(encoder(batch).vector(), encoder(spoilt).vector())


@EVERY
def test_every_column_is_read(build):
    transform = fitted()
    encoder = build(transform, width=16).eval()
    changed = [
        {**ROWS[0], column: cell}
        for column, cell in (("age", 31), ("height", 2), ("town", "Bergen"), ("member", False))
    ]
    first, *others = encoder(transform([ROWS[0], *changed])).vector()
    assert all((other - first).abs().max() > 1e-4 for other in others)


@EVERY
def test_a_missing_number_is_not_the_mean(build):
    transform = fitted()
    encoder = build(transform, width=16).eval()
    mean = transform.scales["age"][0]
    one, other = encoder(transform([{**ROWS[0], "age": mean}, {**ROWS[0], "age": None}])).vector()
    assert (one - other).abs().max() > 1e-4


def test_mlp_is_its_definition():
    transform = fitted()
    encoder = TableMlpEncoder(transform, width=5, hidden=7, layers=1, embedding=3).double().eval()
    batch = transform(ROWS)
    batch = {**batch, "numbers": batch["numbers"].double()}
    first, last = encoder.layers[0], encoder.layers[-1]
    table = encoder.categories.embedding.weight
    for index, row in enumerate(ROWS):
        if row is None:
            continue
        member, town = batch["categories"][index].tolist()  # the order of names
        numbers = batch["numbers"][index]
        x = torch.cat([numbers, batch["present"][index].double(), table[member], table[transform.sizes[0] + town]])
        expected = last.weight @ F.gelu(first.weight @ x + first.bias) + last.bias
        torch.testing.assert_close(encoder(batch).tokens[index, 0], expected)


def test_ft_transformer_sees_present_cells_only():
    transform = fitted()
    encoder = FtTransformerEncoder(transform, width=8, heads=2, layers=2).double().eval()
    batch = transform(ROWS)
    batch = {**batch, "numbers": batch["numbers"].double()}
    features = encoder(batch)
    assert features.mask.sum(1).tolist() == [5, 3, 0, 3, 2]
    index = 3  # age and town are there, beside the row's own token
    town = batch["categories"][index, 1]
    age = encoder.slopes[0] * batch["numbers"][index, 0] + encoder.biases[0]
    place = encoder.categories.embedding.weight[transform.sizes[0] + town] + encoder.biases[3]
    tokens = torch.stack([encoder.row[0], age, place])[None]  # no padding, and nothing masked
    for layer in encoder.layers:
        tokens = layer(tokens, torch.ones(1, 3, dtype=torch.bool))
    expected = encoder.norm(tokens)[0]
    torch.testing.assert_close(features.tokens[index][features.mask[index]], expected)
    torch.testing.assert_close(features.vector()[index], expected[0])


def test_an_unknown_category_is_a_cell_that_says_nothing_of_its_value():
    transform = fitted("categories")
    encoder = FtTransformerEncoder(transform, width=8, heads=2).eval()
    one, other, missing = encoder(transform([{"town": "x"}, {"town": "y"}, {"member": True}])).vector()
    assert torch.equal(one, other)
    assert (one - missing).abs().max() > 1e-4


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="width 10 is not divisible by heads 4"):
        FtTransformerEncoder(fitted(), width=10)


@pytest.mark.full
@EVERY
def test_compiles_whole(build):
    transform = fitted()
    encoder = build(transform, width=16).eval()
    batch = transform(ROWS)
    compiled = torch.compile(encoder, fullgraph=True, backend="eager")(batch)
    torch.testing.assert_close(compiled.tokens, encoder(batch).tokens)
