"""Where lines come from: a person at a terminal (prompt_toolkit), or a pipe."""

import asyncio
import os
import sys
import termios
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from platformdirs import user_state_path
from prompt_toolkit import PromptSession
from prompt_toolkit.application.current import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from tokencollab.cli.repl.commands import completions
from tokencollab.cli.repl.session import Conversation
from tokencollab.files import make_private_folder
from tokencollab.protocol.text import one_line


def typed_lines(session: Conversation, known_models: Sequence[str]) -> PromptSession[str]:
    """A person types: several lines, completion, history of earlier runs."""
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @Condition
    def can_look_back() -> bool:
        return bool(session.turns or session.shown) and not get_app().current_buffer.text

    @keys.add("left", filter=can_look_back)
    def _(event: KeyPressEvent) -> None:
        event.app.exit(result="/why")

    return PromptSession(
        "> ",
        multiline=True,
        prompt_continuation=". ",
        completer=_Completions(session, known_models),
        complete_while_typing=False,
        history=_history(),
        key_bindings=keys,
        enable_suspend=True,
    )


class _Completions(Completer):
    def __init__(self, session: Conversation, known: Sequence[str]) -> None:
        self._session, self._known = session, known

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        last = len(text) - text.rfind(" ") - 1
        for word in completions(text, self._session, self._known):
            yield Completion(word, start_position=-last, display=one_line(word))


def _history() -> History:
    """Of earlier runs, readable for its owner alone; in memory where that cannot be."""
    path = user_state_path("tokencollab", appauthor=False) / "repl-history"
    try:
        make_private_folder(path.parent)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


class PipedLines:
    """One question or command per line; empty lines are none. ``number`` is of the last line."""

    def __init__(self, source: BinaryIO) -> None:
        """``source`` is read in a thread of its own, which never keeps the program from ending."""
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        threading.Thread(target=self._read, args=(source,), daemon=True).start()

    def _read(self, source: BinaryIO) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody wants them any more
            encoding = "utf-8-sig"  # some programs begin a text with a mark of its encoding
            for line in source:
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line.decode(encoding, "replace"))
                encoding = "utf-8"
            self._loop.call_soon_threadsafe(self._lines.put_nowait, None)

    async def next(self) -> str | None:
        while (line := await self._lines.get()) is not None:
            self.number += 1
            if line.strip():
                return line.strip()
        return None


@contextmanager
def unheard() -> Iterator[None]:
    """While an answer is written, what is typed is not echoed into it; the next prompt gets it.

    Ctrl-C works, and what was written before it is shown: by itself a terminal drops what it has not shown yet.
    """
    terminal = sys.stdin.fileno()
    before: list[Any] = termios.tcgetattr(terminal)
    silent = [*before]
    silent[3] = silent[3] & ~(termios.ECHO | termios.ICANON) | termios.NOFLSH
    termios.tcsetattr(terminal, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
