"""Components of a stranger, written from mmkit/contract.py and plugins/README.md alone: a head with a transform of the
truth of its own, a modality with an encoder, one that may be stopped between its parts, and a task.

Nothing of mmkit is used here that those two pages do not name.
"""

import ast
import math
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import mmkit
from mmkit.contract import Features, Samples, Target
from mmkit.errors import DataError, ValuesError
from mmkit.heads.loss import class_loss
from mmkit.plugin import EncoderSpec, HeadSpec, TaskSpec
from mmkit.testing import check, tiny_task
from mmkit.transforms.truth import category_name

PAGES = [Path(mmkit.__file__).parent / "contract.py", Path(mmkit.__file__).parent.parent / "plugins" / "README.md"]


class ByFrequency:
    """Classes, the most frequent one first; rare ones are one class, "other".

    Args:
        least: samples that a class must have to be one of its own.
    """

    augments = False

    def __init__(self, kind, *, least: int = 1):
        if kind != "classes":
            raise ValueError(f"this transform is one of classes; the task asks for {kind}")
        self.least, self.names, self.counts = least, [], []

    def fit(self, values):
        counts, wrong = {}, {}
        for place, value in enumerate(values):
            if value is not None:
                try:
                    name = category_name(value)
                except DataError as error:
                    wrong[place] = str(error)
                else:
                    counts[name] = counts.get(name, 0) + 1
        if wrong:
            raise ValuesError(wrong)
        rare = sum(count for count in counts.values() if count < self.least)
        kept = {name: count for name, count in counts.items() if count >= self.least} | (
            {"other": rare} if rare else {}
        )
        if len(kept) < 2:
            raise DataError(f"two classes are needed; the training split holds {list(kept)}")
        self.names = sorted(kept, key=lambda name: (-kept[name], name))
        self.counts = [kept[name] for name in self.names]

    def _number(self, value):
        name = category_name(value)
        if name not in self.names and "other" in self.names:
            name = "other"
        if name not in self.names:
            raise DataError(f"class {name} does not occur in the training split")
        return self.names.index(name)

    def __call__(self, values, generator=None):
        label = torch.tensor([0 if value is None else self._number(value) for value in values], dtype=torch.int64)
        return {"label": label, "mask": torch.tensor([value is not None for value in values], dtype=torch.bool)}

    def target(self):
        names, counts = tuple(self.names), tuple(self.counts)
        return Target("classes", len(names), names, counts=counts, samples=sum(counts))

    def inverse(self, prediction):
        rows = prediction["probabilities"].tolist()
        return [
            {
                "label": self.names[max(range(len(row)), key=row.__getitem__)],
                "probabilities": dict(zip(self.names, row, strict=True)),
            }
            for row in rows
        ]

    def state(self):
        return {"names": self.names, "counts": self.counts}

    def restore(self, state):
        self.names, self.counts = list(state["names"]), list(state["counts"])


class PriorHead(nn.Module):
    """A linear layer that begins at how often each class occurs.

    Args:
        width: of the features.
        target: the classes and their counts.
        transform: of the truth.
        smoothing: of the labels.
    """

    reads = ByFrequency

    def __init__(self, width, target, transform, *, smoothing: float = 0.0):
        super().__init__()
        self.smoothing = smoothing
        self.logits = nn.Linear(width, target.size)
        with torch.no_grad():
            self.logits.bias.copy_(torch.tensor([math.log(count / target.samples) for count in target.counts]))

    def forward(self, features):
        return self.logits(features.vector())

    def loss(self, output, truth):
        return class_loss(output, truth["label"], truth["mask"], smoothing=self.smoothing)

    def predict(self, output):
        return {"probabilities": output.to(torch.promote_types(output.dtype, torch.float32)).softmax(-1)}


class Walk:
    """Walks over a plane as texts of N, E, S and W. In memory it is the text, which has a step at least."""

    def decode(self, raw):
        if not isinstance(raw, str):
            raise DataError(f"a walk is a text of N, E, S and W; got {type(raw).__name__}")
        if not raw:
            return None  # who did not walk
        if set(raw) - set("NESW"):
            raise DataError(f"a walk is a text of N, E, S and W; got {raw!r}")
        return raw

    def example(self, generator):
        count = int(torch.randint(1, 12, (), generator=generator))
        return "".join("NESW"[i] for i in torch.randint(0, 4, (count,), generator=generator).tolist())


