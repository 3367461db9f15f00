"""Predict where an input is missing: it is left out, or None, and the model goes by what is there."""

import mmkit
from mmkit.tasks.digits import Digits

model, record = mmkit.fit(task="digits", fusion="late", training={"epochs": 15})
print(model)

test = Digits().split("test")
written, spoken = test.inputs["written"], test.inputs["spoken"]
asked: dict[str, list[dict[str, object]]] = {
    "both": [{"written": w, "spoken": s} for w, s in zip(written, spoken, strict=True)],
    "written alone": [{"written": w} for w in written],
    "spoken alone": [{"written": None, "spoken": s} for s in spoken],
    "neither": [{}] * len(test),
}
for what, samples in asked.items():
    answers = model.predict(samples)
    right = sum(answer["label"] == str(truth) for answer, truth in zip(answers, test.truth, strict=True))
    highest = sum(max(answer["probabilities"].values()) for answer in answers) / len(answers)
    print(f"{what:<14} accuracy {right / len(answers):.2f}, mean probability of the answer {highest:.2f}")
