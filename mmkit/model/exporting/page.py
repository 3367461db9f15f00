"""The README of an exported model: what is there, and a script of ten lines that runs it without mmkit."""

from __future__ import annotations

from mmkit.model.exported import Format

NEEDS: dict[Format, str] = {"onnx": "onnxruntime and numpy", "pt2": "torch", "aoti": "torch"}
IMPORTS: dict[Format, str] = {"onnx": "onnxruntime", "pt2": "torch", "aoti": "torch"}
RUNS: dict[Format, str] = {
    "onnx": """\
session = onnxruntime.InferenceSession(signature["graph"])
outputs = session.run([one["name"] for one in signature["outputs"]], {name: smoke[name] for name in names})""",
    "pt2": """\
graph = torch.export.load(signature["graph"]).module(check_guards=False)
outputs = [value.numpy() for value in graph(*(torch.from_numpy(smoke[name]) for name in names)).values()]""",
    "aoti": """\
graph = torch._inductor.aoti_load_package(signature["graph"])
outputs = [value.numpy() for value in graph(*(torch.from_numpy(smoke[name]) for name in names)).values()]""",
}
"""How each format is run: `names` of the inputs to `outputs` as arrays, both in the order of the signature."""


def script(asked: Format) -> str:
    """A script that runs the graph on the samples beside it, with nothing of mmkit."""
    return f"""\
import json
import numpy
import {IMPORTS[asked]}
signature, smoke = json.load(open("signature.json")), numpy.load("smoke.npz")
names = [one["name"] for one in signature["inputs"]]
{RUNS[asked]}
for one, found in zip(signature["outputs"], outputs):
    print(one["name"], found[0], "off by", abs(found - smoke[one["name"]]).max())
"""


def page(asked: Format, label: str, target: str) -> str:
    """The README of a folder.

    Args:
        asked: the format.
        label: of the model's combination.
        target: the kind of target.
    """
    return f"""\
# {label}, exported as {asked}

A model of mmkit that predicts {target}, as one graph from tensors to its prediction. `signature.json` says what the
tensors are; axes with a name may have any size. How raw values become tensors is in `model.json`: mmkit does it, or you
do it in your own way. `smoke.npz` holds the tensors of a few samples and what the model predicts of them, `smoke.json`
the same samples as they were, and their answers. This runs with {NEEDS[asked]}, in this folder:

```python
{script(asked)}```
"""
