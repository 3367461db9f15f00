"""Epsilon is that of Opacus' accountant, and the noise is the least that keeps within it."""

import importlib
import math

import pytest

from mmkit.errors import UnavailableError, UsageError
from mmkit.training.privacy import Private
from mmkit.training.privacy_accounting import Account, epsilon_of, noise_for

CASES = [(1.1, 1e-5, 0.01, 1000), (0.7, 1e-6, 0.25, 40), (2.0, 1e-5, 1.0, 12), (4.0, 1e-4, 0.002, 5000)]


@pytest.mark.filterwarnings("ignore:Optimal order is the largest alpha")  # Opacus' own, of the looseness of a bound
@pytest.mark.parametrize(("noise", "delta", "rate", "steps"), CASES)
def test_epsilon_is_what_opacus_counts_step_by_step(noise, delta, rate, steps):
    accountant = importlib.import_module("opacus.accountants").RDPAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=noise, sample_rate=rate)
    assert epsilon_of(noise, delta, rate, steps) == pytest.approx(accountant.get_epsilon(delta), rel=1e-12)


def test_of_whole_batches_it_is_the_closed_form_of_the_gaussian_mechanism():
    """Mironov 2017: T steps of deviation s have an RDP of T a / (2 s^2), and by Canonne, Kamath and Steinke 2020,
    proposition 12, epsilon is the least of that + log((a - 1) / a) - (log(delta) + log(a)) / (a - 1)."""
    noise, delta, steps = 5.0, 1e-5, 10
    orders = [1 + place / 1000 for place in range(1, 60_000)]
    least = min(
        steps * a / (2 * noise**2) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1) for a in orders
    )
    assert least <= epsilon_of(noise, delta, 1.0, steps) < least * 1.001


@pytest.mark.parametrize("epsilon", [0.3, 1, 8])
def test_the_noise_spends_nearly_all_that_may_be_spent_and_no_more(epsilon):
    noise = noise_for(epsilon, 1e-5, 0.02, 500)
    spent = epsilon_of(noise, 1e-5, 0.02, 500)
    assert epsilon - max(0.01, epsilon / 100) <= spent <= epsilon
    assert epsilon_of(noise * 0.98, 1e-5, 0.02, 500) > spent


def test_fewer_steps_spend_less_and_none_nothing():
    assert epsilon_of(1.0, 1e-5, 0.1, 0) == 0
    spent = [epsilon_of(1.0, 1e-5, 0.1, steps) for steps in (1, 10, 100)]
    assert spent == sorted(spent)
    assert spent[0] > 0


def test_an_account_is_of_the_planned_steps_and_tells_those_that_were_done():
    account = Account.of(Private(epsilon=3, delta=1e-5), samples=1000, epochs=10, steps=4)
    assert account.rate == 0.25
    assert account.noise == noise_for(3, 1e-5, 0.25, 40)
    spent = account.spent(20)
    assert (spent.steps, spent.rate, spent.clip) == (20, 0.25, 1)
    assert spent.epsilon == epsilon_of(account.noise, 1e-5, 0.25, 20) < 3
    opacus = importlib.import_module("opacus")
    assert spent.accountant == f"RDP of opacus {opacus.__version__}"


def test_noise_that_is_given_is_taken():
    account = Account.of(Private(noise=1.5, delta=1e-5), samples=1000, epochs=10, steps=4)
    assert account.noise == 1.5
    assert account.spent(40).epsilon == epsilon_of(1.5, 1e-5, 0.25, 40)


def test_a_delta_that_gives_rows_away_is_refused():
    with pytest.raises(UsageError, match=r"one of 72 rows .* less than 1 / 72, such as delta=0.01"):
        Account.of(Private(epsilon=3, delta=0.02), samples=72, epochs=1, steps=1)


def test_an_epsilon_that_no_noise_keeps_is_refused():
    with pytest.raises(UsageError, match=r"epsilon=0.1 is below 0.103, the least that .* can show at delta=1e-05"):
        noise_for(0.1, 1e-5, 0.5, 1000)


def test_without_opacus_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(importlib.import_module("sys").modules, "opacus", None)
    with pytest.raises(UnavailableError, match=r"pip install 'mmkit-core\[private\]'"):
        epsilon_of(1.25, 1e-5, 0.1, 10)
