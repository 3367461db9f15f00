"""Time of each fusion over that of the most obvious fast PyTorch form of the same mathematics.

    python -m benchmarks.fusions.speed [--fusion NAME ...] [--quick] [--rounds 16] [--json FILE]

Both run in one process, in rounds of random order, on equal weights. The obvious form of a fusion of vectors reads
[B D] and knows no masks; it is timed beside mmkit's where nothing is missing, when both give the same, which is checked
first, and where one sample in five lacks an input, which it would get wrong. Fusions of tokens read masks in both. A
ratio below 1 says that mmkit is faster. `cells.py` says at which sizes, and the goals.

A cell one call of which takes longer than LONGEST is left out, as is one that a fusion refuses, with the reason. FILE
is written after each fusion: a run that was stopped goes on where it was. Where FILE is finished, the fusions that are
named, or all, are measured anew.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fusions.cells import Cell, cells
from benchmarks.fusions.record import Record
from mmkit.contract import Features, Target
from mmkit.layers.vectors import Projections
from mmkit.plugin import FusionSpec
from mmkit.registry.catalog import BUILTIN, installed
from mmkit.speed.interleave import interleave
from mmkit.system.allocator import keep_large_blocks

LONGEST = 0.12
"""Seconds of a call, above which a cell is left out: the whole record has to fit into half an hour of one core."""
AGREE = 1e-3
"""The greatest difference of the two forms, in float32, by the greatest number."""
MOST = 1.5
"""Seconds of a cell, in which six rounds of such calls fit."""
SPECS: dict[str, FusionSpec] = {
    entry.name: entry.spec
    for entry in installed().available("fusion")
    if entry.distribution == BUILTIN and isinstance(entry.spec, FusionSpec)
}


def hand(name: str) -> Any:
    """The file of a fusion's obvious form."""
    return importlib.import_module(f"benchmarks.fusions.obvious.{name.replace('-', '_')}")


def over_tokens(name: str) -> bool:
    return SPECS[name].family == "tokens"


def built(name: str, widths: dict[str, int], width: int, options: Mapping[str, Any] | None = None) -> nn.Module:
    """A fusion of this width; of outputs, for so many classes; of the inner level, behind encoders without places."""
    options = dict(getattr(hand(name), "OPTIONS", {}) if options is None else options)
    if SPECS[name].combines != "features":
        choice = installed().choose("fusion", name, options)
        return choice.component(widths, Target("classes", width), **choice.options)
    choice = installed().choose("fusion", name, {"width": width, **options})
    if SPECS[name].inner:
        return choice.component(widths, dict.fromkeys(widths, ()), **choice.options)
    return choice.component(widths, **choice.options)


def make(
    name: str,
    batch: int,
    width: int,
    inputs: int,
    tokens: int,
    *,
    missing: bool,
    device: torch.device | str = "cpu",
    options: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, list[Features]]:
    """A fusion and features for it.

    It is in evaluation, where nothing is drawn. With `missing` one sample in five lacks each input but the first. Of
    several tokens one in five is padding. `options` None are those of the obvious form.
    """
    torch.manual_seed(0)
    fusion = built(name, {f"input{i}": width for i in range(inputs)}, width, options).to(device).eval()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))  # gates that start at zero would let nothing through
    project = getattr(fusion, "project", None)
    if isinstance(project, Projections):  # what one would write by hand: a linear layer for each input
        layers = [nn.Linear(width, width, device=device) for _ in range(inputs)]
        for number, layer in enumerate(layers):
            weight, bias = project.of(f"input{number}")
            layer.weight.data.copy_(weight.detach())
            layer.bias.data.copy_(bias.detach())
        apart: list[nn.Module] = list(layers)
    else:
        apart = list(project.values()) if isinstance(project, nn.ModuleDict) else []
    object.__setattr__(fusion, "apart", apart)  # not registered: they are the same parameters, or copies
    features = []
    for i in range(inputs):
        values = torch.randn(batch, tokens, width)
        mask = torch.rand(batch, tokens) < (0.8 if tokens > 1 else 1.0)
        mask[:, 0] = True
        if missing:
            mask &= torch.rand(batch, 1) < (0.8 if i else 1.0)
        features.append((Features.of(values, mask) if missing or tokens > 1 else Features.of(values)).to(device))
    return fusion, features


