"""What is measured while answers are written. Who wants the figures installs a sink; without one they cost nothing.

`prometheus_metrics` serves them from this process, `ray_metrics` hands them to Ray's exporter.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from tokencollab.protocol.text import one_line


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. Its name is given without the prefix ``tokencollab_`` and a counter's suffix ``_total``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]


TOKENS: Final = Metric("tokens", "counter", "Pieces committed, EOS included", ("method",))
COST: Final = Metric("cost", "counter", "Candidate sets produced for finished answers", ("method",))
ANSWERS: Final = Metric("answers", "counter", "Answers by how they ended", ("method", "finish"))
EXITS: Final = Metric("exits", "counter", "Answers whose base left the collaboration", ("method",))
TOKEN_SECONDS: Final = Metric("token_seconds", "histogram", "From one committed piece to the next", ("method",))
MODEL_SECONDS: Final = Metric("model_seconds", "histogram", "A model's answer to a question, prompts aside", ("model",))
FAULTS: Final = Metric("faults", "counter", "Failures of a model by kind", ("model", "kind"))
RESTARTS: Final = Metric("restarts", "counter", "Restarts of a model", ("model",))
SESSIONS: Final = Metric("sessions", "gauge", "Sessions open at a model", ("model",))
QUEUE: Final = Metric("queue_length", "gauge", "Questions that wait for a model's next pass", ("model",))
KV_BYTES: Final = Metric("kv_bytes", "gauge", "Memory of a model's KV caches", ("model",))

ALL: Final = (
    *(TOKENS, COST, ANSWERS, EXITS, TOKEN_SECONDS, MODEL_SECONDS, FAULTS, RESTARTS, SESSIONS, QUEUE, KV_BYTES),
)
BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Upper limits of the histograms, in seconds."""


class Sink(Protocol):
    """Takes figures in; called from several threads."""

    def __call__(self, metric: Metric, value: float, labels: tuple[str, ...]) -> None:
        """A counter grows by ``value``, a gauge is set to it, a histogram observes it."""


_sinks: list[Sink] = []


def install(sink: Sink) -> None:
    """Has ``sink`` hear everything from now on; twice is once."""
    if sink not in _sinks:
        _sinks.append(sink)


def uninstall(sink: Sink) -> None:
    if sink in _sinks:
        _sinks.remove(sink)


def listening() -> bool:
    """Whether anybody wants figures: what costs time to find out need not be found out else."""
    return bool(_sinks)


def record(metric: Metric, value: float, *labels: str) -> None:
    """Tells the sinks. Labels are names of somebody else's models: what is harmful in them is taken out."""
    if _sinks:
        shown = tuple(map(one_line, labels))
        for sink in _sinks:
            sink(metric, value, shown)
