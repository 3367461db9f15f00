"""Plans of suites: combinations, baselines and options; no data is read."""

import dataclasses

import pytest
import torch

from mmkit.errors import UnavailableError, UsageError
from mmkit.experiments.plan import plan
from mmkit.plugin import HeadSpec
from mmkit.registry.catalog import Entry, installed
from mmkit.registry.options import Choice
from mmkit.tasks.digits import Digits
from mmkit.transforms.truth import Categories


@pytest.fixture(autouse=True)
def _no_data(monkeypatch):
    def refuse(self, name):
        raise AssertionError(f"planning read the {name} split")

    monkeypatch.setattr(Digits, "split", refuse)


def planned(**rest):
    return plan(installed(), **rest)


def labels(found):
    return [combination.label for combination in found]


def test_the_default_is_three_fusions_on_digits_with_each_input_alone_and_five_seeds():
    asked = planned()
    assert (asked.task.name, labels(asked.combinations), asked.seeds) == (
        "digits",
        ["concat", "log-pool", "attention"],
        5,
    )
    assert sorted(labels(asked.baselines)) == ["only:spoken", "only:written"]
    assert {str(c) for c in asked.combinations[0].encoders.values()} == {"cnn", "fcn"}
    assert asked.training.min_steps == 300  # what the task recommends


@pytest.mark.parametrize("given", [{"training": {"epochs": 3}}, {"options": ["train.epochs=3"]}])
def test_a_given_number_of_epochs_is_not_raised(given):
    assert planned(**given).training.plan(32) == (3, 1)
    assert planned(**given | {"options": ["train.epochs=3", "train.min_steps=7"]}).training.plan(32) == (7, 1)
    assert planned(training={"lr": 0.1}).training.plan(32) == (300, 1)


def test_a_suite_is_the_product_of_its_axes():
    asked = planned(
        encoders={"written": ["cnn", "lenet"], "spoken": ["fcn", "series-rnn", "fcn:width=16"]},
        fusions=["concat,sum", "low-rank:rank=2"],
        heads=["linear", "mlp"],
        seed=7,
    )
    assert len(asked.combinations) == 2 * 3 * 3 * 2
    assert len(asked.baselines) == (2 + 3) * 2  # each encoder with each head, alone
    assert len({str(run.document()) for run in asked.runs()}) == len(asked.runs()) == 36 + 10
    assert {run.seed for run in asked.runs()} == {7}


def test_baselines_may_be_left_out():
    assert planned(baselines=False).baselines == ()


def test_all_is_every_fusion_that_can_run_and_lists_the_others(distribution):
    distribution(
        "acme",
        """
        from mmkit.plugin import FusionSpec, hookimpl

        @hookimpl
        def mmkit_fusions():
            yield FusionSpec("trio", "THIS:X", "For three", min_inputs=3)
            yield FusionSpec("heavy", "THIS:X", "Needs what is not here", requires=("not-on-any-index",))
        """,
    )
    asked = planned(fusions=["all"])
    ours = [e.name for e in installed().available("fusion") if e.distribution == "mmkit-core"]
    assert sorted(labels(asked.combinations)) == sorted(ours)
    reasons = dict(asked.left_out)
    assert reasons["fusion acme/trio"] == "takes 3 or more inputs; there are 2"
    assert "not-on-any-index" in reasons["fusion acme/heavy"]
    heads = dict(planned(heads=["all"]).left_out)
    assert heads["head mmkit-core/regression"] == "predicts scalar, and the target of the task is classes"
    assert [name for name in heads if name.startswith("head mmkit-core/")] == ["head mmkit-core/regression"]


