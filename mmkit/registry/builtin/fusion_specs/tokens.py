"""Specs: Fusions that read the tokens of all inputs."""

from __future__ import annotations

from mmkit.plugin import FusionSpec

SPECS = (
    FusionSpec(
        "attention",
        "mmkit.fusions.tokens.attention:AttentionFusion",
        "Transformer over the tokens of all inputs",
        formula="y = mean of Transformer([W_1 X_1 + e_1; ...; W_M X_M + e_M])",
        paper='Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762',
    ),
    FusionSpec(
        "bilinear-attention",
        "mmkit.fusions.tokens.bilinear_attention:BilinearAttentionFusion",
        "Bilinear attention: every pair of tokens of two inputs is weighed, and the weighted products are added",
        formula="y = W [b_1; ...; b_G] + c, b_g = sum_ij A_gij (U_g X_1)_i * (V_g X_2)_j, A_g a softmax over all pairs",
        min_inputs=2,
        max_inputs=2,
        avoids="the published code attends to the padding of the second input, takes tokens of zeros in the first for "
        "padding, and has a bias of the scores that can never train",
        paper='Kim, Jun and Zhang, "Bilinear Attention Networks", NeurIPS 2018, https://arxiv.org/abs/1805.07932',
    ),
    FusionSpec(
        "bottleneck",
        "mmkit.fusions.tokens.bottleneck:BottleneckFusion",
        "Attention bottlenecks: a transformer for each input, and a few shared tokens that carry what they exchange",
        formula="[X_m; z_m] = Layer_ml([X_m; z]), z = mean_m z_m, for each layer l; y = mean_m mean of X_m",
        avoids="the published code has no masks: padding is attended to, and a missing input is averaged all the same",
        paper='Nagrani et al., "Attention Bottlenecks for Multimodal Fusion", NeurIPS 2021, '
        "https://arxiv.org/abs/2107.00135",
    ),
    FusionSpec(
        "co-attention",
        "mmkit.fusions.tokens.co_attention:CoAttentionFusion",
        "Co-attention: in each layer the tokens of every input look at those of the others, then at each other",
        formula="for each layer: X_m <- Self_lm(Cross_lm(X_m, [X_j, j != m])), for all m at once; y = mean_m mean X_m",
        min_inputs=2,
        paper='Lu et al., "ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations for Vision-and-Language '
        'Tasks", NeurIPS 2019, https://arxiv.org/abs/1908.02265',
    ),
    FusionSpec(
        "cross-attention",
        "mmkit.fusions.tokens.cross_attention:CrossAttentionFusion",
        "Crossmodal transformers: each input's tokens attend to those of every other input",
        formula="y = W [mean of T_m([C_mj(X_m, X_j), j != m]), m = 1..M], C a crossmodal transformer",
        removable=False,  # a stream that looks at a missing input goes on, and adds zero to itself
        paper='Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, '
        "https://arxiv.org/abs/1906.00295",
    ),
    FusionSpec(
        "gated-attention",
        "mmkit.fusions.tokens.gated_attention:GatedAttentionFusion",
        "Gated cross-attention: the tokens of one input look at all others through gates that are closed at the start",
        formula="X <- X + tanh(a) Cross(X, W_j X_j + e_j), X <- X + tanh(b) FFN(X), X those of the anchor; y = mean X",
        min_inputs=2,
        removable=False,  # where the anchor is missing, a learned token stands in
        paper='Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022, '
        "https://arxiv.org/abs/2204.14198",
    ),
    FusionSpec(
        "guided-attention",
        "mmkit.fusions.tokens.guided_attention:GuidedAttentionFusion",
        "Guided attention: the encoded tokens of one input guide those of all others, and both are pooled by attention",
        formula="Y <- Self(Y) of the anchor; X <- Decoder(X, Y) of the others; y = norm(W pool(X) + V pool(Y))",
        min_inputs=2,
        removable=False,  # the anchor is no input among others
        paper='Yu et al., "Deep Modular Co-Attention Networks for Visual Question Answering", CVPR 2019, '
        "https://arxiv.org/abs/1906.10770",
    ),
    FusionSpec(
        "iterative",
        "mmkit.fusions.tokens.iterative:IterativeFusion",
        "Iterative attention: latents look at one input after the other, again in every layer",
        formula="for each layer: Z <- Cross_lm(Z, W_m X_m + e_m) for each m that is there, Z <- Self_l(Z); y = mean Z",
        avoids="the published code skips a missing input by catching every exception of its update, whatever its cause",
        paper='Hemker et al., "HEALNet: Multimodal Fusion for Heterogeneous Biomedical Data", NeurIPS 2024, '
        "https://arxiv.org/abs/2311.09115",
    ),
    FusionSpec(
        "memory",
        "mmkit.fusions.tokens.memory:MemoryFusion",
        "Memory fusion network: an LSTM for each input, step by step, and a memory of what changes across them",
        formula="y = W [h_1T; ...; h_MT; u_T] + b, u_t = r_t * u_(t-1) + q_t * tanh(P(a_t)), a_t = softmax(F(e_t)) * "
        "e_t, e_t = [c_(t-1); c_t] of LSTMs",
        avoids="public code reads the states of the last step, which may be padding",
        paper='Zadeh, Liang, Mazumder, Poria, Cambria and Morency, "Memory Fusion Network for Multi-view Sequential '
        'Learning", AAAI 2018, https://arxiv.org/abs/1802.00927',
    ),
    FusionSpec(
        "perceiver",
        "mmkit.fusions.tokens.perceiver:PerceiverFusion",
        "Perceiver: learned latents look once at the tokens of all inputs, then at each other",
        formula="Z = Cross(Z_0, [W_1 X_1 + e_1; ...; W_M X_M + e_M]); y = mean of Transformer(Z)",
        paper='Jaegle et al., "Perceiver IO: A General Architecture for Structured Inputs & Outputs", ICLR 2022, '
        "https://arxiv.org/abs/2107.14795",
    ),
    FusionSpec(
        "query",
        "mmkit.fusions.tokens.query:QueryFusion",
        "Querying transformer: learned queries look at the tokens of all inputs in every second layer",
        formula="Q <- Q + Self(Q), in every second layer Q <- Q + Cross(Q, W_m X_m + e_m), Q <- Q + FFN(Q); y = mean Q",
        paper='Li et al., "BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large '
        'Language Models", ICML 2023, https://arxiv.org/abs/2301.12597',
    ),
    FusionSpec(
        "state-space",
        "mmkit.fusions.tokens.state_space:StateSpaceFusion",
        "State-space fusion: recurrences over the tokens of all inputs in both directions, at linear cost",
        formula="for each layer: X <- X + W norm((S_l(X) + S'_l(X) + D v) * silu(z)), S_t = q_t h_t, h_t = e^(-a d_t) "
        "h_(t-1) + d_t k_t v_t; y = mean X",
        paper='Dao and Gu, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured '
        'State Space Duality", ICML 2024, https://arxiv.org/abs/2405.21060',
    ),
    FusionSpec(
        "top-down",
        "mmkit.fusions.tokens.top_down:TopDownFusion",
        "Top-down attention: the vector of one input chooses among the tokens of all others, times what it finds",
        formula="y = ELU(F q + f) * ELU(G sum_j w_j v_j + g), w = softmax_j(u ELU(A v_j + C q + c)), q of the anchor",
        min_inputs=2,
        removable=False,  # the anchor is no input among others
        avoids="a public reproduction has no mask: padding gets attention",
        paper='Anderson et al., "Bottom-Up and Top-Down Attention for Image Captioning and Visual Question Answering", '
        "CVPR 2018, https://arxiv.org/abs/1707.07998",
    ),
)
