"""Fusions that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import FusionSpec, hookimpl

SURVEY = (
    'Baltrusaitis, Ahuja and Morency, "Multimodal Machine Learning: A Survey and Taxonomy", TPAMI 2019, '
    "https://arxiv.org/abs/1705.09406"
)


@hookimpl
def mmkit_fusions() -> Iterator[FusionSpec]:
    """One method, one file."""
    yield FusionSpec(
        "concat",
        "mmkit.fusions.vectors.concat:ConcatFusion",
        "Concatenation of the inputs' vectors, then one linear layer",
        vectors=True,
        paper='Ngiam et al., "Multimodal Deep Learning", ICML 2011, https://icml.cc/2011/papers/399_icmlpaper.pdf',
    )
    yield FusionSpec(
        "sum",
        "mmkit.fusions.vectors.sum:SumFusion",
        "Sum of one linear projection for each input",
        vectors=True,
        paper=SURVEY,
    )
    yield FusionSpec(
        "mean",
        "mmkit.fusions.vectors.mean:MeanFusion",
        "Mean of one linear projection for each input",
        vectors=True,
        paper=SURVEY,
    )
    yield FusionSpec(
        "max",
        "mmkit.fusions.vectors.max:MaxFusion",
        "Elementwise maximum of one linear projection for each input",
        vectors=True,
        paper='Su, Maji, Kalogerakis and Learned-Miller, "Multi-view Convolutional Neural Networks for 3D Shape '
        'Recognition", ICCV 2015, https://arxiv.org/abs/1505.00880',
    )
    yield FusionSpec(
        "product",
        "mmkit.fusions.vectors.product:ProductFusion",
        "Elementwise product of one linear projection for each input",
        vectors=True,
        paper='Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017, https://arxiv.org/abs/1610.04325',
    )
    yield FusionSpec(
        "gated",
        "mmkit.fusions.vectors.gated:GatedFusion",
        "Gated multimodal unit: each input passes a learned gate that reads all inputs",
        vectors=True,
        paper='Arevalo et al., "Gated Multimodal Units for Information Fusion", ICLR 2017 workshop, '
        "https://arxiv.org/abs/1702.01992",
    )
    yield FusionSpec(
        "attention",
        "mmkit.fusions.tokens.attention:AttentionFusion",
        "Transformer over the tokens of all inputs",
        paper='Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762',
    )
    yield FusionSpec(
        "cross-attention",
        "mmkit.fusions.tokens.cross_attention:CrossAttentionFusion",
        "Crossmodal transformers: each input's tokens attend to those of every other input",
        removable=False,  # a stream that looks at a missing input goes on, and adds zero to itself
        paper='Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, '
        "https://arxiv.org/abs/1906.00295",
    )
    yield FusionSpec(
        "low-rank",
        "mmkit.fusions.vectors.low_rank:LowRankFusion",
        "Low-rank multimodal fusion: the inputs are multiplied, at linear cost",
        vectors=True,
        removable=False,  # of a missing input the constant stays, as a factor
        paper='Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018, '
        "https://arxiv.org/abs/1806.00064",
    )
    yield FusionSpec(
        "tensor",
        "mmkit.fusions.vectors.tensor:TensorFusion",
        "Tensor fusion: the outer product of the inputs' vectors, then one linear layer",
        vectors=True,
        paper='Zadeh et al., "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP 2017, '
        "https://arxiv.org/abs/1707.07250",
    )
    yield FusionSpec(
        "late",
        "mmkit.fusions.outputs.late:LateFusion",
        "Late fusion: one prediction for each input, averaged with equal or learned weights",
        combines="outputs",
        paper='Kittler, Hatef, Duin and Matas, "On Combining Classifiers", TPAMI 1998, https://doi.org/10.1109/34.667881',
    )
    yield FusionSpec(
        "log-pool",
        "mmkit.fusions.outputs.log_pool:LogPoolFusion",
        "Logarithmic pool: the product of the probabilities that each input gives, which is the sum of their logits",
        combines="outputs",
        paper='Kittler, Hatef, Duin and Matas, "On Combining Classifiers", TPAMI 1998, https://doi.org/10.1109/34.667881',
    )
