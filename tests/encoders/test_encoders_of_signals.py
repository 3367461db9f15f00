"""What holds of every encoder of images, sound and series."""

import copy
import pickle

import pytest
import torch

from mmkit.encoders.cnn import CnnEncoder
from mmkit.encoders.fcn import FcnEncoder
from mmkit.encoders.lenet import LeNetEncoder
from mmkit.encoders.mel_cnn import MelCnnEncoder
from mmkit.encoders.mel_rnn import MelRnnEncoder
from mmkit.encoders.resnet import ResNetEncoder
from mmkit.encoders.series_rnn import SeriesRnnEncoder
from mmkit.encoders.tcn import TcnEncoder
from mmkit.modalities.audio import Audio
from mmkit.modalities.image import Image
from mmkit.modalities.series import Series

ENCODERS = [
    (Image, CnnEncoder, {}),
    (Image, CnnEncoder, {"layers": 1, "grid": 3, "width": 5}),
    (Image, LeNetEncoder, {}),
    (Image, ResNetEncoder, {}),
    (Audio, MelCnnEncoder, {}),
    (Audio, MelRnnEncoder, {}),
    (Audio, MelRnnEncoder, {"cell": "gru", "layers": 2, "stack": 1}),
    (Series, FcnEncoder, {}),
    (Series, FcnEncoder, {"stride": 3, "kernel": 1, "layers": 2}),
    (Series, TcnEncoder, {}),
    (Series, TcnEncoder, {"causal": True, "kernel": 2, "layers": 2, "width": 5}),
    (Series, SeriesRnnEncoder, {}),
    (Series, SeriesRnnEncoder, {"cell": "gru", "bidirectional": False, "width": 5}),
]
every = pytest.mark.parametrize(("modality", "kind", "options"), ENCODERS)
through_time = pytest.mark.parametrize(
    ("modality", "kind", "options"), [encoder for encoder in ENCODERS if encoder[0] is not Image]
)


def values_of(modality, count=6):
    generator = torch.Generator().manual_seed(1)
    return [modality().example(generator) for _ in range(count)]


def built(modality, kind, options):
    """A fitted transform, and an encoder whose running statistics have seen something."""
    transform = kind.reads()
    transform.fit(values_of(modality))
    encoder = kind(transform, **options)
    encoder(transform(values_of(modality)))
    return transform, encoder


def content(batch):
    return next(name for name in batch if name != "mask")


@every
def test_shapes_and_rows_apart_in_evaluation(modality, kind, options):
    transform, encoder = built(modality, kind, options)
    encoder.eval()
    values = values_of(modality)
    together = encoder(transform(values))
    assert together.tokens.shape[2] == encoder.width
    for row, value in enumerate(values):
        alone = encoder(transform([value]))
        length = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == length
        torch.testing.assert_close(together.tokens[row, :length], alone.tokens[0, :length], atol=1e-5, rtol=1e-4)


@through_time
@pytest.mark.parametrize("training", [False, True])
def test_more_padding_changes_nothing(modality, kind, options, training):
    transform, encoder = built(modality, kind, {**options, "dropout": 0.0})
    twin = copy.deepcopy(encoder)
    encoder.train(training)
    twin.train(training)
    batch = transform(values_of(modality))
    longer = {name: torch.nn.functional.pad(t, (0, 0) * (t.ndim - 2) + (0, 7)) for name, t in batch.items()}
    longer[content(batch)][~longer["mask"]] = float("nan")
    short, long = encoder(batch), twin(longer)
    length = short.tokens.shape[1]
    assert torch.equal(long.mask[:, :length], short.mask)
    assert not long.mask[:, length:].any()
    torch.testing.assert_close(long.tokens[:, :length], short.tokens, atol=1e-5, rtol=1e-4)
    for name, buffer in encoder.named_buffers():
        torch.testing.assert_close(twin.get_buffer(name), buffer)