class WalkTransform:
    """Steps as numbers, padded. In training some steps are hidden.

    Args:
        hide: share of the steps that is hidden.
    """

    def __init__(self, *, hide: float = 0.1):
        self.hide, self.augments = hide, hide > 0

    def fit(self, values):
        if all(value is None for value in values):
            raise DataError("the training split has no walk in this input; leave the input out")

    def __call__(self, values, generator=None):
        length = max(1, *(len(value or "") for value in values))
        steps = torch.zeros(len(values), length, dtype=torch.long)  # [B T]; 0 is hidden, and padding
        mask = torch.zeros(len(values), length, dtype=torch.bool)
        for row, value in enumerate(values):
            if value is not None:
                steps[row, : len(value)] = torch.tensor(["NESW".index(step) + 1 for step in value])
                mask[row, : len(value)] = True
        if generator is not None and self.hide:
            steps[torch.rand(steps.shape, generator=generator) < self.hide] = 0
        return {"steps": steps, "mask": mask}

    def state(self):
        return {}

    def restore(self, state):
        pass


class WalkEncoder(nn.Module):
    """A vector a step, and the place where the walk ends as its summary.

    Args:
        transform: fitted.
        width: of the features.
    """

    reads = WalkTransform

    def __init__(self, transform, *, width: int = 16):
        super().__init__()
        self.width = width
        self.step = nn.Embedding(5, width)

    def forward(self, batch):
        mask = batch["mask"]
        tokens = self.step(batch["steps"])  # [B T D]
        return Features.of(tokens, mask, (tokens * mask.unsqueeze(-1)).sum(1))


class LayeredWalkEncoder(nn.Module):
    """Layers over the vector of each step, between which it may be stopped.

    Args:
        transform: fitted.
        width: of the features, and between the layers.
        layers: how many.
    """

    reads = WalkTransform

    def __init__(self, transform, *, width: int = 16, layers: int = 3):
        super().__init__()
        self.width, self.inner = width, (width,) * (layers - 1)
        self.step = nn.Embedding(5, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, batch):
        state = self.begin(batch)
        for number in range(len(self.inner)):
            state = self.stage(number, state)
        return self.finish(state)

    def begin(self, batch):
        return self.step(batch["steps"]), batch["mask"]

    def stage(self, number, state):
        tokens, mask = state
        return self.layers[number](tokens).relu() * mask.unsqueeze(-1), mask

    def get(self, state):
        return Features.of(*state)

    def put(self, state, features):
        return features.tokens, state[1]

    def finish(self, state):
        return Features.of(*self.stage(len(self.inner), state))


class WhereTo:
    """Does a walk end in the north, by day or by night?

    Args:
        train: samples of the training split.
    """

    description = "Generated walks with a row that says whether it is day; each split has a seed of its own."

    def __init__(self, *, train: int = 160):
        self.train = train
        self.inputs = {"walk": "walk", "row": "table"}
        self.target, self.metric = "classes", "balanced_accuracy"
        self.encoders, self.training = {}, {"epochs": 15, "lr": 0.01}

    def split(self, name):
        count = {"train": self.train, "validation": 60, "test": 60}[name]
        generator = torch.Generator().manual_seed(["train", "validation", "test"].index(name))
        walks = [Walk().example(generator) for _ in range(count)]
        day = torch.randint(0, 2, (count,), generator=generator).tolist()
        truth = [
            f"{'north' if walk.count('N') > walk.count('S') else 'elsewhere'}, {'day' if light else 'night'}"
            for walk, light in zip(walks, day, strict=True)
        ]
        truth[3] = None
        rows = [{"light": "sun" if light else "moon"} for light in day]
        return Samples([f"{name}-{i}" for i in range(count)], {"walk": ["", *walks[1:]], "row": rows}, truth)


