"""Checks of what must not matter: who else is in the batch, padding, the order of inputs, tokens that nobody reads.

Axes: B batch, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmkit.contract import Features
from mmkit.errors import ContractError
from mmkit.testing.checks.construction import expect_shapes
from mmkit.testing.checks.gradients import BATCHES
from mmkit.testing.specimens.encoder import EncoderSpecimen
from mmkit.testing.specimens.fusion import FusionSpecimen
from mmkit.testing.specimens.head import HeadSpecimen
from mmkit.testing.specimens.module import ModuleSpecimen
from mmkit.testing.specimens.objective import ObjectiveSpecimen
from mmkit.testing.trees import as_vectors, comparable, expect_finite, expect_same, rows

COUNTS = (1, 2, 3, 4, 5, 7)


def one_sample(specimen: ModuleSpecimen) -> str | None:
    """A batch of one works, in evaluation and in training."""
    inputs = specimen.draw(1)
    expect_shapes(specimen, specimen.evaluate(inputs), 1, "one sample in evaluation")
    normalising = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in specimen.module.modules())  # noqa: SLF001
    if not normalising:  # a batch of one has no variance to normalise by, and torch says so
        outputs, _ = specimen.differentiate(inputs)
        expect_shapes(specimen, outputs, 1, "one sample in training")
    return None


def mates(specimen: ModuleSpecimen) -> str | None:
    """In evaluation a sample's result does not depend on the others in its batch."""
    inputs = specimen.draw(4, absent={specimen.names[-1]: (2,)})
    together = specimen.independent(specimen.evaluate(inputs))
    for part in ([0], [1, 2, 3]):
        apart = specimen.independent(specimen.evaluate(rows(inputs, part)))
        expect_same(apart, rows(together, part), f"rows {part} of 4 without the others")
    return None


def compares(specimen: FusionSpecimen | ObjectiveSpecimen) -> str | None:
    """A loss or a penalty that hangs on the other samples of the batch says so in its spec (`compares`).

    Else each of several processes that share a batch would give an objective its own rows alone, and a batch would be
    divided into micro-batches, in which a penalty is another.
    """
    if isinstance(specimen, FusionSpecimen):
        return "its spec says that it compares samples" if specimen.spec.compares else _penalties_of_mates(specimen)
    if specimen.spec.compares:
        if not specimen.spec.vectors:
            raise ContractError(
                "its spec says compares=True, and is given vectors of the whole batch: say vectors=True"
            )
        return "its spec says that it compares samples"
    return mates(specimen)


def _penalties_of_mates(specimen: FusionSpecimen) -> str | None:
    inputs = specimen.draw(4, absent={specimen.names[-1]: (1,)})
    found = []
    for given in (inputs, rows(inputs, [0, 1, 0, 1])):
        torch.manual_seed(3)  # of dropout, in both
        specimen.module.train()
        penalties = specimen.call(specimen.module, given)["fused"].penalties
        found.append({name: penalty.detach()[:2] for name, penalty in penalties.items()})
    for name, penalty in found[0].items():
        if not torch.allclose(penalty, found[1][name], rtol=1e-4, atol=1e-6):
            raise ContractError(f"its penalty {name} of a sample hangs on the others of the batch: say compares=True")
    return None if found[0] else "it has no penalty"


def padding(specimen: Any) -> str | None:
    """More padding changes nothing."""
    inputs = specimen.draw(4, absent=specimen.all_absent(1))
    expected = specimen.unpadded(specimen.evaluate(inputs))
    expect_same(specimen.unpadded(specimen.evaluate(specimen.padded(inputs))), expected, "with more padding")
    return None


def holes(specimen: FusionSpecimen | HeadSpecimen) -> str | None:
    """A mask may have holes: a real token that stands behind one counts."""
    for name in specimen.names:
        draws = [specimen.draw(4, seed=seed, ragged=False) for seed in range(BATCHES)]
        whole = _of(draws[0], name)
        tokens = whole.tokens.shape[1]
        if whole.pooled is not None or tokens < 3 or not any(_reads_features(specimen, given) for given in draws):
            continue
        mask = torch.arange(tokens) % 2 == 0
        mask[-1] = True
        if not any(_reads_last(specimen, given, name, mask) for given in draws):
            row = "".join("x" if real else "-" for real in mask.tolist())
            raise ContractError(f"the last real token of {name} is not read where the mask is {row} (x is real)")
    return None


