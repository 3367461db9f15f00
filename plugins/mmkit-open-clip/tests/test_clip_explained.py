"""Explanations look into the towers of open_clip: gradients where there are any, else occlusion."""

import pytest
from random_clips import PAIRS, folder

import mmkit


def explained(tmp_path, kind, options=""):
    home, _ = folder(tmp_path, kind)
    given = f"model=local-dir:{home}{options}"
    model, _ = mmkit.fit(
        task=PAIRS,
        encoders={"a": f"open-clip-image:{given}", "b": f"open-clip-text:{given}"},
        fusion="mean",
        training={"epochs": 1, "tune_epochs": 1, "min_steps": 0, "lr": 0.01, "tune_lr": 0.001},
        device="cpu",
        progress=False,
    )
    samples = PAIRS().split("test").inputs
    return model.explain({"a": samples["a"][0], "b": samples["b"][0]})


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("clip", ""),
        pytest.param("clip", ",tune=full", marks=pytest.mark.full),
        pytest.param("bert", "", marks=pytest.mark.full),
    ],
)
def test_towers_are_looked_into(tmp_path, kind, options):
    found = explained(tmp_path, kind, options)
    picture, text = found.inside["a"], found.inside["b"]
    assert picture.method == "integrated gradients", picture.reason
    assert picture.gap <= 0.02 * abs(picture.gained) + 1e-3
    assert picture.parts.pixels.shape[0] == 3
    if kind == "bert":
        assert text.method == "integrated gradients", text.reason
        assert text.gap <= 0.02 * abs(text.gained) + 1e-3
    else:  # open_clip's own tokenizer does not say where its tokens stand
        assert (text.method, text.reason) == ("occlusion", "its tokenizer does not say where tokens stand")
    assert max(map(abs, text.values)) > 0
    assert sum(one.value for one in found.contributions) == pytest.approx(found.value - found.nothing, abs=1e-5)
