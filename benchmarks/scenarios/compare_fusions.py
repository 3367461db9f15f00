"""Compare fusions on the task that ships with mmkit: which one, and is it worth more than one input alone?"""

import mmkit

suite = mmkit.bench(
    task="digits:per_class=4",  # 40 pairs of a written and a spoken digit, so that this takes seconds
    fusion=["concat", "late", "attention"],
    training={"epochs": 20, "lr": 0.002},
    seeds=2,
    protocol="full",  # every fusion is measured on test, not only the one that is chosen
    out="runs/compare",
    save=True,  # the weights of the best run of each, by validation
    cost=False,  # speed, memory and FLOPs take longer than training here
)
for line in sorted(suite.table(), key=lambda line: str(line["combination"])):
    print(f"{line['combination']:<13} accuracy on test {line['test accuracy']:.3f}, {line['seeds']} seeds")

verdict = suite.verdict
assert suite.best  # None where every run failed
assert verdict  # None of a suite without a fusion or without a single input
print(f"best on validation: {suite.best.fusion}")
print(f"against the best single input: {verdict.difference:.3f} better, with a margin of {verdict.margin:.3f}")

model = mmkit.load(suite.models["attention"])
print(model)
