"""Whatever is sent: never a status of 500, never a file opened, and others are answered meanwhile."""

import base64
import contextlib
import io
import json
import socket
import sys
import time
import zlib
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from mmkit.serving.limits import Limits
from tests.serving.client import beside, digit, multipart, png, series
from tests.serving.conftest import served

WATCHED = []
OPENED = []
EVENTS = {"open", "os.listdir", "os.scandir", "subprocess.Popen", "socket.connect", "socket.getaddrinfo"}


def hook(event, arguments):
    """Notes what is opened or connected to while somebody watches; a hook of the interpreter stays for good."""
    if WATCHED and event in EVENTS:
        OPENED.append((event, str(arguments[0])[:200], str(arguments[1:2])[:200]))


@pytest.fixture(scope="module", autouse=True)
def _hooked():
    sys.addaudithook(hook)


@contextlib.contextmanager
def watched():
    """What the service opens meanwhile; connections of the tests' own clients are none of it."""
    OPENED.clear()
    WATCHED.append(True)
    try:
        yield OPENED
    finally:
        WATCHED.clear()


def theirs(port):
    """What was opened, but for modules that are imported late and for clients."""
    return [
        one
        for one in OPENED
        if not (one[0] == "socket.connect" and f", {port})" in one[2])
        and one[0] != "socket.getaddrinfo"
        and one[1] != "/sys/fs/cgroup/memory.max"  # by which mmkit knows how much it may keep
        and not one[1].endswith((".pyc", ".py", ".so"))
        and not one[1].startswith(sys.prefix)
        and not one[1].startswith(sys.base_prefix)
    ]


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """Files that a request may name."""
    folder = tmp_path_factory.mktemp("secret")
    (folder / "picture.png").write_bytes(png(7))
    (folder / "words.txt").write_text("secret words")
    return folder


@pytest.fixture(scope="module")
def service(folders):
    limits = Limits(body=64 * 1024, seconds=20)
    with served(folders["digits"], folders["fruit"], folders["sounds"], limits=limits) as (client, _):
        client.ask(digit())  # what is imported late is imported now
        client.ask({"note": "x", "table": {"weight": 1}}, path="/models/fruit/predict?explain=true")
        client.ask({"b": "x"}, path="/models/sounds/predict")
        yield client


def paths(secret):
    picture, words = str(secret / "picture.png"), str(secret / "words.txt")
    usual = ["../../../../etc/passwd", "/etc/passwd", "/dev/zero", "~/x", "/proc/self/environ", "\0/etc/passwd"]
    elsewhere = ["http://127.0.0.1:1/x", "s3://bucket/x", "C:\\secret.png", "|id", "$(id)", "`id`"]
    return [picture, words, f"file://{picture}", *usual, *elsewhere]


JSON = {"content-type": "application/json"}
KINDS = ["application/json", "application/json; charset=utf-16", "multipart/form-data", "x/y", ""]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["/etc/passwd", "nan", "Infinity", "1e999", "", "\ud800", "../x", "data:;base64,AAAA", "data:x"]),
    lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=12), one, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["written", "spoken", "table", "note", "a", "b", "samples", "", "__class__", "written\0"])
SAMPLES = st.dictionaries(NAMES, JUNK | st.sampled_from([digit(1)["written"], series(1)]), max_size=3)
ROWS = st.fixed_dictionaries(
    {}, optional={"table": st.dictionaries(st.sampled_from(["weight", "colour", "picked", "x"]), JUNK), "note": JUNK}
)
MODELS = st.sampled_from(["digits", "fruit", "sounds"])
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def sound(status):
    assert 200 <= status < 500 or status in {503, 504}, status


def text_of(value):
    """JSON as careless programs write it, NaN and halves of surrogates included."""
    return json.dumps(value, ensure_ascii=True).encode()


@QUICK
@given(model=MODELS, samples=st.lists(SAMPLES | ROWS | JUNK, max_size=4) | JUNK, explain=st.booleans())
def test_any_json(service, model, samples, explain):
    with watched():
        path = f"/models/{model}/predict{'?explain=true' if explain else ''}"
        status, _, found = service.call("POST", path, text_of({"samples": samples}), JSON)
        sound(status)
        assert isinstance(found, dict)
        json.dumps(found, allow_nan=False)
        assert theirs(service.port) == []


@QUICK
@given(body=st.binary(max_size=300), kind=st.sampled_from([*KINDS, "multipart/form-data; boundary=a"]))
def test_any_bytes(service, body, kind):
    with watched():
        status, _, found = service.call("POST", "/predict", body, {"content-type": kind})
        sound(status)
        assert "error" in found or all("error" in one for one in found["answers"])
        assert theirs(service.port) == []


