"""What is asked over HTTP is answered as `predict` answers it, whatever stands beside it."""

import base64
import email
import io
import json
import threading
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.openapi.models import OpenAPI
from PIL import Image as Pillow

import mmkit
from mmkit.serving import exchange
from tests.serving.client import beside, digit, multipart, png, series
from tests.serving.conftest import served


@pytest.fixture(scope="module")
def service(folders):
    with served(*folders.values()) as (client, _):
        yield client


def expected(folder, samples):
    return mmkit.load(folder).predict(samples)


def raw(sample):
    """A sample as `predict` takes it."""
    kept = dict(sample)
    if kept.get("written"):
        kept["written"] = base64.b64decode(kept["written"])
    return kept


def close(found, answer):
    assert found["label"] == answer["label"]
    assert found["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-5)


def test_json_is_answered_as_predict_answers_it(service, folders):
    samples = [digit(0), {"written": digit(1)["written"]}, {"spoken": series(2, 30), "written": None}, digit(3, 5)]
    status, answers = service.ask(*samples)
    assert status == 200
    for found, answer in zip(answers, expected(folders["digits"], [raw(one) for one in samples]), strict=True):
        close(found, answer)


def test_a_form_is_answered_as_json_is(service):
    _, (answer,) = service.ask(digit(4))
    status, (found,) = service.form(written=png(4), spoken=json.dumps(series(4)))
    assert status == 200
    close(found, answer)
    _, (found,) = service.form(written=png(4), spoken=json.dumps(series(4)).encode())  # as a file
    close(found, answer)
    _, (alone,) = service.form(written=png(4), spoken="")  # an empty part is missing
    close(alone, service.ask({"written": digit(4)["written"]})[1][0])


def test_cells_are_read_as_those_of_training(service, folders):
    """Against `model.answers`, which reads the same rows of a table."""
    rows: list[dict[str, Any]] = [
        {"weight": 158, "colour": "yellow", "picked": "2024-10-09", "note": "crisp and a little sour"},
        {"weight": "68.5", "colour": "red", "picked": None, "note": None},
        {"weight": None, "colour": "never seen", "picked": "2024-08-12", "note": "sweet"},
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["weight"] = [158.0, 68.5, None]
    (table,) = mmkit.load(folders["fruit"]).answers(columns)
    samples = [
        {"note": row["note"], "table": {name: row[name] for name in ("weight", "colour", "picked")}} for row in rows
    ]
    # Together, where the cells are of two types, and one by one.
    together = service.ask(*samples, path="/models/fruit/predict")[1]
    for place, sample in enumerate(samples):
        alone = service.ask(sample, path="/models/fruit/predict")[1][0]
        for found in (alone, together[place]):
            assert found["label"] == table["label"][place].as_py()
            for name, share in found["probabilities"].items():
                assert share == pytest.approx(table[f"probability_{name}"][place].as_py(), abs=1e-5)


def test_numbers_and_sounds(service, folders):
    status, (found,) = service.ask({"note": "a plum"}, path="/models/weight/predict")
    assert status == 200
    assert found["value"] == pytest.approx(
        mmkit.load(folders["weight"]).predict([{"note": "a plum"}])[0]["value"], rel=1e-4
    )
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(4000) / 9).astype(np.float32), 16_000, format="WAV")
    status, (found,) = service.form("/models/sounds/predict", a=file.getvalue(), b="words")
    assert status == 200
    close(found, expected(folders["sounds"], [{"a": file.getvalue(), "b": "words"}])[0])


def test_what_cannot_be_read_fails_alone(service):
    good = digit(5)
    samples = [good, {"written": "/etc/passwd"}, {"spoken": [[1, 2], [3]]}, {}, {"writen": "x"}, 7, good]
    status, answers = service.ask(*samples)
    assert status == 200
    assert answers[0] == answers[-1]
    errors = [one["error"] for one in answers[1:-1]]
    assert [one["input"] for one in errors] == ["written", "spoken", None, "writen", None]
    words = ["base64", "numbers", "every input is missing", "did you mean written", "a mapping"]
    for error, said in zip(errors, words, strict=True):
        assert said in error["reason"]
    status, (alone,) = service.ask({"written": base64.b64encode(b"no picture").decode()})
    assert (status, alone["error"]["input"]) == (422, "written")


