"""Recorded samples: what models answered before, and what a method would have decided and drawn of it.

A line is one question: ``{"samples": {model: [answer or null, ...]}}``, models in order, null for unreadable. Further
keys where there is something to say: ``lost`` (models that gave less than they were asked for), ``method`` (the
settings with which the samples were drawn), ``seed``, ``scores`` (of each sample, ``{model: [number or null, ...]}``,
for best-of-N). Other keys are ignored. Lines that this program writes have a checksum (`protocol.checksums`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from tokencollab.errors import TraceError, UsageError
from tokencollab.policies.responses.events import Decision, Samples, SampleScores
from tokencollab.policies.responses.machines import make_rule
from tokencollab.policies.responses.response_methods import ResponseMethod
from tokencollab.policies.responses.switching import Need, decide
from tokencollab.policies.responses.vote import MOST_SCORE, by_scores, vote
from tokencollab.protocol.checksums import CHECKSUM, add_checksum, check_line
from tokencollab.protocol.json_text import NotJson, read_json
from tokencollab.protocol.trace import lines_of


@dataclass(frozen=True, slots=True)
class Recorded:
    """One question's samples; ``line`` is where they stand, ``altered`` whether they were chosen or read anew since."""

    line: int
    samples: Samples
    lost: frozenset[str]
    method: ResponseMethod | None
    seed: int
    scores: SampleScores = ()
    altered: bool = False

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(model for model, _ in self.samples)

    @property
    def most(self) -> int:
        return max(len(answers) for _, answers in self.samples)

    def only(self, models: Sequence[str]) -> "Recorded":
        """These models, in this order.

        Raises:
            UsageError: one is not recorded, or named twice.
        """
        by_model = dict(self.samples)
        for model in models:
            if model not in by_model or list(models).count(model) > 1:
                raise UsageError(f"line {self.line} has samples of {', '.join(by_model)}, not of {model!r} (once each)")
        chosen = tuple((model, by_model[model]) for model in models)
        scored = dict(self.scores)
        scores = tuple((model, scored[model]) for model in models) if scored else ()
        altered = self.altered or chosen != self.samples
        return replace(self, samples=chosen, lost=self.lost & set(models), scores=scores, altered=altered)


def record(
    samples: Samples, lost: Iterable[str], method: ResponseMethod, seed: int, scores: SampleScores = (), **more: Any
) -> str:
    line: dict[str, Any] = {"samples": {model: list(answers) for model, answers in samples}}
    if scores:
        line["scores"] = {model: list(values) for model, values in scores}
    if lost := sorted(lost):
        line["lost"] = lost
    text = json.dumps(line | {"method": method.to_json(), "seed": seed} | more, ensure_ascii=False, allow_nan=False)
    return add_checksum(text.encode(errors="surrogatepass"))[0].decode(errors="surrogatepass")


def are_samples(text: str) -> bool:
    """Whether a trace holds recorded samples: its first line, or all of it, is an object that has some."""
    part = next(filter(_is_json, (text.partition("\n")[0], text)), "null")
    content = json.loads(part)
    return isinstance(content, dict) and "samples" in content


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def parse_recorded(text: str) -> list[Recorded]:
    """Reads recorded samples: a line a question, or one object over several lines.

    Raises:
        TraceError: the first damage found, with its line number.
    """
    lines = lines_of(text)
    if not lines:
        _fail(1, "the trace is empty")
    if not _is_json(lines[0]) and _is_json(text):
        return [_question(1, text)]
    return [_question(number, line) for number, line in enumerate(lines, start=1)]


