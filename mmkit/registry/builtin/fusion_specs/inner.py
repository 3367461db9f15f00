"""Specs: Fusions that act between the parts of encoders."""

from __future__ import annotations

from mmkit.plugin import FusionSpec

SPECS = (
    FusionSpec(
        "central",
        "mmkit.fusions.inner.central:CentralFusion",
        "CentralNet: a network of its own between the encoders, whose layers read its last state and theirs",
        formula="h = relu(W (a h + sum_m a_m (P_m mean X_m + p_m)) + b), place by place; y = the last h",
        inner="exchange",
        vectors=True,
        companion="unimodal",
        paper='Vielzeuf, Lechervy, Pateux and Jurie, "CentralNet: a Multilayer Approach for Multimodal Fusion", ECCV '
        "Workshops 2018, https://arxiv.org/abs/1808.07275",
        avoids="a reimplementation brings widths together by a convolution over the features, in the order they have",
    ),
    FusionSpec(
        "channel-exchange",
        "mmkit.fusions.inner.channel_exchange:ChannelExchangeFusion",
        "Channel exchange (CEN): a channel whose scale has shrunk to nothing is replaced by that of the other inputs",
        formula="X_m <- norm_m(X_m), its channel c <- mean_{j != m} of channel c of X_j where |scale_mc| < 0.02; then "
        "concat",
        inner="exchange",
        vectors=True,
        min_inputs=2,
        removable=False,  # which channels are an input's own hangs on all inputs
        paper='Wang et al., "Deep Multimodal Fusion by Channel Exchanging", NeurIPS 2020, '
        "https://arxiv.org/abs/2011.05005",
        avoids="the published code replaces a small channel wherever it stands, so that a channel may be lost to both "
        "inputs",
    ),
    FusionSpec(
        "daft",
        "mmkit.fusions.inner.daft:DaftFusion",
        "Dynamic affine feature map transform: an input's maps are scaled and shifted by what the other inputs say",
        formula="[g, b] = V relu(W [mean X_a; x_j, j != a]); X_a <- (1 + g) X_a + b; y = W' x_a + b'",
        inner="exchange",
        vectors=True,
        min_inputs=2,
        removable=False,  # without its anchor another input would be changed
        paper='Pölsterl, Wolf and Wachinger, "Combining 3D Image and Tabular Data via the Dynamic Affine Feature Map '
        'Transform", MICCAI 2021, https://arxiv.org/abs/2107.05990',
        avoids="the published code scales by g, not 1 + g, so that nothing passes where the last layer is zero",
    ),
    FusionSpec(
        "film",
        "mmkit.fusions.inner.film:FilmFusion",
        "Feature-wise linear modulation: all other inputs scale and shift the features of one, the anchor",
        formula="X_a <- (1 + g) X_a + h, [g; h] = G' [mean X_m, m != a] + c', place by place; "
        "y = (1 + g) * (W x_a + b) + h, [g; h] = G [x_m, m != a] + c",
        inner="exchange",
        vectors=True,
        min_inputs=2,
        removable=False,  # without its anchor another input takes the place
        paper='Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, '
        "https://arxiv.org/abs/1709.07871",
        avoids="OGM-GE's code leaves out the 1 of 1 + g, so that small weights of the generator wipe the anchor out",
    ),
    FusionSpec(
        "mmtm",
        "mmkit.fusions.inner.mmtm:MmtmFusion",
        "Multimodal transfer module: the channels of each encoder's maps are gated by what all of them see together",
        formula="X_m <- X_m * 2 sigmoid(G_m relu(W [mean X_1; ...; mean X_M] + b) + g_m), place by place; then concat",
        inner="exchange",
        vectors=True,
        removable=False,  # the width of the squeezed vectors hangs on all inputs
        paper='Joze, Shaban, Iuzzolino and Koishida, "MMTM: Multimodal Transfer Module for CNN Fusion", CVPR 2020, '
        "https://arxiv.org/abs/1911.08670",
        avoids="the published code gates by a sigmoid alone, which halves every map at the start",
    ),
)
