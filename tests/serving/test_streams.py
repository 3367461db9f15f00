"""Streams over WebSocket: a window of each input, the newest chunk wins, and no message ends the service."""

import base64
import io
import json
import shutil
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mmkit.modalities.audio import Audio
from mmkit.modalities.series import Series
from mmkit.serving import streams
from mmkit.serving.answering import Answers
from mmkit.serving.limits import Limits
from mmkit.serving.windows import Window
from tests.serving.client import png, series
from tests.serving.conftest import served

TOKEN = "a-token-of-tests-of-streams"
WRITTEN = base64.b64encode(png(1)).decode()


class Client:
    """A stream as a client has it."""

    def __init__(self, socket):
        self.socket = socket

    def say(self, message):
        """Send a message, and the next reply."""
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))
        return self.next()

    def next(self):
        return json.loads(self.socket.recv(timeout=60))

    def start(self, windows, **inputs):
        return self.say({"start": {"windows": windows, **({"inputs": inputs} if inputs else {})}})

    def chunk(self, **values):
        return self.say({"chunk": values})


@contextmanager
def stream(client, path="/stream", **headers):
    """A stream that is open."""
    sent = {"Authorization": f"Bearer {client.token}"} if client.token else {}
    with connect(
        f"ws://127.0.0.1:{client.port}{path}", additional_headers={**sent, **headers}, compression=None, proxy=None
    ) as one:
        yield Client(one)


def refused(client, path="/stream", **headers):
    """The status and the reason with which a stream is refused."""
    with pytest.raises(InvalidStatus) as error, stream(client, path, **headers):
        pass
    return error.value.response.status_code, json.loads(error.value.response.body)["error"]["reason"]


