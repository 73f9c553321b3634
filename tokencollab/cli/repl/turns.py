"""A question and its answer with every step, kept in memory; and their JSON form, which can be read again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, get_args

from tokencollab.actors.answer import Answer, FinishReason, Token
from tokencollab.errors import TraceError, UsageError
from tokencollab.policies.methods import Method
from tokencollab.policies.recording import method_of
from tokencollab.policies.replay import replay
from tokencollab.protocol.pieces import Piece
from tokencollab.protocol.text import TextStream
from tokencollab.protocol.trace import Trace, TraceStep, parse_trace
from tokencollab.response import Response

CONVERSATION: Final = "tokencollab_conversation"
VERSION: Final = 1

UNKNOWN_ANSWER: Final = Answer("", "end", 0, 0, 0, None, ("?",), "?", 0, 0.0, None, None, 0, 0, {}, {}, {}, ())
"""Without figures."""


@dataclass(frozen=True)
class ConversationTurn:
    """One question (empty where a trace was read, which does not have it) and its answer.

    ``trace`` has the JSON lines, header first; a ``response`` of a response-level method has no tokens.
    """

    question: str
    answer: Answer
    tokens: tuple[Token, ...] = ()
    trace: tuple[str, ...] = ()
    response: Response | None = None

    @property
    def text(self) -> str:
        return self.answer.text if self.response is None else self.response.text

    @property
    def base(self) -> str:
        return self.answer.models[0]

    @cached_property
    def parsed(self) -> Trace:
        return parse_trace(self.trace)

    def step(self, number: int) -> tuple[TraceStep, Token]:
        tokens = {token.step: token for token in reversed(self.tokens) if token.piece != b""}
        if number not in tokens or number > len(self.parsed.steps):
            raise UsageError(f"the last answer has the steps 1 to {len(tokens)}" if tokens else "there are no steps")
        return self.parsed.steps[number - 1], tokens[number]

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "answer": self.answer.to_json(),
            "text": self.text,
            "trace": [json.loads(line) for line in self.trace],
        }

    @classmethod
    def from_json(cls, data: object) -> "ConversationTurn":
        """The inverse of `to_json`; of a response-level method the text alone comes back."""
        if not isinstance(data, Mapping):
            raise UsageError("a turn must be an object")
        question, text, trace = data.get("question"), data.get("text"), data.get("trace")
        if not (isinstance(question, str) and isinstance(text, str) and isinstance(trace, list)):
            raise UsageError("a turn must have a question, a text and a trace")
        if not trace:
            return cls(question, _read_answer(data.get("answer"), text))
        turn = turn_of_trace([json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in trace], question)
        return cls(question, _read_answer(data.get("answer"), text, turn.answer), turn.tokens, turn.trace)


def turn_of_trace(lines: Sequence[str], question: str = "") -> ConversationTurn:
    """The turn that a trace records: ranks and figures are computed again, times are not known."""
    trace = parse_trace(lines)
    method = method_of(trace)
    reader = TextStream(_stops(trace))
    tokens: list[Token] = []
    for made, step in zip(replay(trace, None, past_exit=True), trace.steps, strict=False):
        text, efficacy = reader.feed(step.chosen or b""), None if step.alone else made.efficacy
        ranks, joined = dict(made.ranks), tuple(step.joined)
        tokens.append(Token(text, step.chosen, step.step, ranks, efficacy, step.alone, step.lost, joined))
    if rest := reader.finish():
        tokens.append(Token(rest, b"", len(tokens), {}))
    if len(tokens) < len(trace.steps):
        raise TraceError(f"line {len(tokens) + 2}: the trace cannot be followed from here")
    return ConversationTurn(question, _answer_of(trace, method, tokens), tuple(tokens), tuple(lines))


def _stops(trace: Trace) -> list[str]:
    stops = trace.settings.get("stop")
    return [stop for stop in stops if isinstance(stop, str) and stop] if isinstance(stops, list) else []


def _answer_of(trace: Trace, method: Method, tokens: Sequence[Token]) -> Answer:
    """What a trace says of an answer. ``forwarded`` and the times are not in it."""
    steps, models, seed = trace.steps, trace.models, trace.settings.get("seed", 0)
    alone = next((step.step for step in steps if step.alone), None)
    common = [token for token in tokens if not token.alone and len(token.ranks) > 1]
    together = [token for token in tokens if not token.alone]
    pieces: tuple[Piece, ...] = tuple(step.chosen for step in steps)
    return replace(
        UNKNOWN_ANSWER,
        text="".join(token.text for token in tokens),
        finish_reason="end" if pieces and pieces[-1] is None else "length",
        tokens=len(pieces),
        cost=sum(len(step.candidates) for step in steps),
        exit_step=alone - 1 if alone is not None and len(models) > 1 and alone > 1 else None,
        models=models,
        method=method.name,
        seed=seed if isinstance(seed, int) else 0,
        agreed=sum(not any(rank != 0 for rank in token.ranks.values()) for token in common),
        together=len(common),
        proposed={model: sum(token.ranks.get(model) == 0 for token in together) for model in models},
        lost={model: n for model in models if (n := sum(model in step.lost for step in steps))},
        pieces=pieces,
    )


def _read_answer(data: object, text: str, known: Answer | None = None) -> Answer:
    """The figures of a saved answer, as far as they have the right form; the rest from what is ``known``."""
    given = data if isinstance(data, Mapping) else {}
    found: dict[str, Any] = {}
    for name in ("seconds", "first_token_seconds", "ms_per_token"):
        if type(given.get(name)) in (int, float):
            found[name] = float(given[name])
    if type(given.get("prompt_tokens")) is int:
        found["prompt_tokens"] = given["prompt_tokens"]
    forwarded = given.get("forwarded")
    if isinstance(forwarded, Mapping) and all(isinstance(n, int | float) for n in forwarded.values()):
        found["forwarded"] = dict(forwarded)
    if given.get("finish_reason") in get_args(FinishReason):
        found["finish_reason"] = given["finish_reason"]
    if known is None:
        known = replace(UNKNOWN_ANSWER, text=text)
        models = given.get("models")
        if isinstance(models, list) and models and all(isinstance(name, str) for name in models):
            found["models"] = tuple(models)
        if isinstance(given.get("method"), str):
            found["method"] = given["method"]
    return replace(known, **found)