def _reads_last(specimen: FusionSpecimen | HeadSpecimen, given: tuple[Any, ...], name: str, mask: Tensor) -> bool:
    """Whether another last token changes the result, where the tokens of an input have this mask [T]."""
    whole, tokens = _of(given, name), len(mask)
    before, after = (
        Features.of(whole.tokens * scale.unsqueeze(1), mask.expand(4, tokens))
        for scale in (torch.ones(tokens), torch.tensor([1.0] * (tokens - 1) + [-2.0]))
    )
    found = [
        comparable(specimen.independent(specimen.evaluate(_replacing(given, name, part)))) for part in (before, after)
    ]
    return not all(torch.equal(value, found[1][place]) for place, value in found[0].items())


def _of(given: tuple[Any, ...], name: str) -> Features:
    """The features of an input, or those that a head is given."""
    features: Features = given[0] if isinstance(given[0], Features) else given[0][name]
    return features


def _reads_features(specimen: FusionSpecimen | HeadSpecimen, given: tuple[Any, ...]) -> bool:
    """False of a fusion of both that with these options reads outputs alone."""
    if not isinstance(specimen, FusionSpecimen) or specimen.spec.combines != "both":
        return True
    other = (specimen.draw(4, seed=8, ragged=False)[0], *given[1:])
    before, after = (comparable(specimen.evaluate(one)) for one in (given, other))
    return any(not torch.equal(value, after[place]) for place, value in before.items())


def _replacing(given: tuple[Any, ...], name: str, part: Features) -> tuple[Any, ...]:
    first = part if isinstance(given[0], Features) else {**given[0], name: part}
    return (first, *given[1:])


def vectors(specimen: FusionSpecimen | HeadSpecimen | ObjectiveSpecimen) -> str | None:
    """What says that it reads vectors gives the same where they stand in the place of all tokens."""
    if not specimen.spec.vectors:
        return "it reads tokens"
    for seed in range(2):
        inputs = specimen.draw(4, seed=seed, absent={specimen.names[0]: (1,)})
        expect_same(specimen.evaluate(as_vectors(inputs)), specimen.evaluate(inputs), "vectors in the place of tokens")
    return None


def penalties(specimen: FusionSpecimen) -> str | None:
    """Penalties of its inputs are not passed on: the model counts them once, where they were made."""
    features, *outputs = specimen.draw(4)
    found = {}
    for weight in (0.0, 1.0):
        given = {
            name: Features(part.tokens, part.mask, part.pooled, {"kit": torch.full((4,), weight)})
            for name, part in features.items()
        }
        torch.manual_seed(3)  # of dropout, in both
        specimen.module.train()
        found[weight] = {
            n: p.detach() for n, p in specimen.call(specimen.module, (given, *outputs))["fused"].penalties.items()
        }
    for name, penalty in found[1.0].items():
        if name not in found[0.0] or not torch.equal(penalty, found[0.0][name]):
            raise ContractError(f"its penalty {name} changes with those of its inputs; give only its own")
        if name == "kit":
            raise ContractError("it passes on a penalty of its inputs; give only its own")
    return None


def alone(specimen: EncoderSpecimen) -> str | None:
    """A sample that is transformed alone gives what it gives in a batch, where longer ones pad it."""
    values = specimen.values(4, seed=5)
    together = specimen.evaluate((dict(specimen.transform(values)),))
    for row in range(2):
        single = specimen.evaluate((dict(specimen.transform(values[row : row + 1])),))
        expect_same(single, rows(together, [row]), f"sample {row} of 4 transformed alone")
    return None


def order(specimen: FusionSpecimen | ObjectiveSpecimen) -> str | None:
    """The order of the inputs in the mapping does not matter."""
    if len(specimen.names) < 2:
        return "it takes one input"
    inputs = specimen.draw(4)
    expect_same(specimen.evaluate(specimen.reordered(inputs)), specimen.evaluate(inputs), "inputs in another order")
    return None


def input_counts(specimen: FusionSpecimen | ObjectiveSpecimen) -> str | None:
    """It works for 1 to 5 and for 7 inputs, where its spec allows them, of unequal widths and lengths."""
    most = getattr(getattr(specimen, "of", specimen.spec), "max_inputs", None) or COUNTS[-1]
    counts = [count for count in COUNTS if specimen.spec.min_inputs <= count <= most]
    if not counts:
        return f"it takes {specimen.spec.min_inputs} inputs or more"
    for count in counts:
        other = specimen.of_inputs(count)
        inputs = other.draw(3, absent={other.names[0]: (1,)})
        try:
            outputs, gradients = other.differentiate(inputs)
            expect_shapes(other, outputs, 3, "in training")
            expect_finite(gradients, "gradients")
            expect_shapes(other, other.evaluate(inputs), 3, "in evaluation")
        except ContractError as error:
            raise ContractError(f"{count} inputs: {error}") from error
        except Exception as error:
            raise ContractError(f"{count} inputs: raised {type(error).__name__}: {error}") from error
    return None