@every
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("missing", ["one", "all"])
def test_missing_rows_are_finite_and_silent(modality, kind, options, training, missing):
    transform, encoder = built(modality, kind, options)
    encoder.train(training)
    values = values_of(modality, 3)
    batch = transform([None] * 3 if missing == "all" else [values[0], None, values[2]])
    if batch[content(batch)].is_floating_point():
        batch[content(batch)][~batch["mask"]] = float("inf")
    features = encoder(batch)
    assert torch.isfinite(features.tokens).all()
    assert not features.mask[1].any()
    assert not features.tokens[1].any()
    assert bool(features.mask.any()) == (missing == "one")
    features.vector().square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    for name, buffer in encoder.named_buffers():
        assert torch.isfinite(buffer).all(), name


@every
def test_a_missing_row_leaves_the_others_as_they_were_in_training(modality, kind, options):
    transform, encoder = built(modality, kind, {**options, **({} if kind is LeNetEncoder else {"dropout": 0.0})})
    twin = copy.deepcopy(encoder)
    values = values_of(modality, 3)
    with_missing = encoder(transform([values[0], None, values[2]])).tokens[[0, 2]]
    without = twin(transform([values[0], values[2]])).tokens
    torch.testing.assert_close(with_missing, without, atol=1e-5, rtol=1e-4)


@every
def test_a_batch_of_one_trains_every_parameter(modality, kind, options):
    transform, encoder = built(modality, kind, options)
    features = encoder(transform(values_of(modality, 1)))
    weights = torch.randn(features.tokens.shape)
    (features.tokens * weights).sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in encoder.parameters())


@every
def test_a_fresh_instance_takes_over_the_state(modality, kind, options):
    transform, encoder = built(modality, kind, options)
    other = pickle.loads(pickle.dumps(transform))
    fresh = kind(other, **options)
    fresh.load_state_dict(encoder.state_dict())
    batch = transform(values_of(modality, 2))
    assert torch.equal(fresh.eval()(batch).tokens, encoder.eval()(batch).tokens)


@every
def test_double_and_autocast(modality, kind, options):
    transform, encoder = built(modality, kind, options)
    batch = transform(values_of(modality, 2))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(encoder(batch).tokens).all()
    double = {n: t.double() if t.is_floating_point() else t for n, t in batch.items()}
    encoder.eval()
    torch.testing.assert_close(
        encoder.double()(double).tokens.float(), encoder.float()(batch).tokens, atol=1e-4, rtol=1e-3
    )


@pytest.mark.full
@every
@pytest.mark.parametrize("training", [False, True])
def test_compiles_and_exports_whole(modality, kind, options, training):
    if kind in {MelRnnEncoder, SeriesRnnEncoder}:
        pytest.skip("the recurrent ones pack by length, which their specs say")
    transform, encoder = built(modality, kind, {**options, **({} if kind is LeNetEncoder else {"dropout": 0.0})})
    twin = copy.deepcopy(encoder.train(training))
    values = values_of(modality, 3)
    batch = dict(transform([values[0], None, values[2]]))
    expected = twin(batch).tokens
    exported = torch.export.export(copy.deepcopy(encoder), (batch,)).module()(batch)
    torch.testing.assert_close(exported.tokens, expected)
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")(batch)
    torch.testing.assert_close(compiled.tokens, expected)


def test_digits_give_sixteen_tokens():
    transform = CnnEncoder.reads(size=8)
    transform.fit([torch.randint(0, 256, (1, 8, 8), dtype=torch.uint8)])
    features = CnnEncoder(transform)(transform([torch.zeros(1, 8, 8, dtype=torch.uint8)]))
    assert features.tokens.shape == (1, 16, 64)


def test_a_width_that_cannot_be_divided_is_refused():
    transform = ResNetEncoder.reads(size=8)
    with pytest.raises(ValueError, match="width 6 is not divisible by 4"):
        ResNetEncoder(transform, width=6)
    with pytest.raises(ValueError, match="kernel 4 is even; take an odd one"):
        FcnEncoder(FcnEncoder.reads(), kernel=4)
