"""Clients of a service: plain sockets and http.client, as strangers have them."""

import base64
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid

import numpy as np
from PIL import Image as Pillow


class Client:
    """Asks a service on this machine.

    Args:
        port: of it.
        token: that it asks for; empty where none is.
    """

    def __init__(self, port, token=""):
        self.port = port
        self.token = token

    def call(self, method, path, body=None, headers=None, timeout=60):
        """The status, the headers and the content of an answer; JSON is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = {"authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            connection.request(method, path, body, sent | (headers or {}))
            found = connection.getresponse()
            content = found.read()
        finally:
            connection.close()
        if found.headers.get_content_type() == "application/json" and content:
            content = json.loads(content)
        return found.status, dict(found.headers), content

    def get(self, path):
        """The status and the content."""
        status, _, content = self.call("GET", path)
        return status, content

    def ask(self, *samples, path="/predict", **options):
        """The status and the answers to samples of JSON; of an error what it says."""
        body = json.dumps({"samples": samples}).encode()
        status, _, found = self.call("POST", path, body, {"content-type": "application/json"}, **options)
        return status, found.get("answers", found)

    def form(self, path="/predict", **parts):
        """The status and the answers to a form; bytes go as files."""
        kind, body = multipart(parts)
        status, _, found = self.call("POST", path, body, {"content-type": kind})
        return status, found.get("answers", found)

    def until_ready(self, seconds=60):
        """Wait until it answers."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.get("/readyz")[0] == 200:
                    return
            except OSError:
                pass
            assert time.monotonic() < end, "it is not ready"
            time.sleep(0.02)

    def figure(self, name, **labels):
        """A figure of the metrics; 0 where there is none."""
        text = self.get("/metrics")[1].decode()
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        lines = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
        found = [float(value) for given, value in lines if wanted <= set(given.split(","))]
        return sum(found)


class Process:
    """`mmkit serve` in a process of its own.

    Args:
        folder: where its output goes.
        arguments: of the command.
        environment: added to this one.
    """

    def __init__(self, folder, arguments, environment):
        self.errors = folder / f"{uuid.uuid4().hex}.txt"
        given = {**os.environ, **environment}
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mmkit", "serve", *map(str, arguments)],
                stdout=subprocess.DEVNULL, stderr=errors, env=given,
            )  # fmt: skip
        self.pid = self.process.pid

    def client(self, token=""):
        """A client, once it says that it serves."""
        end = time.monotonic() + 120
        while (found := re.search(r"serving on http://\S+:(\d+)/", self.told)) is None:
            assert self.process.poll() is None, self.told
            assert time.monotonic() < end, self.told
            time.sleep(0.05)
        client = Client(int(found[1]), token)
        assert client.get("/readyz")[0] == 200  # it listens before it says so
        return client

    @property
    def told(self):
        """What it has written to stderr."""
        return self.errors.read_text()

    def end(self, by=signal.SIGTERM):
        """End it; its exit code."""
        self.process.send_signal(by)
        return self.process.wait(60)

    def kill(self):
        """End it at once, if it is there."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


def multipart(parts, boundary="mmkit-boundary"):
    """The type and the body of a form: bytes go as files, texts as they are."""
    found = b""
    for name, content in parts.items():
        file = '; filename="given"' if isinstance(content, bytes) else ""
        found += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        found += (content if isinstance(content, bytes) else content.encode()) + b"\r\n"
    return f"multipart/form-data; boundary={boundary}", found + f"--{boundary}--\r\n".encode()


def png(seed=0, size=8):
    """A grey picture as a file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def series(seed=0, steps=12):
    """A series of the task digits, as JSON has it."""
    return np.random.default_rng(seed).normal(0, 10, (steps, 13)).round(3).tolist()


def digit(seed=0, steps=12):
    """A sample of the task digits, as JSON."""
    return {"written": base64.b64encode(png(seed)).decode(), "spoken": series(seed, steps)}


def beside(count, call):
    """The results of `call(n)` in so many threads at once."""
    found = [None] * count

    def one(number):
        found[number] = call(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return found
