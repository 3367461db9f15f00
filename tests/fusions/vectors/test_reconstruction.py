"""Reconstruction, against its layers one sample and one token at a time, and what training leaves out."""

import itertools

import pytest
import torch
from torch.nn.functional import layer_norm

from mmkit.contract import Features
from mmkit.fusions.vectors import reconstruction
from mmkit.fusions.vectors.reconstruction import ReconstructionFusion

WIDTH = 8


@pytest.fixture
def slow(slow_layer):
    """A function: the result of a sample of which these inputs are shown, and what is made of every input."""

    def run(fusion, case, sample, shown):
        token = {n: fusion.project[n].weight @ case.filled(n, sample) + fusion.project[n].bias for n in fusion.project}
        memory = list(fusion.memory.values)
        state = [*(token[n] for n in shown), *memory]
        for layer in fusion.encoder:
            state = slow_layer(layer, state)
        state = [fusion.encoder_norm(one) for one in state]
        seen = dict(zip(shown, state, strict=False))
        asked = [
            seen.get(name, fusion.masked.values[0]) + position
            for name, position in zip(fusion.project, fusion.positions.values, strict=True)
        ]
        state = [*asked, *state[len(shown) :]]
        for layer in fusion.decoder:
            state = slow_layer(layer, state)
        made = {n: fusion.predict(fusion.decoder_norm(one)) for n, one in zip(token, state, strict=False)}
        own = {n: layer_norm(one, (WIDTH,)) for n, one in token.items()}
        parts = [own[n] if n in shown else made[n] for n in token]
        return fusion.mix.weight @ torch.cat(parts) + fusion.mix.bias, made, own

    return run


def fusion_of(case, **options):
    return ReconstructionFusion(case.widths, width=WIDTH, memory=3, heads=2, **options)


def there(case, sample):
    return [name for name in case.widths if case.vector(name, sample) is not None]


@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_its_formula(case, perturbed, same, slow, layers):
    fusion = perturbed(fusion_of(case, layers=layers))
    fusion.detailed = True
    found = fusion(case.features)
    results = [slow(fusion, case, sample, there(case, sample)) for sample in range(case.batch)]
    same(found.vector(), [result for result, _, _ in results])
    for name in case.widths:
        same(found.details[f"reconstruction.{name}"], [made[name] for _, made, _ in results])
    assert not found.penalties


def test_with_five_inputs(make, perturbed, same, slow):
    widths = dict.fromkeys("abcde", 3)
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(6, 5, generator=generator) < 0.5
    features = {
        name: Features.of(torch.randn(6, 3, generator=generator, dtype=torch.float64), mask[:, i])
        for i, name in enumerate(widths)
    }
    case = type(make("two"))(widths, features)
    fusion = perturbed(fusion_of(case))
    same(fusion(features).vector(), [slow(fusion, case, sample, there(case, sample))[0] for sample in range(6)])


def test_in_training_what_is_left_out_is_made_and_its_error_is_the_penalty(case, perturbed, same, slow, monkeypatch):
    """Whatever is kept: here the first, the last, or all of what is there."""
    fusion = perturbed(fusion_of(case, reconstruct=0.5)).train()
    for keep in (slice(None, 1), slice(-1, None), slice(None)):
        kept = [there(case, sample)[keep] for sample in range(case.batch)]
        flags = torch.tensor([[name in names for name in case.widths] for names in kept])
        monkeypatch.setattr(reconstruction, "_kept", lambda _, flags=flags: flags)
        found = fusion(case.features)
        expected, errors = [], []
        for sample, names in enumerate(kept):
            result, made, own = slow(fusion, case, sample, names)
            gone = [name for name in there(case, sample) if name not in names]
            expected.append(result)
            errors.append(sum(float((made[n] - own[n]).square().mean()) for n in gone) / max(len(gone), 1))
        same(found.vector(), expected)
        if len(case.widths) == 1:
            assert not found.penalties
        else:
            same(found.penalties["reconstruct"], list(0.5 * torch.tensor(errors, dtype=torch.float64)))


