"""Teachers in a training step: found in a folder, frozen, and fed as the model is."""

import json
from dataclasses import replace

import pytest
import torch

from mmkit.data.splits import splits_of
from mmkit.data.subset import with_truth
from mmkit.errors import UsageError
from mmkit.experiments.plan import plan
from mmkit.experiments.remembering import remembering
from mmkit.experiments.run import Run, execute
from mmkit.experiments.taught import check_teachers
from mmkit.model.assembly import Transforms
from mmkit.model.description import signed
from mmkit.model.exporting.signing import hash_of
from mmkit.model.teachers import loaded
from mmkit.model.trained import MultimodalModel
from mmkit.registry.catalog import installed
from mmkit.system.settings import Settings
from mmkit.training.optimisation import Training
from tests.model.network_cases import trained_from

TASK = "synthetic-unique:inputs=2,missing=0.3,train=64"
ENCODER = "fcn:width=16,layers=1"
WIDER = "fcn:width=24,layers=1"


def run_of(fusion, encoder=ENCODER, task=TASK, **rest):
    """A short run of a fusion, or of `only:INPUT`."""
    only = fusion.startswith("only:")
    asked = plan(installed(), task=task, fusions=["concat" if only else fusion], encoders={"series": [encoder]}, **rest)
    combination = asked.combinations[0]
    if only:
        name = fusion.removeprefix("only:")
        combination = replace(combination, encoders={name: combination.encoders[name]}, fusion=None)
    return Run(asked.task, combination, training=Training(epochs=1, min_steps=0), settings=Settings("cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a teacher for each input; that of `right` is wider."""
    root = tmp_path_factory.mktemp("teachers")
    for name, encoder in (("left", ENCODER), ("right", WIDER)):
        run = run_of(f"only:{name}", encoder)
        splits = run.splits(installed())
        model = execute(run, splits)[1]
        remembering(model, splits).save(root / name)
    return root


def fitted(run, splits):
    train = with_truth(splits("train"))
    return Transforms.fitted(run.combination, splits.task.target, train.inputs, train.truth)


def step_of(folder, encoder=ENCODER, options="", task=TASK, **rest):
    objective = f"distillation:teachers={folder}{options}"
    return trained_from("concat", task, {"series": encoder}, objectives=[objective], **rest)


@pytest.mark.parametrize("options", ["", ",of=outputs"])
def test_teachers_learn_nothing_and_the_model_learns_of_them(folder, options):
    step, data = step_of(folder, options=options)
    before = {name: tensor.clone() for name, tensor in step.teachers.state_dict().items()}
    step.train()
    assert not any(module.training for module in step.teachers.modules())
    assert step.model.training
    batch, truth = data.batch(torch.arange(16))
    losses, output = step(batch, truth)
    assert sorted(output.teachers) == ["left", "right"]
    for one in output.teachers.values():
        assert not one.output.requires_grad
        assert not one.fused.tokens.requires_grad
    losses["objective.distillation"].backward()
    assert all(p.grad is None and not p.requires_grad for p in step.teachers.parameters())
    for encoder in step.model.encoders.values():
        assert any(p.grad is not None and p.grad.any() for p in encoder.parameters())
    optimizer = torch.optim.SGD([p for p in step.parameters() if p.requires_grad], 0.1)
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in step.teachers.state_dict().items())


def test_a_teacher_finds_what_the_saved_model_finds(folder):
    step, data = step_of(folder)
    batch, truth = data.batch(torch.arange(16))
    _, output = step(batch, truth)
    for name, found in output.teachers.items():
        saved = loaded_model(folder / name)
        with torch.no_grad():
            expected = saved({name: batch[name]})
        assert torch.equal(found.output, expected.output)
        assert torch.equal(found.fused.tokens, expected.features[name].tokens)


def loaded_model(folder):
    return MultimodalModel.load(folder).module


def test_a_model_that_begins_as_its_teachers_has_nothing_to_learn_of_them(folder):
    step, data = step_of(folder, task=TASK)
    step.model.encoders["left"].load_state_dict(step.teachers["left"].encoders["left"].state_dict())
    batch, truth = data.batch(torch.arange(16))
    batch["right"] = {**batch["right"], "mask": torch.zeros_like(batch["right"]["mask"])}
    losses, _ = step.eval()(batch, truth)
    assert losses["objective.distillation"] == 0


def test_the_model_starts_as_without_teachers(folder):
    torch.manual_seed(0)
    with_teachers = step_of(folder)[0].model.state_dict()
    torch.manual_seed(0)
    without = trained_from("concat", TASK, {"series": ENCODER})[0].model.state_dict()
    assert with_teachers.keys() == without.keys()
    assert all(torch.equal(tensor, with_teachers[name]) for name, tensor in without.items())


def test_mixup_mixes_what_teachers_find_as_what_the_model_finds(folder):
    """With the same encoder the mixed features are the same, too."""
    step, data = step_of(folder, mixup=0.5)
    step.model.encoders["left"].load_state_dict(step.teachers["left"].encoders["left"].state_dict())
    step.train()
    step.model.encoders["left"].eval()
    batch, truth = data.batch(torch.arange(32))
    _, output = step(batch, truth)
    torch.testing.assert_close(output.teachers["left"].fused.tokens, output.features["left"].tokens)
    plain = step.model.encoders["left"](batch["left"]).tokens
    assert not torch.allclose(plain, output.features["left"].tokens)


def test_the_id_of_a_run_hangs_on_the_weights_of_its_teachers(folder, tmp_path):
    for name in ("left", "right"):
        (tmp_path / name).symlink_to(folder / name)
    run = run_of("concat", objectives=[f"distillation:teachers={tmp_path}"])
    splits = splits_of(run.task, installed(), run.settings)
    first = run.id(splits)
    assert run.id(splits) == first
    other = run_of("only:left")
    other = replace(other, seed=1)
    (tmp_path / "left").unlink()
    execute(other)[1].save(tmp_path / "left")
    assert run.id(splits) != first


def test_a_model_loads_without_its_teachers(folder, tmp_path):
    run = run_of("concat", objectives=[f"distillation:teachers={tmp_path / 'gone'}"])
    (tmp_path / "gone").mkdir()
    for name in ("left", "right"):
        (tmp_path / "gone" / name).symlink_to(folder / name)
    record, model = execute(run)
    assert record.status == "ok"
    assert {"teacher left", "teacher right"} <= record.code.keys()
    model.save(tmp_path / "model")
    for name in ("left", "right"):
        (tmp_path / "gone" / name).unlink()
    loaded_model(tmp_path / "model")


def test_of_several_models_that_with_the_encoder_of_the_model_is_taken(folder, tmp_path):
    for name in ("left", "right"):
        (tmp_path / name).symlink_to(folder / name)
    run = run_of("only:left", WIDER)
    execute(run)[1].save(tmp_path / "wider")
    step, _ = step_of(tmp_path)
    assert step.teachers["left"].encoders["left"].width == 16
    (tmp_path / "again").symlink_to(folder / "left")
    with pytest.raises(UsageError, match="has 2 models of input left alone: again, left; keep one"):
        step_of(tmp_path)


def test_what_does_not_fit_is_refused_in_a_line(folder, tmp_path):
    with pytest.raises(UsageError, match="needs a folder with a saved model of each input alone"):
        trained_from("concat", TASK, {"series": ENCODER}, objectives=["distillation"])
    with pytest.raises(UsageError, match="is no folder"):
        step_of(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="has no saved model of input right alone"):
        step_of(folder / "left")
    with pytest.raises(UsageError, match=r"reads left by encoder .* train it on the same splits, with encoder"):
        step_of(folder, task="synthetic-unique:inputs=2,missing=0.3,train=32")


def test_teachers_that_know_of_other_rows_are_refused(folder):
    run = run_of("concat", objectives=[f"distillation:teachers={folder}"])
    step, _ = step_of(folder)
    splits = splits_of(run.task, installed(), run.settings)
    transforms = fitted(run, splits)
    teachers = loaded(run.combination, transforms, step.model)
    assert list(check_teachers(teachers, splits)) == []
    forgetful = {name: one._replace(saved=one.saved._replace(trained_on=None)) for name, one in teachers.items()}
    assert [line.rpartition("; ")[2] for line in check_teachers(forgetful, splits)] == [
        "they should be those of the training split"
    ] * 2
    known = teachers["left"].saved
    told = replace(known.trained_on, hashes={"train": known.trained_on.hashes["validation"]})
    teachers["left"] = teachers["left"]._replace(saved=known._replace(trained_on=told))
    with pytest.raises(UsageError, match="values of left that are not in the training split"):
        list(check_teachers(teachers, splits))


def test_frozen_inputs_have_no_teacher_and_something_must_learn(folder):
    step, _ = step_of(folder)
    run = run_of("concat", objectives=[f"distillation:teachers={folder}"])
    splits = splits_of(run.task, installed(), run.settings)
    transforms = fitted(run, splits)
    step.model.encoders["left"].requires_grad_(requires_grad=False)
    assert list(loaded(run.combination, transforms, step.model)) == ["right"]
    step.model.encoders["right"].requires_grad_(requires_grad=False)
    with pytest.raises(UsageError, match="those of left and right are frozen"):
        loaded(run.combination, transforms, step.model)


def test_a_teacher_of_another_target_is_refused(folder, tmp_path):
    (tmp_path / "right").symlink_to(folder / "right")
    (tmp_path / "left").mkdir()

    description = json.loads((folder / "left" / "model.json").read_text())
    description["truth"]["names"][0] = "other"
    weights = tmp_path / "left" / "model.safetensors"
    weights.write_bytes((folder / "left" / "model.safetensors").read_bytes())
    (tmp_path / "left" / "model.json").write_text(signed(description, hash_of(weights)))
    with pytest.raises(UsageError, match="was trained for another target"):
        step_of(tmp_path)


@pytest.mark.full
def test_a_step_with_teachers_is_one_graph(folder):
    step, data = step_of(folder)
    step.eval()
    batch, truth = data.batch(torch.arange(16))
    expected, _ = step(batch, truth)
    found, _ = torch.compile(step, fullgraph=True, backend="aot_eager")(batch, truth)
    torch.testing.assert_close(found, expected)
