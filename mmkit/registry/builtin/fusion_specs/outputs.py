"""Specs: Fusions at decision level: they read the output of each input's own head."""

from __future__ import annotations

from mmkit.plugin import FusionSpec

SPECS = (
    FusionSpec(
        "energy",
        "mmkit.fusions.outputs.energy:EnergyFusion",
        "Energy-weighted fusion (QMF): each input counts by how much its own output speaks for any class at all",
        formula="y = sum_m w_m o_m, w_m = 0.1 logsumexp(o_m - mean(o_m))",
        avoids="the authors' weights change with a constant that is added to all logits of an output, and may be "
        "negative",
        combines="outputs",
        companion="energy-ranking",
        detaches=True,
        paper='Zhang, Wu, Zhang, Hu, Fu, Zhou and Peng, "Provable Dynamic Fusion for Low-Quality Multimodal Data", '
        "ICML 2023, https://arxiv.org/abs/2306.02050",
    ),
    FusionSpec(
        "late",
        "mmkit.fusions.outputs.late:LateFusion",
        "Late fusion: one prediction for each input, averaged with equal or learned weights",
        formula="p = sum_m w_m softmax(o_m) / sum_m w_m; scalars: y = sum_m w_m o_m / sum_m w_m",
        combines="outputs",
        paper='Kittler, Hatef, Duin and Matas, "On Combining Classifiers", TPAMI 1998, https://doi.org/10.1109/34.667881',
    ),
    FusionSpec(
        "log-pool",
        "mmkit.fusions.outputs.log_pool:LogPoolFusion",
        "Logarithmic pool: the product of the probabilities that each input gives, which is the sum of their logits",
        formula="y = sum_m w_m o_m; scalars: sum_m w_m o_m / sum_m w_m",
        combines="outputs",
        paper='Kittler, Hatef, Duin and Matas, "On Combining Classifiers", TPAMI 1998, https://doi.org/10.1109/34.667881',
    ),
    FusionSpec(
        "stacking",
        "mmkit.fusions.outputs.stacking:StackingFusion",
        "Stacking: a linear layer learns how to combine the predictions of the inputs",
        formula="y = W [log softmax(o_1); ...; log softmax(o_M); p] + b, p: who is there; labels, scalars: o_m",
        combines="outputs",
        removable=False,  # the flags say who is missing
        detaches=True,
        paper='Wolpert, "Stacked Generalization", Neural Networks 1992, https://doi.org/10.1016/S0893-6080(05)80023-1',
    ),
    FusionSpec(
        "vcdn",
        "mmkit.fusions.outputs.vcdn:VcdnFusion",
        "View correlation discovery network (VCDN): an MLP over the outer product of what all inputs say",
        formula="y = MLP(flatten(s(o_1) x ... x s(o_M))), s: sigmoid; missing: 1 / C",
        avoids="the authors' code replaces the outputs in the list that it was given, so whoever reads them next finds "
        "sigmoids",
        combines="outputs",
        removable=False,  # its factor is 1 / C
        detaches=True,  # with its option
        paper='Wang, Shao, Huang, Tang, Zhang, Ding and Huang, "MOGONET Integrates Multi-Omics Data Using Graph '
        'Convolutional Networks Allowing Patient Classification and Biomarker Identification", Nature Communications '
        "2021, https://doi.org/10.1038/s41467-021-23774-w",
    ),
)
