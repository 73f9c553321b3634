"""Serves the figures of this process to Prometheus, on this machine alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server

from tokencollab.actors import metrics
from tokencollab.errors import UsageError

_MAKE: Final[dict[str, Callable[..., Counter | Gauge | Histogram]]] = {
    "counter": Counter,
    "gauge": Gauge,
    "histogram": partial(Histogram, buckets=metrics.BUCKETS),
}


@contextmanager
def serve_metrics(port: int) -> Iterator[str]:
    """Serves ``/metrics`` on a port of the loopback interface (0: any that is free) until the block is left.

    Yields:
        The address.

    Raises UsageError: the port cannot be had.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    sink = _Sink(registry)
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is above 65535"
        raise UsageError(f"metrics cannot be served on port {port}: {reason}") from None
    metrics.install(sink)
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        metrics.uninstall(sink)
        server.shutdown()
        server.server_close()
        thread.join()


class _Sink:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._instruments: dict[metrics.Metric, Counter | Gauge | Histogram] = {}
        for metric in metrics.ALL:
            name = f"tokencollab_{metric.name}"
            self._instruments[metric] = _MAKE[metric.kind](name, metric.help, metric.labels, registry=registry)

    def __call__(self, metric: metrics.Metric, value: float, labels: tuple[str, ...]) -> None:
        match self._instruments[metric].labels(*labels):
            case Counter() as counter:
                counter.inc(value)
            case Gauge() as gauge:
                gauge.set(value)
            case Histogram() as histogram:
                histogram.observe(value)
