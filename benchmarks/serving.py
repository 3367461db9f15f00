"""What batching is worth in service: requests a second, p50, p99 and CPU a request, for one, 8 and 32 clients.

    python benchmarks/serving.py [--out FILE] [--rounds 5] [--requests 200] [--clients 1,8,32]

Each candidate is a service in a process of its own, of the same model (digits: a picture in base64 and a series), and
all of them live at once. In each round each answers so many requests for each number of clients, in random order, so
that a bad moment of the machine meets all alike. Compared are no batching (`--max-batch 1`), batches of what is there
(the default), and a wait of 2 ms. Answers are compared with those of `predict` first. CPU is that of the service's
process, all threads, as its own metrics tell it; clients run in this process, on the same machine.

Asked: with 32 clients batching takes at most .6 of the CPU a request of no batching, and one client is not slower.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

import mmkit
from mmkit.system.files import write_json
from mmkit.system.machine import machine, software
from mmkit.tasks.digits import Digits

CANDIDATES = {
    "no batching": ("--max-batch", "1"),
    "what is there": (),
    "wait 2 ms": ("--max-wait", "2"),
}
MOST_OF_CPU = 0.6
JSON = {"content-type": "application/json"}


def samples(count):
    """Raw samples of the task, and the body of a request for each."""
    split = Digits().split("test")
    found = []
    for number in range(count):
        written, spoken = split.inputs["written"][number], np.asarray(split.inputs["spoken"][number])
        file = io.BytesIO()
        Pillow.fromarray(np.asarray(written).reshape(np.asarray(written).shape[-2:])).save(file, "PNG")
        raw = {"written": file.getvalue(), "spoken": spoken.tolist()}
        sent = {**raw, "written": base64.b64encode(raw["written"]).decode()}
        found.append((raw, json.dumps({"samples": [sent]}).encode()))
    return found


class Service:
    """A service in a process of its own."""

    def __init__(self, model, options, folder, threads):
        self.errors = folder / f"{'-'.join(options) or 'default'}.txt"
        command = [sys.executable, "-m", "mmkit", "serve", str(model), "--port", "0", "--device", "cpu"]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*command, "--threads", str(threads), "--room", "512", "--timeout", "60s", *options], stderr=errors
            )
        while (found := re.search(r"serving on http://\S+:(\d+)/", self.errors.read_text())) is None:
            if self.process.poll() is not None:
                raise SystemExit(self.errors.read_text())
            time.sleep(0.1)
        self.port = int(found[1])

    def get(self, path):
        """The text at an address."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        found = connection.getresponse().read().decode()
        connection.close()
        return found

    def cpu(self):
        """Seconds of CPU that its process has taken."""
        return float(re.search(r"^process_cpu_seconds_total (\S+)$", self.get("/metrics"), re.MULTILINE)[1])

    def load(self, bodies, clients, requests):
        """Seconds of each request, and of the whole; each client has a connection that stays open."""
        taken, numbers, lock = [], iter(range(requests)), threading.Lock()
        start = threading.Barrier(clients + 1)

        def ask():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.connect()
            start.wait()
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    break
                began = time.perf_counter()
                connection.request("POST", "/predict", bodies[number % len(bodies)], JSON)
                found = connection.getresponse()
                found.read()
                if found.status != 200:
                    raise SystemExit(f"a request was answered by {found.status}")
                taken.append(time.perf_counter() - began)
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        start.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        return taken, time.perf_counter() - began


def right(service, asked, model):
    """Stop if an answer is not that of `predict`."""
    expected = model.predict([raw for raw, _ in asked])
    for (_, body), answer in zip(asked, expected, strict=True):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        connection.request("POST", "/predict", body, JSON)
        (found,) = json.loads(connection.getresponse().read())["answers"]
        connection.close()
        apart = max(abs(found["probabilities"][name] - share) for name, share in answer["probabilities"].items())
        if found["label"] != answer["label"] or apart > 1e-4:
            raise SystemExit(f"the service answers {found}, predict {answer}")


def measured(services, asked, clients, options):
    """Of each candidate and number of clients: a row of medians over the rounds."""
    bodies = [body for _, body in asked]
    found = {(name, count): [] for name in services for count in clients}
    for one in services.values():
        for count in clients:
            one.load(bodies, count, options.requests // 2)  # warm
    for _ in range(options.rounds):
        order = list(found)
        random.shuffle(order)
        for name, count in order:
            before = services[name].cpu()
            taken, seconds = services[name].load(bodies, count, options.requests)
            cpu = services[name].cpu() - before
            p50, p99 = np.percentile(taken, [50, 99])
            found[name, count].append((options.requests / seconds, 1e3 * p50, 1e3 * p99, 1e3 * cpu / options.requests))
    keys = ("requests_per_second", "p50_ms", "p99_ms", "cpu_ms_per_request")
    return [
        {
            "candidate": name,
            "clients": count,
            **{key: statistics.median(values) for key, values in zip(keys, zip(*rounds, strict=True), strict=True)},
            "rounds": [dict(zip(keys, one, strict=True)) for one in rounds],
        }
        for (name, count), rounds in found.items()
    ]


def ratio(rows, name, clients, key):
    """Of a candidate over no batching: the median over the rounds of their ratio within a round."""
    by = {(row["candidate"], row["clients"]): row["rounds"] for row in rows}
    pairs = zip(by[name, clients], by["no batching", clients], strict=True)
    return statistics.median(one[key] / other[key] for one, other in pairs)


def shown(rows):
    """The table, in 80 columns."""
    print(f"{'':<15}{'clients':>8}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms a request':>18}")
    for row in rows:
        print(
            f"{row['candidate']:<15}{row['clients']:>8}{row['requests_per_second']:>12,.0f}{row['p50_ms']:>9.1f}"
            f"{row['p99_ms']:>9.1f}{row['cpu_ms_per_request']:>18.2f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--fusion", default="attention")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    clients = [int(one) for one in options.clients.split(",")]
    random.seed(0)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        training = {"epochs": 2, "lr": 0.002}
        model, _ = mmkit.fit(task="digits", fusion=options.fusion, training=training, device="cpu", progress=False)
        model.save(folder / "digits")
        asked = samples(64)
        services = {}
        try:
            for name, given in CANDIDATES.items():
                services[name] = Service(folder / "digits", given, folder, options.threads)
                right(services[name], asked, model)
            rows = measured(services, asked, clients, options)
        finally:
            for one in services.values():
                one.process.terminate()
                one.process.wait(60)
    shown(rows)
    most, least = max(clients), min(clients)
    cpu = ratio(rows, "what is there", most, "cpu_ms_per_request")
    alone = ratio(rows, "what is there", least, "p50_ms")
    print(
        f"\nWith {most} clients batches of what is there take {cpu:.2f} of the CPU a request of no batching "
        f"(at most {MOST_OF_CPU} is asked); with {least} the p50 is {alone:.2f} of it. Load of the machine at the end: "
        f"{os.getloadavg()[0]:.1f}."
    )
    if options.out:
        facts = {
            "machine": machine(),
            "software": software(),
            "load": os.getloadavg(),
            "fusion": options.fusion,
            "threads": options.threads,
            "requests": options.requests,
            "cpu_ratio": cpu,
            "p50_ratio_alone": alone,
        }
        write_json(options.out, {**facts, "rows": rows})


if __name__ == "__main__":
    main()
