"""What frozen encoders cost a suite whose features are computed once, and what an epoch from the cache costs.

    python benchmarks/cache.py FOLDER [--json]

FOLDER gets random weights of the sizes of ViT-B/32 (timm) and MiniLM-L6 (transformers): what is timed does not hang on
their values, so that nothing need be downloaded. One thread throughout; CPU time of the process, so that what other
programs do does not count.

1. `epochs`: an epoch of `mmkit.training.loop.fit` from memory-mapped features against one from the same features as
   tensors in memory (padded where samples differ in length), same model, interleaved rounds; first it is checked that
   both end with the same weights (without dropout, which draws by the shape of the padding). Tokens as ViT-B/32 gives
   them (50 of 768 each) and as MiniLM does (3 to 24 of 384); their vectors alone where the fusion reads no more. Goal:
   1.1.
2. `suite`: `mmkit bench` on a reduced clipart (`--limit`), both encoders, ten fusions and the two single inputs, three
   seeds, an empty cache, costs included; against one encoding pass plus the training of all runs alone, both taken
   from the same suite: CPU seconds inside the pass over the samples, and inside `fit`, validation included. Goal: 1.5.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import pkgutil
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Generator, Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import mmkit
from mmkit.contract import Features
from mmkit.data.columns import Column
from mmkit.data.dataset import Dataset
from mmkit.features.cache import Pass, encoded
from mmkit.features.scaling import Scaling
from mmkit.model.assembly import built, reads
from mmkit.model.network import Model, TrainingStep, encoder_widths
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks
from mmkit.system.machine import machine, software
from mmkit.training.loop import fit
from mmkit.training.optimisation import Training

RECORD = Path(__file__).parent / "records" / "cache.json"
EPOCH_GOAL, SUITE_GOAL = 1.1, 1.5
FUSIONS = ["attention", "concat", "cross-attention", "gated", "late", "low-rank", "max", "mean", "product", "sum"]
SAMPLES = 799


class Absent(nn.Module):
    """Stands for a frozen encoder whose features are there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.frozen = width, True


class InMemory:
    """The same features as plain tensors, padded to the longest sample of all."""

    def __init__(self, whole: Features) -> None:
        self.whole = whole

    def rows(self, index: Tensor, generator: Generator | None = None, *, host: Tensor | None = None) -> Features:  # noqa: ARG002
        """Those samples."""
        pooled = None if self.whole.pooled is None else self.whole.pooled.index_select(0, index)
        return Features(self.whole.tokens.index_select(0, index), self.whole.mask.index_select(0, index), pooled)


def features(kind: str) -> Features:
    """[N T D] as an encoder of that kind gives them."""
    generator = Generator().manual_seed(0)
    if kind == "ViT-B/32":
        return Features.of(torch.randn(SAMPLES, 50, 768, generator=generator), pooled=torch.randn(SAMPLES, 768))
    lengths = torch.randint(3, 25, (SAMPLES,), generator=generator)
    mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    return Features.of(
        torch.randn(*mask.shape, 384, generator=generator), mask, torch.randn(SAMPLES, 384, generator=generator)
    )


def epoch(kind: str, fusion: str, folder: Path, rounds: int) -> dict[str, Any]:
    """An epoch from the cache against one from memory."""
    whole = features(kind)
    shutil.rmtree(folder, ignore_errors=True)
    work = Pass(lambda values, start: Features.of(
        whole.tokens[start : start + len(values)], whole.mask[start : start + len(values)],
        whole.pooled[start : start + len(values)]), Column(range(SAMPLES)))  # fmt: skip
    stored = encoded(work, folder, "0" * 16, {})
    catalog = mmkit.installed()
    head = catalog.choose("head", "mlp:dropout=0")
    truth = built(head, reads(head), "classes")
    labels = [str(i % 13) for i in range(SAMPLES)]
    truth.fit(labels)
    encoders = {"input": Absent(whole.width), "other": Absent(whole.width)}
    torch.manual_seed(0)
    chosen = catalog.choose("fusion", f"{fusion}:dropout=0" if fusion == "attention" else fusion)
    fused = built(chosen, None, encoder_widths(encoders))
    vectors = chosen.spec.vectors
    if vectors:
        stored, whole = stored.vectors, Features.of(whole.vector(), whole.present())
    scalings = {name: Scaling(whole.width, vectors=vectors) for name in encoders}
    for scaling in scalings.values():
        scaling.fit(stored)
    output_head = built(head, None, fused.width, truth.target(), truth)
    step = TrainingStep(Model(encoders, fused, output_head, scalings=scalings))
    data = Dataset(SAMPLES, {"input": stored, "other": stored}, truth(labels))
    plain = InMemory(whole)
    memory = replace(data, inputs={"input": plain, "other": plain})
    training = Training(epochs=1, min_steps=0, patience=None)
    start = {name: tensor.clone() for name, tensor in step.state_dict().items()}

    def train(which: Dataset) -> dict[str, Tensor]:
        step.load_state_dict(start)
        fit(step, which, lambda: (0.0, {}), training, seed=0)
        return {name: tensor.clone() for name, tensor in step.state_dict().items()}

    from_cache, from_memory = train(data), train(memory)
    differ = max(float((from_cache[name] - tensor).abs().max()) for name, tensor in from_memory.items())
    if differ > 1e-3:
        raise SystemExit(f"{kind}, {fusion}: the two end with different weights ({differ:.1e}); nothing is timed")
    timings = interleave({"cache": lambda: train(data), "memory": lambda: train(memory)}, rounds=rounds, max_seconds=60)
    ratios = np.divide(timings.seconds["cache"], timings.seconds["memory"])
    return {
        "features": kind,
        "fusion": fusion,
        "weights_differ_by": differ,
        "comparison": timings.compare("cache", "memory").as_json(),
        "upper_quartile": float(np.quantile(ratios, 0.75)),
        "seconds": {name: timings.median(name) for name in ("cache", "memory")},
    }


