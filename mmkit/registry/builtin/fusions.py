"""Fusions that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import FusionSpec, hookimpl


@hookimpl
def mmkit_fusions() -> Iterator[FusionSpec]:
    """One method, one file."""
    yield FusionSpec(
        "concat",
        "mmkit.fusions.vectors.concat:ConcatFusion",
        "Vectors of all inputs side by side, then one linear layer",
        vectors=True,
        paper="Ngiam et al., Multimodal Deep Learning, ICML 2011, https://icml.cc/2011/papers/399_icmlpaper.pdf",
    )
    yield FusionSpec(
        "sum", "mmkit.fusions.vectors.sum:SumFusion", "Each input projected to one width, then added", vectors=True
    )
    yield FusionSpec(
        "mean",
        "mmkit.fusions.vectors.mean:MeanFusion",
        "Each input projected to one width, then averaged",
        vectors=True,
    )
    yield FusionSpec(
        "max",
        "mmkit.fusions.vectors.max:MaxFusion",
        "Each input projected to one width, the greatest taken",
        vectors=True,
    )
    yield FusionSpec(
        "product",
        "mmkit.fusions.vectors.product:ProductFusion",
        "Each input projected to one width, then multiplied",
        vectors=True,
    )
    yield FusionSpec(
        "gated",
        "mmkit.fusions.vectors.gated:GatedFusion",
        "Gated multimodal unit: one learned gate an input",
        vectors=True,
        paper="Arevalo et al., Gated Multimodal Units for Information Fusion, ICLR 2017 workshop, "
        "https://arxiv.org/abs/1702.01992",
    )
    yield FusionSpec(
        "attention",
        "mmkit.fusions.tokens.attention:AttentionFusion",
        "Transformer over the tokens of all inputs, each marked with its input",
        paper="Vaswani et al., Attention Is All You Need, NeurIPS 2017, https://arxiv.org/abs/1706.03762",
    )
    yield FusionSpec(
        "cross-attention",
        "mmkit.fusions.tokens.cross_attention:CrossAttentionFusion",
        "Each input's tokens look at each other input's, for all ordered pairs",
        paper="Tsai et al., Multimodal Transformer for Unaligned Multimodal Language Sequences, ACL 2019, "
        "https://arxiv.org/abs/1906.00295",
    )
    yield FusionSpec(
        "low-rank",
        "mmkit.fusions.vectors.low_rank:LowRankFusion",
        "All inputs multiplied by way of low-rank factors, at linear cost",
        vectors=True,
        paper="Liu et al., Efficient Low-rank Multimodal Fusion with Modality-Specific Factors, ACL 2018, "
        "https://arxiv.org/abs/1806.00064",
    )
    yield FusionSpec(
        "tensor",
        "mmkit.fusions.vectors.tensor:TensorFusion",
        "Outer product of all inputs, each with a constant 1; refuses above a budget of parameters",
        vectors=True,
        paper="Zadeh et al., Tensor Fusion Network for Multimodal Sentiment Analysis, EMNLP 2017, "
        "https://arxiv.org/abs/1707.07250",
    )
    yield FusionSpec(
        "late",
        "mmkit.fusions.outputs.late:LateFusion",
        "One head an input, their outputs averaged, evenly or by learned weights",
        combines="outputs",
        paper="Kittler et al., On Combining Classifiers, IEEE Transactions on Pattern Analysis and Machine "
        "Intelligence 1998, https://doi.org/10.1109/34.667881",
    )
