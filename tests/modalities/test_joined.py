"""Values that follow each other, joined: against what their numbers say."""

import numpy as np
import pytest
import torch

from mmkit.errors import DataError
from mmkit.modalities.audio import Audio
from mmkit.modalities.series import Series


def test_sounds_are_the_end_of_all_samples():
    rng = np.random.default_rng(0)
    parts = [rng.uniform(-1, 1, (2, length)).astype(np.float32) for length in (100, 250, 30)]
    values = [Audio().decode((part, 100)) for part in parts]
    assert [Audio().length(one) for one in values] == [1.0, 2.5, 0.3]
    for last, samples in ((0.1, 10), (1.0, 100), (3.8, 380), (9.0, 380)):
        waveform, rate = Audio().joined(values, last)
        assert rate == 100
        assert np.array_equal(waveform.numpy(), np.concatenate(parts, 1)[:, -samples:])


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (2, 16000)])
def test_sounds_of_another_kind_are_refused(channels, rate):
    values = [(torch.zeros(1, 10), 16000), (torch.zeros(channels, 10), rate)]
    with pytest.raises(DataError, match="of one rate and number of channels; got"):
        Audio().joined(values, 1)


def test_series_keep_double_precision_where_one_has_it():
    single, double = torch.ones(3, 1), torch.full((2, 1), 1.7e9, dtype=torch.float64) + 0.25
    found = Series().joined([single, double], 4)
    assert found.dtype == torch.float64
    assert found.flatten().tolist() == [1.0, 1.0, 1.7e9 + 0.25, 1.7e9 + 0.25]
    assert Series().joined([single, single], 2).dtype == torch.float32
    with pytest.raises(DataError, match="one number of channels; got 1 and 2"):
        Series().joined([single, torch.ones(3, 2)], 4)
