"""The shell: what the prompt and its commands share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from tokencollab.actors.answer import Token
from tokencollab.actors.coordinator import OF_THIS_ANSWER
from tokencollab.answer_stream import AnswerStream
from tokencollab.asking import Heard
from tokencollab.cli.repl.colours import Beside, Palette, happenings, parted
from tokencollab.cli.repl.display import Figures, PipedScreen, caption, speaks_unicode, status_line
from tokencollab.cli.repl.layout import fits, sentences
from tokencollab.cli.repl.session import Conversation, Hear
from tokencollab.cli.repl.turns import ConversationTurn
from tokencollab.cli.terminal import response_table
from tokencollab.policies.events import Efficacy
from tokencollab.policies.methods import Method, parse_method
from tokencollab.protocol.text import harmless, one_line

_REDRAW: Final = 0.05  # seconds between two drawings of the moving line


@dataclass
class Shell:
    """The session, where it is shown, and what Ctrl-C stops.

    Answers go to ``screen``, what commands were asked for to ``talk``, what is said beside answers to ``notes``.
    ``words``: instead of tints and tables. ``interactive``: a person types. ``done``: the prompt is to be left.
    """

    session: Conversation
    screen: PipedScreen
    palette: Palette
    words: bool = False
    interactive: bool = True
    talk: Console = field(default_factory=Console)
    notes: Console = field(default_factory=lambda: Console(stderr=True))
    stop: Callable[[], None] | None = None
    done: bool = False

    def stoppable(self, stop: Callable[[], None]) -> None:
        self.stop = stop

    def tell(self, *what: RenderableType) -> None:
        """What a command was asked for; texts are taken as they are."""
        for item in what:
            if isinstance(item, Table) and not fits(item, self.talk.width):
                self.tell(*sentences(item))
                continue
            shown = Text(harmless(item)) if isinstance(item, str) else item
            self.talk.print(shown, soft_wrap=isinstance(item, str) and not self.talk.is_terminal)

    def say(self, *lines: str) -> None:
        """Something beside the answers."""
        for line in lines:
            self.notes.print(Text(harmless(line)), soft_wrap=not self.notes.is_terminal, style="dim")

    async def ask(self, question: str) -> None:
        session = self.session
        try:
            await (self._vote(question) if session.between_models else self._answer(question))
        finally:
            self.stop = None
            for notice in dict.fromkeys(session.notices):
                if notice not in session.told or OF_THIS_ANSWER in notice:
                    self.say(notice)
            session.told.update(session.notices)
            session.notices.clear()

    async def _answer(self, question: str) -> None:
        session = self.session
        before = len(session.turns)
        hear = self._followed(lambda token: self.screen.write(token, session.members[0]), session.chosen())
        try:
            await session.ask(question, hear, self.stoppable)
        finally:
            self.screen.end()
            if len(session.turns) > before:
                self.close(session.turns[-1])

    def _followed(self, write: Callable[[Token], None], method: Method) -> Hear:
        """Has every token written, and the moving line below it."""
        theta = method.theta if method.uses("theta") else None
        unicode = speaks_unicode(sys.stdout)
        away: set[str] = set()
        efficacy: Efficacy | None = None
        drawn = 0.0

        def hear(token: Token, stream: AnswerStream) -> None:
            nonlocal efficacy, drawn
            away.update(token.lost)
            away.difference_update(token.joined)
            efficacy = token.efficacy or efficacy
            write(token)
            if monotonic() - drawn >= _REDRAW or token.lost or token.joined:
                answer = stream.answer
                full = answer.tokens * len(answer.models)
                speed, lost = answer.ms_per_token, tuple(sorted(away))
                figures = Figures(token.step, speed, efficacy, theta, answer.cost, full, token.alone, lost)
                self.screen.status(status_line(figures, self.screen.width, unicode))
                drawn = monotonic()

        return hear

    def close(self, turn: ConversationTurn) -> None:
        for line in happenings(turn.tokens):
            self.say(line)
        most = self.session.limits.max_tokens
        limit = f"cut off at {most} tokens: /set max_tokens"
        if turn.answer.tokens < most:
            limit = "the context of a model is full"
        ends = {"end": "", "cancelled": "; stopped", "length": f"; {limit}", "timeout": "; out of time (max_seconds)"}
        why = ends[turn.answer.finish_reason]
        if why or self.interactive:
            self.say(f"[{caption(turn)}{why}]")

    async def _vote(self, question: str) -> None:
        def heard(one: Heard) -> None:
            said = "unreadable" if one.answer is None else " ".join(one.answer.split())
            self.say(f"{one.model}, sample {one.sample + 1}: {said[:60]}{'...' if len(said) > 60 else ''}")

        turn = await self.session.vote(question, heard, self.stoppable)
        self.show(turn)
        if self.interactive and turn.response is not None:
            self.tell(response_table(turn.response))

    async def alone(self) -> None:
        """Has each model answer the last question by itself; where it parts from the answer a mark stands, and it goes
        on in bold."""
        names, turn = self.session.soloists(), self.session.last
        if self.words:
            self.tell(f"together: {turn.text}")
        for name in names:
            self.say(f"{name} by itself:")
            beside = Beside(turn.text, self.palette.marks.exit)
            if not self.words:
                self.screen.status(one_line(f"{name} reads the question")[: self.screen.width])

            def write(token: Token, beside: Beside = beside) -> None:
                if not self.words:
                    self.screen.put(beside.spans(token.text))

            try:
                answer = await self.session.alone(name, self._followed(write, parse_method("base")), self.stoppable)
            finally:
                if not self.words:
                    self.screen.end()
            if self.words:
                self.tell(parted(turn.text, name, answer.text))
            stopped, same = answer.finish_reason == "cancelled", answer.text == turn.text
            self.say(f"[{answer.tokens} tokens{'; the same text' * same}{'; stopped' * stopped}]")
            if stopped:
                break

    def show(self, turn: ConversationTurn) -> None:
        for token in turn.tokens:
            self.screen.write(token, turn.base)
        if not turn.tokens:
            self.screen.write(Token(turn.text, turn.text.encode() or None, 1, {turn.base: 0}), turn.base)
        self.screen.end()
