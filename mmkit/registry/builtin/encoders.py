"""Encoders that ship with mmkit."""

from __future__ import annotations

from collections.abc import Iterator

from mmkit.plugin import EncoderSpec, hookimpl


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
