"""Objectives that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import ObjectiveSpec, hookimpl


@hookimpl
def mmkit_objectives() -> Iterator[ObjectiveSpec]:
    """One method, one file, in the order of the names."""
    yield ObjectiveSpec(
        "barlow",
        "mmkit.objectives.barlow:BarlowObjective",
        "Barlow Twins: the features of two inputs correlate one to one, and with no others",
        formula="sum_i (c_ii - 1)^2 + 0.0051 sum_{i != j} c_ij^2; c: correlations of the projections of two inputs",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='Zbontar, Jing, Misra, LeCun and Deny, "Barlow Twins: Self-Supervised Learning via Redundancy '
        'Reduction", ICML 2021, https://arxiv.org/abs/2103.03230',
    )
    yield ObjectiveSpec(
        "confidence-loss",
        "mmkit.objectives.confidence_loss:ConfidenceLossObjective",
        "Confidence loss: the confidence that an input predicts is the probability that its head gives to the truth",
        formula="sum_m |c_m - p_m|, p_m = softmax(o_m)_y without gradient",
        unimodal=True,
        vectors=True,
        fusion="confidence",
        paper='Cao et al., "Predictive Dynamic Fusion", ICML 2024, https://arxiv.org/abs/2406.04802',
    )
    yield ObjectiveSpec(
        "confidence-ranking",
        "mmkit.objectives.confidence_ranking:ConfidenceRankingObjective",
        "Confidence ranking (CML): a prediction from fewer inputs is not surer than the one from more",
        formula="mean_k CE(s_k) + 0.1 sum_k max(0, c(s_k) - c(s_{k+1})); s_k: sum of k outputs o_m, c: max(softmax)",
        avoids="one toolkit takes the hinge of a sum over the batch, in which samples in the right order make up for "
        "those in the wrong one",
        min_inputs=2,
        unimodal=True,
        vectors=True,
        paper='Ma, Zhang, Zhang, Wu, Fu, Zhou and Hu, "Calibrating Multimodal Learning", ICML 2023, '
        "https://arxiv.org/abs/2306.01265",
    )
    yield ObjectiveSpec(
        "contrastive",
        "mmkit.objectives.contrastive:ContrastiveObjective",
        "InfoNCE: pulls the inputs of one sample together and pushes those of others apart",
        formula="-log softmax_j(t cos(z_i, z'_j))_i, both ways; z: projections of two inputs",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, '
        "https://arxiv.org/abs/1807.03748",
    )
    yield ObjectiveSpec(
        "deep-cca",
        "mmkit.objectives.deep_cca:DeepCcaObjective",
        "Deep CCA: the projections of two inputs are as correlated as linear maps can make them",
        formula="S - sum of the singular values of L_1^-1 C_12 L_2^-T; C: covariances, L L^T = C_mm + ridge I",
        avoids="published code adds up the elementwise root of T^T T, which is not the sum of the singular values of T",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='Andrew, Arora, Bilmes and Livescu, "Deep Canonical Correlation Analysis", ICML 2013, '
        "https://proceedings.mlr.press/v28/andrew13.html; "
        'Chang, Xiang and Hospedales, "Scalable and Effective Deep CCA via Soft Decorrelation", CVPR 2018, '
        "https://arxiv.org/abs/1707.09669",
    )
    yield ObjectiveSpec(
        "distillation",
        "mmkit.objectives.distillation:DistillationObjective",
        "Distillation: each input learns from a frozen model of that input alone",
        formula="sum_m mean_d (x_m - t_m)^2, t_m the features of a model of input m alone, without gradient",
        min_inputs=2,
        teachers=True,
        vectors=True,
        paper='Du, Teng, Li, Liu, Yuan, Wang, Yuan and Zhao, "On Uni-Modal Feature Learning in Supervised Multi-Modal '
        'Learning", ICML 2023, https://arxiv.org/abs/2305.01233; '
        'Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, '
        "https://arxiv.org/abs/1503.02531",
    )
    yield ObjectiveSpec(
        "energy-ranking",
        "mmkit.objectives.energy_ranking:EnergyRankingObjective",
        "Energy ranking: of two samples, an input is surer of the one whose own loss was smaller so far",
        formula="sum_m max(0, sign(k_m - k'_m) (c_m - c'_m) + |k_m - k'_m|); k: mean loss of a sample, c: confidence",
        avoids="the authors' code turns the sign of the order and not that of the margin, so that equal confidences "
        "and wrong orders up to the margin cost nothing; its form for depth ranks before any loss is noted, and its "
        "first loss is NaN",
        unimodal=True,
        vectors=True,
        compares=True,
        fusion="energy",
        paper='Zhang, Wu, Zhang, Hu, Fu, Zhou and Peng, "Provable Dynamic Fusion for Low-Quality Multimodal Data", '
        "ICML 2023, https://arxiv.org/abs/2306.02050; "
        'Moon, Kim, Shin and Hwang, "Confidence-Aware Learning for Deep Neural Networks", ICML 2020, '
        "https://arxiv.org/abs/2007.01458",
    )
    yield ObjectiveSpec(
        "evidential-loss",
        "mmkit.objectives.evidential_loss:EvidentialLossObjective",
        "Evidential losses: each input's evidence, and the whole, should speak for the true class and for no other",
        formula="sum over views and whole of digamma(S) - digamma(a_y) + l KL(Dir(a') || Dir(1)); a' = a, but 1 at y",
        unimodal=True,
        vectors=True,
        fusion="evidential",
        paper='Sensoy, Kaplan and Kandemir, "Evidential Deep Learning to Quantify Classification Uncertainty", NeurIPS '
        "2018, https://arxiv.org/abs/1806.01768; "
        'Han, Zhang, Fu and Zhou, "Trusted Multi-View Classification", ICLR 2021, https://arxiv.org/abs/2102.02051; '
        'Xu et al., "Reliable Conflictive Multi-View Learning", AAAI 2024, https://arxiv.org/abs/2402.16897',
    )
    yield ObjectiveSpec(
        "independence",
        "mmkit.objectives.independence:IndependenceObjective",
        "Independence: what one input's features tell of another's is removed, by the Hilbert-Schmidt criterion (HSIC)",
        formula="tr(K H L H) / (n - 1)^2, K_ij = exp(-|x_i - x_j|^2 / 2D) of one input, L of another, H = I - 1/n",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='Gretton, Bousquet, Smola and Schoelkopf, "Measuring Statistical Dependence with Hilbert-Schmidt Norms", '
        "ALT 2005, https://doi.org/10.1007/11564089_7",
    )
    yield ObjectiveSpec(
        "kl-align",
        "mmkit.objectives.kl_align:KlAlignObjective",
        "KL alignment: softmaxes over the features of two inputs of a sample become alike, without any pair to push "
        "apart",
        formula="mean over i != j of KL(softmax(x_i) || softmax(x_j)), softmax over the features",
        min_inputs=2,
        vectors=True,
        paper='Tang et al., "Bag of Tricks for Multimodal AutoML with Image, Text, and Tabular Data", 2024, '
        "https://arxiv.org/abs/2412.16243",
    )
    yield ObjectiveSpec(
        "moments",
        "mmkit.objectives.moments:MomentsObjective",
        "Moments: two inputs' features have the same distribution over the batch, whichever belongs to which sample",
        formula="|E z - E z'| + sum_{k=2..5} |E (z - E z)^k - E (z' - E z')^k|, z: sigmoid of a random projection",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='Zellinger et al., "Central Moment Discrepancy (CMD) for Domain-Invariant Representation Learning", ICLR '
        "2017, https://arxiv.org/abs/1702.08811; "
        'Gretton, Borgwardt, Rasch, Schoelkopf and Smola, "A Kernel Two-Sample Test", JMLR 2012, '
        "https://jmlr.org/papers/v13/gretton12a.html",
        avoids="a length whose gradient is NaN where the moments are equal",
    )
    yield ObjectiveSpec(
        "mutual-information",
        "mmkit.objectives.mutual_information:MutualInformationObjective",
        "CLUB: an upper bound of what two inputs say about each other, which is made small",
        formula="max(0, E log q(y_i | x_i) - E_j log q(y_j | x_i)) + what trains q: -E log q(y_i | x_i); both ways",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='Cheng, Hao, Dai, Liu, Gan and Carin, "CLUB: A Contrastive Log-ratio Upper Bound of Mutual Information", '
        "ICML 2020, https://arxiv.org/abs/2006.12013",
    )
    yield ObjectiveSpec(
        "siglip",
        "mmkit.objectives.siglip:SiglipObjective",
        "Sigmoid loss of pairs: each pair of samples is a question of its own, the same sample or not",
        formula="sum_j softplus(-s_ij (t cos(z_i, z'_j) + b)), s_ij = 1 where i = j, else -1; z: projections of inputs",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='Zhai, Mustafa, Kolesnikov and Beyer, "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, '
        "https://arxiv.org/abs/2303.15343",
    )
    yield ObjectiveSpec(
        "supervised-contrastive",
        "mmkit.objectives.supervised_contrastive:SupervisedContrastiveObjective",
        "Supervised contrastive loss: samples of one class are drawn together, whichever their input, and others apart",
        formula="-mean over j of i's class of log softmax_j(cos(z_i, z_j) / t); i, j: inputs of samples; z: projected",
        vectors=True,
        compares=True,
        paper='Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, https://arxiv.org/abs/2004.11362',
        avoids="0/0 where a class has one member in the batch",
    )
    yield ObjectiveSpec(
        "unimodal",
        "mmkit.objectives.unimodal:UnimodalObjective",
        "Loss of a separate head for each input, beside that of the fusion",
        formula="sum_m loss(o_m, truth)",
        unimodal=True,
        vectors=True,
        paper='Wang, Tran and Feiszli, "What Makes Training Multi-modal Classification Networks Hard?", CVPR 2020, '
        "https://arxiv.org/abs/1905.12681",
    )
    yield ObjectiveSpec(
        "vicreg",
        "mmkit.objectives.vicreg:VicregObjective",
        "VICReg: the projections of two inputs are equal, each of their features varies, and no two of them tell the "
        "same",
        formula="25 mean (z - z')^2 + 25 mean_i relu(1 - std_i) + sum_{i != j} C_ij^2 / S; z, z': projections of two "
        "inputs, C: covariances of a projection",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised '
        'Learning", ICLR 2022, https://arxiv.org/abs/2105.04906',
    )
    yield ObjectiveSpec(
        "volume",
        "mmkit.objectives.volume:VolumeObjective",
        "GRAM: the directions of all inputs of one sample span little volume, and those of different samples much",
        formula="-log softmax_j(-V(z_i; z'_j, z''_j, ...) / t)_i, both ways, each input in turn the first; V^2 = det G",
        avoids="published code takes sqrt(|det G|), whose gradient is not finite where two directions agree",
        min_inputs=2,
        vectors=True,
        compares=True,
        paper='Cicchetti, Grassucci, Sigillo and Comminiello, "Gramian Multimodal Representation Learning and '
        'Alignment", ICLR 2025, https://arxiv.org/abs/2412.11959',
    )
