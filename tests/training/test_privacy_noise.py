"""The noise is normal, hangs on the key alone, and rows take part each for itself."""

import hashlib

import numpy as np
import torch
from scipy import stats

from mmkit.training.privacy_noise import BYTES, Secret

KEY = Secret(bytes(range(BYTES)))


def test_keys_come_from_the_operating_system_and_are_not_shown(monkeypatch):
    assert Secret.fresh().key != Secret.fresh().key
    monkeypatch.setattr("secrets.token_bytes", lambda count: b"k" * count)
    assert Secret.fresh().key == b"k" * 32
    assert "key" not in repr(KEY)


def test_global_seeds_say_nothing_of_the_noise_and_it_draws_from_no_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = Secret.fresh().noise(0, 9)
    torch.manual_seed(0)
    assert not torch.equal(one, Secret.fresh().noise(0, 9))
    KEY.rows(0, 9, 0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_key_and_step_give_the_same_noise_and_another_step_other():
    again = Secret(KEY.key)
    assert torch.equal(KEY.noise(7, 11), again.noise(7, 11))
    assert torch.equal(KEY.rows(7, 1000, 0.1), again.rows(7, 1000, 0.1))
    assert KEY.seed == again.seed
    assert 0 <= KEY.seed < 2**63
    assert not torch.equal(KEY.noise(7, 11), KEY.noise(8, 11))


def test_the_stream_is_shake_256_of_key_step_and_purpose():
    step, count = 3, 4
    raw = hashlib.shake_256(KEY.key + bytes([3, 0, 0, 0, 0, 0, 0, 0]) + b"noise").digest(8 * count)
    numbers = [int.from_bytes(raw[8 * at : 8 * at + 8], "little") >> 11 for at in range(count)]
    u = [number / 2**53 for number in numbers]
    radius = [np.sqrt(-2 * np.log(1 - one)) for one in u[:2]]
    expected = [r * f(2 * np.pi * angle) for f in (np.cos, np.sin) for r, angle in zip(radius, u[2:], strict=True)]
    np.testing.assert_allclose(KEY.noise(step, count), expected, rtol=1e-12)


def test_noise_is_standard_normal():
    drawn = torch.cat([KEY.noise(step, 9999) for step in range(10)])
    assert drawn.dtype == torch.float64
    assert stats.kstest(drawn.numpy(), "norm").pvalue > 0.001
    pairs = drawn.numpy()[: 2 * (len(drawn) // 2)].reshape(2, -1)
    assert abs(np.corrcoef(pairs)[0, 1]) < 0.02


def test_rows_take_part_by_chance_each_with_the_rate_and_each_for_itself():
    samples, rate, steps = 200, 0.1, 500
    there = np.zeros((steps, samples))
    for step in range(steps):
        there[step, KEY.rows(step, samples, rate).numpy()] = 1
    sizes = there.sum(1)
    assert len(set(sizes)) > 10  # no fixed size
    apart = ((there.sum(0) - steps * rate) ** 2 / (steps * rate * (1 - rate))).sum()
    assert 0.001 < stats.chi2(samples).cdf(apart) < 0.999
    assert abs(sizes.var() / (samples * rate * (1 - rate)) - 1) < 0.25
    assert len(KEY.rows(0, samples, 1.0)) == samples
    assert KEY.rows(0, 3, 1e-9).shape == (0,)
