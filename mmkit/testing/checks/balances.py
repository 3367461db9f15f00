"""Checks of balance methods: what they may change, and that they change something.

Axes: B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmkit.contract import Features
from mmkit.errors import ContractError
from mmkit.testing.specimens.balance import METHODS, BalanceSpecimen
from mmkit.testing.trees import expect_finite, expect_same

NEAR = 1e-5
"""Of the largest value: what is lost where a value is put together from two parts."""


def acts(specimen: BalanceSpecimen) -> str | None:
    """It has one of the methods of its kind, and changes what reaches the encoders or what is minimised."""
    module = specimen.fresh()
    had = [name for name in METHODS if callable(getattr(module, name, None))]
    if not had and not getattr(module, "turns", ()):
        raise ContractError(f"it has none of the methods {', '.join(METHODS)}")
    if had == ["epoch"]:
        raise ContractError("it has `epoch` alone, which changes nothing by itself")
    for seed in range(4):
        inputs = specimen.draw(6, seed=seed)
        _, found = specimen.differentiate(inputs, module)
        _, plain = specimen.differentiate(inputs, torch.nn.Identity())
        for place, gradient in plain.items():
            other = found.get(place)
            if (gradient is None) != (other is None):
                return None
            if gradient is not None and other is not None and not torch.allclose(gradient, other, rtol=1e-4):
                return None
    raise ContractError("gradients are those that encoders have without it")


def values(specimen: BalanceSpecimen) -> str | None:
    """What the fusion sees has the values that the encoders gave, wherever it is not masked."""
    inputs = specimen.draw(5, absent={specimen.names[0]: (2,)})
    given: dict[str, Features] = inputs[0].features
    module = specimen.fresh().train()
    seen = specimen.call(module, inputs)["seen"]
    if set(seen) != set(given):
        raise ContractError(f"it was given {sorted(given)}, and the fusion sees {sorted(seen)}")
    for name, part in seen.items():
        before = given[name]
        if part.tokens.shape != before.tokens.shape or (part.pooled is None) != (before.pooled is None):
            raise ContractError(
                f"the fusion sees {name} as {list(part.tokens.shape)}; {list(before.tokens.shape)} is it"
            )
        if (part.mask & ~before.mask).any():
            raise ContractError(f"a token of {name} that is not there is unmasked")
        _expect_near(f"tokens of {name}", part.tokens, before.tokens.masked_fill(~part.mask.unsqueeze(-1), 0))
        if part.pooled is not None and before.pooled is not None:
            _expect_near(f"pooled of {name}", part.pooled, before.pooled.masked_fill(~part.present().unsqueeze(1), 0))
    return None


def inner(specimen: BalanceSpecimen) -> str | None:
    """What a fusion within encoders took along is masked as tokens are, and its gradient is changed where theirs is."""
    for seed in range(4):
        found, truth = specimen.differentiable(specimen.draw(6, seed=seed, absent={specimen.names[0]: (2,)}))
        given: dict[str, Features] = found.features
        seen: dict[str, Features] = specimen.call(specimen.fresh().train(), (found, truth))["seen"]
        for name, part in seen.items():
            before = given[name]
            if set(part.inner) != set(before.inner):
                raise ContractError(f"inner of {name} is lost, which a fusion within encoders reads")
            gone = ~part.present().unsqueeze(1)
            for key, state in part.inner.items():
                _expect_near(f"inner of {name}", state, before.inner[key].masked_fill(gone, 0))
        for name, part in seen.items():
            changed = [_gradient_changed(given[name].tokens, part.tokens, part.mask.unsqueeze(2))]
            changed += [
                _gradient_changed(given[name].inner[key], state, part.present().unsqueeze(1))
                for key, state in part.inner.items()
            ]
            if changed[0] and not all(changed):
                raise ContractError(
                    f"of {name} it changes the gradient of tokens, and that of inner passes beside it; "
                    "`Features.changed` changes both"
                )
    return None


def _gradient_changed(given: Tensor, seen: Tensor, there: Tensor) -> bool:
    """Whether a gradient of ones, where something is there, is another before the border."""
    ones = there.to(seen.dtype).expand_as(seen)
    if not seen.requires_grad:
        return bool(ones.any())
    (found,) = torch.autograd.grad(seen, given, ones, retain_graph=True, materialize_grads=True)
    return not torch.allclose(found, ones, rtol=1e-4)


def output(specimen: BalanceSpecimen) -> str | None:
    """Where it reads the outputs of subsets, what it gives has the values of that of all inputs."""
    module = specimen.fresh().train()
    if not callable(getattr(module, "output", None)):
        return "it has no method output"
    for absent in ({}, {specimen.names[0]: (2,)}, {specimen.names[0]: range(5)}):
        found = specimen.call(module, specimen.draw(5, absent=absent))
        _expect_near("outputs", found["output"], found["whole"])
    return None


def turns(specimen: BalanceSpecimen) -> str | None:
    """Where it takes turns, each input has one at least, and the head's gradients stay finite."""
    module = specimen.fresh().train()
    given = getattr(module, "turns", ())
    if not given:
        if callable(getattr(module, "turned", None)):
            raise ContractError("it has a method turned, and no turns")
        return "it takes no turns"
    named = [name for turn in given for name in turn]
    if set(named) != set(specimen.names):
        raise ContractError(f"its turns name {', '.join(named)}; the inputs are {', '.join(specimen.names)}")
    for absent in ({}, {specimen.names[0]: range(5)}):
        inputs = specimen.draw(5, absent=absent)
        specimen.call(module, inputs)
        for turn in given:
            if not specimen.end_turn(module, turn, inputs[0].fused).isfinite().all():
                raise ContractError(f"after the turn of {', '.join(turn)} a gradient of the head is not finite")
    return None


