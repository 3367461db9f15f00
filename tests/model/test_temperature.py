"""A temperature changes probabilities as one on the logits does, no answer, and is saved with the model."""

import json

import pytest
import torch

import mmkit
from mmkit.errors import DataError
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.model.temperature import Temperature
from mmkit.system.settings import Settings


@pytest.mark.parametrize("value", [0.2, 1.0, 3.5])
def test_it_is_a_division_of_logits(value):
    z = 4 * torch.randn(50, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    classes = Temperature("classes", value)({"probabilities": z.softmax(-1)})["probabilities"]
    torch.testing.assert_close(classes, (z / value).softmax(-1))
    labels = Temperature("labels", value)({"probabilities": z.sigmoid()})["probabilities"]
    torch.testing.assert_close(labels, (z / value).sigmoid())
    assert torch.equal(classes.argmax(-1), z.argmax(-1))
    assert torch.equal(labels > 0.5, z > 0)


def test_probabilities_of_zero_and_one_stay_finite():
    p = torch.tensor([[1.0, 0.0]])
    for kind in ("classes", "labels"):
        found = Temperature(kind, 3.0)({"probabilities": p})["probabilities"]
        assert found.isfinite().all()
        assert found[0, 0] > 0.99


@pytest.fixture(scope="module")
def model():
    asked = plan(
        mmkit.installed(),
        task="synthetic-unique:train=48",
        fusions=["concat"],
        training={"epochs": 1, "lr": 0.01},
        seeds=1,
        baselines=False,
        settings=Settings("cpu"),
    )
    return execute(asked.runs()[0])[1]


def test_a_saved_model_keeps_its_temperature(model, tmp_path):
    model.module.temperature = None
    plain = model.predict([{}])[0]["probabilities"]
    model.module.temperature = Temperature("classes", 2.0)
    tempered = model.predict([{}])[0]["probabilities"]
    roots = {name: p**0.5 for name, p in plain.items()}
    assert tempered == pytest.approx({name: p / sum(roots.values()) for name, p in roots.items()}, rel=1e-5)
    model.save(tmp_path / "model")
    assert mmkit.load(tmp_path / "model").predict([{}])[0]["probabilities"] == tempered
    model.module.temperature = None
    model.save(tmp_path / "model")
    assert mmkit.load(tmp_path / "model").predict([{}])[0]["probabilities"] == plain


@pytest.mark.parametrize("wrong", [0.0, -1.0, "1", True])
def test_a_wrong_temperature_is_an_error(model, tmp_path, wrong):
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": wrong}))
    with pytest.raises(DataError, match="its temperature is not what `save` wrote"):
        mmkit.load(tmp_path / "model")
