"""Specs: Fusions that read one vector an input."""

from __future__ import annotations

from mmkit.plugin import FusionSpec

SURVEY = (
    'Baltrusaitis, Ahuja and Morency, "Multimodal Machine Learning: A Survey and Taxonomy", TPAMI 2019, '
    "https://arxiv.org/abs/1705.09406"
)

SPECS = (
    FusionSpec(
        "block",
        "mmkit.fusions.vectors.block:BlockFusion",
        "Block fusion: two inputs multiplied chunk by chunk, each chunk by a few pairs of matrices",
        formula="y = W [n(z_1); ...; n(z_C)] + b, z_c = sum_r (M_rc u_c + m_rc) * (N_rc v_c + n_rc)",
        min_inputs=2,
        max_inputs=2,
        vectors=True,
        paper='Ben-younes, Cadene, Thome and Cord, "BLOCK: Bilinear Superdiagonal Fusion for Visual Question Answering '
        'and Visual Relationship Detection", AAAI 2019, https://arxiv.org/abs/1902.00038',
        avoids="a root whose gradient is infinite beside zero; a loop over chunks",
    ),
    FusionSpec(
        "compact-bilinear",
        "mmkit.fusions.vectors.compact_bilinear:CompactBilinearFusion",
        "Compact bilinear pooling: the outer product of all inputs' vectors, sketched into few numbers and never built",
        formula="y = W normalize(signed_root(irfft(prod_m rfft(sketch_m x_m)))) + b",
        vectors=True,
        paper='Fukui et al., "Multimodal Compact Bilinear Pooling for Visual Question Answering and Visual Grounding", '
        "EMNLP 2016, https://arxiv.org/abs/1606.01847",
        avoids="taking the two halves of a real transform for its real and imaginary parts; leaving out root and norm; "
        "a sketch that is not saved or moved with the module, or is a dense matrix",
    ),
    FusionSpec(
        "concat",
        "mmkit.fusions.vectors.concat:ConcatFusion",
        "Concatenation of the inputs' vectors, then one linear layer",
        formula="y = W [x_1; ...; x_M] + b",
        vectors=True,
        paper='Ngiam et al., "Multimodal Deep Learning", ICML 2011, https://icml.cc/2011/papers/399_icmlpaper.pdf',
    ),
    FusionSpec(
        "concat-mlp",
        "mmkit.fusions.vectors.concat_mlp:ConcatMlpFusion",
        "Concatenation of the inputs' vectors, each brought to one width and normed, then one hidden layer",
        formula="y = leaky_relu(W [h_1; ...; h_M] + b), h_m = norm_m(W_m x_m + b_m)",
        vectors=True,
        paper='Tang et al., "AutoGluon-Multimodal (AutoMM): Supercharging Multimodal AutoML with Foundation Models", '
        "AutoML 2024, https://arxiv.org/abs/2404.16233",
    ),
    FusionSpec(
        "deep-sets",
        "mmkit.fusions.vectors.deep_sets:DeepSetsFusion",
        "Deep sets: one network reads each input, the results are pooled over the set, and another network reads the "
        "pool",
        formula="y = outer(mean_m z_m), z_m = norm(inner(W_m x_m + b_m)); inner, outer: two layers each",
        vectors=True,
        paper='Zaheer, Kottur, Ravanbakhsh, Poczos, Salakhutdinov and Smola, "Deep Sets", NeurIPS 2017, '
        "https://arxiv.org/abs/1703.06114",
    ),
    FusionSpec(
        "dynamic-graph",
        "mmkit.fusions.vectors.dynamic_graph:DynamicGraphFusion",
        "Dynamic fusion graph: a vertex for each set of inputs, built of its subsets by edges that all inputs weigh",
        formula="y = T [e v_K for each set K] + t, v_K = relu(P_K [e v_J for each J in K] + p_K), v_m = W_m x_m + b_m",
        max_inputs=4,
        vectors=True,
        paper='Zadeh et al., "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable Dynamic '
        'Fusion Graph", ACL 2018, https://aclanthology.org/P18-1208',
        avoids="networks of the vertices in a plain dict, so that they are never trained",
    ),
    FusionSpec(
        "embrace",
        "mmkit.fusions.vectors.embrace:EmbraceFusion",
        "EmbraceNet: in training each number of the fused vector is taken from one input, drawn at random",
        formula="y = sum_m p_m relu(W_m x_m + b_m); training draws one m for each number of y",
        vectors=True,
        paper='Choi and Lee, "EmbraceNet: A Robust Deep Learning Architecture for Multimodal Classification", '
        "Information Fusion 2019, https://arxiv.org/abs/1904.09078",
        avoids="drawing in evaluation too, so that a sample has no one answer; 0/0 where all inputs are missing",
    ),
    FusionSpec(
        "flex-moe",
        "mmkit.fusions.vectors.flex_moe:FlexMoeFusion",
        "Flex-MoE: a transformer over one token an input, a learned one where it is missing, with experts of what is "
        "missing",
        formula="y = W [t_1; ...; t_M] + b, t = MoE(Attention([W_m x_m + b_m, or v_(pattern, m) where m is missing]))",
        avoids="the published code has no residual around the attention: each layer forgets what it was given",
        vectors=True,
        compares=True,
        max_inputs=6,
        removable=False,  # learned embeddings stand in for what is missing
        paper='Yun et al., "Flex-MoE: Modeling Arbitrary Modality Combination via the Flexible Mixture-of-Experts", '
        "NeurIPS 2024, https://arxiv.org/abs/2410.08245",
    ),
    FusionSpec(
        "gated",
        "mmkit.fusions.vectors.gated:GatedFusion",
        "Gated multimodal unit: each input passes a learned gate that reads all inputs",
        formula="y = sum_m sigmoid(G_m [x_1; ...; x_M]) * tanh(W_m x_m)",
        vectors=True,
        paper='Arevalo et al., "Gated Multimodal Units for Information Fusion", ICLR 2017 workshop, '
        "https://arxiv.org/abs/1702.01992",
    ),
    FusionSpec(
        "gated-cross",
        "mmkit.fusions.vectors.gated_cross:GatedCrossFusion",
        "Gated cross-modal messages: each input's projection takes in what the others say, through a gate that starts "
        "closed",
        formula="y = W [f_1; ...; f_M] + b, f_m = p_m + tanh(g_m) * (U_m [p_j, j != m] + c_m), p_m = W_m x_m + b_m",
        vectors=True,
        paper='Alayrac et al., "Flamingo: a Visual Language Model for Few-Shot Learning", NeurIPS 2022, '
        "https://arxiv.org/abs/2204.14198",
    ),
    FusionSpec(
        "gated-tensor",
        "mmkit.fusions.vectors.gated_tensor:GatedTensorFusion",
        "Gated tensor fusion (Pathomic): inputs open gates for one another, then their outer product is taken",
        formula="y = relu(Q [relu(P ([o_1; 1] outer ... outer [o_M; 1])); o_1; ...; o_M]), "
        "o_m = relu(V_m (sigmoid(x_p' Z_m x_m) * relu(W_m x_m)))",
        min_inputs=2,
        max_inputs=3,
        vectors=True,
        removable=False,  # without an input another one opens the gate of the anchor
        paper='Chen et al., "Pathomic Fusion: An Integrated Framework for Fusing Histopathology and Genomic Features '
        'for Cancer Diagnosis and Prognosis", TMI 2020, https://arxiv.org/abs/1912.08937',
        avoids="ones that are made on the GPU whatever the device; gates that are saturated at the start where inputs "
        "are wide",
    ),
    FusionSpec(
        "hypernetwork",
        "mmkit.fusions.vectors.hypernetwork:HypernetworkFusion",
        "Hypernetwork: all other inputs generate the weights of the layer that reads one of them, the anchor",
        formula="y = (A_0 + sum_k g_k A_k) x_a + C g + c, g = relu(E [x_m, m != a] + e)",
        min_inputs=2,
        vectors=True,
        removable=False,  # without its anchor another input takes the place
        paper='Duenias, Nichyporuk, Arbel and Riklin Raviv, "HyperFusion: A Hypernetwork Approach to Multimodal '
        'Integration of Tabular and Medical Imaging Data for Predictive Modeling", Medical Image Analysis 2025, '
        "https://arxiv.org/abs/2403.13319",
        avoids="a loop over the batch, and weights that are built for every sample",
    ),
    FusionSpec(
        "low-rank",
        "mmkit.fusions.vectors.low_rank:LowRankFusion",
        "Low-rank multimodal fusion: the inputs are multiplied, at linear cost",
        formula="y = sum_r mix_r * prod_m (F_mr [x_m; 1]) + b",
        vectors=True,
        removable=False,  # of a missing input the constant stays, as a factor
        paper='Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018, '
        "https://arxiv.org/abs/1806.00064",
    ),
    FusionSpec(
        "mag",
        "mmkit.fusions.vectors.mag:MagFusion",
        "Multimodal adaptation gate (MAG): the other inputs shift one of them, the anchor, by no more than its own "
        "length",
        formula="y = norm(a + min(|a| / |h|, 1) h), h = sum_{i != a} relu(G_i [x_i; a] + c_i) * (W_i x_i + b_i), "
        "a = W_a x_a + b_a",
        min_inputs=2,
        vectors=True,
        removable=False,  # without its anchor another input takes the place
        paper='Rahman et al., "Integrating Multimodal Information in Large Pretrained Transformers", ACL 2020, '
        "https://arxiv.org/abs/1908.05787",
        avoids="a bias that shifts where an input is missing; without an anchor all others lost",
    ),
    FusionSpec(
        "max",
        "mmkit.fusions.vectors.max:MaxFusion",
        "Elementwise maximum of one linear projection for each input",
        formula="y = max_m (W_m x_m + b_m)",
        vectors=True,
        paper='Su, Maji, Kalogerakis and Learned-Miller, "Multi-view Convolutional Neural Networks for 3D Shape '
        'Recognition", ICCV 2015, https://arxiv.org/abs/1505.00880',
    ),
    FusionSpec(
        "mean",
        "mmkit.fusions.vectors.mean:MeanFusion",
        "Mean of one linear projection for each input",
        formula="y = mean_m (W_m x_m + b_m)",
        vectors=True,
        paper=SURVEY,
    ),
    FusionSpec(
        "mfb",
        "mmkit.fusions.vectors.mfb:MfbFusion",
        "Factorised bilinear pooling of two inputs: products of projections, summed in groups, rooted and normalised",
        formula="y = z / |z|, z = root of the sum of each k neighbours of (U x_1 + b) * (V x_2 + c)",
        avoids="The square root as published has a gradient of NaN or infinity at zero",
        vectors=True,
        min_inputs=2,
        max_inputs=2,
        paper='Yu et al., "Multi-modal Factorized Bilinear Pooling with Co-Attention Learning for Visual Question '
        'Answering", ICCV 2017, https://arxiv.org/abs/1708.01471; Yu et al., "Beyond Bilinear: Generalized Multimodal '
        'Factorized High-order Pooling for Visual Question Answering", TNNLS 2018, https://arxiv.org/abs/1708.03619',
    ),
    FusionSpec(
        "mixture-of-experts",
        "mmkit.fusions.vectors.mixture_of_experts:MixtureOfExpertsFusion",
        "Sparse mixture of experts: a router sends each sample to a few of several networks over all inputs",
        formula="y = sum_e g_e E_e(u), g = softmax over the top k of W u + b, u = [x_1; ...; x_M; which are there]",
        vectors=True,
        compares=True,
        removable=False,  # a flag tells the router what is missing, and other experts may be chosen for it
        paper='Shazeer et al., "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer", ICLR '
        "2017, https://arxiv.org/abs/1701.06538",
        avoids="experts that end in a log-softmax over their features; noise in evaluation",
    ),
    FusionSpec(
        "modality-attention",
        "mmkit.fusions.vectors.modality_attention:ModalityAttentionFusion",
        "Modality attention: one linear projection for each input, weighed by a softmax over the inputs",
        formula="y = sum_m a_m (W_m x_m + b_m), a = softmax(V [x_1; ...; x_M] + c)",
        vectors=True,
        paper='Hori et al., "Attention-Based Multimodal Fusion for Video Description", ICCV 2017, '
        "https://arxiv.org/abs/1701.03126",
    ),
    FusionSpec(
        "multiplicative",
        "mmkit.fusions.vectors.multiplicative:MultiplicativeFusion",
        "Multiplicative interaction: one input gives the weights that another is seen with",
        formula="y = (A x_2 + a) * W x_1 + B x_2 + b, and so on for each further input",
        avoids="MultiBench's form for three inputs multiplies every sample of the batch with every other",
        vectors=True,
        removable=False,  # of a missing input the constants stay, as a factor and a shift
        paper='Jayakumar et al., "Multiplicative Interactions and Where to Find Them", ICLR 2020, '
        "https://openreview.net/forum?id=rylnK6VtDH",
    ),
    FusionSpec(
        "mutan",
        "mmkit.fusions.vectors.mutan:MutanFusion",
        "Tucker fusion of two inputs whose core is a sum of few products: bilinear pooling at a chosen rank",
        formula="y = W sum_r (M_r u_1 + a_r) * (N_r u_2 + c_r) + b, u_m = W_m x_m + b_m",
        avoids="The authors' code reshapes to [-1, R, m], so that tokens given in place of vectors pass for samples",
        vectors=True,
        min_inputs=2,
        max_inputs=2,
        paper='Ben-younes, Cadene, Cord and Thome, "MUTAN: Multimodal Tucker Fusion for Visual Question Answering", '
        "ICCV 2017, https://arxiv.org/abs/1705.06676",
    ),
    FusionSpec(
        "product",
        "mmkit.fusions.vectors.product:ProductFusion",
        "Elementwise product of one linear projection for each input",
        formula="y = prod_m (W_m x_m + b_m); with tanh and an output layer low-rank bilinear pooling (MLB)",
        vectors=True,
        paper='Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017, https://arxiv.org/abs/1610.04325',
    ),
    FusionSpec(
        "product-of-experts",
        "mmkit.fusions.vectors.product_of_experts:ProductOfExpertsFusion",
        "Product of experts: each input gives a normal distribution of the fused vector, and they are multiplied",
        formula="y = sum_m p_m mu_m / (1 + sum_m p_m), [mu_m; -log p_m] = W_m x_m + b_m; training draws around y",
        vectors=True,
        paper='Wu and Goodman, "Multimodal Generative Models for Scalable Weakly-Supervised Learning", NeurIPS 2018, '
        "https://arxiv.org/abs/1802.05335",
        avoids="no prior among the experts, or one in some of the products only; an epsilon added twice",
    ),
    FusionSpec(
        "reconstruction",
        "mmkit.fusions.vectors.reconstruction:ReconstructionFusion",
        "Reconstruction (ActionMAE): inputs are left out in training, and a small autoencoder learns to stand in for "
        "them",
        formula="y = W [f_1; ...; f_M] + b, f_m = norm(W_m x_m + b_m), or what the autoencoder makes of the others",
        avoids="the authors' code adds no position embeddings, by a condition that is turned round, so that two inputs "
        "that are left out are reconstructed alike; where none is, it fuses memory tokens in the place of inputs; it "
        "leaves out equally many for all samples of a batch",
        vectors=True,
        removable=False,  # what is missing is reconstructed
        paper='Woo, Lee, Park, Nugroho and Kim, "Towards Good Practices for Missing Modality Robust Action '
        'Recognition", AAAI 2023, https://arxiv.org/abs/2211.13916',
    ),
    FusionSpec(
        "sequential",
        "mmkit.fusions.vectors.sequential:SequentialFusion",
        "Sequential fusion (MultiModN): a state that each input changes in turn, passing over those that are missing",
        formula="s = relu(A_m relu(V_m x_m + c_m) + B_m s + b_m) for each m in the order of the names; y = s",
        vectors=True,
        paper='Swamy et al., "MultiModN: Multimodal, Multi-Task, Interpretable Modular Networks", NeurIPS 2023, '
        "https://arxiv.org/abs/2309.14118",
    ),
    FusionSpec(
        "shared-private",
        "mmkit.fusions.vectors.shared_private:SharedPrivateFusion",
        "Shared and private features (MISA): each input in a space that all share and in one of its own, kept apart",
        formula="y = V relu(U layer(r_1, ..., r_M, s_1, ..., s_M)), s_m = sigmoid(A z_m), r_m = sigmoid(A_m z_m), "
        "z_m = norm(relu(W_m x_m))",
        vectors=True,
        compares=True,
        paper='Hazarika, Zimmermann and Poria, "MISA: Modality-Invariant and -Specific Representations for Multimodal '
        'Sentiment Analysis", MM 2020, https://arxiv.org/abs/2005.03545',
        avoids="a distance whose gradient is NaN where two samples have equal moments",
    ),
    FusionSpec(
        "shared-specific",
        "mmkit.fusions.vectors.shared_specific:SharedSpecificFusion",
        "Shared and specific features: what the inputs share stands in for those that are missing",
        formula="y = W [f_1; ...; f_M] + b, f_m = s_m + P [s_m; r_m], or mean_n s_n where m is missing",
        vectors=True,
        removable=False,  # a missing input has a stand-in
        paper='Wang et al., "Multi-Modal Learning with Missing Modality via Shared-Specific Feature Modelling", CVPR '
        "2023, https://arxiv.org/abs/2307.14126",
        avoids="the first input that is there as stand-in, in place of the mean; penalties on zeros where an input "
        "is missing, and on neighbouring pairs alone",
    ),
    FusionSpec(
        "sum",
        "mmkit.fusions.vectors.sum:SumFusion",
        "Sum of one linear projection for each input",
        formula="y = sum_m (W_m x_m + b_m)",
        vectors=True,
        paper=SURVEY,
    ),
    FusionSpec(
        "tensor",
        "mmkit.fusions.vectors.tensor:TensorFusion",
        "Tensor fusion: the outer product of the inputs' vectors, then one linear layer",
        formula="y = W ([x_1; 1] outer ... outer [x_M; 1]) + b",
        vectors=True,
        paper='Zadeh et al., "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP 2017, '
        "https://arxiv.org/abs/1707.07250",
    ),
    FusionSpec(
        "vector-transformer",
        "mmkit.fusions.vectors.vector_transformer:VectorTransformerFusion",
        "Transformer over one token an input and a learned token, whose state is the result",
        formula="y = norm(Transformer([cls; W_1 x_1 + b_1; ...; W_M x_M + b_M])_cls)",
        vectors=True,
        paper='Rheude, Eils and Wild, "Fusion or Confusion? Multimodal Complexity Is Not All You Need", 2025, '
        "https://arxiv.org/abs/2512.22991",
    ),
)