def test_cells_that_cannot_be_read_name_their_column(service):
    samples = [
        {"table": {"weight": "heavy"}}, {"table": {"wieght": 1}}, {"table": [1, 2]}, {"table": {"weight": {"a": 1}}},
        {"table": {"picked": 20}}, {"table": {"weight": 10**30}}, {"table": {"weight": 80}},
    ]  # fmt: skip
    _, answers = service.ask(*samples, path="/models/fruit/predict")
    reasons = [one["error"]["reason"] if "error" in one else "" for one in answers]
    words = ["not a number", "did you mean weight", "a mapping", "a cell is", "not a date", "18 digits", ""]
    for reason, said in zip(reasons, words, strict=True):
        assert said in reason
        assert bool(said) == bool(reason)


def test_a_column_beside_the_inputs_is_said_to_belong_into_one(service):
    status, (found,) = service.ask({"note": "a plum", "weight": 60}, path="/models/fruit/predict")
    assert status == 422
    assert found["error"] == {
        "input": "weight",
        "reason": 'it is a column of an input, as in {"table": {"weight": "..."}}',
    }


def test_an_explanation_leaves_out_each_input_once(service, folders):
    sample = digit(6)
    status, (found,) = service.ask(sample, path="/predict?explain=true")
    assert status == 200
    told, model = found["explanation"], mmkit.load(folders["digits"])
    whole, only_spoken, only_written = model.predict(
        [raw(sample), {"spoken": sample["spoken"]}, {"written": raw(sample)["written"]}]
    )
    name = whole["label"]
    assert told["output"] == name
    assert told["value"] == pytest.approx(whole["probabilities"][name], abs=1e-5)
    without = {"written": only_spoken["probabilities"][name], "spoken": only_written["probabilities"][name]}
    assert told["without"] == pytest.approx(without, abs=1e-5)
    expected_gains = {one: whole["probabilities"][name] - share for one, share in without.items()}
    assert told["contributions"] == pytest.approx(expected_gains, abs=1e-5)


def test_an_explanation_of_a_number_is_in_its_unit(service, folders):
    sample = {"note": "a plum", "table": {"colour": "red"}}
    _, (found,) = service.ask(sample, path="/models/weight/predict?explain=1")
    told = found["explanation"]
    assert told["value"] == pytest.approx(found["value"], rel=1e-4)
    (alone,) = service.ask({"note": "a plum"}, path="/models/weight/predict")[1]
    assert told["without"]["table"] == pytest.approx(alone["value"], rel=1e-4)


def test_mates_of_a_batch_change_nothing(service):
    """Thirty-two clients with samples of other lengths, against each alone."""
    samples = [digit(seed, 3 + seed) for seed in range(32)]
    alone = [service.ask(sample)[1][0] for sample in samples]
    before = service.figure("mmkit_batch_size_count", model="digits")
    together = beside(32, lambda n: service.ask(samples[n]))
    for (status, (found,)), answer in zip(together, alone, strict=True):
        assert status == 200
        close(found, answer)
    assert service.figure("mmkit_batch_size_count", model="digits") - before <= 32


def test_each_answer_says_which_model_gave_it(service, folders):
    listed = service.get("/models")[1]["models"]
    assert [one["name"] for one in listed] == list(folders)
    for one in listed:
        written = json.loads((folders[one["name"]] / "model.json").read_text())["digest"]
        assert one["digest"] == written
    status, _, found = service.call("POST", "/models/fruit/predict", b'{"samples":[{"note":"x"}]}')
    assert (status, found["model"], found["digest"]) == (200, "fruit", listed[1]["digest"])
    assert service.ask({}, path="/models/friut/predict")[1]["error"]["reason"].startswith("there is no model")


