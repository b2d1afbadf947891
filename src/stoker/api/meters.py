"""What the server counts of itself, for Prometheus. No label holds anything that a caller can choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from stoker.domain.errors import StokerError
from stoker.domain.states import JobState
from stoker.store.port import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Meters:
    """Counters of one server."""

    def __init__(self, store: Store, is_ready: Callable[[], bool], slots: int) -> None:
        """Take what the figures of jobs are read from when they are asked for."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "stoker_http_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "stoker_http_request_seconds", "Time to the answer's beginning.", ("route",), buckets=_SECONDS,
            registry=self._registry,
        )  # fmt: skip
        self.streams = Gauge("stoker_streams", "Streams and WebSockets that are open.", registry=self._registry)
        self.dropped = Counter("stoker_streams_dropped", "Streams cut off, too slow.", registry=self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(_Jobs(store, is_ready, slots))

    def count(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count an answer. `route` is the template of a known route, None for a request that found none."""
        known = method if method in METHODS else "other"
        self._requests.labels(known, route or "none", str(status)).inc()
        self._seconds.labels(route or "none").observe(seconds)

    def report(self) -> bytes:
        """Give every figure as Prometheus reads it."""
        return generate_latest(self._registry)


class _Jobs(Collector):
    """Reads the figures of jobs at the moment they are asked for."""

    def __init__(self, store: Store, is_ready: Callable[[], bool], slots: int) -> None:
        self._store, self._is_ready, self._slots = store, is_ready, slots

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name nothing before it is read."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the store; a store that does not answer shows as not up, not as a failed scrape."""
        yield GaugeMetricFamily("stoker_ready", "Whether jobs are being scheduled.", float(self._is_ready()))
        yield GaugeMetricFamily("stoker_slots", "Jobs that may run at once.", float(self._slots))
        try:
            counts, newest = self._store.count_by_state(), self._store.feed_bounds()[1]
        except StokerError:
            yield GaugeMetricFamily("stoker_store_up", "Whether the store answers.", 0.0)
            return
        yield GaugeMetricFamily("stoker_store_up", "Whether the store answers.", 1.0)
        yield GaugeMetricFamily("stoker_feed_newest_id", "Id of the newest row of the feed.", float(newest))
        jobs = GaugeMetricFamily("stoker_jobs", "Jobs by state.", labels=("state",))
        for state in JobState:
            jobs.add_metric((state.value,), float(counts[state]))
        yield jobs
