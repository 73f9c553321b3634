"""Carries out a method between models over a `Collaboration`: draws answers, and hears one event at a time.

All draws of a moment run together; equal prompts share their prefill in the engines.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO, TypeAlias, Unpack, assert_never

from tokencollab import answers
from tokencollab.actors.answer import Answer
from tokencollab.actors.log import Log
from tokencollab.actors.prompt import Prompt
from tokencollab.actors.recorder import written
from tokencollab.actors.request import AnswerRequest
from tokencollab.answers import check_kind
from tokencollab.collaboration import Collaboration
from tokencollab.errors import ModelFailed, ModelUnavailable, PlatformFull, TokencollabError, UsageError
from tokencollab.keywords import ResponseSettings, refuse_unknown, texts_of
from tokencollab.policies.events import Cancelled
from tokencollab.policies.responses import events as e
from tokencollab.policies.responses.machines import ResponsePolicy, make_response_policy
from tokencollab.policies.responses.recorded import record
from tokencollab.policies.responses.response_methods import ResponseMethod, parse_response_method, response_settings
from tokencollab.policies.responses.wording import form_of
from tokencollab.pool import SHORTEST_PAUSE, when_there_is_room
from tokencollab.protocol.messages import ChatMessage
from tokencollab.protocol.seeds import derive_seed, uniform
from tokencollab.respondents import Respondent, resolve_respondents
from tokencollab.response import Response, Usage
from tokencollab.scoring import Scorer, Scoring, scorer_of

log = Log(__name__)

Extract: TypeAlias = str | Callable[[str], str | None]
"""A kind of `answers.KINDS`, or a function from a text to the answer in it, None if there is none."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer of one model, as it comes in. ``sample`` is its number, from 0."""

    model: str
    sample: int
    text: str
    answer: str | None
    tokens: int


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """What is asked, and how answers are written and read."""

    turns: tuple[ChatMessage, ...]
    extract: Extract = "text"
    options: tuple[str, ...] = ()
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int = 0

    def read(self, text: str) -> str | None:
        if callable(self.extract):
            return self.extract(text)
        return answers.extract(text, self.extract, self.options)


async def ask(
    team: Collaboration,
    /,
    prompt: Prompt,
    method: str | ResponseMethod = "modelswitch",
    respondents: Sequence[str | Respondent] | None = None,
    *,
    extract: Extract = "text",
    options: Sequence[str] = (),
    max_tokens: int = 256,
    stop: Sequence[str] = (),
    seed: int = 0,
    scorer: Scorer | str | None = None,
    heard: Callable[[Heard], None] | None = None,
    trace: TextIO | None = None,
    **settings: Unpack[ResponseSettings],
) -> Response:
    """Lets the models of ``team`` answer, and decides by ``method``.

    Args:
        team: the models, inside ``async with``.
        prompt: a question or a conversation.
        method: a preset (`list_response_methods`) or a `ResponseMethod`.
        respondents: who answers, in order: names of models, or ``method(BASE,MODEL,...)`` for models that write
            together; every model by default. For transfer the large model comes first.
        extract: how an answer is read from a text.
        options: the texts of a multiple choice.
        max_tokens: of each answer.
        stop: texts before which an answer ends.
        seed: of every random choice.
        scorer: of best-of-N, in place of the method's: a function, or a name (``likelihood``, ``reward:FOLDER``).
        heard: is called with every answer as it comes in.
        trace: a text file that receives one line, from which the decision can be replayed.
        settings: of the method, as of `parse_response_method`.

    Raises:
        UsageError: something of this that cannot be.
        TokencollabError: no model gave any answer.
    """
    asking = Asking(
        team, prompt, method, respondents, extract=extract, options=options, max_tokens=max_tokens, stop=stop,
        seed=seed, scorer=scorer, heard=heard, **settings,
    )  # fmt: skip
    response = await asking.run()
    if trace is not None:
        written(asking.trace_line(), trace)
    return response


