"""Channel exchange, one number at a time, and where it changes nothing."""

import pytest
import torch
from torch import nn

from mmkit.contract import Features
from mmkit.fusions.inner.channel_exchange import ChannelExchangeFusion

SEVERAL = ["two", "three", "four"]


@pytest.fixture
def shrunk(perturbed):
    """A function: the fusion with noise on all parameters and statistics, and every other scale below the threshold."""

    def shrink(fusion):
        generator = torch.Generator().manual_seed(2)
        perturbed(fusion)
        for layer in fusion.exchanges.values():
            for norm in layer.norms.values():
                norm.running_mean.copy_(torch.randn(len(norm.weight), generator=generator))
                norm.running_var.copy_(0.5 + torch.rand(len(norm.weight), generator=generator))
                norm.weight[::2] *= 1e-3
                norm.weight[1::2] += 1
        return fusion

    return shrink


def _normal(norm, vector):
    return (vector - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias


def _share(names, name, common):
    """The channels of an input that may be replaced."""
    m = names.index(name)
    return range(common * m // len(names), common * (m + 1) // len(names))


def _swapped(fusion, place, names, own, others):
    """A normalised vector of an input, its small channels the mean of those of the others, which may be none."""
    layer = fusion.exchanges[str(place)]
    name, vector = own
    found = vector.clone()
    for c in _share(names, name, min(len(norm.weight) for norm in layer.norms.values())):
        if abs(float(layer.norms[name].weight[c])) < 0.02 and others:
            found[c] = sum(float(other[c]) for other in others) / len(others)
    return found


@pytest.mark.parametrize("of", SEVERAL)
def test_vectors_are_exchanged_behind_the_encoders(make, shrunk, same, of):
    case = make(of)
    names = list(case.widths)
    fusion = shrunk(ChannelExchangeFusion(case.widths, dict.fromkeys(names, ()), width=6))
    norms = fusion.exchanges["1"].norms
    expected = []
    for sample in range(case.batch):
        there = [name for name in names if case.vector(name, sample) is not None]
        normal = {name: _normal(norms[name], case.vector(name, sample)) for name in there}
        parts = []
        for name in names:
            if name in there:
                others = [normal[other] for other in there if other != name]
                parts.append(_swapped(fusion, 1, names, (name, normal[name]), others))
            else:
                parts.append(torch.zeros(case.widths[name], dtype=torch.float64))
        expected.append(fusion.mix.weight @ torch.cat(parts) + fusion.mix.bias)
    same(fusion(case.features).vector(), expected)


def test_an_input_without_channels_of_its_own_exchanges_none(shrunk):
    """With one channel in common two of three inputs have none; of the others one may be missing, and one may not."""
    widths = {"audio": 4, "image": 1, "text": 2}
    fusion = shrunk(ChannelExchangeFusion(widths, dict.fromkeys(widths, ()), width=6))
    there = torch.tensor([True, False])
    given = {name: torch.randn(2, d, dtype=torch.float64) for name, d in widths.items()}
    features = {name: Features.of(vector, there if name == "audio" else None) for name, vector in given.items()}
    norms = fusion.exchanges["1"].norms
    normal = {name: _normal(norms[name], vector) for name, vector in given.items()}
    normal["audio"] = normal["audio"] * there.unsqueeze(1)
    normal["text"][0, 0] = (normal["audio"][0, 0] + normal["image"][0, 0]) / 2
    normal["text"][1, 0] = normal["image"][1, 0]
    torch.testing.assert_close(fusion(features).vector(), fusion.mix(torch.cat(list(normal.values()), 1)))


@pytest.mark.parametrize("text", [(), (2,)])
def test_maps_are_exchanged_by_what_sums_up_their_positions(make, shrunk, text):
    """Of widths that are not equal: as many channels as all have. An input without places takes no part."""
    case = make("three")
    inner = {"audio": (9, 3), "image": (6,), "text": text}
    names = [name for name in case.widths if inner[name]]
    fusion = shrunk(ChannelExchangeFusion(case.widths, inner, at=[2]))
    norms = fusion.exchanges["2"].norms
    assert list(norms) == names
    changed = fusion.exchange(2, case.features)
    assert set(changed) == set(names)
    for sample in range(case.batch):
        there = [name for name in names if case.vector(name, sample) is not None]
        sums = {name: _normal(norms[name], case.vector(name, sample)) for name in there}
        for name in names:
            mask = case.features[name].mask[sample]
            others = [sums[other] for other in there if other != name]
            normal = [_normal(norms[name], token) for token in case.tokens(name, sample)]
            if normal:
                expected = [_swapped(fusion, 2, names, (name, token), others) for token in normal]
                torch.testing.assert_close(changed[name].tokens[sample][mask], torch.stack(expected))
            assert not changed[name].tokens[sample][~mask].any()
            assert torch.equal(changed[name].mask, case.features[name].mask)
            if case.features[name].pooled is not None and normal:
                expected = _swapped(fusion, 2, names, (name, sums[name]), others)
                torch.testing.assert_close(changed[name].pooled[sample], expected)


def test_maps_of_the_same_positions_are_exchanged_place_by_place(shrunk):
    torch.manual_seed(0)
    widths = {"depth": 6, "rgb": 6}
    fusion = shrunk(ChannelExchangeFusion(widths, dict.fromkeys(widths, (6,)), by="position"))
    masks = {name: torch.rand(4, 5) < 0.7 for name in widths}
    given = {name: Features.of(torch.randn(4, 5, 6).double(), masks[name]) for name in widths}
    norms = fusion.exchanges["2"].norms
    changed = fusion.exchange(2, given)
    for name, other in (("depth", "rgb"), ("rgb", "depth")):
        for row in range(4):
            for t in range(5):
                if not masks[name][row, t]:
                    assert not changed[name].tokens[row, t].any()
                    continue
                others = [_normal(norms[other], given[other].tokens[row, t])] if masks[other][row, t] else []
                own = (name, _normal(norms[name], given[name].tokens[row, t]))
                expected = _swapped(fusion, 2, list(widths), own, others)
                torch.testing.assert_close(changed[name].tokens[row, t], expected)


def test_maps_of_other_sizes_have_no_positions_in_common():
    fusion = ChannelExchangeFusion({"a": 4, "b": 4}, {"a": (4,), "b": (4,)}, by="position")
    given = {"a": Features.of(torch.randn(2, 5, 4)), "b": Features.of(torch.randn(2, 3, 4))}
    with pytest.raises(
        ValueError, match="needs maps of as many positions; at place 2 they have a 5, b 3: take by=mean"
    ):
        fusion.exchange(2, given)


def test_no_channel_is_exchanged_by_two(shrunk):
    """With all scales at zero each channel is still told by one input at least: the shares are apart."""
    widths = {"a": 7, "b": 5, "c": 6}
    fusion = ChannelExchangeFusion(widths, dict.fromkeys(widths, ()))
    shares = [set(range(*fusion.exchanges["1"].own[name])) for name in widths]
    assert set.union(*shares) == set(range(5))
    assert sum(map(len, shares)) == 5


def test_it_starts_as_concatenation_of_what_is_normalised():
    """No scale is below the threshold; in training the norm is torch's over the rows that are there."""
    torch.manual_seed(0)
    widths = {"a": 6, "b": 4}
    fusion = ChannelExchangeFusion(widths, dict.fromkeys(widths, ())).double()
    given = {name: Features.of(torch.randn(9, d).double(), torch.rand(9) < 0.7) for name, d in widths.items()}
    normal = []
    own = {"a": slice(0, 2), "b": slice(2, 4)}  # of the four channels that both have
    for name, features in given.items():
        part = torch.zeros(9, features.width).double()
        there = features.present()
        norm = nn.BatchNorm1d(features.width).double()
        norm.weight.data[own[name]] = 0.1
        part[there] = norm(features.vector()[there])
        normal.append(part)
    torch.testing.assert_close(fusion(given).vector(), fusion.mix(torch.cat(normal, 1)))


def test_the_penalty_is_on_the_scales_that_may_be_replaced(shrunk):
    widths = {"a": 6, "b": 4}
    fusion = shrunk(ChannelExchangeFusion(widths, {"a": (8,), "b": (8,)}, shrink=0.5))
    given = {name: Features.of(torch.randn(3, d).double()) for name, d in widths.items()}
    assert not fusion(given).penalties
    first, second = (fusion.exchanges[place].norms for place in "21")
    scales = [first["a"].weight[:4], first["b"].weight[4:], second["a"].weight[:2], second["b"].weight[2:]]
    expected = 0.5 * sum(float(scale) for part in scales for scale in part.abs())
    torch.testing.assert_close(fusion.train()(given).penalties["shrink"], torch.full((3,), expected).double())


def test_training_shrinks_scales_that_nothing_needs_and_exchanges_their_channels():
    """The first input is noise: its own channels come to be those of the second."""
    torch.manual_seed(0)
    widths = {"a": 6, "b": 6}
    fusion = ChannelExchangeFusion(widths, dict.fromkeys(widths, ()), width=4)
    head = nn.Linear(4, 2)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.01)
    for _ in range(150):
        x, label = torch.randn(64, 6), torch.arange(2).repeat(32)
        x[:, :3] += 2 * (label.unsqueeze(1) * 2 - 1)
        fused = fusion({"a": Features.of(torch.randn(64, 6)), "b": Features.of(x)})
        loss = nn.functional.cross_entropy(head(fused.vector()), label) + fused.penalties["shrink"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scale = fusion.exchanges["1"].scale("a").abs()
    assert (scale < fusion.exchanges["1"].threshold).sum() >= 2
    one = {"a": Features.of(torch.randn(5, 6)), "b": Features.of(torch.randn(5, 6))}
    exchanged = fusion.eval()._behind(one)
    small = scale < fusion.exchanges["1"].threshold
    normal = fusion.exchanges["1"].norms["b"](one["b"].vector(), torch.ones(5, dtype=torch.bool))
    torch.testing.assert_close(exchanged[1][:, small], normal[:, :3][:, small])


def test_number_of_parameters():
    widths, inner = {"a": 16, "b": 8}, {"a": (4, 6), "b": (5,)}
    fusion = ChannelExchangeFusion(widths, inner, width=6)
    assert fusion.places == (2, 1)
    assert sum(p.numel() for p in fusion.parameters()) == 2 * (6 + 5) + 2 * (16 + 8) + (16 + 8) * 6 + 6


def test_the_places_are_those_that_two_have():
    deep = {"a": (4, 4, 4), "b": (4,), "c": ()}
    widths = dict.fromkeys(deep, 4)
    assert ChannelExchangeFusion(widths, deep).places == (2, 1)
    assert ChannelExchangeFusion(widths, deep, at="last").places == (1,)
    assert ChannelExchangeFusion(widths, deep, at=[2]).places == (2,)
    with pytest.raises(ValueError, match=r"at \[3\]: at place 3 there is a alone; take at=last or at=all"):
        ChannelExchangeFusion(widths, deep, at=[3])
    with pytest.raises(ValueError, match=r"at \[5\]: these encoders have the places 1 to 4"):
        ChannelExchangeFusion(widths, deep, at=[5])
    with pytest.raises(ValueError, match=r"channels are exchanged between inputs; got 1 \(a\)"):
        ChannelExchangeFusion({"a": 4}, {"a": ()})
