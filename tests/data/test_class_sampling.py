"""Over- and undersampling: how often each sample and each class is there, and how long an epoch is."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mmkit
from mmkit.contract import Samples
from mmkit.data.sampling import Sampling
from mmkit.errors import MmkitError
from mmkit.testing import tiny_task

LABELS = torch.tensor([0] * 50 + [2] * 7 + [3] * 20)  # class 1 is in no sample
TRUTH = {"label": LABELS, "mask": torch.ones(77, dtype=torch.bool)}


def counts(sampler, seed=0):
    sampling = Sampling.of(sampler, TRUTH)
    drawn = sampling.draw(torch.Generator().manual_seed(seed))
    assert len(drawn) == sampling.size
    return drawn.bincount(minlength=77)


def test_over_shows_every_class_as_often_as_the_most_frequent_one():
    found = counts("over")
    assert [int(found[label == LABELS].sum()) for label in (0, 2, 3)] == [50, 50, 50]
    assert set(found[:50].tolist()) == {1}
    assert set(found[50:57].tolist()) == {7, 8}  # 50 = 7 * 7 + 1
    assert set(found[57:].tolist()) == {2, 3}


def test_under_shows_every_class_as_often_as_the_rarest_one():
    found = counts("under")
    assert [int(found[label == LABELS].sum()) for label in (0, 2, 3)] == [7, 7, 7]
    assert found.max() == 1


def test_each_epoch_leaves_out_others():
    assert not torch.equal(counts("under", 0), counts("under", 1))
    generator = torch.Generator().manual_seed(0)
    sampling = Sampling.of("under", TRUTH)
    seen = torch.stack([sampling.draw(generator).bincount(minlength=77) for _ in range(60)]).sum(0)
    assert seen.min() > 0


def test_classes_are_shuffled():
    drawn = Sampling.of("over", TRUTH).draw(torch.Generator().manual_seed(0))
    firsts = LABELS[drawn[:75]]
    assert all(10 < int((firsts == label).sum()) < 40 for label in (0, 2, 3))


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ({"labels": torch.zeros(4, 2)}, "sampler=over needs classes, and this truth has none; take sampler=balanced"),
        ({"values": torch.zeros(4, 2)}, "sampler=over needs classes, and this truth has none; take sampler=shuffle"),
    ],
)
def test_other_truth_is_refused(truth, said):
    with pytest.raises(MmkitError, match=said):
        Sampling.of("over", {**truth, "mask": torch.ones(4, dtype=torch.bool)})


EVEN = tiny_task({"a": "series", "b": "table"}, train=40)


def skewed(task, name):
    """The samples of a split; in training one class has four of them."""
    samples = EVEN.split(task, name)
    if name != "train":
        return samples
    first = samples.truth[0]
    rare = [row for row, truth in enumerate(samples.truth) if truth == first][:4]
    kept = sorted([*rare, *(row for row, truth in enumerate(samples.truth) if truth != first)])
    inputs = {input_: [values[row] for row in kept] for input_, values in samples.inputs.items()}
    return Samples([samples.ids[row] for row in kept], inputs, [samples.truth[row] for row in kept])


Skewed = type("Skewed", (EVEN,), {"split": skewed})


@pytest.mark.parametrize("sampler", ["over", "under"])
def test_the_number_of_steps_is_that_of_what_is_drawn(sampler):
    training = {"epochs": 2, "min_steps": 0, "batch_size": 4, "sampler": sampler}
    _, record = mmkit.fit(task=Skewed, fusion="concat", training=training, device="cpu")
    assert len(record.history) == 2
    assert record.phases[-1].planned == 2
    few = {**training, "min_steps": 40, "epochs": 1}
    _, record = mmkit.fit(task=Skewed, fusion="concat", training=few, device="cpu")
    counted = [str(one) for one in Skewed().split("train").truth]
    sizes = [counted.count(one) for one in set(counted)]
    drawn = len(sizes) * (max(sizes) if sampler == "over" else min(sizes))
    steps = -(-drawn // 4)
    assert record.phases[-1].planned == max(1, -(-40 // steps))


@pytest.mark.parametrize("sampler", ["over", "under"])
def test_no_class_is_looked_for_among_all_samples(sampler):
    """With many classes that would take their number times that of the samples, in every epoch."""

    class Looked(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            if "aten.eq" in str(function):
                self.numbers += found.numel()
            return found

    label = torch.arange(2000) % 400
    label[label == 7] = 8  # a class that there is not
    sampling = Sampling.of(sampler, {"label": label, "mask": torch.ones(2000, dtype=torch.bool)})
    with Looked() as looked:
        drawn = sampling.draw(torch.Generator().manual_seed(0))
    assert looked.numbers == 0
    assert label[drawn].bincount().unique().tolist() == [0, sampling.size // 399]
