"""The features of a split, packed: rows are those of the whole, without its padding."""

import pytest
import torch

from mmkit.contract import Features
from mmkit.data import padding
from mmkit.features.cache import Pass, encoded


class TestStored:
    @staticmethod
    def features(lengths, width=3, seed=0):
        generator = torch.Generator().manual_seed(seed)
        mask = torch.arange(max(*lengths, 1)) < torch.tensor(lengths).unsqueeze(1)
        return Features.of(torch.randn(*mask.shape, width, generator=generator), mask)

    def stored(self, lengths, folder=None):
        whole = self.features(lengths)
        parts = [Features(whole.tokens[i : i + 2], whole.mask[i : i + 2]) for i in range(0, len(lengths), 2)]
        work = Pass(lambda _, start: parts[start // 2], list(range(len(lengths))), batch_size=2)
        return whole, work.in_memory() if folder is None else encoded(work, folder, "0123456789abcdef", {})

    @pytest.mark.parametrize("kept", [True, False])
    @pytest.mark.parametrize("lengths", [[4, 4, 4, 4, 4], [1, 4, 0, 2, 3], [0, 0, 0], [1]])
    def test_rows_are_those_of_the_whole(self, lengths, kept, tmp_path):
        whole, stored = self.stored(lengths, tmp_path if kept else None)
        for index in (torch.arange(len(lengths)), torch.tensor([len(lengths) - 1, 0])):
            found = stored.rows(index)
            longest = max(int(whole.mask[index].sum(1).max()), 1)
            assert torch.equal(found.mask, whole.mask[index][:, :longest])
            assert torch.equal(found.tokens, whole.tokens[index][:, :longest])

    @pytest.mark.parametrize("lengths", [[1, 4, 0, 2, 3], [0, 0, 0]])
    def test_steps_gathered_or_copied_sample_by_sample_are_the_same(self, lengths, monkeypatch):
        _, stored = self.stored(lengths)
        index = torch.arange(len(lengths)).flip(0)
        monkeypatch.setattr(padding, "_WIDE", 1)
        copied = stored.rows(index)
        monkeypatch.setattr(padding, "_WIDE", 2**30)
        gathered = stored.rows(index)
        assert torch.equal(gathered.tokens, copied.tokens)
        assert torch.equal(gathered.mask, copied.mask)

    def test_samples_of_one_length_need_no_padding(self):
        assert self.stored([4, 4, 4])[1].length == 4
        assert self.stored([4, 3, 4])[1].length is None

    @pytest.mark.parametrize("summaries", [True, False])
    @pytest.mark.parametrize("lengths", [[4, 4, 4, 4, 4], [1, 4, 0, 2, 3], [0, 0, 0], [1]])
    def test_vectors_are_those_of_the_features(self, lengths, summaries):
        whole = self.features(lengths)
        pooled = torch.randn(len(lengths), 3, generator=torch.Generator().manual_seed(1)) if summaries else None
        whole = Features.of(whole.tokens, whole.mask, pooled)
        stored = Pass(lambda _, start: whole, list(range(len(lengths)))).in_memory()
        found = stored.vectors.rows(torch.arange(len(lengths)))
        assert found.tokens.shape == (len(lengths), 1, 3)
        assert found.pooled is None
        assert torch.equal(found.present(), whole.present())
        torch.testing.assert_close(found.vector(), whole.vector())