class TestEncoders:
    def test_a_modality_names_all_inputs_of_it_and_an_input_beats_it(self):
        asked = planned(task="synthetic-xor", encoders={"series": ["fcn:width=16"], "left": ["series-rnn"]})
        names = {name: choice.name for name, choice in asked.combinations[0].encoders.items()}
        assert names == {"left": "series-rnn", "right": "fcn"}

    def test_the_error_of_an_unknown_input_lists_the_inputs(self):
        with pytest.raises(UsageError, match="the task has no input writen; did you mean written"):
            planned(encoders={"writen": ["cnn"]})

    def test_the_task_recommends_encoders_for_its_own_inputs(self):
        class Misnamed(Digits):
            def __init__(self):
                super().__init__()
                self.encoders = {"writen": "lenet"}

        with pytest.raises(UsageError, match="an encoder for writen, which is no input; did you mean writt"):
            planned(task=Misnamed)

    def test_an_encoder_of_another_modality_is_an_error(self):
        with pytest.raises(UsageError, match="encoder bag reads text, and input written is image"):
            planned(encoders={"written": ["bag"]})

    def test_without_a_default_the_only_encoder_is_taken_and_several_are_an_error(self, distribution):
        reader = """
            from mmkit.plugin import EncoderSpec, ModalitySpec, TaskSpec, hookimpl

            class Reader:
                def __init__(self, transform): ...
                class reads:
                    def __init__(self): ...

            @hookimpl
            def mmkit_encoders():
                yield EncoderSpec("NAME", "THIS:Reader", "A nose", modality="scent")
        """
        world = """
            class Scent:
                pass

            class Kitchen:
                inputs = {"smell": "scent"}
                target, metric, encoders, training = "classes", "accuracy", {}, {}
                def __init__(self): ...

            @hookimpl
            def mmkit_modalities():
                yield ModalitySpec("scent", "THIS:Scent", "What is in the air")

            @hookimpl
            def mmkit_tasks():
                yield TaskSpec("kitchen", "THIS:Kitchen", "Smells", modalities=(("smell", "scent"),), target="classes")
        """
        distribution("nose", reader.replace("NAME", "nose") + world)
        asked = planned(task="kitchen", fusions=["concat"])
        assert asked.combinations[0].encoders["smell"].name == "nose"
        distribution("more", reader.replace("NAME", "snout"))
        with pytest.raises(
            UsageError, match="input smell needs an encoder of scent: choose one of nose/nose, more/snout"
        ):
            planned(task="kitchen", fusions=["concat"])


class TestOptions:
    def test_dotted_options_override_options_in_names(self):
        asked = planned(
            fusions=["low-rank:rank=2", "concat"],
            encoders={"written": ["cnn:width=16"]},
            options=[
                "fusion.rank=8",
                "encoder.written.width=32",
                "encoder.series.width=24",
                "train.lr=0.1",
                "head.dropout=0.3",
            ],
            heads=["mlp:dropout=0.2"],
        )
        assert asked.combinations[0].label == "low-rank:rank=8"
        assert asked.combinations[1].label == "concat"  # it has no rank
        assert asked.combinations[0].encoders["written"].options["width"] == 32
        assert asked.combinations[0].encoders["spoken"].options["width"] == 24
        assert asked.combinations[0].head.options["dropout"] == 0.3
        assert asked.training.lr == 0.1

    def test_training_options_come_from_task_then_call_then_dotted(self):
        assert planned().training.lr == 2e-3
        assert planned(training={"lr": 3e-3}).training.lr == 3e-3
        assert planned(training={"lr": 3e-3}, options=["train.lr=4e-3"]).training.lr == 4e-3

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("fusion.rank=2", "no chosen component has that option"),
            ("encoder.writen.width=2", r"there is no encoder.writen here; did you mean encoder.written\?"),
            ("train.lrr=2", r"did you mean lr\?"),
            ("lr=2", "-o takes fusion.key=value.*; got lr=2"),
            ("fusion.rank", "-o takes fusion.key=value.*; got fusion.rank"),
        ],
    )
    def test_an_option_that_no_component_takes_is_an_error(self, given, message):
        with pytest.raises(UsageError, match=message):
            planned(options=[given])

    @pytest.mark.parametrize(
        "given", ["train.lr=fast", "train.epochs=0", "train.lr=-1", "train.sampler=magic", "fusion.heads=2.5"]
    )
    def test_an_option_of_the_wrong_type_or_out_of_range_is_an_error(self, given):
        with pytest.raises(UsageError, match=given.partition(".")[2].partition("=")[0]):
            planned(options=[given])

    @pytest.mark.parametrize(
        ("rest", "message"),
        [
            ({"seeds": 0}, "--seeds takes 1 or more; got 0"),
            ({"seeds": "3"}, "--seeds takes 1 or more; got '3'"),
            ({"seed": 0.5}, r"--seed takes 0 or more; got 0\.5"),
            ({"seed": -1}, "--seed takes 0 or more; got -1"),
            ({"protocol": "fast"}, "--protocol takes quick or full; got fast"),
            ({"same_within": 0.0}, "--same-within takes more than 0; got 0"),
            ({"fusions": ["concta"]}, "there is no fusion concta; did you mean concat"),
            ({"task": "digit"}, "there is no task digit; did you mean digits"),
            ({"heads": ["regression"]}, "head regression predicts scalar, and the target of the task is classes"),
            ({"fusions": ["concat:rank=2"]}, "rank"),
        ],
    )
    def test_an_impossible_plan_is_an_error(self, rest, message):
        with pytest.raises(UsageError, match=message):
            planned(**rest)


