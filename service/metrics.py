"""What is counted, for Prometheus?

>>> metrics = Metrics()
>>> metrics.request("POST", "/predict", 200, 0.0001)
>>> b"http_requests_total" in metrics.text()
True
"""

import functools
import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = {"GET", "HEAD", "POST", "OPTIONS"}  # any other is OTHER: a label is not for strangers to fill
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The counters of an application; of all its workers, where PROMETHEUS_MULTIPROC_DIR names a folder."""

    def __init__(self):
        registry = self.registry = CollectorRegistry()
        self._requests = Counter("http_requests", "Requests answered", ["method", "route", "status"], registry=registry)
        self._seconds = Histogram(
            "http_request_duration_seconds", "Time to answer a request", ["route"], registry=registry, buckets=BUCKETS
        )
        self._rows = Counter("prediction_rows", "Rows predicted", registry=registry)
        self._warnings = Counter("prediction_warnings", "Rows answered with a warning", registry=registry)
        self._model = Gauge(
            "model_info",
            "The model that answers",
            ["name", "version"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._refused = Gauge(
            "model_refused", "Whether the model on disk was refused", registry=registry, multiprocess_mode="mostrecent"
        )
        self._shown = None
        # What a label's values lead to, found once each: there are few routes, methods and statuses.
        self._request = functools.cache(lambda *labels: self._requests.labels(*labels).inc)
        self._second = functools.cache(lambda route: self._seconds.labels(route).observe)

    def request(self, method, route, status, seconds):
        """Count a request.

        Parameters
        ----------
        method, route : str
        status : int
        seconds : float
        """
        self._request(method if method in METHODS else "OTHER", route, status)()
        self._second(route)(seconds)

    def predicted(self, rows, warnings):
        """Count predictions.

        Parameters
        ----------
        rows, warnings : int
            How many were answered, and how many of these with a warning.
        """
        self._rows.inc(rows)
        if warnings:
            self._warnings.inc(warnings)

    def show(self, live):
        """Tell which model answers.

        Parameters
        ----------
        live : Live
        """
        now = live.model.signature.name, live.model.signature.version
        if now != self._shown:
            if self._shown:
                self._model.labels(*self._shown).set(0)
            self._model.labels(*now).set(1)
            self._shown = now
        self._refused.set(live.refused is not None)

    def text(self):
        """Write all counters as Prometheus reads them.

        Returns
        -------
        bytes
        """
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self.registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)
