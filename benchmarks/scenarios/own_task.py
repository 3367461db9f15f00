"""A task of your own: a class that hands out what you have in memory, as in a notebook.

Here a machine is made up: it is worn where it shakes at another frequency than its load explains. Neither its vibration
nor its settings tell that alone.
"""

import numpy as np

import mmkit

rng = np.random.default_rng(0)
load = rng.uniform(1, 3, size=600)
worn = rng.random(600) < 0.5
frequency = load + np.where(worn, 1.0, 0.0)  # of two machines that shake alike, the one with less load is worn
steps = np.linspace(0, 2 * np.pi, 50)
vibration = np.sin(frequency[:, None] * steps) + rng.normal(0, 0.1, (600, 50))
parts = {"train": slice(0, 400), "validation": slice(400, 500), "test": slice(500, 600)}


class Wear:
    """Is the machine worn?"""

    description = "Made-up machines; no machine stands in two splits."

    def __init__(self):
        self.inputs = {"vibration": "series", "settings": "table"}
        self.target, self.metric = "classes", "accuracy"
        self.encoders, self.training = {}, {}  # nothing is recommended: each modality has a usual encoder

    def split(self, name):
        part = parts[name]
        inputs = {
            "vibration": list(vibration[part, :, None].astype("float32")),  # [T C] each, here of one channel
            "settings": [{"load": float(value), "plant": "north"} for value in load[part]],
        }
        ids = [f"machine {number}" for number in range(600)[part]]
        return mmkit.Samples(ids, inputs, ["worn" if value else "good" for value in worn[part]])


suite = mmkit.bench(
    task=Wear,
    fusion=["concat", "product"],
    training={"epochs": 15, "lr": 0.002},
    seeds=2,
    protocol="full",  # every fusion is measured on test
    cost=False,
    yardsticks=False,
    out="runs/wear",
)
for row in sorted(suite.rows, key=lambda row: row.fusion):
    spread = row.spread("accuracy")
    print(f"{row.fusion:<14} accuracy on test {spread.mean:.2f}" if spread else f"{row.fusion} failed")
