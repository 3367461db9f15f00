"""FLOPs against hand counts: a product and its addition are two."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmkit.layers.attention import Attention
from mmkit.layers.recurrent import Recurrent
from mmkit.speed.flops import Flops, flops_per_sample, parameters

B, T, D = 3, 5, 8


class Calls(nn.Module):
    """Calls a module, or a function, on the batch's one input."""

    def __init__(self, function, module=None, *, looks=False):
        super().__init__()
        self.function, self.module, self.looks = function, module, looks

    def forward(self, batch):
        x, mask = batch["input"]["steps"], batch["input"]["mask"]
        if self.looks:  # reads a value, which the meta device has not
            assert mask.sum().item() >= 0
        return self.function(self.module, x, mask)


def batch(lengths=(5, 3, 0)):
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    return {"input": {"steps": torch.randn(B, T, D), "mask": mask}}


def counted(function, module=None, *, looks=False, given=None):
    found = flops_per_sample(Calls(function, module, looks=looks), given or batch())
    assert (found.uncounted, found.reason) == ((), None)
    assert found.per_sample == found.counted
    return found.per_sample


either_way = pytest.mark.parametrize("looks", [False, True], ids=["meta", "cpu"])


@either_way
def test_linear(looks):
    assert counted(lambda m, x, _: m(x), nn.Linear(D, 7), looks=looks) == 2 * T * D * 7


@either_way
def test_convolution(looks):
    module = nn.Conv1d(D, 6, 3, padding=1)
    assert counted(lambda m, x, _: m(x.transpose(1, 2)), module, looks=looks) == 2 * T * 6 * D * 3


@either_way
def test_grouped_convolution_in_two_dimensions(looks):
    module = nn.Conv2d(4, 8, 3, groups=2)
    found = counted(lambda m, x, _: m(x.new_ones(B, 4, 10, 12)), module, looks=looks)
    assert found == 2 * (8 * 10) * 8 * (4 // 2) * 9


@either_way
@pytest.mark.parametrize(("cell", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_cells(cell, gates, looks):
    found = counted(lambda m, x, _: m(x), cell(D, 16, 2, batch_first=True, bidirectional=True), looks=looks)
    first, second = 16 * (D + 16), 16 * (2 * 16 + 16)  # products of a gate, a step and a direction
    assert found == 2 * T * 2 * gates * (first + second)


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3)])
def test_packed_sequences_count_their_real_steps(cell, gates):
    module = Recurrent(D, 16, cell=cell, layers=1, bidirectional=False, dropout=0.0)
    steps = (5 + 3 + 1) / B  # a missing row is run over one step
    assert counted(lambda m, x, mask: m(x, mask), module) == pytest.approx(2 * steps * gates * 16 * (D + 16))


@either_way
@pytest.mark.parametrize("masked", [False, True])
def test_torchs_attention(looks, masked):
    def attend(_, x, mask):
        return F.scaled_dot_product_attention(x, x, x, attn_mask=mask[:, None, :] if masked else None)

    assert counted(attend, looks=looks) == 2 * 2 * T * T * D


@either_way
def test_mmkits_attention(looks):
    found = counted(lambda m, x, mask: m(x, x, mask), Attention(D, 2), looks=looks)
    assert found == 2 * (4 * T * D * D + 2 * T * T * D)


@either_way
def test_torchs_transformer_layer_with_its_fused_fast_path(looks):
    module = nn.TransformerEncoderLayer(D, 2, 16, batch_first=True)
    found = counted(lambda m, x, _: m(x), module, looks=looks)
    assert found == 2 * T * (4 * D * D + 2 * D * 16) + 2 * 2 * T * T * D


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda m, x, _: torch.einsum("btd,bsd->bts", x, x), 2 * T * T * D),
        (lambda m, x, _: [row @ x[0, 0] for row in x], 2 * T * D),
        (lambda m, x, _: [torch.addmv(row[:, 0], row, x[0, 0]) for row in x], 2 * T * D),
        (lambda m, x, _: [row[0] @ row[1] for row in x], 2 * D),
        (lambda m, x, _: torch.addbmm(x.new_ones(T, T), x, x.transpose(1, 2)), 2 * T * T * D),
        (lambda m, x, _: F.normalize(x.softmax(-1) * x), 0),
        (lambda m, x, _: F.interpolate(x, scale_factor=2, mode="linear"), 0),
    ],
    ids=["einsum", "mv", "addmv", "dot", "addbmm", "elementwise", "interpolate"],
)
def test_other_products(function, expected):
    assert counted(function) == expected


@either_way
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda m, x, _: torch.fft.rfft(x), "aten._fft_r2c"),
        (lambda m, x, _: F.bilinear(x, x, x.new_ones(2, D, D)), "aten._trilinear"),
        (lambda m, x, _: torch.cdist(x, x), "aten._cdist_forward"),
    ],
    ids=["fft", "bilinear", "cdist"],
)
def test_a_product_without_a_formula_is_named_and_the_sum_is_unknown(function, name, looks):
    both = Calls(lambda m, x, mask: (m(x), function(m, x, mask)), nn.Linear(D, 2), looks=looks)
    found = flops_per_sample(both, batch())
    assert found == Flops(None, 2 * T * D * 2, (name,), f"no formula for {name}")


def test_a_custom_operation_is_named():
    @torch.library.custom_op("mmkit_tests::secret", mutates_args=())
    def secret(x: torch.Tensor) -> torch.Tensor:
        return x @ x.mT

    assert flops_per_sample(Calls(lambda m, x, _: secret(x)), batch()).uncounted == ("mmkit_tests.secret",)


def test_a_model_that_cannot_run_has_a_reason():
    found = flops_per_sample(Calls(lambda m, x, _: m(x), nn.Linear(D + 1, 2)), batch())
    assert found.per_sample is None
    assert "neither on the meta device nor on CPU: RuntimeError" in found.reason


def test_a_model_that_cannot_be_copied_has_a_reason():
    module = Calls(lambda m, x, _: x)
    vars(module)["lock"] = (x for x in ())
    found = flops_per_sample(module, batch())
    assert found.per_sample is None
    assert "cannot be copied: TypeError" in found.reason


def test_a_batch_without_tensors_has_a_reason():
    assert "holds no tensor" in flops_per_sample(nn.Linear(1, 1), {"input": {}}).reason


class Latents(nn.Module):
    """Its output is its parameter, which no operation has made."""

    def __init__(self):
        super().__init__()
        self.values = nn.Parameter(torch.randn(4, D))

    def forward(self):
        return self.values


@either_way
def test_a_module_may_return_its_parameter(looks):
    assert counted(lambda m, x, _: x @ m().mT, Latents(), looks=looks) == 2 * T * D * 4


@either_way
def test_the_model_is_not_changed(looks):
    module = Calls(lambda m, x, _: m(x.mean(1)), nn.Sequential(nn.BatchNorm1d(D), nn.Dropout()), looks=looks).train()
    given = batch()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    random_state, fast, onednn = (
        torch.get_rng_state(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.mkldnn.enabled,
    )
    flops_per_sample(module, given)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == (fast, onednn)


def test_parameters_count_once_and_trained_ones_apart():
    first, second = nn.Linear(3, 4), nn.Linear(3, 4)
    second.weight = first.weight
    second.bias.requires_grad = False
    assert parameters(nn.Sequential(first, second)) == (12 + 4 + 4, 12 + 4)