def random_weights(folder: Path) -> tuple[Path, Path]:
    """A file of ViT-B/32 and a folder of a BERT of MiniLM-L6's size, with a tokenizer of words."""
    folder.mkdir(parents=True, exist_ok=True)
    image, text = folder / "vit.safetensors", folder / "bert"
    torch.manual_seed(0)
    if not image.exists():
        save_file(timm.create_model("vit_base_patch32_224", num_classes=0).state_dict(), image)
    if not (text / "config.json").exists():
        sizes: dict[str, Any] = {
            "hidden_size": 384,
            "num_hidden_layers": 6,
            "num_attention_heads": 12,
            "intermediate_size": 1536,
        }
        BertModel(BertConfig(vocab_size=30522, **sizes)).save_pretrained(text)
        letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
        tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(text)
    return image, text


@contextlib.contextmanager
def counted(spent: Counter[str], name: str, target: str) -> Iterator[None]:
    """CPU seconds inside a function of mmkit, what it calls included, added to `spent`."""
    owner: Any = pkgutil.resolve_name(target.rpartition(".")[0])
    attribute = target.rpartition(".")[2]
    function: Callable[..., Any] = getattr(owner, attribute)

    def call(*given: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return function(*given, **named)
        finally:
            spent[name] += time.process_time() - began

    with mock.patch.object(owner, attribute, call):
        yield


def suite(folder: Path, limit: int) -> dict[str, Any]:
    """The whole suite, and of what its time consists."""
    image, text = random_weights(folder)
    shutil.rmtree(folder / "suite", ignore_errors=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    spent: Counter[str] = Counter()
    targets = {
        "encoding pass": "mmkit.features.cache.Pass.part",
        "training": "mmkit.experiments.run.fit",
        "dry run": "mmkit.experiments.suite.dry_run",
        "costs": "mmkit.experiments.steps.measure_costs",
        "encoding for costs": "mmkit.features.cache.Pass.in_memory",
        "building models": "mmkit.experiments.run.build_model",
        "digests": "mmkit.data.columns.digest",
    }
    with contextlib.ExitStack() as stack:
        for name, target in targets.items():
            stack.enter_context(counted(spent, name, target))
        began = time.process_time()
        found = mmkit.bench(
            task="clipart",
            encoders={
                "image": f"timm:model=vit_base_patch32_224,weights={image}",
                "title": f"transformers-text:model={text}",
            },
            fusion=FUSIONS,
            training={"lr": 2e-3},  # a search would be more trainings on the same features
            yardsticks=False,
            seeds=3,
            device="cpu",
            limit=limit,
            out=folder / "suite",
            cache=folder / "cache",
        )
        whole = time.process_time() - began
    if found.failures:
        raise SystemExit(f"{len(found.failures)} runs failed: {found.failures[0].error}")
    # `part` is called by `in_memory`, too, which encodes the few samples that costs are measured on.
    spent["encoding pass"] -= spent["encoding for costs"]
    needed = spent["encoding pass"] + spent["training"]
    return {
        "combinations": len(found.plan.all),
        "runs": len(found.records),
        "limit": limit,
        "cpu_seconds": {"suite": whole, **{name: round(seconds, 2) for name, seconds in spent.items()}},
        "pass_and_training": needed,
        "ratio": whole / needed,
        "goal": SUITE_GOAL,
    }


def main() -> int:
    """Check, measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--limit", type=int, default=400, help="training samples of clipart in the suite")
    parser.add_argument("--only", choices=["epochs", "suite"])
    parser.add_argument("--json", action="store_true", help="one document on stdout; the record is left as it is")
    asked = parser.parse_args()
    keep_large_blocks()
    torch.set_num_threads(1)
    document: dict[str, Any] = {
        "what": __doc__.splitlines()[0],
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine(),
        "software": software(),
    }
    missed = False
    if asked.only != "suite":
        document["epochs"] = [
            epoch(kind, fusion, asked.folder / "features", asked.rounds)
            for kind in ("ViT-B/32", "MiniLM")
            for fusion in ("concat", "attention")
        ]
        for row in document["epochs"]:
            ratio, quartile = row["comparison"]["ratio"], row["upper_quartile"]
            missed |= max(ratio, quartile) > EPOCH_GOAL
            told = f"{row['features']}, {row['fusion']}: an epoch from the cache {ratio:.3f} of one from memory"
            print(f"{told}, upper quartile {quartile:.3f} (goal {EPOCH_GOAL})", file=sys.stderr)
    if asked.only != "epochs":
        document["suite"] = suite(asked.folder, asked.limit)
        missed |= document["suite"]["ratio"] > SUITE_GOAL
        print(json.dumps(document["suite"], indent=1), file=sys.stderr)
    if asked.json:
        print(json.dumps(document, indent=1))
    elif asked.only is None:
        RECORD.write_text(json.dumps(document, indent=1) + "\n")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
