"""Hands the figures to Ray, which exports them to Prometheus on every node. Knows Ray."""

from functools import cache

from ray.util.metrics import Counter, Gauge, Histogram

from tokencollab.actors import metrics


def ray_sink(metric: metrics.Metric, value: float, labels: tuple[str, ...]) -> None:
    """Installed in a process that is connected to a cluster, and uninstalled before the process leaves it."""
    tags = dict(zip(metric.labels, labels, strict=True))
    match _instrument(metric):
        case Counter() as counter:
            if value > 0:  # Ray refuses zero
                counter.inc(value, tags)
        case Gauge() as gauge:
            gauge.set(value, tags)
        case Histogram() as histogram:
            histogram.observe(value, tags)


@cache
def _instrument(metric: metrics.Metric) -> Counter | Gauge | Histogram:
    name = f"tokencollab_{metric.name}"
    match metric.kind:
        case "counter":
            return Counter(name, metric.help, metric.labels)
        case "gauge":
            return Gauge(name, metric.help, metric.labels)
        case "histogram":
            return Histogram(name, metric.help, list(metrics.BUCKETS), metric.labels)