@QUICK
@given(
    model=MODELS,
    parts=st.dictionaries(NAMES.filter(bool), st.binary(max_size=200) | st.text(max_size=60), max_size=4),
    cut=st.integers(0, 40),
)
def test_any_form(service, model, parts, cut):
    kind, body = multipart({name.replace("\0", "%00"): content for name, content in parts.items()})
    with watched():
        status, _, _ = service.call("POST", f"/models/{model}/predict", body[: len(body) - cut], {"content-type": kind})
        sound(status)
        assert theirs(service.port) == []


@settings(parent=QUICK, max_examples=30)
@given(name=st.text(max_size=20), query=st.text(max_size=20))
def test_any_address(service, name, query):
    with watched():
        addresses = (
            f"/models/{quote(name, safe='')}/predict",
            f"/{quote(name)}",
            f"/predict?{quote(query, safe='=&')}",
        )
        for path in addresses:
            status, _, _ = service.call("POST", path, b'{"samples":[{"x":1}]}')
            sound(status)
        assert theirs(service.port) == []


def test_a_path_is_never_opened(service, secret):
    """In every place where a value may stand, of every way in which values travel."""
    for path in paths(secret):
        encoded = base64.b64encode(path.encode("utf-8", "replace")).decode()
        asked = [
            ("digits", {"written": path}),
            ("digits", {"written": encoded}),
            ("digits", {"spoken": path}),
            ("digits", {"spoken": [path]}),
            ("digits", {"spoken": {"path": path}}),
            ("digits", {"written": [path]}),
            ("sounds", {"a": path}),
            ("sounds", {"a": encoded}),
            ("sounds", {"a": [[0.1], path]}),
            ("sounds", {"b": path}),
            ("fruit", {"table": path}),
            ("fruit", {"table": {"colour": path}}),
            ("fruit", {"note": path}),
            ("fruit", {"table": {"colour": {"path": path}}}),
            ("fruit", {"table": {path: 1}}),
        ]
        with watched():
            for model, sample in asked:
                status, _ = service.ask(sample, path=f"/models/{model}/predict")
                sound(status)
            for model, name in (
                ("digits", "written"),
                ("digits", "spoken"),
                ("sounds", "a"),
                ("sounds", "b"),
                ("fruit", "table"),
            ):
                sound(service.form(f"/models/{model}/predict", **{name: path.replace("\0", "")})[0])
                sound(service.form(f"/models/{model}/predict", **{name: path.encode()})[0])
            assert theirs(service.port) == []
    with watched():  # the watch itself sees what is opened
        (secret / "words.txt").read_text()
        assert theirs(service.port)


def test_a_name_of_a_file_in_a_text_is_the_text(service, secret):
    """No word of the file is read."""
    named, other = str(secret / "words.txt"), str(secret / "wards.txt")
    assert "label" in service.ask({"b": named}, path="/models/sounds/predict")[1][0]
    assert "label" in service.ask({"b": other}, path="/models/sounds/predict")[1][0]


def test_a_form_that_is_cut_off_is_not_taken_for_a_whole_one(service):
    kind, body = multipart({"spoken": json.dumps(series()), "written": png()})
    assert service.call("POST", "/predict", body, {"content-type": kind})[0] == 200
    for cut in (3, 10, len(png()), len(png()) + 100, len(body) - 20):
        status, _, found = service.call("POST", "/predict", body[:-cut], {"content-type": kind})
        assert (status, "cut off" in found["error"]["reason"]) == (422, True)


@pytest.mark.parametrize("depth", [40, 150, 1000, 20_000])
def test_deep_json_is_refused(service, depth):
    for inner in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        body = b'{"samples":[{"spoken":' + inner + b"}]}"
        status, _, _ = service.call("POST", "/predict", body, JSON)
        assert status in {413, 422}
        assert service.form(spoken=inner.decode())[0] in {413, 422}
        assert service.form(spoken=inner)[0] in {413, 422}


