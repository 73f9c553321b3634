"""The figures of one answer, told while it is written."""

from tokencollab.actors.metrics import ANSWERS, COST, EXITS, TOKEN_SECONDS, TOKENS, record


class AnswerMetrics:
    def __init__(self, method: str) -> None:
        self._method = method
        self._before: float | None = None

    def committed(self, now: float) -> None:
        record(TOKENS, 1, self._method)
        if self._before is not None:
            record(TOKEN_SECONDS, now - self._before, self._method)
        self._before = now

    def ended(self, finish: str, cost: int, exited: bool) -> None:
        record(COST, cost, self._method)
        record(ANSWERS, 1, self._method, finish)
        if exited:
            record(EXITS, 1, self._method)
