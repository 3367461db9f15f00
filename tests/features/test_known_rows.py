"""Rows of a table are encoded once, in whichever split they stand, to the same bits as the split alone would have."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.data.splits import splits_of
from mmkit.data.subset import joined
from mmkit.features import cache as cache_module
from mmkit.features.cache import cache_entries
from mmkit.features.extraction import Extraction
from mmkit.features.sharing import Shared
from mmkit.registry.catalog import installed
from mmkit.registry.options import Choice
from mmkit.system.settings import Settings

ROWS = 1000


class Given:
    """Series of a fixed length as they are; of another one where `ragged`."""

    augments = False

    def __init__(self, ragged=False):
        self.ragged = ragged

    def fit(self, values):
        pass

    def __call__(self, values, generator=None):
        x = torch.stack([value.float() for value in values])
        mask = torch.ones(x.shape[:2], dtype=torch.bool)
        if self.ragged:
            mask[:, 1:] = x[:, 1:, 0] > 0
        return {"x": x, "mask": mask}

    def state(self):
        return {"ragged": self.ragged}

    def restore(self, state):
        pass


class Counting(nn.Module):
    """A frozen layer that counts the rows it has seen; where `company`, features hang on the batch."""

    reads = Given
    frozen = True
    width = 5
    sequence = True

    def __init__(self, company=False):
        super().__init__()
        self.layer = nn.Linear(3, 5).requires_grad_(requires_grad=False)
        self.company = company
        self.seen = []

    def forward(self, batch):
        self.seen.append(len(batch["x"]))
        y = self.layer(batch["x"])
        if self.company:
            y = y + batch["x"].mean()
        return Features.of(y, batch["mask"], y.mean(1))


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKIT_CACHE", str(tmp_path / "tables"))
    draw = np.random.default_rng(0)
    columns = {
        "s": [draw.normal(size=(4, 3)).tolist() for _ in range(ROWS)],
        "label": [["yes", "no"][i % 2] for i in range(ROWS)],
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def splits_with(table, **options):
    catalog = installed()
    said = "".join(f",{name}={value}" for name, value in options.items())
    return splits_of(catalog.choose("task", f"own-data:data={table},target=label{said}"), catalog, Settings("cpu"))


def encoder_of(**options):
    torch.manual_seed(0)
    return Counting(**options)


def features(splits, shared, encoder, *names, ragged=False):
    choice = Choice("encoder", "counting", None, (Counting, Given), {})
    work = Extraction("s", choice, encoder, Given(ragged), Settings("cpu"), shared)
    found = []
    for name in names:
        samples = joined(splits("train"), splits("validation")) if name == "both" else splits(name)
        found.append(work(samples.inputs["s"], samples.ids))
    return found


def equal(one, other):
    leaves = [(one.tokens, other.tokens), (one.offsets, other.offsets), (one.pooled, other.pooled)]
    return all(torch.equal(a, b) for a, b in leaves)


NAMES = ("train", "validation", "test")


@pytest.mark.parametrize("on_disk", [True, False], ids=["disk", "memory"])
def test_five_folds_encode_each_row_once(table, tmp_path, on_disk):
    shared = Shared(tmp_path / "features" if on_disk else None)
    encoder = encoder_of()
    for fold in range(1, 6):
        splits = splits_with(table, folds=5, fold=fold)
        found = features(splits, shared, encoder, *NAMES)
        alone = features(splits, Shared(), encoder_of(), *NAMES)
        assert all(equal(one, other) for one, other in zip(found, alone, strict=True))
    # Besides each row once: the last batch of each split has a shape of its own, and one batch is compared.
    assert ROWS <= sum(encoder.seen) <= ROWS + 64 + 4 * (3 * 63 + 64)


def test_another_seed_in_another_process_and_a_refit_encode_next_to_nothing(table, tmp_path):
    features(splits_with(table), Shared(tmp_path / "features"), encoder_of(), *NAMES)
    encoder = encoder_of()
    splits, shared = splits_with(table, split_seed=3), Shared(tmp_path / "features")
    found = features(splits, shared, encoder, *NAMES, "both")
    alone = features(splits, Shared(), encoder_of(), *NAMES, "both")
    assert all(equal(one, other) for one, other in zip(found, alone, strict=True))
    assert sum(encoder.seen) <= 64 + 4 * (63 + 64)  # as above, and rows that stood in a last batch before
    seen = sum(encoder.seen)
    features(splits, Shared(tmp_path / "features"), encoder, *NAMES)  # what is kept needs no batch to compare
    assert sum(encoder.seen) == seen


@pytest.mark.parametrize("other", [{"company": True}, {"ragged": True}], ids=["company", "ragged"])
def test_features_that_hang_on_their_batch_are_never_taken(table, tmp_path, other):
    ragged = other.get("ragged", False)
    options = {} if ragged else other
    for seed in (0, 3):
        splits = splits_with(table, split_seed=seed)
        found = features(splits, Shared(tmp_path / "features"), encoder_of(**options), *NAMES, ragged=ragged)
        alone = features(splits, Shared(), encoder_of(**options), *NAMES, ragged=ragged)
        assert all(equal(one, same) for one, same in zip(found, alone, strict=True))


def test_other_weights_and_other_tables_take_nothing(table, tmp_path):
    shared = Shared(tmp_path / "features")
    features(splits_with(table), shared, encoder_of(), *NAMES)
    other = encoder_of()
    with torch.no_grad():
        other.layer.weight += 1
    features(splits_with(table, split_seed=3), shared, other, *NAMES)
    assert sum(other.seen) == ROWS
    rows = pa.parquet.read_table(table).to_pylist()
    pa.parquet.write_table(pa.Table.from_pylist([*rows[1:], rows[0]]), table)
    anew = encoder_of()
    found = features(splits_with(table), Shared(tmp_path / "features"), anew, *NAMES)
    assert sum(anew.seen) == ROWS
    assert all(map(equal, found, features(splits_with(table), Shared(), encoder_of(), *NAMES)))


def test_a_killed_pass_goes_on_to_the_same(table, tmp_path, monkeypatch):
    folder = tmp_path / "features"
    features(splits_with(table), Shared(folder), encoder_of(), *NAMES)
    splits = splits_with(table, split_seed=3)
    monkeypatch.setattr("mmkit.features.pieces.BYTES", 1)
    plain = cache_module.Pass.parts

    def broken(self, first=0):
        for number, part in enumerate(plain(self, first)):
            if number == 4:
                raise KeyboardInterrupt
            yield part

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.Pass, "parts", broken)
        with pytest.raises(KeyboardInterrupt):
            features(splits, Shared(folder), encoder_of(), "train")
    assert any(entry.about is None for entry in cache_entries(folder))
    (found,) = features(splits, Shared(folder), encoder_of(), "train")
    assert equal(found, features(splits, Shared(), encoder_of(), "train")[0])
