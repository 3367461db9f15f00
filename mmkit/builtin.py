"""What ships in mmkit, registered through the same door as everybody's plugins."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import EncoderSpec, FusionSpec, HeadSpec, ModalitySpec, ObjectiveSpec, TaskSpec, hookimpl

LSTM_AND_GRU = (
    'Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997, '
    'https://doi.org/10.1162/neco.1997.9.8.1735; Cho et al., "Learning Phrase Representations using RNN '
    'Encoder-Decoder for Statistical Machine Translation", EMNLP 2014, https://arxiv.org/abs/1406.1078'
)
SURVEY = (
    'Baltrusaitis, Ahuja and Morency, "Multimodal Machine Learning: A Survey and Taxonomy", TPAMI 2019, '
    "https://arxiv.org/abs/1705.09406"
)
DIGITS_DATA = (
    'Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository 1998, '
    'https://doi.org/10.24432/C50P49; Jackson et al., "Free Spoken Digit Dataset", 2018, '
    "https://github.com/Jakobovski/free-spoken-digit-dataset"
)


@hookimpl
def mmkit_modalities() -> Iterator[ModalitySpec]:
    """Kinds of raw value."""
    yield ModalitySpec("text", "mmkit.modalities.text:Text", "Text: a string in any language", encoder="bag")
    yield ModalitySpec(
        "image",
        "mmkit.modalities.image:Image",
        "Images, in grey or in colour: files that Pillow reads, and arrays",
        encoder="cnn",
    )
    yield ModalitySpec(
        "audio",
        "mmkit.modalities.audio:Audio",
        "Sound: audio files, and waveforms with their sample rate",
        encoder="mel-cnn",
    )
    yield ModalitySpec(
        "series", "mmkit.modalities.series:Series", "Series: a signal over time, of one or more channels", encoder="fcn"
    )
    yield ModalitySpec(
        "table",
        "mmkit.modalities.table:Table",
        "Table rows: numbers and categories by column",
        encoder="ft-transformer",
    )


@hookimpl
def mmkit_encoders() -> Iterator[EncoderSpec]:
    """One method, one file."""
    yield EncoderSpec(
        "bag",
        "mmkit.encoders.bag:BagEncoder",
        "Bag of words: one learned vector for each word, in no order",
        modality="text",
        paper='Joulin et al., "Bag of Tricks for Efficient Text Classification", EACL 2017, '
        "https://arxiv.org/abs/1607.01759",
    )
    yield EncoderSpec(
        "text-rnn",
        "mmkit.encoders.text_rnn:TextRnnEncoder",
        "LSTM or GRU over word embeddings",
        modality="text",
        fullgraph=False,
        paper=LSTM_AND_GRU,
    )
    yield EncoderSpec(
        "text-transformer",
        "mmkit.encoders.text_transformer:TextTransformerEncoder",
        "Transformer encoder over word embeddings, trained from scratch",
        modality="text",
        paper='Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762',
    )
    yield EncoderSpec(
        "cnn",
        "mmkit.encoders.cnn:CnnEncoder",
        "Small convolutional network for images",
        modality="image",
        paper='Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR '
        "2015, https://arxiv.org/abs/1409.1556",
    )
    yield EncoderSpec(
        "lenet",
        "mmkit.encoders.lenet:LeNetEncoder",
        "LeNet-5, a convolutional network for small images",
        modality="image",
        paper='LeCun et al., "Gradient-Based Learning Applied to Document Recognition", Proceedings of the IEEE 1998, '
        "https://doi.org/10.1109/5.726791",
    )
    yield EncoderSpec(
        "resnet",
        "mmkit.encoders.resnet:ResNetEncoder",
        "Small residual network for images, trained from scratch",
        modality="image",
        paper='He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385',
    )
    yield EncoderSpec(
        "mel-cnn",
        "mmkit.encoders.mel_cnn:MelCnnEncoder",
        "Convolutional network over a log-mel spectrogram",
        modality="audio",
        paper='Hershey et al., "CNN Architectures for Large-Scale Audio Classification", ICASSP 2017, '
        "https://arxiv.org/abs/1609.09430",
    )
    yield EncoderSpec(
        "mel-rnn",
        "mmkit.encoders.mel_rnn:MelRnnEncoder",
        "LSTM or GRU over a log-mel spectrogram",
        modality="audio",
        fullgraph=False,
        paper='Graves, Mohamed and Hinton, "Speech Recognition with Deep Recurrent Neural Networks", ICASSP 2013, '
        'https://arxiv.org/abs/1303.5778; Sak et al., "Fast and Accurate Recurrent Neural Network Acoustic Models '
        'for Speech Recognition", Interspeech 2015, https://arxiv.org/abs/1507.06947',
    )
    yield EncoderSpec(
        "fcn",
        "mmkit.encoders.fcn:FcnEncoder",
        "Fully convolutional network over time, with batch normalisation",
        modality="series",
        paper='Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural Networks: A Strong '
        'Baseline", IJCNN 2017, https://arxiv.org/abs/1611.06455',
    )
    yield EncoderSpec(
        "tcn",
        "mmkit.encoders.tcn:TcnEncoder",
        "Temporal convolutional network: residual blocks of dilated convolutions over time",
        modality="series",
        paper='Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for '
        'Sequence Modeling", 2018, https://arxiv.org/abs/1803.01271',
    )
    yield EncoderSpec(
        "series-rnn",
        "mmkit.encoders.series_rnn:SeriesRnnEncoder",
        "LSTM or GRU over the steps of a series",
        modality="series",
        fullgraph=False,
        paper=LSTM_AND_GRU,
    )
    yield EncoderSpec(
        "table-mlp",
        "mmkit.encoders.table_mlp:TableMlpEncoder",
        "Multilayer perceptron over the numbers and embedded categories of a row",
        modality="table",
        paper='Guo and Berkhahn, "Entity Embeddings of Categorical Variables", 2016, https://arxiv.org/abs/1604.06737',
    )
    yield EncoderSpec(
        "ft-transformer",
        "mmkit.encoders.ft_transformer:FtTransformerEncoder",
        "FT-Transformer: each column of a row is a token of a transformer",
        modality="table",
        paper='Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021, '
        "https://arxiv.org/abs/2106.11959",
    )


@hookimpl
def mmkit_fusions() -> Iterator[FusionSpec]:
    """One method, one file."""
    yield FusionSpec(
        "concat",
        "mmkit.fusions.concat:ConcatFusion",
        "Concatenation of the inputs' vectors, then one linear layer",
        vectors=True,
        paper='Ngiam et al., "Multimodal Deep Learning", ICML 2011, https://icml.cc/2011/papers/399_icmlpaper.pdf',
    )
    yield FusionSpec(
        "sum",
        "mmkit.fusions.sum:SumFusion",
        "Sum of one linear projection for each input",
        vectors=True,
        paper=SURVEY,
    )
    yield FusionSpec(
        "mean",
        "mmkit.fusions.mean:MeanFusion",
        "Mean of one linear projection for each input",
        vectors=True,
        paper=SURVEY,
    )
    yield FusionSpec(
        "max",
        "mmkit.fusions.max:MaxFusion",
        "Elementwise maximum of one linear projection for each input",
        vectors=True,
        paper='Su, Maji, Kalogerakis and Learned-Miller, "Multi-view Convolutional Neural Networks for 3D Shape '
        'Recognition", ICCV 2015, https://arxiv.org/abs/1505.00880',
    )
    yield FusionSpec(
        "product",
        "mmkit.fusions.product:ProductFusion",
        "Elementwise product of one linear projection for each input",
        vectors=True,
        paper='Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017, https://arxiv.org/abs/1610.04325',
    )
    yield FusionSpec(
        "gated",
        "mmkit.fusions.gated:GatedFusion",
        "Gated multimodal unit: each input passes a learned gate that reads all inputs",
        vectors=True,
        paper='Arevalo et al., "Gated Multimodal Units for Information Fusion", ICLR 2017 workshop, '
        "https://arxiv.org/abs/1702.01992",
    )
    yield FusionSpec(
        "attention",
        "mmkit.fusions.attention:AttentionFusion",
        "Transformer over the tokens of all inputs",
        paper='Vaswani et al., "Attention Is All You Need", NeurIPS 2017, https://arxiv.org/abs/1706.03762',
    )
    yield FusionSpec(
        "cross-attention",
        "mmkit.fusions.cross_attention:CrossAttentionFusion",
        "Crossmodal transformers: each input's tokens attend to those of every other input",
        paper='Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, '
        "https://arxiv.org/abs/1906.00295",
    )
    yield FusionSpec(
        "low-rank",
        "mmkit.fusions.low_rank:LowRankFusion",
        "Low-rank multimodal fusion: the inputs are multiplied, at linear cost",
        vectors=True,
        paper='Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018, '
        "https://arxiv.org/abs/1806.00064",
    )
    yield FusionSpec(
        "tensor",
        "mmkit.fusions.tensor:TensorFusion",
        "Tensor fusion: the outer product of the inputs' vectors, then one linear layer",
        vectors=True,
        paper='Zadeh et al., "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP 2017, '
        "https://arxiv.org/abs/1707.07250",
    )
    yield FusionSpec(
        "late",
        "mmkit.fusions.late:LateFusion",
        "Late fusion: one prediction for each input, averaged with equal or learned weights",
        combines="outputs",
        paper='Kittler, Hatef, Duin and Matas, "On Combining Classifiers", TPAMI 1998, https://doi.org/10.1109/34.667881',
    )


@hookimpl
def mmkit_heads() -> Iterator[HeadSpec]:
    """One method, one file."""
    yield HeadSpec(
        "linear",
        "mmkit.heads.linear:LinearHead",
        "Linear classifier: one linear layer to classes or labels",
        targets=("classes", "labels"),
        vectors=True,
    )
    yield HeadSpec(
        "mlp",
        "mmkit.heads.mlp:MlpHead",
        "Multilayer perceptron to classes or labels",
        targets=("classes", "labels"),
        vectors=True,
    )
    yield HeadSpec(
        "regression",
        "mmkit.heads.regression:RegressionHead",
        "Multilayer perceptron to numbers",
        targets=("scalar",),
        vectors=True,
    )


@hookimpl
def mmkit_objectives() -> Iterator[ObjectiveSpec]:
    """One method, one file."""
    yield ObjectiveSpec(
        "unimodal",
        "mmkit.objectives.unimodal:UnimodalObjective",
        "Loss of a separate head for each input, beside that of the fusion",
        unimodal=True,
        vectors=True,
        paper='Wang, Tran and Feiszli, "What Makes Training Multi-modal Classification Networks Hard?", CVPR 2020, '
        "https://arxiv.org/abs/1905.12681",
    )
    yield ObjectiveSpec(
        "contrastive",
        "mmkit.objectives.contrastive:ContrastiveObjective",
        "InfoNCE: pulls the inputs of one sample together and pushes those of others apart",
        least=2,
        vectors=True,
        paper='van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, '
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
        paper=DIGITS_DATA,
    )
    yield TaskSpec(
        "digits-new-speakers",
        "mmkit.tasks.digits:DigitsNewSpeakers",
        "The same digits of writers and speakers that training never saw; a control on which fusion loses",
        modalities=digits,
        target="classes",
        licence=licence,
        paper=DIGITS_DATA,
    )
    yield TaskSpec(
        "clipart",
        "mmkit.tasks.clipart:Clipart",
        "Which of 13 classes a drawing with its title belongs to",
        modalities=(("image", "image"), ("title", "text")),
        target="classes",
        licence="public domain",
    )
    yield TaskSpec(
        "clipart-captions",
        "mmkit.tasks.clipart:ClipartCaptions",
        "The title of a drawing, from the drawing alone",
        modalities=(("image", "image"),),
        target="text",
        licence="public domain",
    )
    yield TaskSpec(
        "synthetic-redundant",
        "mmkit.tasks.synthetic:SyntheticRedundant",
        "Synthetic: every input alone tells the class",
        modalities=(("left", "series"), ("right", "series")),
        target="classes",
    )
    yield TaskSpec(
        "synthetic-unique",
        "mmkit.tasks.synthetic:SyntheticUnique",
        "Synthetic: each input tells a part of the class that no other tells",
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
