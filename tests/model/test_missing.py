"""What a fusion sees in place of missing inputs, and inputs that are left out in training."""

import itertools

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

import mmkit
from mmkit.contract import Features
from mmkit.errors import UsageError
from mmkit.experiments.plan import plan
from mmkit.model import missing
from mmkit.model.missing import Absence, Missing, left_after
from mmkit.registry.catalog import installed
from mmkit.testing import tiny_task
from tests.model.network_cases import FUSIONS, SPECS, absent, in_float64, part, total, trained_from

WIDTHS = {"a": 4, "b": 3, "c": 5}
TASK = tiny_task({"a": "series", "b": "table"}, train=24)
QUICK = {"epochs": 2, "min_steps": 0, "batch_size": 8}


def drawn(names="abc", rows=40, seed=0):
    """Features with holes and missing rows, in float64; `b` is pooled and `c` is one token."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in names:
        tokens = 1 if name == "c" else 3
        values = torch.randn(rows, tokens, WIDTHS[name], generator=generator, dtype=torch.float64)
        mask = torch.rand(rows, tokens, generator=generator) > 0.4
        mask[:2] = False  # rows without any input
        pooled = torch.randn(rows, WIDTHS[name], generator=generator, dtype=torch.float64) if name == "b" else None
        found[name] = Features.of(values, mask, pooled)
    return found


def module(kind, names="abc", **rest):
    torch.manual_seed(0)
    return Absence(kind, **rest).module({name: WIDTHS[name] for name in names}).double()


class TestDropout:
    def test_one_of_those_that_are_there_is_always_left(self):
        torch.manual_seed(0)
        present = torch.rand(20_000, 3) < 0.6
        for draw in ("inputs", "subsets"):
            kept = left_after(present, 0.7, draw)
            assert torch.equal(kept.any(1), present.any(1))
            assert not (kept & ~present).any()

    @pytest.mark.parametrize(("p", "inputs"), [(0.5, 3), (0.2, 2), (1.0, 2)])
    def test_each_is_kept_as_often_as_the_formula_says(self, p, inputs):
        """(1 - p) + p^M / M, to five standard errors."""
        torch.manual_seed(0)
        count = 200_000
        kept = left_after(torch.ones(count, inputs, dtype=torch.bool), p).double().mean(0)
        expected = (1 - p) + p**inputs / inputs
        assert (kept - expected).abs().max() < 5 * (0.25 / count) ** 0.5

    @pytest.mark.parametrize("there", [[True, True, True], [True, False, True]])
    def test_every_subset_that_is_not_empty_is_drawn_as_often(self, there):
        torch.manual_seed(0)
        count = 70_000
        kept = left_after(torch.tensor([there]).expand(count, 3), 1.0, "subsets")
        codes = (kept * torch.tensor([1, 2, 4])).sum(1).bincount(minlength=8)
        subsets = {
            sum(2**i for i in chosen)
            for size in (1, 2, 3)
            for chosen in itertools.combinations([i for i in range(3) if there[i]], size)
        }
        assert set(codes.nonzero().flatten().tolist()) == subsets
        share = 1 / len(subsets)
        assert (codes[list(subsets)] / count - share).abs().max() < 5 * (share / count) ** 0.5

    def test_a_row_keeps_its_inputs_with_probability_one_minus_p_where_subsets_are_drawn(self):
        torch.manual_seed(0)
        kept = left_after(torch.ones(100_000, 2, dtype=torch.bool), 0.3, "subsets")
        assert abs(kept.all(1).double().mean() - (0.7 + 0.3 / 3)) < 0.01

    def test_nothing_is_left_out_in_evaluation_without_a_probability_or_of_one_input(self):
        assert Absence(dropout=0.5).module({"a": 4}) is None
        assert Absence().module(WIDTHS) is None
        features = drawn()
        for name, seen in module("neutral", dropout=0.9).eval()(features).items():
            assert seen is features[name]

    def test_what_is_left_out_is_missing(self):
        features = drawn()
        seen = module("neutral", dropout=0.5).train()(features)
        gone = {name: features[name].present() & ~seen[name].present() for name in seen}
        assert all(rows.any() for rows in gone.values())
        for name, rows in gone.items():
            assert not seen[name].tokens[rows].any()
            assert not seen[name].vector()[rows].any()
            kept = seen[name].present()
            assert torch.equal(seen[name].tokens[kept], features[name].tokens[kept])


class TestTokens:
    @pytest.mark.parametrize("names", ["ab", "abc"])
    @pytest.mark.parametrize("kind", ["token", "bank"])
    def test_row_by_row(self, kind, names):
        """Against the obvious form: one row and one input at a time, a bank as a dictionary of patterns."""
        features, missing = drawn(names), module(kind, names).eval()
        seen = missing(features)
        order = sorted(names)
        patterns = [p for p in itertools.product([False, True], repeat=len(order)) if any(p)]
        place = {pattern: sum(2**i for i, gone in enumerate(pattern) if gone) - 1 for pattern in patterns}
        assert len(set(place.values())) == len(patterns) == 2 ** len(order) - 1
        for row in range(40):
            gone = tuple(not bool(features[name].mask[row].any()) for name in order)
            for number, name in enumerate(order):
                before, after = features[name], seen[name]
                if not gone[number]:
                    assert torch.equal(after.tokens[row], before.tokens[row])
                    assert torch.equal(after.mask[row], before.mask[row])
                    assert torch.equal(after.vector()[row], before.vector()[row])
                    continue
                token = missing.tokens[name][place[gone] if kind == "bank" else 0]
                assert torch.equal(after.tokens[row, 0], token)
                assert not after.tokens[row, 1:].any()
                assert after.mask[row].tolist() == [True] + [False] * (after.mask.shape[1] - 1)
                assert torch.equal(after.vector()[row], token)

    @pytest.mark.parametrize("kind", ["token", "bank"])
    def test_what_is_left_out_teaches_its_token(self, kind):
        features = {name: Features.of(torch.randn(64, 1, WIDTHS[name]).double()) for name in "abc"}
        missing = module(kind, dropout=0.5)
        sum(part.vector().square().sum() for part in missing.train()(features).values()).backward()
        assert all(bool(token.grad.any()) for token in missing.tokens.values())

    def test_of_a_bank_only_the_pattern_at_hand_learns(self):
        features = drawn()
        features["a"] = Features.of(features["a"].tokens, torch.zeros(40, dtype=torch.bool).unsqueeze(1).expand(40, 3))
        for name in "bc":
            features[name] = Features.of(torch.randn(40, 1, WIDTHS[name]).double())
        missing = module("bank").eval()
        missing(features)["a"].vector().sum().backward()
        assert missing.tokens["a"].grad.abs().sum(1).nonzero().flatten().tolist() == [0]

    def test_too_many_inputs_are_told(self):
        with pytest.raises(ValueError, match=r"train\.missing=bank takes 10 inputs at most; there are 11"):
            Absence("bank").module({f"m{i}": 2 for i in range(11)})
        with pytest.raises(ValueError, match=r"train\.modality_draw=subsets takes 20 inputs at most"):
            Absence(dropout=0.1, draw="subsets").module({f"m{i}": 2 for i in range(21)})


class TestInAModel:
    @pytest.mark.parametrize("kind", ["token", "bank"])
    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_every_fusion_sees_and_teaches_the_tokens(self, fusion, kind):
        if SPECS[fusion].combines == "both" or SPECS[fusion].detaches:
            pytest.skip("it takes no tokens, or passes no gradient on")
        step, data = trained_from(fusion, absence=Absence(kind, 0.3), objectives=["unimodal"])
        with torch.no_grad():  # a gate that starts at zero hides what stands behind it
            for parameter in step.model.fusion.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        batch, truth = data.batch(torch.arange(16))
        batch = {name: absent(leaves, [0]) for name, leaves in batch.items()}  # a row without any input
        torch.manual_seed(0)
        losses, output = step.train()(batch, truth)
        total(losses).backward()
        assert torch.isfinite(output.output).all()
        tokens = step.model.missing.tokens
        assert all(torch.isfinite(p.grad).all() for p in step.parameters() if p.grad is not None)
        assert all(bool(token.grad.any()) for token in tokens.values())

    @pytest.mark.parametrize("fusion", ["concat", "late"])
    def test_heads_of_single_inputs_and_features_tell_of_the_absence(self, fusion):
        step, data = trained_from(fusion, absence=Absence("token"), objectives=["unimodal"])
        plain, _ = trained_from(fusion, objectives=["unimodal"])
        plain.load_state_dict({n: t for n, t in step.state_dict().items() if "missing" not in n})
        batch, _ = data.batch(torch.arange(8))
        batch["left"] = absent(batch["left"], [1, 5])
        found, expected = step.eval().model(batch), plain.eval().model(batch)
        torch.testing.assert_close(found.unimodal, expected.unimodal)
        assert not found.features["left"].present()[[1, 5]].any()
        assert not torch.equal(found.output[1], expected.output[1])

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_rows_without_gaps_are_what_they_were(self, fusion):
        if SPECS[fusion].combines == "both":
            pytest.skip("it takes no tokens")
        step, data = trained_from(fusion, absence=Absence("bank", 0.5))
        plain, _ = trained_from(fusion)
        plain.load_state_dict({n: t for n, t in step.state_dict().items() if "missing" not in n})
        batch, _ = data.batch(torch.arange(64))
        here = torch.stack([leaves["mask"].flatten(1).any(1) for leaves in batch.values()]).all(0)
        found, expected = step.eval().model(batch).output, plain.eval().model(batch).output
        assert here.any()
        assert not here.all()
        torch.testing.assert_close(found[here], expected[here])

    @pytest.mark.parametrize("fusion", ["joint-pool", "evidential"])
    def test_a_fusion_of_features_and_outputs_takes_no_tokens(self, fusion):
        with pytest.raises(
            UsageError, match=f"fusion {fusion}.* reads predictions beside them; take train.missing=neu"
        ):
            trained_from(fusion, absence=Absence("token"))

    @pytest.mark.parametrize(
        ("fusion", "modality", "encoder"),
        [
            *((one, "series", "fcn:width=16,layers=3") for one in ("mmtm", "daft", "channel-exchange:at=all")),
            *((one, "series", "fcn:width=16,layers=3") for one in ("film:at=all", "central", "concat")),
            *((one, "table", "ft-transformer:width=16,heads=2") for one in ("mmtm", "central")),  # a mask is [B]
        ],
    )
    @pytest.mark.parametrize("kept", [0, 1])
    def test_also_within_encoders_what_is_left_out_is_as_if_it_were_missing(
        self, monkeypatch, fusion, modality, encoder, kept
    ):
        def draw(present, *_):
            return present & (torch.arange(present.shape[1]) == kept)

        monkeypatch.setattr(missing, "left_after", draw)
        task, encoders = f"synthetic-unique:inputs=2,modality={modality},missing=0.0,train=64", {modality: encoder}
        step, data = trained_from(fusion, task=task, encoders=encoders, absence=Absence("neutral", 1.0))
        model, (batch, _) = step.model.double().eval(), data.batch(torch.arange(16))
        with torch.no_grad():
            for weights in model.fusion.parameters():
                weights.add_(0.3 * torch.randn_like(weights))
            batch = in_float64(batch)
            (out,) = [given for place, given in enumerate(model.names) if place != kept]
            gone = {**batch, out: absent(batch[out], range(16))}
            expected = model(gone).output
            model.missing.training = True
            torch.testing.assert_close(model(batch).output, expected)

    def test_a_fusion_of_features_and_outputs_sees_neither_of_what_is_left_out(self):
        step, data = trained_from("joint-pool", absence=Absence("neutral", 1.0))
        batch, _ = data.batch(torch.arange(16))
        seen = []
        step.model.fusion.register_forward_pre_hook(lambda _, given: seen.append(given))
        step.train().model(batch)
        ((features, outputs),) = seen
        there = torch.stack([part.present() for part in features.values()])
        assert torch.equal(there, torch.stack([part.present() for part in outputs.values()]))
        assert torch.equal(
            there.sum(0), torch.stack([one["mask"].flatten(1).any(1) for one in batch.values()]).any(0).long()
        )
        assert all(part.vector()[~part.present()].eq(0).all() for part in outputs.values())

    def test_all_else_starts_from_the_same_weights(self):
        torch.manual_seed(0)
        with_tokens = trained_from("concat", absence=Absence("bank", 0.2))[0].state_dict()
        torch.manual_seed(0)
        plain = trained_from("concat")[0].state_dict()
        assert len(with_tokens) == len(plain) + 3
        for name, tensor in plain.items():
            assert torch.equal(tensor, with_tokens[name]), name

    @pytest.mark.parametrize("absence", [Absence("token", 0.2), Absence("bank", 0.2, "subsets")], ids=str)
    def test_it_is_one_graph(self, absence):
        torch.compiler.reset()
        step, data = trained_from("attention", absence=absence)
        batch, truth = data.batch(torch.arange(8))
        compiled = torch.compile(step.eval(), fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(batch, truth)[0], step(batch, truth)[0])
        torch.compile(step.train(), fullgraph=True, backend="eager")(batch, truth)  # raises where it is none

    @pytest.mark.parametrize("kind", ["token", "bank"])
    @pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch.export.load's own
    def test_an_exported_model_has_it(self, kind, tmp_path):
        step, data = trained_from("concat", absence=Absence(kind, 0.2))
        model = step.eval().model
        both, _ = data.batch(torch.arange(8))
        batch, other = part(both, slice(0, 4)), part(both, slice(4, 8))
        torch.export.save(torch.export.export(model, (batch,)), tmp_path / "model.pt2")
        other["left"] = absent(other["left"], [0, 2])
        found = torch.export.load(tmp_path / "model.pt2").module()(other)
        torch.testing.assert_close(found.output, model(other).output)

    def test_seeds_side_by_side_draw_for_themselves(self):
        torch.manual_seed(0)
        steps = [trained_from("concat", absence=Absence("bank", 0.5))[0].eval() for _ in range(2)]
        _, data = trained_from("concat")
        batch, truth = data.batch(torch.arange(8))
        parameters, buffers = stack_module_state(steps)

        def one(parameters, buffers):
            return functional_call(steps[0], (parameters, buffers), (batch, truth))[0]["head"]

        found = vmap(one, randomness="different")(parameters, buffers)
        torch.testing.assert_close(found, torch.stack([step(batch, truth)[0]["head"] for step in steps]))
        missing = Missing({"a": 4, "b": 3}, Absence("neutral", 0.5)).train()
        features = {name: torch.ones(2, 200, 1, WIDTHS[name]) for name in "ab"}

        def left(a, b):
            return missing({"a": Features.of(a), "b": Features.of(b)})["a"].present()

        kept = vmap(left, randomness="different")(features["a"], features["b"])
        assert not torch.equal(kept[0], kept[1])


class TestAsOptions:
    @pytest.mark.parametrize("kind", ["token", "bank"])
    def test_a_saved_model_answers_with_its_tokens(self, kind, tmp_path):
        model, record = mmkit.fit(
            task=TASK, fusion="concat", training={**QUICK, "missing": kind, "modality_dropout": 0.5}, device="cpu"
        )
        assert record.run["training"]["missing"] == kind
        assert record.run["training"]["modality_dropout"] == 0.5
        model.save(tmp_path / "model")
        row = TASK().split("test").inputs["a"][0]
        samples = [{"a": row}, {"b": {"x": 1.0}}, {}]
        loaded = mmkit.load(tmp_path / "model")
        assert loaded.module.missing.absence == Absence(kind)
        assert loaded.predict(samples) == model.predict(samples)
        with torch.no_grad():
            for token in loaded.module.missing.tokens.values():
                token.add_(1)
        assert all(a != b for a, b in zip(loaded.predict(samples), model.predict(samples), strict=True))

    def test_a_model_without_them_has_no_module(self):
        model, _ = mmkit.fit(task=TASK, fusion="concat", training=QUICK, device="cpu")
        assert model.module.missing is None

    def test_a_training_that_cannot_teach_them_says_so(self, capsys):
        mmkit.fit(task=TASK, fusion="concat", training={**QUICK, "missing": "token"}, device="cpu")
        assert "no training sample lacks an input" in capsys.readouterr().err
        mmkit.fit(task=TASK, fusion="concat", training={**QUICK, "modality_dropout": 0.5}, device="cpu")
        assert "lacks an input" not in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["train.missing=zero", "train.modality_dropout=2", "train.modality_draw=all"])
    def test_other_values_are_refused(self, option):
        with pytest.raises(UsageError, match=f"option {option[6:].partition('=')[0]} takes"):
            plan(installed(), task=TASK, fusions=["concat"], options=[option])
