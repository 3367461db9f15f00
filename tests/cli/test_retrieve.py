"""`mmkit retrieve` and `mmkit zero-shot` as a user runs them: exit codes, one line per error, stdout and stderr."""

import json

import pytest

PLUGIN = """
    import torch
    from torch import nn
    from mmkit.contract import Features
    from mmkit.plugin import EncoderSpec, TaskSpec, hookimpl

    @hookimpl
    def mmkit_encoders():
        yield EncoderSpec("grey", "THIS:Grey", "Brightness.", modality="image")
        yield EncoderSpec("spoken", "THIS:Spoken", "Bright or dark.", modality="text")

    @hookimpl
    def mmkit_tasks():
        yield TaskSpec("levels", "THIS:Levels", "Bright and dark.", modalities=(("a", "image"), ("b", "text")),
                       target="classes")

    class Plain:
        augments = False
        def fit(self, values):
            pass
        def __call__(self, values, generator=None):
            level = torch.tensor([0.0 if value is None else self.level(value) for value in values])
            mask = torch.tensor([value is not None for value in values])
            return {"level": level, "mask": mask}
        def state(self):
            return {}
        def restore(self, state):
            pass

    class Pixels(Plain):
        def level(self, value):
            return float(value.float().mean()) / 255

    class Words(Plain):
        def level(self, value):
            return 0.9 if "bright" in value else 0.1

    class Grey(nn.Module):
        reads = Pixels
        frozen = True
        def __init__(self, transform, *, width: int = 2):
            super().__init__()
            self.width = width
            self.unused = nn.Parameter(torch.zeros(1), requires_grad=False)
        def forward(self, batch):
            level = batch["level"].unsqueeze(1)
            return Features.of(torch.cat([level, (1 - level).expand(-1, self.width - 1)], 1), batch["mask"])

    class Spoken(Grey):
        reads = Words

    class Levels:
        description = "Levels."
        def __init__(self, *, broken: bool = False):
            self.inputs = {"a": "image", "b": "text"}
            self.target, self.metric, self.encoders, self.training = "classes", "accuracy", {}, {}
            self.broken = broken
        def split(self, name):
            from mmkit.contract import Samples
            levels = [20, 230] * 6
            images = [torch.full((1, 4, 4), level + i, dtype=torch.uint8) for i, level in enumerate(levels)]
            if self.broken:
                images[0] = b"no image"
            words = ["dark" if level < 100 else "bright" for level in levels]
            return Samples([f"{name}{i}" for i in range(12)], {"a": images, "b": words}, words)
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch, distribution):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMKIT_TASK", raising=False)
    distribution("acme-levels", PLUGIN)


RETRIEVE = ["retrieve", "--task", "levels", "--encoder", "a=grey", "--encoder", "b=spoken", "--device", "cpu"]
ZERO_SHOT = ["zero-shot", "--task", "levels", "--input", "a", "--encoder", "grey", "--text-encoder", "spoken"]


def test_a_table_and_a_sentence(run):
    code, out, err = run(*RETRIEVE)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()[1:3]] == [
        ["a", "->", "b", "100.0", "100.0", "100.0", "100.0", "1", "50.0"],
        ["b", "->", "a", "100.0", "100.0", "100.0", "100.0", "1", "50.0"],
    ]
    assert out.splitlines()[-1] == "12 samples of the test split of levels."
    code, out, err = run(*ZERO_SHOT, "--device", "cpu", "--template", "it is {}")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == (
        "accuracy 100.0, macro F1 100.0, macro recall 100.0; always predicting the most frequent class: 50.0. "
        "12 samples of the test split of levels."
    )


def test_one_json_document(run):
    code, out, err = run(*RETRIEVE, "--json", "--split", "validation", "--map", "ridge", "--no-cache")
    found = json.loads(out)
    assert (code, err, found["schema"], found["samples"], found["options"]["split"]) == (0, "", 1, 12, "validation")
    assert found["directions"]["a -> b"]["recall@1"] == 1
    assert found["strength"] > 0
    assert found["plugins"]["acme-levels"] == "1.0"
    code, out, err = run(*ZERO_SHOT, "--json", "--class", "dark=night", "--class", "dark=dark place")
    found = json.loads(out)
    assert found["classes"] == {"bright": ["bright"], "dark": ["night", "dark place"]}
    assert found["metrics"]["accuracy"] == 1


def test_values_that_cannot_be_read_are_reported(run):
    broken = ["--task", "levels:broken=true"]
    code, out, err = run(*RETRIEVE, *broken)
    assert (code, out) == (4, "")
    assert "sample train0, input a" in err
    code, out, err = run(*RETRIEVE, *broken, "--on-error", "missing")
    assert code == 0
    assert "2 values could not be used and count as missing" in err
    assert "1 lack an input" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([*RETRIEVE, "--encoder", "a=grey"], 2, "once per input; got a=grey"),
        ([*RETRIEVE, "--encoder", "grey"], 2, "--encoder takes INPUT=NAME"),
        (RETRIEVE[:5], 2, "retrieval takes encoders of two inputs; got those of a"),
        ([*RETRIEVE[:5], "--encoder", "c=spoken"], 2, "the task has no input c"),
        ([*RETRIEVE[:5], "--encoder", "b=spoken:width=3"], 2, "cannot be compared"),
        ([*RETRIEVE[:5], "--encoder", "b=bag"], 2, "encoder bag of input b is not frozen"),
        ([*RETRIEVE, "--map", "cca"], 2, "map is one of none, ridge; got cca"),
        ([*RETRIEVE, "--device", "mps"], 3, "torch cannot use mps"),
        ([*RETRIEVE, "--threads", "0"], 2, "--threads takes 1 or more"),
        (["retrieve", "--task", "levels"], 2, "--encoder"),
        ([*ZERO_SHOT, "--template", "bright"], 2, "a template needs {} in place of the class"),
        ([*ZERO_SHOT, "--class", "dark"], 2, "--class takes LABEL=WORDS; got dark"),
        ([*ZERO_SHOT, "--class", "drak=night"], 2, "did you mean dark?"),
        ([*ZERO_SHOT, "--input", "c"], 2, "the task has no input c"),
        (["zero-shot", "--task", "levels", "--input", "a", "--encoder", "grey"], 2, "--text-encoder"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(run, arguments, code, message):
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    (line,) = err.splitlines()
    assert line.startswith("mmkit: error: ")
    assert message in line