def test_what_a_model_asks_is_read_off_the_model(service):
    digits, fruit = service.get("/models")[1]["models"][:2]
    ways = {one["name"]: one["travels"] for one in digits["inputs"]}
    assert ways == {"written": "bytes", "spoken": "json"}
    table = next(one for one in fruit["inputs"] if one["name"] == "table")
    assert {one["name"]: one["kind"] for one in table["columns"]} == {
        "weight": "number", "colour": "category", "picked": "date",
    }  # fmt: skip
    colours = next(one["choices"] for one in table["columns"] if one["name"] == "colour")
    assert {"red", "yellow"} <= set(colours)
    assert fruit["target"]["names"] == ["apple", "pear", "plum"]


def test_openapi_is_openapi(service):
    status, found = service.get("/openapi.json")
    assert status == 200
    OpenAPI.model_validate(found)
    body = found["paths"]["/models/fruit/predict"]["post"]["requestBody"]["content"]
    sample = body["application/json"]["schema"]["properties"]["samples"]["items"]["properties"]
    assert set(sample) == {"note", "table"}
    assert set(found["paths"]) >= {"/predict", "/models/digits/predict", "/metrics", "/-/reload", "/readyz"}


def test_a_batch_that_fails_as_a_whole_spoils_nobody(folders):
    """A model that fails wherever a certain sample is in the batch."""

    def change(model):
        predictions = model.predictions

        def failing(read, batch_size):
            if any(value is not None and bool((value == 255).all()) for value in read.samples.inputs["written"]):
                raise RuntimeError("a fault of the model")
            return predictions(read, batch_size)

        object.__setattr__(model, "predictions", failing)
        return model

    file = io.BytesIO()
    Pillow.fromarray(np.full((8, 8), 255, np.uint8)).save(file, "PNG")
    white = base64.b64encode(file.getvalue()).decode()
    with served(folders["digits"], change=change) as (client, _):
        status, answers = client.ask(digit(1), {"written": white}, digit(2))
        assert status == 200
        assert "label" in answers[0]
        assert "label" in answers[2]
        assert answers[1]["error"] == {"input": None, "reason": "the model failed on this sample (RuntimeError)"}
        status, _ = client.ask({"written": white})
        assert status == 500
        assert client.figure("mmkit_samples_total", outcome="failed") == 2
        assert client.get("/readyz")[0] == 200


def test_counts_are_those_of_what_was_asked(folders):
    with served(folders["digits"]) as (client, service):
        client.ask(digit(1), digit(2))
        client.ask({})
        client.call("POST", "/predict", b"x")
        assert client.figure("mmkit_requests_total", status="200") == 1
        assert client.figure("mmkit_requests_total", status="422") == 2
        assert client.figure("mmkit_samples_total", outcome="answered") == 2
        assert client.figure("mmkit_samples_total", outcome="refused") == 1
        assert client.figure("mmkit_request_duration_seconds_count") == 3
        assert client.figure("mmkit_samples_waiting") == 0
        assert client.figure("process_resident_memory_bytes") > 1e6
        assert service.answered == 1


def test_a_fault_of_the_service_is_500_and_counted(folders, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret words")

    with served(folders["digits"]) as (client, service):
        monkeypatch.setattr(exchange, "questions_of", broken)
        status, found = client.ask(digit(1))
        assert (status, found["error"]["reason"]) == (500, "unexpected RuntimeError")
        assert client.figure("mmkit_requests_total", status="500") == 1
        assert service.answered == 0


def test_two_threads_ask_two_models_at_once(service):
    done = []

    def ask(path, sample):
        done.extend(service.ask(sample, path=path)[0] for _ in range(10))

    threads = [
        threading.Thread(target=ask, args=("/models/digits/predict", digit(1))),
        threading.Thread(target=ask, args=("/models/fruit/predict", {"note": "sour"})),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == [200] * 20


def test_multipart_helper_makes_what_the_standard_library_reads():
    kind, body = multipart({"a": b"\0\1", "b": "text"})
    found = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    assert [part.get_payload(decode=True) for part in found.get_payload()] == [b"\0\1", b"text"]
