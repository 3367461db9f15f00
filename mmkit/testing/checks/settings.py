"""Checks of what a component says of its training, and of what its options do.

Axes: B batch, D and H widths.
"""

from __future__ import annotations

import copy
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from mmkit.errors import ContractError, UsageError
from mmkit.plugin import ForTraining
from mmkit.registry.options import Option, options_of, validated
from mmkit.testing.checks.construction import expect_shapes
from mmkit.testing.settings import countable
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.trees import expect_same, leaves

MADE = ("module", "_perturbed", "transform")
"""What a specimen keeps of its component; made anew with other options."""


def frozen(specimen: EncoderSpecimen) -> str | None:
    """What says that it is frozen trains no weight, counts nothing in training, and gives there what it gives else."""
    module = specimen.build()
    if not getattr(module, "frozen", False):
        return "it is not frozen"
    if trained := [name for name, parameter in module.named_parameters() if parameter.requires_grad]:
        raise ContractError(f"frozen is True, and {len(trained)} parameters ask for a gradient, such as {trained[0]}")
    inputs = specimen.draw(4)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    expected = specimen.evaluate(inputs, module)
    module.train()
    with torch.no_grad():
        found = specimen.call(module, inputs)
    for name, tensor in module.state_dict().items():
        if not torch.equal(tensor, before[name]):
            raise ContractError(f"frozen is True, and a batch of training changes {name}; keep it in evaluation")
    expect_same(found, expected, "frozen is True, and in training")
    return None


def rates(specimen: ModuleSpecimen) -> str | None:
    """Relative learning rates in `rates` are finite, not negative, and those of parameters that are there."""
    said = False
    for place, module in specimen.build().named_modules():
        for name, rate in getattr(module, "rates", {}).items():
            said = True
            where = f"rates{f' of {place}' if place else ''}"
            if name not in dict(module.named_parameters(remove_duplicate=False)):
                raise ContractError(f"{where} name {name!r}, which is no parameter")
            if not (isinstance(rate, int | float) and math.isfinite(rate) and rate >= 0):
                raise ContractError(f"{where} give {name} a share of {rate!r}; it is a number of 0 or more")
    return None if said else "it has no rates"


