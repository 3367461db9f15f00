"""What a service counts, in the kinds of Prometheus and its units: samples, seconds, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Borders of durations."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Borders of the size of a batch."""
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counts of one service, in a registry of its own.

    Labels are names of models and a few words, none that a client chooses.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # times of creation, one more line a figure
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        model = ("model",)
        self.requests = Counter(
            "mmkit_requests", "Requests for answers, by status of HTTP", (*model, "status"), registry=self._registry
        )
        self.samples = Counter(
            "mmkit_samples", "Samples: answered, refused or failed", (*model, "outcome"), registry=self._registry
        )
        self.duration = Histogram(
            "mmkit_request_duration_seconds",
            "Seconds from a request's headers to its answer",
            model,
            buckets=SECONDS,
            registry=self._registry,
        )
        self.batch = Histogram(
            "mmkit_batch_size", "Rows that the model takes at once", model, buckets=ROWS, registry=self._registry
        )
        self.waiting = Gauge("mmkit_samples_waiting", "Rows that wait for a batch", model, registry=self._registry)
        self.streams = Gauge("mmkit_streams", "Streams that are open", model, registry=self._registry)
        self.chunks = Counter(
            "mmkit_stream_chunks",
            "Chunks of streams: answered, late, skipped for a newer one, refused or failed",
            (*model, "outcome"),
            registry=self._registry,
        )
        self.stream_seconds = Histogram(
            "mmkit_stream_answer_seconds",
            "Seconds from a chunk of a stream to its answer",
            model,
            buckets=SECONDS,
            registry=self._registry,
        )
        self.loaded = Gauge("mmkit_model_info", "The models in service", (*model, "digest"), registry=self._registry)
        self.reloads = Counter("mmkit_reloads", "Models exchanged", model, registry=self._registry)

    def waits(self, model: str, rows: Callable[[], float]) -> None:
        """Say where the number of waiting rows of a model is to be read."""
        self.waiting.labels(model).set_function(rows)

    def serves(self, digests: Mapping[str, str]) -> None:
        """Say which models are in service."""
        self.loaded.clear()
        for name, digest in digests.items():
            self.loaded.labels(name, digest).set(1)

    def page(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