def candidates(
    name: str,
    fusion: nn.Module,
    features: list[Features],
    *,
    backward: bool,
    other: tuple[Callable[..., Tensor], list[nn.Parameter]] | None = None,
    agree: float | None = AGREE,
) -> dict[str, Callable[[], object]]:
    """Both forms, ready to be called; the same computation, which is checked where nothing is missing.

    Args:
        name: of the fusion.
        fusion: of `make`.
        features: likewise.
        backward: whether gradients of inputs and parameters are computed, too.
        other: in place of the obvious form, "other", another one and its parameters.
        agree: the greatest difference, by the greatest number; None is any.

    Raises:
        ValueError: the two do not compute the same.
    """
    given = {
        f"input{i}": replace(each, tokens=each.tokens.clone().requires_grad_(backward))
        for i, each in enumerate(features)
    }
    both = SPECS[name].combines == "both"
    logits = [torch.randn_like(each.vector()) * each.present().unsqueeze(1) for each in features] if both else []
    heads = {
        key: Features(logit.unsqueeze(1).clone().requires_grad_(backward), each.mask[:, :1], complete=each.complete)
        for (key, each), logit in zip(given.items() if both else (), logits, strict=True)
    }
    logits = [logit.requires_grad_(backward) for logit in logits]
    leaves = [each.tokens for each in (*given.values(), *heads.values())]
    own = [*leaves, *fusion.parameters()]
    form = partial(hand(name).obvious, fusion) if other is None else other[0]
    if over_tokens(name):
        obvious = partial(form, [(each.tokens, each.mask) for each in given.values()])
        others = own if other is None else [*leaves, *other[1]]
    else:
        vectors = [each.tokens.detach().squeeze(1).clone().requires_grad_(backward) for each in features]
        obvious = partial(form, vectors, *([logits] if both else []))
        copies = isinstance(getattr(fusion, "project", None), Projections)
        parameters = [p for layer in fusion.apart for p in layer.parameters()] if copies else []
        parameters += [p for key, p in fusion.named_parameters() if not (copies and key.startswith("project."))]
        others = [*vectors, *logits, *(parameters if other is None else other[1])]

    with torch.no_grad():
        probe = torch.randn_like(obvious())  # the mean square of a normalised result has no gradient

    def run(form: Callable[[], Tensor], wanted: list[Tensor]) -> object:
        if backward:
            # Some stop a gradient by design, and it is None in both forms.
            return torch.autograd.grad((form() * probe).mean(), wanted, allow_unused=True)
        with torch.inference_mode():
            return form()

    def fused() -> Tensor:
        found: Features = fusion(given, heads) if both else fusion(given)
        return found.vector()

    beside = "obvious" if other is None else "other"
    forms: dict[str, Callable[[], object]] = {
        "mmkit": partial(run, fused, own),
        beside: partial(run, obvious, others),
    }
    if agree is not None and (over_tokens(name) or all(each.complete for each in features)):
        found, expected = forms["mmkit"](), forms[beside]()
        for one, wanted in (
            zip(found[: len(leaves)], expected[: len(leaves)], strict=True) if backward else [(found, expected)]
        ):
            if one is None or wanted is None:
                if one is not wanted:
                    raise ValueError(f"{name}: only one of the two forms gives an input a gradient")
                continue
            apart = (one.reshape(wanted.shape) - wanted).abs().max().item() / max(wanted.abs().max().item(), 1e-30)
            if not apart < agree:
                raise ValueError(f"{name}: the two forms differ by {apart:.1e} of the greatest number")
    return forms


def measured(cell: Cell, rounds: int) -> dict[str, Any] | str:
    """The row of a cell, or why it is left out."""
    try:
        fusion, features = make(cell.fusion, missing=cell.missing, **cell.size)
    except ValueError as error:  # a fusion says so of sizes that it does not take
        return str(error)
    forms = candidates(cell.fusion, fusion, features, backward=cell.what == "both ways")
    begun = time.process_time()
    forms["obvious"]()
    if (took := time.process_time() - begun) > LONGEST:
        return f"a call takes {took:.2f} s"
    timings = interleave(forms, rounds=rounds, max_seconds=MOST)
    compared = timings.compare("mmkit", "obvious").as_json()
    return {
        **cell.as_json(),
        **{key: compared[key] for key in ("ratio", "low", "high", "verdict")},
        "goal": cell.goal,
        "seconds": {form: timings.median(form) for form in forms},
    }


def shown(cell: Cell, found: dict[str, Any] | str) -> str:
    """A line of the table."""
    missing = "some" if cell.missing else "none"
    about = f"{cell.fusion:19}{cell.batch:5}{cell.width:6}{cell.inputs:7}{cell.tokens:7}  {missing:8}{cell.what:9}"
    if isinstance(found, str):
        return f"{about}  left out: {found}"
    interval = "-" if found["low"] is None else f"{found['low']:.2f} to {found['high']:.2f}"
    more = "" if found["ratio"] <= cell.goal else f"  above {cell.goal}"
    return f"{about}{found['seconds']['mmkit'] * 1e6:9.0f}  {found['ratio']:5.2f}  {interval}{more}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fusion", action="append", choices=SPECS)
    parser.add_argument("--quick", action="store_true", help="one size of each")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    keep_large_blocks()  # as every command of mmkit does
    torch.set_num_threads(1)
    wanted = {name: list(cells(SPECS[name], quick=options.quick)) for name in options.fusion or SPECS}
    record = Record.read(options.json, (cell for each in wanted.values() for cell in each))
    print(f"{'fusion':19}{'B':>5}{'D':>6}{'inputs':>7}{'tokens':>7}  {'missing':8}{'':9}{'us':>9}  ratio  interval")
    for each in wanted.values():
        for cell in each:
            if cell in record.rows or cell in record.left_out:
                continue
            forward = replace(cell, what="forward")
            found = record.left_out.get(forward) or measured(cell, options.rounds)
            if isinstance(found, str):
                record.left_out[cell] = found
            else:
                record.rows[cell] = found
            print(shown(cell, found), flush=True)
        record.write(finished=False)
    record.write(finished=True)
    rows = [record.rows[cell] for each in wanted.values() for cell in each if cell in record.rows]
    held = sum(row["ratio"] <= row["goal"] for row in rows)
    print(f"{held} of {len(rows)} cells keep their goal; {len(record.left_out)} were left out")


if __name__ == "__main__":
    main()