def test_a_modality_of_the_same_values_is_read_by_the_same_encoders(distribution):
    distribution(
        "acme",
        """
        from mmkit.plugin import ModalitySpec, hookimpl

        @hookimpl
        def mmkit_modalities():
            yield ModalitySpec("radio", "mmkit.modalities.audio:Audio", "Waves", encoder="mel-cnn", values="audio")
            yield ModalitySpec("scan", "mmkit.modalities.image:Image", "Pages", values="image")
        """,
    )

    class Waves(Digits):
        def __init__(self):
            super().__init__()
            self.inputs, self.encoders = {"written": "scan", "spoken": "radio"}, {"written": "lenet"}

    asked = planned(task=Waves, fusions=["concat"], encoders={"spoken": ["mel-cnn", "mel-rnn"], "scan": ["resnet"]})
    assert [str(c.encoders["spoken"]) for c in asked.combinations] == ["mel-cnn", "mel-rnn"]
    assert {str(c.encoders["written"]) for c in asked.combinations} == {"resnet"}
    assert {str(c) for c in planned(task=Waves).combinations[0].encoders.values()} == {"lenet", "mel-cnn"}
    with pytest.raises(UsageError, match=r"encoder fcn reads series, and input [a-z]+ is audio or radio"):
        planned(task=Waves, encoders={"spoken": ["fcn"]})


class TestTexts:
    @pytest.fixture
    def without(self):
        """What is installed, without heads for texts."""
        found = installed()
        entries = [e for e in found.entries if e.kind != "head" or (e.spec and "text" not in vars(e.spec)["targets"])]
        return dataclasses.replace(found, entries=tuple(entries))

    def test_without_a_head_for_texts_the_error_names_a_plugin_that_has_one(self, without):
        with pytest.raises(UnavailableError, match=r"no installed head predicts text; install .* such as mmkit-"):
            plan(without, task="clipart-captions")

    def test_an_unusable_head_is_named_with_its_reason(self, without):
        spec = HeadSpec("writer", "a.b:C", "Writes", targets=("text",))
        entry = Entry("head", "writer", "acme/writer", "acme", "1.0", "missing-deps", "needs pens", spec=spec)
        catalog = dataclasses.replace(without, entries=(*without.entries, entry))
        with pytest.raises(UnavailableError, match="predicts text; acme/writer is missing-deps: needs pens"):
            plan(catalog, task="clipart-captions")

    def test_outputs_that_are_no_vectors_are_not_combined(self, without):
        class Writer(torch.nn.Module):
            reads = Categories

        spec = HeadSpec("writer", "", "", targets=("text",))
        writer = Choice("head", "writer", spec, (Writer,), {})
        asked = plan(without, task="clipart-captions", heads=[writer], fusions=["all"])
        fusions = [entry for entry in without.available("fusion") if entry.spec.combines in {"outputs", "both"}]
        outputs = {entry.name for entry in fusions}
        assert {"late", "joint-pool"} <= outputs
        out = {name.rpartition("/")[2] for name, why in asked.left_out if "combines outputs" in why}
        assert out == outputs
        assert all("inputs" in why for name, why in asked.left_out if name.rpartition("/")[2] not in outputs)
        with pytest.raises(UsageError, match="fusion late combines outputs that are vectors"):
            plan(without, task="clipart-captions", heads=[writer], fusions=["late"])
