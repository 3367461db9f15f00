"""Encoders that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import EncoderSpec, hookimpl

LSTM_AND_GRU = (
    'Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 1997, '
    'https://doi.org/10.1162/neco.1997.9.8.1735; Cho et al., "Learning Phrase Representations using RNN '
    'Encoder-Decoder for Statistical Machine Translation", EMNLP 2014, https://arxiv.org/abs/1406.1078'
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
        "table-lasso",
        "mmkit.encoders.table_lasso:TableLassoEncoder",
        "Perceptron over the few columns of a wide row that carry signal",
        modality="table",
        paper='Feng and Simon, "Sparse-Input Neural Networks for High-Dimensional Nonparametric Regression and '
        'Classification", 2017, https://arxiv.org/abs/1711.07592',
    )
    yield EncoderSpec(
        "ft-transformer",
        "mmkit.encoders.ft_transformer:FtTransformerEncoder",
        "FT-Transformer: each column of a row is a token of a transformer",
        modality="table",
        paper='Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021, '
        "https://arxiv.org/abs/2106.11959",
    )
