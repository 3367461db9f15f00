"""Specs: Fusions at decision level that read the features of the inputs beside the outputs of their heads."""

from __future__ import annotations

from mmkit.plugin import FusionSpec

SPECS = (
    FusionSpec(
        "class-attention",
        "mmkit.fusions.both.class_attention:ClassAttentionFusion",
        "Class-wise attention (DrFuse): each class chooses between what two inputs share and what each has alone",
        formula="y_c = sum_k a_ck (w_c p_k + b_c + o_kc), a_c = softmax_k(q K_c p_k), p: r_1, s, r_2; s: logit of the "
        "mean of sigmoid(s_1), sigmoid(s_2)",
        avoids="the published code penalises shared parts of samples without a pair, gives keys biases that cannot "
        "train, and computes C x C scores for C",
        combines="both",
        min_inputs=2,
        max_inputs=2,
        vectors=True,
        paper='Yao, Yin, Cheung, Liu and Qin, "DrFuse: Learning Disentangled Representation for Clinical Multi-Modal '
        'Fusion with Missing Modality and Modal Inconsistency", AAAI 2024, https://arxiv.org/abs/2403.06197',
    ),
    FusionSpec(
        "confidence",
        "mmkit.fusions.both.confidence:ConfidenceFusion",
        "Confidence-weighted fusion (PDF): each input predicts how sure it may be, and counts by that",
        formula="y = sum_m w_m o_m, w = softmax_m(c_m + sum_{j != m} log c_j / sum_j log c_j), c_m = s(MLP_m(x_m))",
        combines="both",
        vectors=True,
        companion="confidence-loss",
        detaches=True,
        paper='Cao et al., "Predictive Dynamic Fusion", ICML 2024, https://arxiv.org/abs/2406.04802',
    ),
    FusionSpec(
        "dynamic-gate",
        "mmkit.fusions.both.dynamic_gate:DynamicGateFusion",
        "Dynamic gate (DynMM): for each sample a gate chooses whose prediction counts, one input's or that of all",
        formula="y = sum_e g_e o_e, o_{M+1} = MLP(x), g = softmax(MLP'(x)), in evaluation one-hot; x = [x_1; ...; x_M]",
        combines="both",
        vectors=True,
        detaches=True,  # in evaluation the gradient is that of the mixture, not of the choice
        paper='Xue and Marculescu, "Dynamic Multimodal Fusion", CVPR Workshops 2023, https://arxiv.org/abs/2204.00102',
    ),
    FusionSpec(
        "evidential",
        "mmkit.fusions.both.evidential:EvidentialFusion",
        "Evidential fusion (TMC): what each input says counts as evidence, combined by Dempster's rule",
        formula="y = log(1 + C (prod_m (1 + e_m / C) - 1)), e_m = softplus(o_m)",
        avoids="one toolkit combines each ordered pair anew and adds them up, so that belief and uncertainty exceed 1; "
        "others loop over pairs, with C x C products for each sample",
        combines="both",
        vectors=True,
        companion="evidential-loss",
        own_losses=False,
        paper='Han, Zhang, Fu and Zhou, "Trusted Multi-View Classification", ICLR 2021, '
        "https://arxiv.org/abs/2102.02051; "
        'Xu et al., "Reliable Conflictive Multi-View Learning", AAAI 2024, https://arxiv.org/abs/2402.16897',
    ),
    FusionSpec(
        "joint-pool",
        "mmkit.fusions.both.joint_pool:JointPoolFusion",
        "Joint pool (I2M2): the product of what each input says alone, and of what all say together",
        formula="y = sum_m o_m + MLP([x_1; ...; x_M]); scalars: their mean",
        combines="both",
        vectors=True,
        own_losses=False,
        paper='Madaan, Makino, Chopra and Cho, "Jointly Modeling Inter- & Intra-Modality Dependencies for Multi-modal '
        'Learning", NeurIPS 2024, https://arxiv.org/abs/2405.17613',
    ),
)
