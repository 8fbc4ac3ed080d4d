"""Figures for Prometheus."""

from collections.abc import Callable, Mapping

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters of one service process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "spixgraph_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "spixgraph_request_seconds", "From first byte to answer.", ["route"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._pixels = Counter("spixgraph_pixels", "Pixels segmented.", registry=registry)
        self._predicted = self._gauge("memory_predicted_bytes", "Last image, by the contract.")
        self._used = self._gauge("memory_used_bytes", "Last image, measured.")
        self._resident = self._gauge("resident_bytes", "Memory of the process now.")
        self._resident.set_function(lambda: psutil.Process().memory_info().rss)
        self._inside = self._gauge("queue_inside", "Requests uploading, waiting or running.")
        self._running = self._gauge("queue_running", "Segmentations running.")
        self._jobs = Gauge("spixgraph_jobs", "Jobs by state.", ["state"], registry=registry)

    def watch_queue(self, inside: Callable[[], int], running: Callable[[], int]) -> None:
        """Ask for the queue whenever the figures are read."""
        self._inside.set_function(inside)
        self._running.set_function(running)

    def say_model(self, model: Mapping[str, object]) -> None:
        """Say which model is served."""
        labels = {key: str(model[key]) for key in ("name", "version", "bundle_sha256")}
        Gauge(
            "spixgraph_model_info", "The served model.", list(labels), registry=self._registry
        ).labels(**labels).set(1)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_image(self, n_pixels: int, predicted_bytes: int, used_bytes: int) -> None:
        """Count one segmented image."""
        self._pixels.inc(n_pixels)
        self._predicted.set(predicted_bytes)
        self._used.set(used_bytes)

    def render(self, jobs: Mapping[str, int]) -> bytes:
        """Write all figures in the text form; `jobs` is the number of jobs by state."""
        for state, n in jobs.items():
            self._jobs.labels(state).set(n)
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"spixgraph_{name}", text, registry=self._registry)
