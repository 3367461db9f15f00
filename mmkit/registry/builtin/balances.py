"""Balance methods that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import BalanceSpec, hookimpl

MMPARETO = (
    'Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024, '
    "https://arxiv.org/abs/2405.17730"
)


@hookimpl
def mmkit_balances() -> Iterator[BalanceSpec]:
    """One method, one file."""
    yield BalanceSpec(
        "agm",
        "mmkit.balances.agm:Agm",
        "Adaptive gradient modulation: what an input gives to the output has a weaker gradient while it is far ahead",
        max_inputs=3,
        targets=("classes", "labels", "scalar"),
        formula="grad phi_m times exp(limit tanh(alpha (tau_m - r_m) / limit)); phi: Shapley value, r: lead, "
        "tau: its mean",
        avoids="published code of others passes subsets without a gradient: each input has the same share of it",
        paper='Li, Li, Hu, Lei, Li and Zhang, "Boosting Multi-modal Model Performance with Adaptive Gradient '
        'Modulation", ICCV 2023, https://arxiv.org/abs/2308.07686',
    )
    yield BalanceSpec(
        "ogm",
        "mmkit.balances.ogm:Ogm",
        "On-the-fly gradient modulation: the encoder of an input that is ahead of the others learns more slowly",
        targets=("classes", "labels", "scalar"),
        unimodal="measured",
        formula="grad x_m times 1 - tanh(alpha rho_m) where rho_m > 1; rho_m: score of m alone / mean of the others",
        paper='Peng et al., "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022, '
        "https://arxiv.org/abs/2203.15332",
    )
    yield BalanceSpec(
        "gradient-blending",
        "mmkit.balances.gradient_blending:GradientBlending",
        "Gradient-Blending: the losses of the fusion and of each input are weighted by how well each generalises",
        unimodal="trained",
        validation=True,
        formula="sum_k w_k loss_k, w_k = G_k / O_k^2 / sum; k: model and inputs, G: gain on validation, O: overfitting",
        avoids="published code of others takes |G|, by which a loss that rises gets weight",
        paper='Wang, Tran and Feiszli, "What Makes Training Multi-modal Classification Networks Hard?", CVPR 2020, '
        "https://arxiv.org/abs/1905.12681",
    )
    yield BalanceSpec(
        "mmpareto",
        "mmkit.balances.mmpareto:MmPareto",
        "MMPareto at the border: of the fusion's gradient and an input's own a direction that hurts neither, in one "
        "pass",
        unimodal="trained",
        formula="grad x_m = scale max(1, |g + h| / |d|) d, d = g + h, or the least a g + (2 - a) h where g.h < 0; "
        "g: of the fusion, h: of m's own head",
        avoids="published copies read both gradients after both backward passes, where they are the same",
        paper=MMPARETO,
    )
    yield BalanceSpec(
        "mmpareto-weights",
        "mmkit.balances.mmpareto:MmParetoWeights",
        "MMPareto as published: of the two gradients of an encoder's weights a direction that hurts neither",
        unimodal="trained",
        formula="grad W_m = scale max(1, |g + h| / |d|) d, d = g + h, or the least a g + (2 - a) h where g.h < 0; "
        "g: of the fusion, h: of m's own head",
        avoids="published copies read both gradients after both backward passes, where they are the same",
        paper=MMPARETO,
    )
    yield BalanceSpec(
        "decoupled",
        "mmkit.balances.decoupled:Decoupled",
        "Encoders that learn from the losses of their own heads alone, while the fusion learns from what they give",
        unimodal="trained",
        formula="grad x_m = weight grad loss(o_m), o_m: the output of m's own head",
        paper='Wei et al., "Boosting Multimodal Learning via Disentangled Gradient Learning", ICCV 2025, '
        "https://arxiv.org/abs/2507.10213",
    )
    yield BalanceSpec(
        "mla",
        "mmkit.balances.mla:Mla",
        "MLA: inputs take turns, each with a step of its own, and the head keeps what it learned of the others",
        formula="g P for g, then P - P r r^T P / (alpha + r^T P r) for P; g: the head's gradient, r: mean "
        "of the fused x_m of a turn",
        avoids="published code divides by a matrix in place of a number, and looks for its head under another name, so "
        "that no gradient is projected",
        paper='Zhang, Yoon, Bansal and Yao, "Multimodal Representation Learning by Alternating Unimodal Adaptation", '
        "CVPR 2024, https://arxiv.org/abs/2311.10707",
    )
    yield BalanceSpec(
        "opm",
        "mmkit.balances.opm:Opm",
        "On-the-fly prediction modulation: an input that is ahead of the others is left out of the fusion at random",
        targets=("classes", "labels", "scalar"),
        unimodal="measured",
        formula="x_m is left out with min(1, rate (1 + growth tanh(rho_m - 1))) where rho_m > 1; rho: as ogm",
        paper='Wei, Hu, Du and Wen, "On-the-fly Modulation for Balanced Multimodal Learning", TPAMI 2024, '
        "https://arxiv.org/abs/2410.11582",
    )
    yield BalanceSpec(
        "pmr",
        "mmkit.balances.pmr:Pmr",
        "Prototypical modal rebalance: the encoder of an input that is behind is drawn to the prototypes of the "
        "classes",
        targets=("classes",),
        mixup=False,
        formula="loss - weight sum_m [rho_m < 1] log softmax_k(-|x_m - c_mk|)_true; c_mk: mean x_m of class k, "
        "rho: as ogm",
        paper='Fan, Xu, Wang, Wang and Guo, "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023, '
        "https://arxiv.org/abs/2211.07089",
    )
