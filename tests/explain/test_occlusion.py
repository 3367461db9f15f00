"""Occlusion against captum's own, and where it takes the place of gradients."""

from itertools import pairwise

import captum.attr
import pytest
import torch

from mmkit.explain import occlusion
from mmkit.explain.inside import inside
from mmkit.explain.sample import Sample
from tests.explain.test_explaining import values


@pytest.fixture
def sample(model, good):
    return Sample.of(model, values(model, good))


def test_segments_give_what_captums_occlusion_gives(model, sample):
    """The transform is linear: a segment at the mean of the series is one at the mean of its steps."""
    series = sample.values["series"]
    edges, changed = occlusion.segments(series)
    own = occlusion.occluded(sample, "series", changed)
    batch = sample.row("series")
    mask = torch.cat([torch.full((end - start,), i) for i, (start, end) in enumerate(pairwise(edges))])

    def forward(steps):
        return sample.beside("series", sample.encoded("series", {"steps": steps, "mask": batch["mask"]}))

    mean = batch["steps"].mean(1, keepdim=True).expand_as(batch["steps"])
    with torch.no_grad():
        theirs = captum.attr.FeatureAblation(forward).attribute(
            batch["steps"], baselines=mean, feature_mask=mask[None, :, None]
        )
    expected = [float(theirs[0, start, 0]) for start in edges[:-1]]
    assert own == pytest.approx(expected, abs=1e-5)


def test_patches_give_what_captums_occlusion_gives(model, sample):
    picture = sample.values["image"]
    (down, across), changed = occlusion.patches(picture)
    own = torch.tensor(occlusion.occluded(sample, "image", changed)).view(down, across)
    batch = sample.row("image")

    def forward(pixels):
        return sample.beside("image", sample.encoded("image", {**batch, "pixels": pixels}))

    mean = float(picture.double().mean().to(torch.uint8))
    with torch.no_grad():
        theirs = captum.attr.Occlusion(forward).attribute(
            batch["pixels"].float(), sliding_window_shapes=(1, 2, 2), strides=(1, 2, 2), baselines=mean
        )
    torch.testing.assert_close(own, theirs[0, 0, ::2, ::2].float(), atol=1e-5, rtol=0)


def test_words_and_cells_are_taken_away_as_predictions_without_them_are(model, good, sample):
    spans, changed = occlusion.words(good["text"])
    assert [good["text"][start:end] for start, end in spans] == good["text"].split()
    names, rows = occlusion.cells(good["table"])
    assert names == ["noise", "size", "shop"]
    assert [row[name] for name, row in zip(names, rows, strict=True)] == [None] * 3
    for name, given, parts in (("text", changed, 8), ("table", rows, 3)):
        losses = occlusion.occluded(sample, name, given)
        assert len(losses) == parts
        kept, weights = sample.contexts(name)
        for loss, value in zip(losses, given, strict=True):
            answers = []
            for one in (good[name], value):
                asked = [
                    {n: good[n] for n, there in zip(sample.given, row, strict=True) if there} | {name: one}
                    for row in kept
                ]
                answers.append(
                    sum(
                        float(w) * a["probabilities"]["good"]
                        for w, a in zip(weights, model.predict(asked), strict=True)
                    )
                )
            assert loss == pytest.approx(answers[0] - answers[1], abs=1e-5)


def test_a_text_of_one_word_without_it_is_missing_and_long_texts_go_in_groups():
    assert occlusion.words("word") == ([(0, 4)], [None])
    spans, _ = occlusion.words("word " * 1000)
    assert len(spans) == 200
    assert spans[0] == (0, 24)
    assert occlusion.words("我爱 北京")[0] == [(0, 1), (1, 2), (3, 4), (4, 5)]


@pytest.mark.parametrize("name", ["image", "series", "table", "text"])
def test_where_an_encoder_gives_no_gradient_it_takes_their_place(model, sample, name, monkeypatch):
    encoder = model.module.encoders[name]
    forward = type(encoder).forward

    def without(self, batch):
        with torch.no_grad():
            return forward(self, batch)

    monkeypatch.setattr(type(encoder), "forward", without)
    one = inside(sample, name)
    assert (one.method, one.reason) == ("occlusion", "its encoder gives no gradient")
    assert one.gap is None
    assert one.gained is None
    assert max(map(abs, one.values)) > 0


def test_an_encoder_that_takes_bytes_alone_is_occluded(model, sample, monkeypatch):
    encoder = type(model.module.encoders["image"])
    forward = encoder.forward

    def picky(self, batch):
        if batch["pixels"].dtype != torch.uint8:
            raise RuntimeError("bytes only")
        return forward(self, batch)

    monkeypatch.setattr(encoder, "forward", picky)
    one = inside(sample, "image")
    assert (one.method, one.reason) == ("occlusion", "its encoder takes bytes alone (RuntimeError)")
    assert one.parts.grid.shape == (8, 8)


def test_a_tokenizer_that_does_not_say_where_tokens_stand_is_occluded(model, sample, monkeypatch):
    monkeypatch.setattr(type(model.transforms.inputs["text"]), "spans", lambda self, value: None)
    one = inside(sample, "text")
    assert (one.method, one.reason) == ("occlusion", "its tokenizer does not say where tokens stand")
