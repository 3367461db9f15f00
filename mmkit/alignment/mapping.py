"""From the space of one encoder to that of another: none is needed, or a ridge map chosen on validation."""

from __future__ import annotations

from mmkit.alignment.embedder import Embedder
from mmkit.alignment.options import Map
from mmkit.alignment.pairs import equal_values, ranks_both_ways, with_both
from mmkit.alignment.ridge import RidgeMap, ridge_maps
from mmkit.data.splits import Splits
from mmkit.errors import UsageError
from mmkit.metrics.ranking import rank_metrics


def check_widths(a: Embedder, b: Embedder, how: Map) -> None:
    """Check that the vectors of two embedders can be compared.

    Raises:
        UsageError: their widths differ, and there is no map.
    """
    if how == "none" and a.width != b.width:
        raise UsageError(
            f"vectors of {a.name} have {a.width} values and those of {b.name} {b.width}, which cannot be compared; "
            "take the two towers of one model (open-clip-image, open-clip-text), or --map ridge"
        )


def best_map(a: Embedder, b: Embedder, splits: Splits) -> RidgeMap:
    """The ridge map, fitted on train, of the strength with the best mean reciprocal rank on validation, both ways."""
    train = with_both(splits("train"), a.name, b.name)
    maps = list(ridge_maps(a(train.inputs[a.name], "train"), b(train.inputs[b.name], "train")))
    validation = with_both(splits("validation"), a.name, b.name)
    same = equal_values(validation, (a.name, b.name))
    of_a, of_b = a(validation.inputs[a.name], "validation"), b(validation.inputs[b.name], "validation")

    def score(ridge_map: RidgeMap) -> float:
        both_ways = ranks_both_ways(ridge_map.of_a(of_a), ridge_map.of_b(of_b), same)
        return sum(rank_metrics(one_way)["mrr"] or 0 for one_way in both_ways)

    return max(maps, key=score)