def until(holds):
    """Wait until something holds."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def wav(seconds, rate=16000, seed=0, channels=1):
    """Noise as a file in base64, and its numbers [time channels]."""
    numbers = np.random.default_rng(seed).uniform(-0.5, 0.5, (round(seconds * rate), channels)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, numbers, rate, "FLOAT", format="WAV")
    return base64.b64encode(file.getvalue()).decode(), numbers


@pytest.fixture(scope="module")
def digits(folders):
    with served(folders["digits"], limits=Limits(seconds=60, deadline=60)) as (client, _):
        yield client


class TestAnswers:
    def test_each_is_that_of_the_window(self, digits):
        steps = series(3, 60)
        with stream(digits) as one:
            ready = one.start({"spoken": 20}, written=WRITTEN)["ready"]
            assert ready["windows"] == {"spoken": {"length": 20.0, "unit": "steps"}}
            assert (ready["model"], ready["deadline"]) == ("digits", 60)
            for number in range(1, 13):
                found = one.chunk(spoken=steps[5 * (number - 1) : 5 * number])
                window = steps[max(5 * number - 20, 0) : 5 * number]
                status, (expected,) = digits.ask({"written": WRITTEN, "spoken": window})
                assert status == 200
                assert found["chunk"] == number
                assert found["answer"] == expected
                assert found["full"] == {"spoken": number >= 4}
                assert (found["late"], found["skipped"]) == (False, 0)
                assert found["digest"] == ready["digest"]

    def test_sound_comes_as_files(self, folders):
        with served(folders["sounds"], limits=Limits(seconds=60, deadline=60)) as (client, _):
            parts = [wav(0.1, seed=seed) for seed in range(5)]
            with stream(client, "/models/sounds/stream") as one:
                one.start({"a": 0.25}, b="a text")
                answers = [one.chunk(a=file) for file, _ in parts]
            numbers = np.concatenate([part for _, part in parts])[-4000:]
            file = io.BytesIO()
            soundfile.write(file, numbers, 16000, "FLOAT", format="WAV")
            _, (expected,) = client.ask({"a": base64.b64encode(file.getvalue()).decode(), "b": "a text"})
            assert answers[-1]["answer"] == expected
            assert [one["full"]["a"] for one in answers] == [False, False, True, True, True]

    def test_null_empties_a_window(self, digits):
        with stream(digits) as one:
            one.start({"spoken": 20}, written=WRITTEN)
            one.chunk(spoken=series(1, 20))
            found = one.chunk(spoken=None)
            assert found["answer"] == digits.ask({"written": WRITTEN})[1][0]
            assert found["full"] == {"spoken": False}
            assert (
                one.chunk(spoken=series(2, 5))["answer"]
                == digits.ask({"written": WRITTEN, "spoken": series(2, 5)})[1][0]
            )

    def test_the_newest_wins(self, folders, monkeypatch):
        gate, inside = threading.Event(), threading.Event()
        whole = Answers.__call__

        def gated(answers, questions):
            inside.set()
            assert gate.wait(60)
            return whole(answers, questions)

        with served(folders["digits"], limits=Limits(seconds=60, deadline=60)) as (client, _), stream(client) as one:
            one.start({"spoken": 12}, written=WRITTEN)
            monkeypatch.setattr(Answers, "__call__", gated)
            chunks = [series(seed, 4) for seed in range(5)]
            one.socket.send(json.dumps({"chunk": {"spoken": chunks[0]}}))
            assert inside.wait(60)
            for chunk in chunks[1:]:
                one.socket.send(json.dumps({"chunk": {"spoken": chunk}}))
            assert one.say("no JSON")["chunk"] == 6  # so those before it are in the window
            gate.set()
            first, second = one.next(), one.next()
            assert (first["chunk"], first["skipped"]) == (1, 0)
            assert (second["chunk"], second["skipped"]) == (5, 3)
            window = [step for chunk in chunks[2:] for step in chunk]
            assert second["answer"] == client.ask({"written": WRITTEN, "spoken": window})[1][0]
            counts = {
                name: client.figure("mmkit_stream_chunks_total", outcome=name)
                for name in ("answered", "skipped", "refused")
            }
            assert counts == {"answered": 2, "skipped": 3, "refused": 1}
            assert client.figure("mmkit_stream_answer_seconds_count") == 2

    def test_what_took_too_long_is_late(self, folders):
        with served(folders["digits"], limits=Limits(seconds=60, deadline=1e-9)) as (client, _), stream(client) as one:
            one.start({"spoken": 12})
            found = one.chunk(spoken=series(1))
            assert found["late"]
            assert found["answer"]["label"]
            assert found["seconds"] > 0
            assert client.figure("mmkit_stream_chunks_total", outcome="late") == 1

    def test_streams_share_batches(self, folders, monkeypatch):
        sizes = []
        whole = Answers.__call__
        gate = threading.Event()

        def counted(answers, questions):
            sizes.append(len(questions))
            assert gate.wait(60)
            return whole(answers, questions)

        with served(folders["digits"], limits=Limits(seconds=60)) as (client, service), ExitStack() as opened:
            several = [opened.enter_context(stream(client)) for _ in range(5)]
            for one in several:
                one.start({"spoken": 12})
            assert client.figure("mmkit_streams") == 5
            monkeypatch.setattr(Answers, "__call__", counted)
            for one in several:
                one.socket.send(json.dumps({"chunk": {"spoken": series(1)}}))
            until(lambda: service.first.batcher.rows + sum(sizes) == 5)
            gate.set()
            answers = [one.next()["answer"]["probabilities"] for one in several]
            assert all(one == pytest.approx(answers[0], abs=1e-5) for one in answers)
            assert sum(sizes) == 5
            assert len(sizes) <= 2  # the first, and what came meanwhile


BAD_CHUNKS = [
    ("no JSON", "this is no JSON"),
    (b"\xff\xfe", "this is no JSON"),
    ("[]", 'this message is {"chunk": {...}}'),
    ('{"chunk": {}, "more": 1}', 'this message is {"chunk": {...}}'),
    ('{"start": {"windows": {"spoken": 3}}}', 'this message is {"chunk": {...}}'),
    ('{"chunk": []}', "a sample is a mapping of input to value"),
    ('{"chunk": {}}', "the chunk is empty"),
    ('{"chunk": {"spokn": [[1]]}}', "did you mean spoken?"),
    ('{"chunk": {"written": "aGVsbG8="}}', "it has no window in this stream; those that have: spoken"),
    ('{"chunk": {"spoken": "/etc/passwd"}}', "got a string"),
    ('{"chunk": {"spoken": [[1, 2], [3]]}}', ""),
    ('{"chunk": {"spoken": [[1, 2], [3, 4]]}}', "one number of channels; got 2 and 13"),
    ('{"chunk": {"spoken": [[1e999]]}}', ""),
    ('{"chunk": {"spoken": ' + "[" * 500 + "]" * 500 + "}}", ""),
    ('{"chunk": {"spoken": []}}', "at least one step"),
]


class TestBadInput:
    @pytest.mark.parametrize(("message", "reason"), BAD_CHUNKS)
    def test_a_chunk_that_cannot_be_read_changes_nothing(self, digits, message, reason):
        with stream(digits) as one:
            one.start({"spoken": 20}, written=WRITTEN)
            one.chunk(spoken=series(1, 10))
            found = one.say(message)
            assert found["chunk"] == 2
            assert reason in found["error"]["reason"]
            answer = one.chunk(spoken=series(2, 5))
            assert answer["chunk"] == 3
            assert answer["answer"] == digits.ask({"written": WRITTEN, "spoken": series(1, 10) + series(2, 5)})[1][0]

    @pytest.mark.parametrize(
        ("start", "reason"),
        [
            ("x", "this is no JSON"),
            ({"chunk": {}}, 'this message is {"start": {...}}'),
            ({"start": {}}, "windows are a mapping of input to length; this model streams spoken in steps"),
            (
                {"start": {"windows": {"written": 3}}},
                "it is no input that is streamed; this model streams spoken in steps",
            ),
            ({"start": {"windows": {"spoken": 0}}}, "a window is a number of steps above 0"),
            ({"start": {"windows": {"spoken": True}}}, "a window is a number of steps above 0"),
            ({"start": {"windows": {"spoken": 1e9}}}, "3,600,000 at most"),
            (
                {"start": {"windows": {"spoken": 3}, "inputs": {"spoken": [[1]]}}},
                "it has a window, so it comes in chunks",
            ),
            ({"start": {"windows": {"spoken": 3}, "inputs": {"written": "aGVsbG8="}}}, "image"),
            ({"start": {"windows": {"spoken": 3}, "inputs": {"x": 1}}}, "the model reads no input of this name"),
            ({"start": {"windows": {"spoken": 3}, "deadline": 1}}, "a start is"),
        ],
    )
    def test_a_start_that_cannot_be_read_may_be_mended(self, digits, start, reason):
        with stream(digits) as one:
            assert reason in one.say(start)["error"]["reason"]
            assert "ready" in one.start({"spoken": 3})

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.one_of(
                st.text(max_size=40),
                st.binary(max_size=40),
                st.recursive(
                    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                    lambda inner: (
                        st.lists(inner, max_size=4)
                        | st.dictionaries(
                            st.sampled_from(["chunk", "start", "spoken", "written", "x"]), inner, max_size=3
                        )
                    ),
                    max_leaves=12,
                ).map(json.dumps),
            ),
            max_size=6,
        )
    )
    def test_no_message_ends_a_stream(self, digits, messages):
        with stream(digits) as one:
            one.start({"spoken": 3}, written=WRITTEN)
            for message in messages:
                found = one.say(message)
                assert "error" in found or "answer" in found
            assert one.chunk(spoken=None)["answer"]
            assert one.chunk(spoken=series(2, 5))["answer"]

    def test_sounds_that_do_not_fit_each_other(self, folders):
        with served(folders["sounds"]) as (client, _), stream(client) as one:
            one.start({"a": 1})
            one.chunk(a=wav(0.1)[0])
            for file in (wav(0.1, rate=8000)[0], wav(0.1, channels=2)[0]):
                assert "of one rate and number of channels; got" in one.chunk(a=file)["error"]["reason"]
            assert "cannot be read as sound" in one.chunk(a="aGVsbG8=")["error"]["reason"]
            assert one.chunk(a=wav(0.1)[0])["answer"]


class TestLimits:
    def test_too_large_a_message_ends_its_stream_alone(self, folders):
        with served(folders["digits"], limits=Limits(body=4096)) as (client, _), stream(client) as other:
            other.start({"spoken": 3})
            with stream(client) as one:
                one.start({"spoken": 3})
                one.socket.send("[" + "0," * 4000 + "0]")
                with pytest.raises(ConnectionClosed) as error:
                    one.next()
                assert error.value.rcvd.code == 1009
            assert other.chunk(spoken=series(1, 5))["answer"]

    def test_more_streams_than_there_may_be(self, folders):
        with served(folders["digits"], limits=Limits(streams=1)) as (client, _):
            with stream(client) as one:
                one.start({"spoken": 3})
                assert refused(client) == (503, "there are 1 streams already; try again")
                assert one.chunk(spoken=series(1, 5))["answer"]
            until(lambda: client.figure("mmkit_streams") == 0)
            with stream(client) as one:
                assert "ready" in one.start({"spoken": 3})

    def test_windows_hold_so_much_together(self, folders, monkeypatch):
        monkeypatch.setattr(Limits, "held", 8000)
        with served(folders["digits"]) as (client, _), stream(client) as one, stream(client) as other:
            one.start({"spoken": 1000})
            other.start({"spoken": 10})
            assert one.chunk(spoken=series(1, 100))["answer"]  # 13 x 100 floats, and 1,024 for the chunk
            assert (
                "the windows of all streams hold too much already"
                in other.chunk(spoken=series(1, 30))["error"]["reason"]
            )
            assert one.chunk(spoken=None)["error"]["reason"].startswith("every input is missing")
            assert other.chunk(spoken=series(1, 30))["answer"]

    def test_a_model_without_a_course_in_time(self, folders):
        with served(folders["fruit"], folders["digits"]) as (client, _):
            status, reason = refused(client)
            assert status == 422
            assert reason.startswith("this model reads nothing that has a course in time")
            status, reason = refused(client, "/models/digts/stream")
            assert status == 404
            assert "did you mean digits?" in reason
            with stream(client, "/models/digits/stream") as one:
                assert "ready" in one.start({"spoken": 3})
            known = {one["name"]: one["streams"] for one in client.get("/models")[1]["models"]}
            assert known == {"fruit": {}, "digits": {"spoken": "steps"}}


class TestWhoMayAsk:
    def test_a_token(self, folders):
        with served(folders["digits"], token=TOKEN) as (client, _):
            with stream(client) as one:
                assert "ready" in one.start({"spoken": 3})
            client.token = ""
            assert refused(client)[0] == 401
            client.token = "wrong"
            assert refused(client)[0] == 401

    def test_pages_of_other_sites(self, digits):
        status, reason = refused(digits, Origin="http://evil.example")
        assert (status, reason) == (403, "a stream is opened by no page but one of this service itself")
        with stream(digits, Origin=f"http://127.0.0.1:{digits.port}") as one:
            assert "ready" in one.start({"spoken": 3})

    def test_names_of_other_machines(self, digits):
        with socket.create_connection(("127.0.0.1", digits.port), 60) as one:
            one.sendall(
                b"GET /stream HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert one.recv(4096).startswith(b"HTTP/1.1 421")


class TestEnds:
    def test_one_on_which_nothing_comes(self, folders, monkeypatch):
        monkeypatch.setattr(streams, "IDLE", 0.3)
        with served(folders["digits"]) as (client, _), stream(client) as one:
            one.start({"spoken": 3})
            with pytest.raises(ConnectionClosed) as error:
                one.next()
            assert (error.value.rcvd.code, error.value.rcvd.reason) == (1008, "nothing came for 0.3 s")

    def test_a_model_that_is_exchanged_for_another_kind(self, folders, tmp_path):
        folder = tmp_path / "served"
        shutil.copytree(folders["digits"], folder)
        with served(folder, token=TOKEN) as (client, _), stream(client) as one:
            one.start({"spoken": 3})
            assert one.chunk(spoken=series(1, 5))["answer"]
            shutil.rmtree(folder)
            shutil.copytree(folders["sounds"], folder)
            assert client.call("POST", "/-/reload")[0] == 200
            with pytest.raises(ConnectionClosed) as error:
                one.chunk(spoken=series(1, 5))
            assert error.value.rcvd.code == 1012
            assert "exchanged for one with other inputs" in error.value.rcvd.reason

    def test_sigterm_ends_streams_and_the_service(self, folders, process):
        running = process(folders["digits"], "--port", "0", "--device", "cpu")
        client = running.client()
        with stream(client) as one:
            one.start({"spoken": 3})
            assert one.chunk(spoken=series(1, 5))["answer"]
            assert running.end() == 0
            with pytest.raises(ConnectionClosed) as error:
                one.next()
            assert error.value.rcvd.code == 1012
        assert "Traceback" not in running.told
        assert "ERROR" not in running.told

    def test_a_client_that_leaves_is_forgotten(self, folders):
        with served(folders["digits"]) as (client, _):
            for _ in range(20):
                with stream(client) as one:
                    one.start({"spoken": 3})
                    one.socket.send(json.dumps({"chunk": {"spoken": series(1, 5)}}))
            with stream(client) as one:
                one.start({"spoken": 3})
                assert one.chunk(spoken=series(1, 5))["answer"]
            until(lambda: client.figure("mmkit_streams") == 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.lists(st.integers(1, 12), min_size=1, max_size=12))
def test_a_window_is_the_end_of_all_that_came(most, lengths):
    window = Window("x", "series", Series(), most)
    came = np.zeros((0, 2), np.float32)
    for number, length in enumerate(lengths):
        chunk = np.random.default_rng(number).normal(size=(length, 2)).astype(np.float32)
        came = np.concatenate([came, chunk])
        window.add(window.decoded(chunk.tolist()))
        assert np.array_equal(window.joined(window.parts()).numpy(), came[-most:])
        assert window.full == (len(came) >= most)
        assert window.length < most + max(lengths)
    window.empty()
    assert (window.joined(window.parts()), window.size, window.length) == (None, 0, 0)


def test_of_a_chunk_that_is_longer_than_its_window_no_more_is_held_than_counts():
    steps = Window("x", "series", Series(), 10)
    sound = Window("y", "audio", Audio(), 0.01)
    for window, raw in ((steps, [[1.0, 2.0]] * 50_000), (sound, (np.zeros((2, 80_000), np.float32), 8_000))):
        kept, _, size = window.decoded(raw)
        tensor = kept if isinstance(kept, Tensor) else kept[0]
        assert tensor.untyped_storage().nbytes() == tensor.nbytes < size