def _expect_near(what: str, found: Tensor, expected: Tensor) -> None:
    if not (found - expected).abs().max() <= NEAR * expected.abs().max().clamp(min=1):  # NaN is not
        raise ContractError(f"{what} are other values; it may change gradients and masks alone")


def weighed(specimen: BalanceSpecimen) -> str | None:
    """The losses that it weighs keep their names and their rows, and none is negative."""
    inputs = specimen.draw(5, absent={specimen.names[0]: (2,)})
    module = specimen.fresh().train()
    if not callable(getattr(module, "weigh", None)):
        return "it has no method weigh"
    found = specimen.call(module, inputs)["losses"]
    names = {"head", *(f"balance.{name}" for name in (specimen.names if specimen.of.unimodal else ()))}
    if not names <= set(found):
        raise ContractError(f"of the losses {', '.join(sorted(names - set(found)))} nothing is left; weigh by zero")
    for name, loss in found.items():
        if not isinstance(loss, Tensor) or list(loss.shape) != [5]:
            raise ContractError(f"loss {name} is [5], one a sample; got {getattr(loss, 'shape', loss)!r}")
        if not (loss >= 0).all():  # NaN is not
            raise ContractError(f"loss {name} becomes {loss.min().item():.3g}; a loss is zero or more")
    return None


def teaches(specimen: BalanceSpecimen) -> str | None:
    """Every encoder still learns: in one of a few batches a gradient reaches each input."""
    waiting = set(specimen.names)
    for seed in range(6):
        _, found = specimen.differentiate(specimen.draw(6, seed=seed, ragged=False))
        expect_finite(found, f"gradient in batch {seed}")
        for place, gradient in found.items():
            if gradient is not None and place.startswith("input 0.features.") and bool(gradient.any()):
                waiting.discard(place.split(".")[2])
    if waiting:
        raise ContractError(f"no gradient reaches input {', '.join(sorted(waiting))}")
    return None


def remembers(specimen: BalanceSpecimen) -> str | None:
    """What it learned of epochs is in its state: a new one that loads it goes on in the same way."""
    module = specimen.fresh()
    if not callable(getattr(module, "epoch", None)):
        return "it has no method epoch"
    other = specimen.component(*specimen.given(), **specimen.options)
    other.load_state_dict({name: tensor.clone() for name, tensor in module.state_dict().items()})
    inputs = specimen.draw(6)
    torch.manual_seed(3)
    outputs, expected = specimen.differentiate(inputs, module)
    torch.manual_seed(3)
    again, found = specimen.differentiate(inputs, other)
    expect_same(again["loss"], outputs["loss"], "after its state is loaded")
    for place, gradient in expected.items():
        if (one := found[place]) is not None and gradient is not None:
            expect_same(one, gradient, f"after its state is loaded, the gradient of {place}")
    return None