PLUGIN = """
from mmkit.plugin import EncoderSpec, ModalitySpec, hookimpl

@hookimpl
def mmkit_modalities():
    yield ModalitySpec("walk", "test_strangers:Walk", "Walks over a plane", encoder="steps", travels="text")

@hookimpl
def mmkit_encoders():
    yield EncoderSpec("steps", "test_strangers:WalkEncoder", "Steps", modality="walk")
"""
HEAD = HeadSpec("prior", "", "", targets=("classes",), vectors=True)


def test_the_head_and_its_transform_keep_the_contract():
    report = check("head", PriorHead, spec=HEAD, full=True)
    assert report.ok, [r for r in report.results if r.status == "failed"]
    rare = check("head", PriorHead, {"least": 5}, spec=HEAD)
    assert rare.ok, [r for r in rare.results if r.status == "failed"]


def test_the_modality_and_its_encoder_keep_the_contract():
    report = check("modality", Walk)
    assert report.ok, [r for r in report.results if r.status == "failed"]
    report = check("encoder", WalkEncoder, spec=EncoderSpec("steps", "", "", modality="walk"), modality=Walk, full=True)
    assert report.ok, [r for r in report.results if r.status == "failed"]


def test_an_encoder_that_may_be_stopped_keeps_the_contract():
    spec = EncoderSpec("layered-steps", "", "", modality="walk")
    report = check("encoder", LayeredWalkEncoder, spec=spec, modality=Walk, full=True)
    assert report.ok, [r for r in report.results if r.status == "failed"]
    assert [r.status for r in report.results if r.check.name == "stages"] == ["passed"]


@pytest.fixture
def walks(distribution, monkeypatch):
    """The modality and its encoder, installed."""
    monkeypatch.setitem(sys.modules, "test_strangers", sys.modules[__name__])
    distribution("acme-walk", PLUGIN)


def test_the_task_keeps_the_contract_and_all_of_it_learns(walks):
    spec = TaskSpec("where-to", "", "", modalities=(("walk", "walk"), ("row", "table")), target="classes")
    report = check("task", WhereTo, spec=spec)
    assert report.ok, [r for r in report.results if r.status == "failed"]
    model, record = mmkit.fit(task=WhereTo, fusion="concat", head=PriorHead, device="cpu")
    assert record.metrics["balanced_accuracy"] > 0.8
    (answer,) = model.predict([{"walk": "NNNNNE", "row": {"light": "sun"}}])
    assert answer["label"] == "north, day"
    assert set(answer["probabilities"]) == {"north, day", "north, night", "elsewhere, day", "elsewhere, night"}


@pytest.mark.parametrize("fusion", ["central", "channel-exchange:at=all", "daft", "film:at=all", "mmtm"])
def test_fusions_act_between_the_parts_of_its_encoder(walks, fusion):
    model, record = mmkit.fit(
        task=WhereTo, fusion=fusion, encoders={"walk": LayeredWalkEncoder}, head=PriorHead, device="cpu"
    )
    assert model.network.fuses_within
    assert record.metrics["balanced_accuracy"] > 0.6  # of one input it is a half at most


def test_the_head_answers_with_the_classes_that_its_transform_kept(tmp_path):
    model, record = mmkit.fit(
        task=tiny_task(), fusion="concat", head=PriorHead, training={"epochs": 2, "min_steps": 0}, device="cpu"
    )
    assert math.isfinite(record.history[-1]["loss"])
    assert set(model.predict([{}])[0]["probabilities"]) == {"no", "yes"}


def test_truth_that_cannot_be_used_is_named():
    with pytest.raises(ValuesError) as wrong:
        ByFrequency("classes").fit(["a", 1.5, "b"])
    assert list(wrong.value.reasons) == [1]


def test_nothing_is_used_that_the_pages_do_not_name():
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    tree = ast.parse(Path(__file__).read_text("utf-8"))
    used = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmkit")
        for alias in node.names
    }
    assert len(used) >= 10
    for module, name in used:
        assert re.search(rf"\b{re.escape(module)}\b", text), module
        assert re.search(rf"\b{name}\b", text), name