@pytest.mark.parametrize(
    "body",
    [
        b'{"samples":[{"spoken":[[NaN]]}]}',
        b'{"samples":[{"spoken":[[1e999]]}]}',
        b'{"samples":[{"spoken":[[Infinity]]}]}',
        b'{"samples":[{"spoken":[[%s]]}]}' % (b"9" * 5000),
        b'{"samples":[{"spoken":[["1"]]}]}',
        b'{"samples":[{"note":"\\ud800"}]}',
        b'{"samples":[{"spoken":[[1e300,1,1,1,1,1,1,1,1,1,1,1,1]]}]}',
        b'{"samples":[]}',
        b'{"samples":{}}',
        b"{}",
        b"",
        b"null",
        b'{"samples":[{"written":""}]}',
        b'{"samples":[{"written":"===="}]}',
        b'{"samples":[{"spoken":[]}]}',
        b'{"samples":[{"spoken":[[]]}]}',
        b'\xff\xfe{"samples":[]}',
        b'{"samples":[{"spoken":[[1,2]]}],"model":"x"}',
        b'{"samples":[{"spoken":[[1,2]]}],"samples":[1]}',
    ],
)
def test_numbers_and_forms_that_are_none(service, body):
    status, _, found = service.call("POST", "/predict", body, JSON)
    assert status == 422, found


def test_a_number_beyond_all_measure_gives_no_nan(service):
    status, found = service.ask({"table": {"weight": 1e308}}, path="/models/fruit/predict?explain=true")
    assert status in {200, 422}
    json.dumps(found, allow_nan=False)


def png_of(width, height):
    """A picture that says it is so large, packed into few bytes."""

    def chunk(kind, content):
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    head = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


def test_a_bomb_is_refused(service):
    status, (found,) = service.form(written=png_of(60_000, 60_000))
    assert (status, found["error"]["input"]) == (422, "written")
    assert "178,956,970 pixels" in found["error"]["reason"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
def test_broken_files(service, kind):
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Pillow.fromarray(pixels).save(file, kind)
    whole = file.getvalue()
    generator = np.random.default_rng(1)
    for _ in range(12):
        broken = bytearray(whole[: int(generator.integers(1, len(whole)))])
        for place in generator.integers(0, len(broken), 3):
            broken[place] = int(generator.integers(256))
        sound(service.form(written=bytes(broken))[0])


def test_a_large_body_is_refused_before_it_is_read(service):
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as given:
        given.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        assert given.recv(4096).startswith(b"HTTP/1.1 413 ")
    status, _, found = service.call("POST", "/predict", iter([b" " * 50_000] * 4), JSON)
    assert (status, found["error"]["reason"]) == (413, "a body has at most 65,536 bytes")


def test_a_compressed_body_and_other_kinds_are_named(service):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    assert service.call("POST", "/predict", b"x", headers)[0] == 415
    status, _, found = service.call("POST", "/predict", b"x", {"content-type": "text/html"})
    assert (status, "text/html" in found["error"]["reason"]) == (415, True)
    assert service.call("GET", "/predict")[0] == 405
    assert service.call("POST", "/models")[0] == 405


@pytest.mark.parametrize(
    "sent",
    [
        b"\0\1\2\3\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /predict HTTP/9.9\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3000 + b"\r\n",
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
        b"GET /%00%ff%0a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT elsewhere:80 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_other_than_http_and_half_closed_connections_harm_nobody(service, sent):
    with watched():
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as given:
            given.sendall(sent)
            given.shutdown(socket.SHUT_WR)
            found = b""
            with contextlib.suppress(OSError):
                while part := given.recv(65536):
                    found += part
        assert b" 500 " not in found[:40]
        assert theirs(service.port) == []
    assert service.ask(digit())[0] == 200


def test_slow_clients_and_those_that_leave_disturb_nobody(folders, capfd):
    """Twenty connections that never end their body, and others that leave before their answer."""
    with served(folders["digits"], limits=Limits(seconds=1.0)) as (client, _):
        head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += b"Content-Length: 1000\r\n\r\n{"
        slow = [socket.create_connection(("127.0.0.1", client.port), timeout=30) for _ in range(20)]
        for one in slow:
            one.sendall(head)
        body = json.dumps({"samples": [digit()]}).encode()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", client.port), timeout=30) as gone:
                gone.sendall(head.replace(b"1000", str(len(body)).encode())[:-1] + body)
        assert [found[0] for found in beside(8, lambda n: client.ask(digit(n)))] == [200] * 8
        for one in slow:
            assert one.recv(4096).startswith(b"HTTP/1.1 408 ")
            one.close()
        assert client.figure("mmkit_requests_total", status="408") == 20
        end = time.monotonic() + 20
        while client.figure("mmkit_samples_waiting") and time.monotonic() < end:
            time.sleep(0.05)
        assert client.figure("mmkit_samples_waiting") == 0
    assert "Traceback" not in capfd.readouterr().err
