"""A frozen encoder over a column: the features of each value, whoever asks and however many at once."""

from importlib import metadata

import numpy as np
import pytest
import torch
from torch import nn

from mmkit.contract import Features, Samples
from mmkit.data import decoded, decoding
from mmkit.data.bad_values import RejectedError
from mmkit.data.columns import Column
from mmkit.data.decoding import decode_all
from mmkit.errors import DataError, MmkitError
from mmkit.features import sharing
from mmkit.features.extraction import Extraction
from mmkit.features.sharing import Shared
from mmkit.registry.catalog import installed
from mmkit.system.progress import Progress
from mmkit.system.settings import Settings
from mmkit.transforms.series import SeriesTransform


class Steps(nn.Module):
    """Each step of a series as a token, twice."""

    reads = SeriesTransform
    frozen = True
    fault = 0.0

    def __init__(self, transform):
        super().__init__()
        self.width = 2 * transform.channels
        self.calls = 0

    def forward(self, batch):
        self.calls += 1
        return Features.of(torch.cat((batch["steps"], batch["steps"]), -1) + self.fault, batch["mask"])


VALUES = [torch.randn(3 + i % 4, 2, generator=torch.Generator().manual_seed(i)) for i in range(70)]
VALUES[5] = None
IDS = [f"s{i}" for i in range(70)]


@pytest.fixture
def made():
    choice = installed().choose("encoder", Steps, {"time_mask": 0.0, "noise": 0.0})
    transform = SeriesTransform(**choice.part(SeriesTransform))
    transform.fit(VALUES)
    encoder = Steps(transform)
    return lambda shared=None: (
        Extraction("signal", choice, encoder, transform, Settings("cpu"), shared or Shared()),
        encoder,
        transform,
    )


def test_features_are_those_of_each_value_alone(made):
    extract, encoder, transform = made()
    packed = extract(VALUES, IDS)
    for i, value in enumerate(VALUES):
        alone = encoder(transform([value]))
        found = packed.rows(torch.tensor([i]))
        assert found.mask.sum() == alone.mask.sum()
        torch.testing.assert_close(found.tokens[found.mask], alone.tokens[alone.mask])


def test_they_are_computed_once_for_the_same_content(made):
    shared = Shared()
    extract, encoder, _ = made(shared)
    extract(VALUES, IDS)
    calls = encoder.calls
    again, _, _ = made(shared)
    again([None if value is None else value.clone() for value in VALUES], IDS)
    assert encoder.calls == calls == 2  # batches of 64
    again(VALUES[::-1], IDS[::-1])
    assert encoder.calls == 2 * calls


def test_another_version_of_mmkit_or_of_what_it_reads_with_computes_them_anew(made, monkeypatch, tmp_path):
    monkeypatch.setattr(sharing, "code_of_core", lambda: "")  # as where it is installed: its version says all
    known = metadata.version

    def encoded():
        extract, encoder, _ = made(Shared(tmp_path))
        calls = encoder.calls
        extract(VALUES, IDS)
        return encoder.calls - calls

    assert (encoded(), encoded()) == (2, 0)
    for name in ("mmkit-core", "pillow", "torchvision"):
        monkeypatch.setattr(metadata, "version", lambda one, name=name: "9.9" if one == name else known(one))
        assert (encoded(), encoded()) == (2, 0), name


def test_progress_names_the_input_and_counts_samples(made):
    class Told(Progress):
        def __init__(self):
            self.updates = []

        def update(self, what, done, total=None):
            self.updates.append((what, done, total))

    told = Told()
    made(Shared(progress=told))[0](VALUES, IDS)
    assert told.updates == [("features of signal", 64, 70), ("features of signal", 70, 70)]


def test_features_that_are_not_finite_are_an_error_that_names_the_encoder(made):
    extract, encoder, _ = made()
    encoder.fault = float("nan")
    with pytest.raises(MmkitError, match=r"encoder .*Steps.* gives features of input signal that are not finite"):
        extract(VALUES, IDS)


def test_what_could_not_be_read_is_met_again_where_features_are_read_from_the_cache(tmp_path):
    class Files(list):
        """A lazy column, which knows its gaps without reading."""

        def subset(self, index):
            return Files([self[i] for i in index])

        def gaps(self, rows=None):
            return np.array([self[i] is None for i in (range(len(self)) if rows is None else rows)])

    class Read:
        def decode(self, raw):
            if raw == "broken":
                raise DataError("it is broken")
            return torch.full((2, 2), float(raw))

    raws = [str(i) for i in range(70)]
    raws[7], raws[9], raws[66] = "broken", None, "broken"
    choice = installed().choose("encoder", Steps, {"time_mask": 0.0, "noise": 0.0})
    transform = SeriesTransform(**choice.part(SeriesTransform))
    transform.fit([torch.randn(4, 2)])
    encoder = Steps(transform)

    def run(on_error):
        samples = Samples(IDS, {"signal": Files(raws)}, [0] * 70)
        read, unread = decode_all(samples, {"signal": Read()}, on_error, {"signal": "series"})
        values = read.inputs["signal"]
        assert isinstance(values, Column)
        assert values.lazy is not None
        Extraction("signal", choice, encoder, transform, Settings("cpu"), Shared(tmp_path))(values, IDS)
        return [line.sample for line in unread], int(values.gaps().sum())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "EAGER", 0)
        patch.setattr(decoded, "PROBED", 2)
        assert run("missing") == (["s7", "s66"], 3)
        calls = encoder.calls
        assert run("missing") == (["s7", "s66"], 3)
        with pytest.raises(RejectedError, match="sample s7, input signal: it is broken"):
            run("fail")
    assert encoder.calls == calls