def replay_recorded(recorded: Recorded, method: ResponseMethod, chances: Sequence[float] = ()) -> Decision:
    """What ``method`` decides on recorded samples, and how many of them it needs.

    ``scores`` are those of all samples of the models that were asked: what is recorded costs nothing.

    Raises:
        UsageError: the method is not one whose decision follows from samples, or the decision needs scores that were
            not recorded.
        TraceError: the method needs a sample that was not recorded.
    """
    if method.family != "sampling":
        raise UsageError(f"{method.name} cannot be recomputed from samples alone; modelswitch and its like can")
    rule = make_rule(method, recorded.models, chances)
    given = {model: dict(enumerate(answers[: method.samples])) for model, answers in recorded.samples}
    decision = decide(rule, given, recorded.lost)
    if isinstance(decision, Need):
        model, there = decision.model, len(given[decision.model])
        _fail(
            recorded.line,
            f"{model} has {there} samples where {method.samples} are asked for; use fewer (--samples), or name it in "
            '"lost" if it gave no more',
        )
    seen = dict(decision.seen)
    asked = tuple((model, answers[: method.samples] if seen[model] else ()) for model, answers in recorded.samples)
    outcome = replace(decision.outcome(rule), scores=vote(asked, dict(rule.priors)))
    if method.scorer is None or decision.model is not None or decision.answer is None:
        return outcome
    if not recorded.scores:
        if method == recorded.method and not recorded.altered:
            return outcome  # the same decision came to its scorer and has no scores: it failed, and the vote stood
        raise UsageError(f"{method.name} with a scorer needs the samples' scores, and line {recorded.line} has none")
    scores = tuple((model, values[: len(seen[model])]) for model, values in recorded.scores)
    best = by_scores(decision.seen, scores, method.pick)
    return replace(outcome, answer=best[0][0], reason="score", scores=best, sample_scores=scores)


def canonical_samples(recorded: Recorded, read: Callable[[str], str | None]) -> Recorded:
    """The samples with every answer in the form that ``read`` gives it."""
    samples = tuple(
        (model, tuple(None if answer is None else read(answer) for answer in answers))
        for model, answers in recorded.samples
    )
    return replace(recorded, samples=samples, altered=recorded.altered or samples != recorded.samples)


def _read_line(number: int, text: str) -> Mapping[str, Any]:
    try:
        checked = check_line(text.rstrip("\r").encode(errors="surrogatepass")) is not None
        line = read_json(text)
    except NotJson as error:
        _fail(number, f"not whole JSON (a cut line?): {str(error).removeprefix('not JSON: ')}")
    except TraceError as error:
        _fail(number, str(error))
    if isinstance(line, Mapping) and CHECKSUM in line and not checked:
        _fail(number, f"it was changed since it was written ({CHECKSUM} is not its last key)")
    if not isinstance(line, Mapping) or "samples" not in line:
        _fail(number, 'a line of recorded samples must be {"samples": {model: [answer or null, ...]}}')
    return line


def _question(number: int, text: str) -> Recorded:
    line = _read_line(number, text)
    samples, method = line["samples"], line.get("method")
    if not isinstance(samples, Mapping) or not samples:
        _fail(number, f"samples must give a list of answers for each model, not {_short(samples)}")
    for model, answers in samples.items():
        if not model or not isinstance(answers, list):
            _fail(number, f"the samples of {model!r} must be a list of answers, not {_short(answers)}")
        for index, answer in enumerate(answers, start=1):
            if answer is not None and (not isinstance(answer, str) or not answer.strip()):
                _fail(number, f"answer {index} of {model} must be a text or null, not {_short(answer)}")
    if not any(samples.values()):
        _fail(number, "there are no samples")
    lost = line.get("lost", [])
    if not isinstance(lost, list) or not all(isinstance(model, str) and model in samples for model in lost):
        _fail(number, f"lost must name models of the samples, not {_short(lost)}")
    seed = line.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        _fail(number, f"seed must be a whole number from 0 on, not {_short(seed)}")
    try:
        settings = ResponseMethod.from_json(method) if isinstance(method, Mapping) else None
    except UsageError as error:
        raise TraceError(f"line {number}: {error}") from error
    listed = tuple((model, tuple(answers)) for model, answers in samples.items())
    return Recorded(number, listed, frozenset(lost), settings, seed, _scores(number, line.get("scores"), listed))


def _scores(number: int, scores: object, samples: Samples) -> SampleScores:
    if scores is None:
        return ()
    if not isinstance(scores, Mapping) or set(scores) != {model for model, _ in samples}:
        _fail(number, f"scores must give a list of numbers for each model of the samples, not {_short(scores)}")
    for model, answers in samples:
        values = scores[model]
        if not isinstance(values, list) or len(values) != len(answers):
            _fail(
                number, f"the scores of {model} must be a list of {len(answers)} numbers, one for each of its samples"
            )
        for index, (answer, value) in enumerate(zip(answers, values, strict=True), start=1):
            if value is None and answer is None:
                continue
            if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MOST_SCORE:
                span = f"from {-MOST_SCORE:g} to {MOST_SCORE:g}"
                _fail(number, f"score {index} of {model} must be a number {span}, not {_short(value)}")
    return tuple((model, tuple(scores[model])) for model, _ in samples)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fail(number: int, reason: str) -> NoReturn:
    raise TraceError(f"line {number}: {reason}")
