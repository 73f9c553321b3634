"""The state of a prompt: models, method, settings and the conversation; questions asked, and answers remembered."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any, Final, TypeAlias

from tokencollab.actors.answer import Answer, Token
from tokencollab.answer_stream import AnswerStream
from tokencollab.asking import Asking, Heard
from tokencollab.cli.repl.turns import CONVERSATION, UNKNOWN_ANSWER, VERSION, ConversationTurn, turn_of_trace
from tokencollab.collaboration import Collaboration
from tokencollab.errors import TokencollabError, UsageError
from tokencollab.policies.methods import Method, parse_method
from tokencollab.policies.responses.response_methods import is_response_method, parse_response_method
from tokencollab.protocol.json_text import NotJson, read_json
from tokencollab.protocol.messages import ChatMessage
from tokencollab.protocol.trace import lines_of
from tokencollab.response import Response

Hear: TypeAlias = Callable[[Token, AnswerStream], None]
Stoppable: TypeAlias = Callable[[Callable[[], None]], None]

ANSWER_SETTINGS: Final = ("max_tokens", "stop", "extract", "members")
"""Settings of an answer; all others are those of the method."""


@dataclass
class Limits:
    """``stop`` and ``members`` None: as it suits the models, all of them."""

    max_tokens: int = 256
    stop: tuple[str, ...] | None = None
    extract: str = "text"
    members: tuple[str, ...] | None = None


@dataclass
class Conversation:
    """One conversation at the prompt.

    ``settings`` are in place of the method's own; ``seed`` is of the next answer; ``shown`` is a trace that was read,
    which is looked at instead of the last turn; ``notices`` are told after the answer, ``told`` are those told already.
    """

    team: Collaboration
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    system: str = ""
    limits: Limits = field(default_factory=Limits)
    turns: list[ConversationTurn] = field(default_factory=list)
    shown: ConversationTurn | None = None
    notices: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    _kept: AnswerStream | None = None  # the last answer's, whose caches the next question goes on from

    @property
    def members(self) -> tuple[str, ...]:
        """Who answers, the base first."""
        here = tuple(self.team.members)
        return here if self.limits.members is None else tuple(name for name in self.limits.members if name in here)

    @property
    def between_models(self) -> bool:
        return is_response_method(self.method)

    def chosen(self) -> Method:
        return parse_method(self.method, **self.settings)

    @property
    def samples(self) -> bool:
        """Whether chance has a part in answers."""
        return self.between_models or self.chosen().top_t != (1, 1)

    @property
    def temperature(self) -> float:
        """At which answers are sampled; 0 where the best piece is taken."""
        if self.between_models:
            method = parse_response_method(self.method, models=len(self.members), **self.settings)
            return float(getattr(method, "temperature", 0.0))
        return float(self.chosen().temperature) if self.samples else 0.0

    def check(self, method: str, settings: Mapping[str, Any]) -> None:
        """Raises UnknownMethod where there is no such method, or a setting does not go with it."""
        if is_response_method(method):
            parse_response_method(method, models=len(self.members), **settings)
        else:
            self.team.check_method(parse_method(method, **settings), self.members)

    def use_method(self, name: str) -> list[str]:
        """Changes the method; the settings that were dropped because they do not go with it."""
        self.check(name, {})
        kept: dict[str, Any] = {}
        for key, value in self.settings.items():
            with suppress(UsageError):
                self.check(name, kept | {key: value})
                kept[key] = value
        dropped = [key for key in self.settings if key not in kept]
        self.method, self.settings = name, kept
        return dropped

    def stops(self) -> tuple[str, ...]:
        """Texts before which answers end; models of plain text would go on with the next question by themselves."""
        if self.limits.stop is not None:
            return self.limits.stop
        plain = any(not info.chat_template for info in self.team.models)
        return ("\nQuestion:",) if plain else ()

    def _limits(self) -> dict[str, Any]:
        return {"max_tokens": self.limits.max_tokens, "stop": self.stops(), "seed": self.seed}

    def messages(self, question: str) -> list[ChatMessage]:
        """The conversation so far with ``question`` at its end."""
        turns = [ChatMessage("system", self.system)] if self.system else []
        for turn in self.turns:
            turns += [ChatMessage("user", turn.question), ChatMessage("assistant", turn.text)]
        return [*turns, ChatMessage("user", question)]

    @property
    def last(self) -> ConversationTurn:
        if self.shown is not None:
            return self.shown
        if not self.turns:
            raise UsageError("there is no answer yet; ask something first")
        return self.turns[-1]

    # ------------------------------------------------------------ questions

    async def ask(
        self,
        question: str,
        hear: Hear,
        stoppable: Stoppable,
    ) -> ConversationTurn:
        """Has a question answered by a token-level method.

        ``hear`` gets every token; ``stoppable`` gets what stops the answer. What was written stays, also where the
        models fail.
        """
        trace = StringIO()
        stream = self.team.stream(
            self.messages(question),
            **self._limits(),
            trace=trace,
            method=self.chosen(),
            members=self.limits.members and self.members,
            keep=True,
        )
        stoppable(stream.cancel)
        tokens: list[Token] = []
        before, self._kept = self._kept, stream
        try:
            async for token in stream:
                tokens.append(token)
                if len(tokens) == 1 and before is not None:
                    await before.aclose()  # every model has taken over what they have in common
                    before = None
                hear(token, stream)
        finally:
            if before is not None:
                await before.aclose()
            if stream.answer.finish_reason == "cancelled":  # a base that writes alone must not go on unheard
                await stream.aclose()
            if tokens or stream.answer.finish_reason != "cancelled":
                self.shown = None
                lines = tuple(lines_of(trace.getvalue()))
                self.turns.append(ConversationTurn(question, stream.answer, tuple(tokens), lines))
        if not tokens:
            raise UsageError("stopped before the answer began")
        return self.turns[-1]

    async def vote(self, question: str, heard: Callable[[Heard], None], stoppable: Stoppable) -> ConversationTurn:
        """Has a question answered by a response-level method; ``heard`` gets every answer as it comes in."""
        asking = Asking(
            self.team,
            self.messages(question),
            parse_response_method(self.method, models=len(self.members), **self.settings),
            self.members,
            extract=self.limits.extract,
            **self._limits(),
            heard=heard,
        )
        stoppable(asking.cancel)
        response = await asking.run()
        self.shown = None
        self.turns.append(ConversationTurn(question, _as_answer(response), response=response))
        return self.turns[-1]

    def soloists(self) -> tuple[str, ...]:
        """Who can be asked the last question again, each by itself."""
        if not self.turns or self.shown is not None:
            raise UsageError("there is no question to ask again; ask something first")
        return tuple(name for name in self.turns[-1].answer.models if name in self.team.members)

    async def alone(self, name: str, hear: Hear, stoppable: Stoppable) -> Answer:
        """What a model answers by itself to the last question; ``hear`` and ``stoppable`` as in `ask`."""
        turn = self.turns[-1]
        messages = self.messages(turn.question)
        del messages[-3:-1]  # the turn itself
        stream = self.team.stream(
            messages,
            max_tokens=max(1, turn.answer.tokens),
            stop=self.stops(),
            seed=turn.answer.seed,
            method="base",
            members=[name],
        )
        stoppable(stream.cancel)
        try:
            async for token in stream:
                hear(token, stream)
        finally:
            await stream.aclose()
        return stream.answer

    async def free(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            with suppress(TokencollabError):
                await kept.aclose()

    # ------------------------------------------------------------ kept on disk

    def dumped(self) -> str:
        data = {
            CONVERSATION: VERSION,
            "method": self.method,
            "settings": self.settings,
            "seed": self.seed,
            "system": self.system,
            "models": list(self.members),
            "turns": [turn.to_json() for turn in self.turns],
        }
        return json.dumps(data, ensure_ascii=False, indent=1) + "\n"

    def load(self, text: str) -> str:
        """Takes over a conversation, or shows a trace; in words, which. An error changes nothing."""
        lines = lines_of(text)
        if lines and '"tokencollab_trace"' in lines[0]:
            self.shown = turn_of_trace(lines)
            return f"a trace of {len(self.shown.parsed.steps)} steps"
        try:
            data = read_json(text)
        except NotJson as error:
            raise UsageError(f"it is neither a trace nor a conversation: {error}") from None
        if not isinstance(data, Mapping) or data.get(CONVERSATION) != VERSION:
            raise UsageError("it is neither a trace nor a conversation that /save wrote")
        turns, system, method = data.get("turns"), data.get("system", ""), data.get("method")
        settings = data.get("settings", {})
        if not (isinstance(turns, list) and isinstance(system, str) and isinstance(method, str)):
            raise UsageError("it is no conversation: turns, system and method are not what they should be")
        if not isinstance(settings, dict):
            raise UsageError("it is no conversation: its settings are not an object")
        read = [ConversationTurn.from_json(turn) for turn in turns]
        self.check(method, settings)
        self.turns, self.system, self.shown = read, system, None
        self.method, self.settings = method, settings
        return f"a conversation of {len(read)} questions"


def _as_answer(response: Response) -> Answer:
    """What a response and an answer have in common."""
    return replace(
        UNKNOWN_ANSWER,
        text=response.text,
        finish_reason="cancelled" if response.reason == "cancelled" else "end",
        tokens=response.tokens,
        cost=round(response.cost),
        models=response.models,
        method=response.method,
        seed=response.seed,
        seconds=response.seconds,
        lost=dict.fromkeys(response.lost, 1),
    )
