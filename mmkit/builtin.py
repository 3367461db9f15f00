"""What ships in mmkit, registered through the same door as everybody's plugins."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, ObjectiveSpec, TaskSpec, hookimpl


@hookimpl
def mmkit_modalities() -> Iterator[ModalitySpec]:
    """Kinds of raw value."""
    yield ModalitySpec("text", "mmkit.modalities.text:Text", "A string in any language", encoder="bag")
    yield ModalitySpec("image", "mmkit.modalities.image:Image", "A picture, grey or in colour", encoder="cnn")
    yield ModalitySpec("audio", "mmkit.modalities.audio:Audio", "A waveform with its sample rate", encoder="mel-cnn")
    yield ModalitySpec("series", "mmkit.modalities.series:Series", "Any signal over time, [T C]", encoder="fcn")
    yield ModalitySpec(
        "table", "mmkit.modalities.table:Table", "A row of numbers and categories", encoder="ft-transformer"
    )


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """One method, one file."""
    yield EncoderSpec(
        "bag",
        "mmkit.encoders.bag:BagEncoder",
        "Word embeddings, one token a word; initial vectors from a GloVe or word2vec file",
        modality="text",
        paper="Iyyer et al., Deep Unordered Composition Rivals Syntactic Methods for Text Classification, ACL 2015, "
        "https://aclanthology.org/P15-1162/",
    )
    yield EncoderSpec(
        "text-rnn",
        "mmkit.encoders.text_rnn:TextRnnEncoder",
        "LSTM or GRU over word embeddings",
        modality="text",
        fullgraph=False,
        paper="Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 1997, "
        "https://doi.org/10.1162/neco.1997.9.8.1735",
    )
    yield EncoderSpec(
        "text-transformer",
        "mmkit.encoders.text_transformer:TextTransformerEncoder",
        "Small transformer over word embeddings, trained from scratch",
        modality="text",
        paper="Vaswani et al., Attention Is All You Need, NeurIPS 2017, https://arxiv.org/abs/1706.03762",
    )
    yield EncoderSpec(
        "cnn",
        "mmkit.encoders.cnn:CnnEncoder",
        "Small convolutional network; its feature map's places are the tokens",
        modality="image",
    )
    yield EncoderSpec(
        "lenet",
        "mmkit.encoders.lenet:LeNetEncoder",
        "LeNet-5, for small pictures",
        modality="image",
        paper="LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE 1998, "
        "https://doi.org/10.1109/5.726791",
    )
    yield EncoderSpec(
        "resnet",
        "mmkit.encoders.resnet:ResNetEncoder",
        "Small residual network, trained from scratch",
        modality="image",
        paper="He et al., Deep Residual Learning for Image Recognition, CVPR 2016, https://arxiv.org/abs/1512.03385",
    )
    yield EncoderSpec(
        "mel-cnn",
        "mmkit.encoders.mel_cnn:MelCnnEncoder",
        "Convolutional network over log-mel frames",
        modality="audio",
        paper="Hershey et al., CNN Architectures for Large-Scale Audio Classification, ICASSP 2017, "
        "https://arxiv.org/abs/1609.09430",
    )
    yield EncoderSpec(
        "mel-rnn",
        "mmkit.encoders.mel_rnn:MelRnnEncoder",
        "LSTM or GRU over log-mel frames",
        modality="audio",
        fullgraph=False,
        paper="Graves, Mohamed and Hinton, Speech Recognition with Deep Recurrent Neural Networks, ICASSP 2013, "
        "https://arxiv.org/abs/1303.5778",
    )
    yield EncoderSpec(
        "fcn",
        "mmkit.encoders.fcn:FcnEncoder",
        "Fully convolutional network over time: convolutions with batch normalisation, which may shorten the series",
        modality="series",
        paper='Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural Networks: A Strong '
        'Baseline", IJCNN 2017, https://arxiv.org/abs/1611.06455',
    )
    yield EncoderSpec(
        "tcn",
        "mmkit.encoders.tcn:TcnEncoder",
        "Temporal convolutional network, dilated and residual",
        modality="series",
        paper="Bai, Kolter and Koltun, An Empirical Evaluation of Generic Convolutional and Recurrent Networks for "
        "Sequence Modeling, 2018, https://arxiv.org/abs/1803.01271",
    )
    yield EncoderSpec(
        "series-rnn",
        "mmkit.encoders.series_rnn:SeriesRnnEncoder",
        "LSTM or GRU over the steps of a signal",
        modality="series",
        fullgraph=False,
        paper="Hochreiter and Schmidhuber, Long Short-Term Memory, Neural Computation 1997, "
        "https://doi.org/10.1162/neco.1997.9.8.1735",
    )
    yield EncoderSpec(
        "table-mlp",
        "mmkit.encoders.table_mlp:TableMlpEncoder",
        "Multilayer perceptron over a row's numbers and embedded categories",
        modality="table",
        paper="Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021, "
        "https://arxiv.org/abs/2106.11959",
    )
    yield EncoderSpec(
        "ft-transformer",
        "mmkit.encoders.ft_transformer:FtTransformerEncoder",
        "Each column a token, then a transformer over the row",
        modality="table",
        paper="Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021, "
        "https://arxiv.org/abs/2106.11959",
    )


@hookimpl
def mmkit_fusions() -> Iterator[FusionSpec]:
    """One method, one file."""
    yield FusionSpec(
        "concat",
        "mmkit.fusions.concat:ConcatFusion",
        "Vectors of all inputs side by side, then one linear layer",
        vectors=True,
        paper="Ngiam et al., Multimodal Deep Learning, ICML 2011, https://icml.cc/2011/papers/399_icmlpaper.pdf",
    )
    yield FusionSpec(
        "sum", "mmkit.fusions.sum:SumFusion", "Each input projected to one width, then added", vectors=True
    )
    yield FusionSpec(
        "mean", "mmkit.fusions.mean:MeanFusion", "Each input projected to one width, then averaged", vectors=True
    )
    yield FusionSpec(
        "max", "mmkit.fusions.max:MaxFusion", "Each input projected to one width, the greatest taken", vectors=True
    )
    yield FusionSpec(
        "product",
        "mmkit.fusions.product:ProductFusion",
        "Each input projected to one width, then multiplied",
        vectors=True,
    )
    yield FusionSpec(
        "gated",
        "mmkit.fusions.gated:GatedFusion",
        "Gated multimodal unit: one learned gate an input",
        vectors=True,
        paper="Arevalo et al., Gated Multimodal Units for Information Fusion, ICLR 2017 workshop, "
        "https://arxiv.org/abs/1702.01992",
    )
    yield FusionSpec(
        "attention",
        "mmkit.fusions.attention:AttentionFusion",
        "Transformer over the tokens of all inputs, each marked with its input",
        paper="Vaswani et al., Attention Is All You Need, NeurIPS 2017, https://arxiv.org/abs/1706.03762",
    )
    yield FusionSpec(
        "cross-attention",
        "mmkit.fusions.cross_attention:CrossAttentionFusion",
        "Each input's tokens look at each other input's, for all ordered pairs",
        paper="Tsai et al., Multimodal Transformer for Unaligned Multimodal Language Sequences, ACL 2019, "
        "https://arxiv.org/abs/1906.00295",
    )
    yield FusionSpec(
        "low-rank",
        "mmkit.fusions.low_rank:LowRankFusion",
        "All inputs multiplied by way of low-rank factors, at linear cost",
        vectors=True,
        paper="Liu et al., Efficient Low-rank Multimodal Fusion with Modality-Specific Factors, ACL 2018, "
        "https://arxiv.org/abs/1806.00064",
    )
    yield FusionSpec(
        "tensor",
        "mmkit.fusions.tensor:TensorFusion",
        "Outer product of all inputs, each with a constant 1; refuses above a budget of parameters",
        vectors=True,
        paper="Zadeh et al., Tensor Fusion Network for Multimodal Sentiment Analysis, EMNLP 2017, "
        "https://arxiv.org/abs/1707.07250",
    )
    yield FusionSpec(
        "late",
        "mmkit.fusions.late:LateFusion",
        "One head an input, their outputs averaged, evenly or by learned weights",
        combines="outputs",
        paper="Kittler et al., On Combining Classifiers, IEEE Transactions on Pattern Analysis and Machine "
        "Intelligence 1998, https://doi.org/10.1109/34.667881",
    )


@hookimpl
def mmkit_heads() -> Iterator[HeadSpec]:
    """One method, one file."""
    yield HeadSpec(
        "linear",
        "mmkit.heads.linear:LinearHead",
        "One linear layer to the classes or labels",
        targets=("classes", "labels"),
        vectors=True,
    )
    yield HeadSpec(
        "mlp",
        "mmkit.heads.mlp:MlpHead",
        "Multilayer perceptron to the classes or labels",
        targets=("classes", "labels"),
        vectors=True,
    )
    yield HeadSpec(
        "regression",
        "mmkit.heads.regression:RegressionHead",
        "Multilayer perceptron to numbers in the user's units",
        targets=("scalar",),
        vectors=True,
    )


@hookimpl
def mmkit_objectives() -> Iterator[ObjectiveSpec]:
    """One method, one file."""
    yield ObjectiveSpec(
        "unimodal",
        "mmkit.objectives.unimodal:UnimodalObjective",
        "The loss of one head an input, added to the fusion's",
        unimodal=True,
        vectors=True,
    )
    yield ObjectiveSpec(
        "contrastive",
        "mmkit.objectives.contrastive:ContrastiveObjective",
        "InfoNCE: inputs of one sample drawn together, those of others apart",
        least=2,
        vectors=True,
        paper="van den Oord, Li and Vinyals, Representation Learning with Contrastive Predictive Coding, 2018, "
        "https://arxiv.org/abs/1807.03748",
    )


@hookimpl
def mmkit_tasks() -> Iterator[TaskSpec]:
    """What can be asked without a download."""
    digits = (("spoken", "series"), ("written", "image"))
    licence = "written: CC BY 4.0; spoken: CC BY-SA 4.0"
    yield TaskSpec(
        "digits",
        "mmkit.tasks.digits:Digits",
        "Which digit is written and spoken; train and test share writers and speakers",
        modalities=digits,
        target="classes",
        licence=licence,
        paper="written: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
        "Repository 1998, https://doi.org/10.24432/C50P49; spoken: Jackson et al., Free Spoken Digit Dataset, "
        "https://github.com/Jakobovski/free-spoken-digit-dataset",
    )
    yield TaskSpec(
        "digits-new-speakers",
        "mmkit.tasks.digits:DigitsNewSpeakers",
        "The same digits from writers and speakers never trained on; a control on which fusion loses",
        modalities=digits,
        target="classes",
        licence=licence,
    )
    yield TaskSpec(
        "clipart",
        "mmkit.tasks.clipart:Clipart",
        "What a drawing with its title is about, of 13 classes",
        modalities=(("image", "image"), ("title", "text")),
        target="classes",
        licence="public domain",
    )
    yield TaskSpec(
        "clipart-captions",
        "mmkit.tasks.clipart:ClipartCaptions",
        "What a drawing is called, in words",
        modalities=(("image", "image"),),
        target="text",
        licence="public domain",
    )
    yield TaskSpec(
        "synthetic-redundant",
        "mmkit.tasks.synthetic:SyntheticRedundant",
        "Synthetic: every input tells the class",
        modalities=(("left", "series"), ("right", "series")),
        target="classes",
    )
    yield TaskSpec(
        "synthetic-unique",
        "mmkit.tasks.synthetic:SyntheticUnique",
        "Synthetic: each input tells a part of the class that no other does",
        modalities=(("left", "series"), ("right", "series")),
        target="classes",
    )
    yield TaskSpec(
        "synthetic-xor",
        "mmkit.tasks.synthetic:SyntheticXor",
        "Synthetic: only all inputs together tell the class",
        modalities=(("left", "series"), ("right", "series")),
        target="classes",
    )
    yield TaskSpec(
        "synthetic-regression",
        "mmkit.tasks.synthetic:SyntheticRegression",
        "Synthetic: a number that depends on all inputs",
        modalities=(("left", "series"), ("right", "series")),
        target="scalar",
    )