class Asking:
    """One question on its way; see `ask`. `cancel` decides at once with what there is."""

    def __init__(
        self,
        team: Collaboration,
        prompt: Prompt,
        method: str | ResponseMethod = "modelswitch",
        respondents: Sequence[str | Respondent] | None = None,
        *,
        extract: Extract = "text",
        options: Sequence[str] = (),
        max_tokens: int = 256,
        stop: Sequence[str] = (),
        seed: int = 0,
        scorer: Scorer | str | None = None,
        heard: Callable[[Heard], None] | None = None,
        **settings: Unpack[ResponseSettings],
    ) -> None:
        """Nothing happens before `run`. Arguments and errors are those of `ask`."""
        refuse_unknown(ask, settings, response_settings())
        if isinstance(extract, str):
            check_kind(extract)
        self._team = team
        self._respondents = resolve_respondents(team, respondents)
        asked = AnswerRequest.of(team.method, prompt, max_tokens, stop, seed)
        limits = asked.max_tokens, asked.stop, asked.seed
        self._question = AskedPrompt(asked.messages, extract, texts_of("options", options), *limits)
        if isinstance(method, str):
            method = parse_response_method(method, models=len(self._respondents), **settings)
        elif settings:
            raise UsageError("settings go with a method's name; with a ResponseMethod, use its with_settings")
        if scorer is not None:
            method = method.with_settings(scorer="callable" if callable(scorer) else scorer)
        self._method = method
        own = scorer if callable(scorer) else scorer_of(method)
        self._scoring = Scoring(team, self._respondents, self._count_scored, own)
        self._scoring.check(method)
        self._policy = self._make_policy()
        self._heard = heard or (lambda heard: None)
        self._inbox: asyncio.Queue[e.ResponseEvent | Exception] = asyncio.Queue()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._drawn: dict[str, dict[int, tuple[str, str | None]]] = {name: {} for name in self._respondents}
        self._usage = {name: Usage() for name in self._respondents}
        self._lost: dict[str, Exception] = {}
        self._scores: e.SampleScores = ()
        self._writing = 0  # draws that models have taken on
        self._written = 0  # those that came to an end

    def cancel(self) -> None:
        self._inbox.put_nowait(Cancelled())

    async def run(self) -> Response:
        """The whole response.

        Raises:
            UsageError: the models refuse the question.
            TokencollabError: no model gave any answer.
        """
        now = asyncio.get_running_loop().time
        started = now()
        try:
            state, commands = self._policy.start()
            while True:
                for command in commands:
                    if isinstance(command, e.Decide):
                        return self._response(command.outcome, now() - started)
                    self._carry_out(command)
                event = await self._inbox.get()
                if isinstance(event, Exception):
                    raise event
                state, commands = self._policy.step(state, event)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def trace_line(self) -> str:
        """The line of a trace: every answer that came in, with its text."""
        answers, texts = [], {}
        for name, drawn in self._drawn.items():
            numbers = sorted(drawn) if name in self._lost else list(range(_gap(drawn)))
            answers.append((name, tuple(drawn[number][1] for number in numbers)))
            texts[name] = [drawn[number][0] for number in numbers]
        prompt = [{"role": turn.role, "content": turn.content} for turn in self._question.turns]
        return record(
            tuple(answers), self._lost, self._method, self._question.seed, self._scores, prompt=prompt, texts=texts
        )

    # ------------------------------------------------------------ commands

    def _make_policy(self) -> ResponsePolicy:
        question = self._question
        form = form_of(question.extract) if isinstance(question.extract, str) else ""
        chances: Sequence[float] = ()
        if self._method.stop_probability is not None:
            chances = switch_chances(question.seed, len(self._respondents))
        return make_response_policy(self._method, tuple(self._respondents), question.turns, form=form, chances=chances)

    def _carry_out(self, command: e.Draw | e.Withdraw | e.ScoreSamples | e.MeasureSurprise) -> None:
        match command:
            case e.Draw():
                self._begin(command.ask, partial(self._draw, command))
            case e.ScoreSamples():
                self._begin(command.ask, partial(self._score, command))
            case e.MeasureSurprise():
                self._begin(command.ask, partial(self._weigh, command))
            case e.Withdraw(ask):
                if ask in self._tasks:
                    self._tasks[ask].cancel()
            case _:
                assert_never(command)

    def _begin(self, ask: int, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._guard(work))
        self._tasks[ask] = task
        task.add_done_callback(lambda _: self._tasks.pop(ask, None))

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """What goes wrong in the caller's own functions ends the question."""
        try:
            await work()
        except Exception as error:
            self._inbox.put_nowait(error)

    def _count_scored(self, name: str, seconds: float) -> None:
        self._usage[name] = self._usage[name].scored(seconds)

    async def _draw(self, command: e.Draw) -> None:
        name, question, method = command.model, self._question, self._method
        respondent = self._respondents[name]
        self._usage[name] = self._usage[name].begun()
        limit = min(question.max_tokens, method.short_tokens) if command.short else question.max_tokens
        sample = command.sample
        write = partial(
            self._team.generate,
            command.turns,
            max_tokens=limit,
            stop=question.stop,
            seed=question.seed if sample is None else derive_seed(question.seed, name, sample),
            method=respondent.writing(method, sample),
            members=respondent.members,
        )
        try:
            answer = await self._when_there_is_room(write)
        except TokencollabError as error:
            self._lose(name, error)
        else:
            self._hear(command, respondent, answer, question.read(answer.text))

    async def _when_there_is_room(self, write: Callable[..., Awaitable[Answer]]) -> Answer:
        """An answer. Where models are full it waits for the question's own other answers, but for nobody else's; of
        models that write together, the others then go on without those that are full.
        """
        before = 0

        async def attempt() -> Answer:
            nonlocal before
            before = self._written
            self._writing += 1
            try:
                answer = await write(require_room=True)
                self._written += 1
                return answer
            finally:
                self._writing -= 1

        try:
            return await when_there_is_room(
                attempt,
                worth_waiting=lambda: self._writing > 0 or self._written > before,  # it has ended since: there is room
                longest_pause=SHORTEST_PAUSE,
            )
        except PlatformFull:
            return await write(require_room=False)

    def _hear(self, command: e.Draw, respondent: Respondent, answer: Answer, found: str | None) -> None:
        name, drawn = command.model, self._drawn[command.model]
        self._usage[name] = self._usage[name].written(answer, respondent.price(self._method))
        number = _gap(drawn) if command.sample is None or self._method.family == "panel" else command.sample
        drawn[number] = (answer.text, found)
        self._heard(Heard(name, number, answer.text, found, answer.tokens))
        pieces = tuple(piece for piece in answer.pieces if piece is not None)
        self._inbox.put_nowait(e.SampleArrived(command.ask, answer.text, found, pieces))

    def _lose(self, name: str, error: Exception) -> None:
        log.warning("model lost", model=name, reason=f"{type(error).__name__}: {error}")
        self._lost.setdefault(name, error)
        self._inbox.put_nowait(e.RespondentLost(name))

    async def _score(self, command: e.ScoreSamples) -> None:
        self._inbox.put_nowait(e.SamplesScored(command.ask, await self._scoring.scores(command)))

    async def _weigh(self, command: e.MeasureSurprise) -> None:
        self._inbox.put_nowait(e.SurpriseMeasured(command.ask, await self._scoring.surprise(command)))

    # ------------------------------------------------------------ the end

    def _response(self, outcome: e.Decision, seconds: float) -> Response:
        if self._lost and not any(self._drawn.values()):
            error = next(iter(self._lost.values()))
            if isinstance(error, UsageError | ModelUnavailable | PlatformFull):
                raise error
            raise ModelFailed(f"no model gave an answer: {error}") from error
        usage = self._usage
        self._scores = outcome.sample_scores
        return Response(
            answer=outcome.answer,
            text=outcome.text,
            decided_by=outcome.decided_by,
            reason=outcome.reason,
            answers=dict(outcome.answers),
            scores=dict(outcome.scores),
            samples=outcome.samples,
            budget=outcome.budget,
            begun=sum(one.answers for one in usage.values()),
            method=self._method.name,
            models=tuple(self._respondents),
            seed=self._question.seed,
            tokens=sum(one.tokens for one in usage.values()),
            cost=sum(one.cost for one in usage.values()),
            seconds=seconds,
            usage=dict(usage),
            lost=tuple(self._lost),
            texts={name: [drawn[number][0] for number in sorted(drawn)] for name, drawn in self._drawn.items()},
            sample_scores=dict(outcome.sample_scores),
        )


def switch_chances(seed: int, models: int) -> tuple[float, ...]:
    return tuple(uniform(seed, position, 0) for position in range(models))


def _gap(drawn: Mapping[int, Any]) -> int:
    return next(number for number in range(len(drawn) + 1) if number not in drawn)
