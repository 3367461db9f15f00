"""Explanations look into pretrained text models: frozen, adapted or tuned, of several families."""

import pytest
from random_texts import folder

import mmkit

TEXTS = ["a red house", "the blue sea, and more of it than that.", "a blue house", "red sea, and more"]


class Colours:
    """Whether a text says red; beside it a number that says nothing."""

    description = "Red or not."
    target, metric = "classes", "accuracy"

    def __init__(self):
        self.inputs = {"text": "text", "row": "table"}
        self.encoders, self.training = {}, {"epochs": 1, "tune_epochs": 1, "min_steps": 0, "lr": 0.01}

    def split(self, name):
        texts = [TEXTS[i % 4] + " !"[i % 2] for i in range({"train": 16, "validation": 8, "test": 8}[name])]
        rows = [{"size": float(i % 3)} for i in range(len(texts))]
        labels = ["red" if "red" in text else "other" for text in texts]
        return mmkit.Samples([f"{name}-{i}" for i in range(len(texts))], {"text": texts, "row": rows}, labels)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", ""),
        ("bert", ",tune=full"),
        ("gpt2", ""),
        pytest.param("roberta", ",tune=lora", marks=pytest.mark.full),
        pytest.param("t5", "", marks=pytest.mark.full),
        pytest.param("deberta-v2", ",tune=partial:1", marks=pytest.mark.full),
        pytest.param("mpnet", ",layer=2", marks=pytest.mark.full),
        pytest.param("modernbert", ",tune=full", marks=pytest.mark.full),
        pytest.param("qwen2", "", marks=pytest.mark.full),
        pytest.param("electra", "", marks=pytest.mark.full),
        pytest.param("albert", "", marks=pytest.mark.full),
    ],
)
def test_tokens_of_a_pretrained_model_are_attributed(tmp_path, kind, options):
    encoder = f"transformers-text:model={folder(tmp_path, kind)}{options}"
    training = {"tune_lr": 0.001} if "tune" in options else {}
    model, _ = mmkit.fit(
        task=Colours, encoders={"text": encoder}, fusion="gated", training=training, device="cpu", progress=False
    )
    model.save(tmp_path / "model")
    text = "the red sea, and more of it."
    found = mmkit.load(tmp_path / "model").explain({"text": text, "row": {"size": 1.0}})
    one = found.inside["text"]
    assert one.method == "integrated gradients", one.reason
    assert one.gap <= 0.02 * abs(one.gained) + 1e-3
    assert len(one.parts.spans) == len(one.values) >= 5
    assert max(map(abs, one.values)) > 0
    assert all(0 <= start < end <= len(text) for start, end in one.parts.spans)  # none that the model adds
    if kind != "qwen2":  # whose tokenizer drops what its small vocabulary lacks
        assert "".join(text[start:end] for start, end in one.parts.spans).replace(" ", "") == text.replace(" ", "")
    sums = sum(part.value for part in found.contributions)
    assert sums == pytest.approx(found.value - found.nothing, abs=1e-5)