def other_width(specimen: ModuleSpecimen) -> str | None:
    """Where it has an option `width`, another width is taken, and given."""
    schema = options_of(specimen.component)
    if not isinstance(default := specimen.options.get("width"), int):
        return "it has no option width"
    for width in (default // 2, 2 * default, default + 1):
        other = _varied(specimen, {"width": width}, schema)
        if other is None:
            continue
        try:
            module = other.module
        except ValueError:  # of heads that must divide it, for example
            continue
        if module.width != width:
            raise ContractError(f"with width={width} its attribute width is {module.width}")
        inputs = other.draw(4)
        expect_shapes(other, other.evaluate(inputs), 4, f"with width={width}, in evaluation")
        expect_shapes(other, other.differentiate(inputs)[0], 4, f"with width={width}, in training")
        return None
    return "no other width is taken"


def options_act(specimen: ModuleSpecimen) -> str | None:
    """Every option of the module that is a number, a choice or a switch changes weights, results or gradients.

    An option may act only beside another choice; each is tried, and what its help names ("rank of it, with tune=lora").
    A value that is refused has acted, and nothing is asked of an option where what it acts beside is refused (LoRA
    without linear layers). Options that are texts are not tried, nor those of a transform, since a limit of it shows on
    values larger than examples are; nor switches marked `ForTraining`, which may save memory alone.
    """
    schema = options_of(specimen.component)
    before = _traces(specimen)
    others = [{name: value} for name, option in schema.items() for value in _choices(specimen, option)]
    for name, option in schema.items():
        if _saves_memory(option.annotation):
            continue
        tried, refused = False, False
        named = [{other: said} for other, said in re.findall(r"(\w+)=([\w-]+)", option.help) if other in schema]
        for beside in [{}, *named, *others]:
            if name in beside or not (values := list(_values(specimen, option))):
                continue
            tried = True
            basis = before if not beside else None
            if beside:
                begin = _varied(specimen, beside, schema)
                basis = None if begin is None else _traces(begin)
            if basis is None:  # not possible here
                refused |= beside in named
                continue
            if any(_acts(specimen, {**beside, name: value}, schema, basis) for value in values):
                break
        else:
            if tried and not refused:
                raise ContractError(f"option {name} changes nothing, whatever it is set to")
    return None


def _acts(specimen: ModuleSpecimen, options: Mapping[str, Any], schema: Mapping[str, Option], basis: list[Any]) -> bool:
    other = _varied(specimen, options, schema)
    return other is not None and ((found := _traces(other)) is None or not _same(found, basis))


def _saves_memory(annotation: Any) -> bool:
    kind, *marks = typing.get_args(annotation) or (annotation,)
    return kind is bool and any(isinstance(mark, ForTraining) for mark in marks)


def _choices(specimen: ModuleSpecimen, option: Option) -> list[Any]:
    current = specimen.options.get(option.name, option.default)
    return [value for value in countable(option.annotation) if value != current or type(value) is not type(current)]


def _values(specimen: ModuleSpecimen, option: Option) -> Iterator[Any]:
    current = specimen.options.get(option.name, option.default)
    yield from _choices(specimen, option)
    if not _is_number(option.annotation) or isinstance(current, bool | str):
        return
    numbers = (
        (1, 2, 0.25) if current is None else (2 * current, current / 2, 1, current + 1, 10 * current, 0.5, current / 10)
    )
    for number in numbers:
        value = int(number) if isinstance(current, int) or float(number).is_integer() else float(number)
        if value != current:
            yield value


def _is_number(annotation: Any) -> bool:
    """True of int, float, a range of them, and such or none."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _is_number(arguments[0])
    if origin in {typing.Union, types.UnionType}:
        return any(_is_number(part) for part in arguments) and not any(part is str for part in arguments)
    return annotation in {int, float}


def _varied(
    specimen: ModuleSpecimen, options: Mapping[str, Any], schema: Mapping[str, Option]
) -> ModuleSpecimen | None:
    """The same with other options; None where their annotations refuse them."""
    try:
        checked = validated(specimen.component.__name__, options, schema)
    except (UsageError, TypeError):
        return None
    other = copy.copy(specimen)
    for made in MADE:
        other.__dict__.pop(made, None)
    other.options = specimen.options | {name: checked[name] for name in options}
    if isinstance(other, EncoderSpecimen | HeadSpecimen):
        shared = options_of(specimen.component.reads)  # type: ignore[attr-defined]
        other.transform_options = other.transform_options | {n: checked[n] for n in options if n in shared}
    if isinstance(other, EncoderSpecimen):
        other._batches = {}  # noqa: SLF001
    return other


def _traces(specimen: ModuleSpecimen) -> list[Any] | None:
    """All that an option may change; None where it is refused."""
    try:
        module = specimen.build()
        said: list[Any] = [getattr(module, name, None) for name in ("width", "frozen")]
        said += [dict(getattr(part, "rates", {})) for part in module.modules()]
        said += [[name for name, parameter in module.named_parameters() if parameter.requires_grad]]
        said += [(name, tensor.clone()) for name, tensor in module.state_dict().items()]
        inputs = specimen.draw(6, absent={specimen.names[0]: (2,)})
        said += leaves(specimen.evaluate(inputs, module))
        torch.manual_seed(7)
        outputs, gradients = specimen.differentiate(inputs, module)
        said += [*leaves(outputs), *gradients.items()]
    except Exception:  # noqa: BLE001 (a refusal is what the option does)
        return None
    return said


def _same(found: list[Any], expected: list[Any]) -> bool:
    return len(found) == len(expected) and all(_equal(a, b) for a, b in zip(found, expected, strict=True))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
    return bool(one == other)