def test_every_number_and_every_choice_of_inputs_is_kept_as_often_as_it_should():
    torch.manual_seed(0)
    patterns = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
    draws = 30_000
    kept = reconstruction._kept(patterns.repeat(draws, 1)).view(draws, 4, 3)
    for row, pattern in enumerate(patterns.tolist()):
        present = [i for i, real in enumerate(pattern) if real]
        found = kept[:, row]
        assert not found[:, [i for i in range(3) if i not in present]].any()
        for number in range(1, len(present) + 1):
            choices = list(itertools.combinations(present, number))
            for choice in choices:
                share = (found == torch.tensor([i in choice for i in range(3)])).all(1).double().mean()
                # Four deviations of 30,000 draws are below 0.012.
                assert float(share) == pytest.approx(1 / len(present) / len(choices), abs=0.012)


def test_the_target_gets_no_gradient():
    torch.manual_seed(0)
    fusion = ReconstructionFusion({"a": 3, "b": 3}, width=WIDTH, heads=2).double().train()
    values = {n: torch.randn(40, 3).double().requires_grad_() for n in "ab"}
    fusion({n: Features.of(value) for n, value in values.items()}).penalties["reconstruct"].sum().backward()
    reached = torch.stack([value.grad.abs().sum(1) > 0 for value in values.values()], 1)
    assert (reached.sum(1) <= 1).all()  # the one that was shown, where the other was left out
    assert reached.any(0).all()


def test_where_nothing_is_missing_it_is_a_linear_layer_over_normed_projections(perturbed):
    widths = {"a": 4, "b": 3}
    fusion = perturbed(ReconstructionFusion(widths, width=WIDTH, heads=2))
    values = {n: torch.randn(5, d, dtype=torch.float64) for n, d in widths.items()}
    parts = [layer_norm(fusion.project[n](v), (WIDTH,)) for n, v in values.items()]
    expected = fusion.mix(torch.cat(parts, 1))
    torch.testing.assert_close(fusion({n: Features.of(v) for n, v in values.items()}).vector(), expected)
    told = {n: Features.of(v, torch.ones(5, dtype=torch.bool)) for n, v in values.items()}
    torch.testing.assert_close(fusion(told).vector(), expected)
    fusion.detailed = True
    torch.testing.assert_close(fusion({n: Features.of(v) for n, v in values.items()}).vector(), expected)


def test_two_missing_inputs_are_not_reconstructed_alike():
    """Published code adds no positions, so there they are."""
    fusion = ReconstructionFusion(dict.fromkeys("abc", 4), width=WIDTH, heads=2).eval()
    fusion.detailed = True
    gone = torch.zeros(5, dtype=torch.bool)
    features = {n: Features.of(torch.randn(5, 4), None if n == "a" else gone) for n in "abc"}
    made = fusion(features).details
    apart = (made["reconstruction.b"] - made["reconstruction.c"]).abs().max()
    assert apart > 1e-4
    with torch.no_grad():
        fusion.positions.values.zero_()
    made = fusion(features).details
    torch.testing.assert_close(made["reconstruction.b"], made["reconstruction.c"])


@pytest.mark.full
def test_it_learns_to_reconstruct_what_another_input_tells():
    torch.manual_seed(0)
    fusion = ReconstructionFusion({"a": 4, "b": 4}, width=16, heads=2)
    trained = torch.optim.Adam([p for name, p in fusion.named_parameters() if not name.startswith("project")], lr=0.003)
    x = torch.randn(128, 4)
    features = {"a": Features.of(x), "b": Features.of(x @ torch.randn(4, 4))}
    losses = []
    for _ in range(150):
        loss = fusion.train()(features).penalties["reconstruct"].mean()
        trained.zero_grad()
        loss.backward()
        trained.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.25 * sum(losses[:10])


@pytest.mark.parametrize(("inputs", "layers", "memory"), [(1, 1, 1), (2, 2, 4), (5, 1, 3)])
def test_the_number_of_its_parameters(inputs, layers, memory):
    d, h = 6, 16
    fusion = ReconstructionFusion({f"i{i}": d for i in range(inputs)}, width=h, layers=layers, memory=memory, heads=2)
    learned = memory * h + h + inputs * h
    expected = inputs * (d * h + h) + learned + 2 * layers * (8 * h**2 + 10 * h) + 4 * h
    expected += (h * h + h) + (inputs * h * h + h)
    assert sum(p.numel() for p in fusion.parameters()) == expected


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="width 10 is not divisible by heads 4"):
        ReconstructionFusion({"a": 4}, width=10, heads=4)
