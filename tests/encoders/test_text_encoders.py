"""Encoders of text against slow forms, and what padding, missing texts and vectors of a file do to them."""

import functools
import math

import pytest
import torch
from torch import nn

from mmkit.encoders.bag import BagEncoder
from mmkit.encoders.text_rnn import TextRnnEncoder
from mmkit.encoders.text_transformer import TextTransformerEncoder, positions
from mmkit.transforms.text import TextTransform

TEXTS = ["the cat sat on the mat", "我喜欢这个图片", "cat", None, "a dog that nobody knows sat"]
GRU = functools.partial(TextRnnEncoder, cell="gru", layers=2, bidirectional=False)
EVERY = pytest.mark.parametrize("build", [BagEncoder, TextRnnEncoder, GRU, TextTransformerEncoder])


@pytest.fixture
def transform():
    fitted = TextTransform()
    fitted.fit(["the cat sat on the mat", "我爱北京天安门 这个", "a dog"])
    return fitted


@EVERY
def test_neighbours_and_padding_change_nothing(build, transform):
    encoder = build(transform, width=16).eval()
    with torch.no_grad():
        together = encoder(transform(TEXTS))
        for row, text in enumerate(TEXTS):
            alone = encoder(transform([text]))
            length = alone.mask.shape[1]
            torch.testing.assert_close(together.tokens[row, :length], alone.tokens[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(together.vector()[row], alone.vector()[0], atol=1e-5, rtol=0)


@EVERY
def test_garbage_under_a_false_mask_is_not_read(build, transform):
    encoder = build(transform, width=16).eval()
    batch = transform(TEXTS)
    garbage = torch.randint(-(10**6), 10**6, batch["tokens"].shape)
    spoilt = {**batch, "tokens": torch.where(batch["mask"], batch["tokens"], garbage)}
    assert torch.equal(encoder(batch).tokens, encoder(spoilt).tokens)


@EVERY
@pytest.mark.parametrize("texts", [TEXTS, [None, None]])
def test_missing_texts_are_zero_and_finite(build, transform, texts):
    encoder = build(transform, width=16)
    features = encoder(transform(texts))
    missing = torch.tensor([text is None for text in texts])
    assert torch.equal(features.present(), ~missing)
    assert not features.tokens[missing].any()
    features.vector().square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    with torch.no_grad():
        assert encoder.eval()(transform(texts)).tokens.isfinite().all()


@EVERY
def test_every_parameter_learns(build, transform):
    encoder = build(transform, width=16, dropout=0.0)
    (encoder(transform(TEXTS)).vector() * torch.randn(16)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_bag_is_the_mean_of_its_words(transform):
    encoder = BagEncoder(transform, width=8).double().eval()
    rows = transform(["the cat sat"])["tokens"][0].tolist()
    weight = encoder.embedding.embedding.weight.detach()
    expected = sum(weight[row] for row in rows) / 3
    torch.testing.assert_close(encoder(transform(["the cat sat"])).vector()[0], expected)
    other_order = encoder(transform(["sat the cat", "the cat sat"])).vector()
    torch.testing.assert_close(other_order[0], other_order[1])


def test_rnn_runs_over_the_words_one_by_one(transform):
    encoder = TextRnnEncoder(transform, width=6, cell="gru", bidirectional=False).double().eval()
    cell = nn.GRUCell(6, 6).double()
    weights = encoder.recurrent.cell.state_dict()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in weights.items()})
    batch = transform(TEXTS)
    tokens = encoder(batch).tokens
    for row in range(len(TEXTS)):
        state = torch.zeros(1, 6, dtype=torch.float64)
        for step, token in enumerate(batch["tokens"][row][batch["mask"][row]]):
            state = cell(encoder.embedding.embedding.weight[token][None], state)
            torch.testing.assert_close(tokens[row, step], state[0])


def test_transformer_knows_the_order_and_the_bag_does_not(transform):
    texts = transform(["dog the cat", "cat the dog"])
    one, other = TextTransformerEncoder(transform, width=16).eval()(texts).vector()
    assert (one - other).abs().max() > 1e-3


def test_positions_are_those_of_the_paper():
    found = positions(torch.zeros(1, 7, 6, dtype=torch.float64))
    for place in range(7):
        for i in range(3):
            angle = place / 10_000 ** (2 * i / 6)
            assert found[place, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-12)
            assert found[place, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-12)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_positions_of_half_precision_are_those_of_float32_rounded(kind):
    expected = positions(torch.zeros(1, 512, 64))
    found = positions(torch.zeros(1, 512, 64, dtype=kind))
    assert found.dtype == kind
    torch.testing.assert_close(found.float(), expected, atol=2**-8, rtol=0)


def test_a_text_longer_than_any_in_training(transform):
    assert TextTransformerEncoder(transform, width=16)(transform(["cat " * 200])).tokens.shape == (1, 200, 16)


def test_an_unknown_word_says_nothing_before_training(transform):
    assert not BagEncoder(transform).eval()(transform(["xyzzy"])).tokens.any()


@pytest.mark.parametrize("freeze", [False, True])
@EVERY
def test_vectors_of_a_file_are_the_first_weights_and_the_file_is_not_needed_again(build, freeze, tmp_path):
    file = tmp_path / "vectors.txt"
    file.write_text("2 3\ncat 1 2 3\nmat 4 5 6\n")
    transform = TextTransform(vectors=str(file))
    transform.fit(["the cat sat on the mat"])
    encoder = build(transform, width=8, freeze=freeze).eval()
    weight = encoder.embedding.embedding.weight
    assert weight[transform(["cat"])["tokens"][0, 0]].tolist() == [1, 2, 3]
    assert weight.requires_grad is not freeze
    assert encoder(transform(["cat"])).width == 8
    file.unlink()
    restored = TextTransform(vectors=str(file))
    restored.restore(transform.state())
    again = build(restored, width=8, freeze=freeze).eval()
    again.load_state_dict(encoder.state_dict())
    texts = ["the cat knows", None]
    assert torch.equal(again(restored(texts)).tokens, encoder(transform(texts)).tokens)


@EVERY
def test_freeze_needs_vectors(build, transform):
    with pytest.raises(ValueError, match="freeze=true keeps the vectors of a file as they are; name one with vectors"):
        build(transform, freeze=True)


def test_options_that_cannot_work(transform):
    with pytest.raises(ValueError, match="width is even; got 7"):
        TextTransformerEncoder(transform, width=7)
    with pytest.raises(ValueError, match="width 6 is not divisible by heads 4"):
        TextTransformerEncoder(transform, width=6)
    with pytest.raises(ValueError, match="even width; got 7"):
        TextRnnEncoder(transform, width=7)


@pytest.mark.full
@pytest.mark.parametrize("build", [BagEncoder, TextTransformerEncoder])
def test_compiles_whole(build, transform):
    encoder = build(transform, width=16).eval()
    compiled = torch.compile(encoder, fullgraph=True, backend="eager")
    batch = transform(TEXTS)
    torch.testing.assert_close(compiled(batch).tokens, encoder(batch).tokens)
