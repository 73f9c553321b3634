"""The loop of the prompt: a line, an answer or a command, the next line."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from tokencollab.cli.repl.commands import carry_out
from tokencollab.cli.repl.display import palette_for, screen_for
from tokencollab.cli.repl.input import PipedLines, typed_lines, unheard
from tokencollab.cli.repl.session import Conversation
from tokencollab.cli.repl.shell import Shell
from tokencollab.cli.terminal import UNBROKEN
from tokencollab.collaboration import Collaboration
from tokencollab.errors import CannotWrite, TokencollabError, UsageError
from tokencollab.protocol.text import one_line


def make_shell(session: Conversation, plain: bool) -> Shell:
    """The shell that suits standard input and output."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    words = plain or not sys.stdout.isatty()
    palette = palette_for(sys.stdout)
    # rich would take these for the size of the window, though they do not change with it.
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    talk = Console(highlight=False, width=None if sys.stdout.isatty() else UNBROKEN, _environ=environment)
    errors = Console(
        stderr=True, highlight=False, width=None if sys.stderr.isatty() else UNBROKEN, _environ=environment
    )
    notes = talk if interactive else errors
    return Shell(session, screen_for(sys.stdout, plain), palette, words, interactive, talk, notes)


async def converse(team: Collaboration, shell: Shell, known_models: Sequence[str] = ()) -> int:
    """Questions and answers until the end of the input; the exit code. The models are started already.

    From a pipe the first line that cannot be carried out ends it: 2 for bad input, 1 where models failed, 130 after
    Ctrl-C.
    """
    if shell.interactive:
        return await _with_a_person(shell, known_models)
    lines = PipedLines(sys.stdin.buffer)
    while not shell.done and (line := await lines.next()) is not None:
        try:
            if not await _carried_out(shell, line):
                return 130
        except UsageError as error:
            raise type(error)(f"line {lines.number}: {error}") from None
    await shell.session.free()
    return 0


async def _with_a_person(shell: Shell, known_models: Sequence[str]) -> int:
    lines = typed_lines(shell.session, known_models)
    # Between an answer and the next prompt nobody listens for Ctrl-C; it must not end the program there.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    names = " + ".join(shell.session.members)
    shell.say(f"{names}, {shell.session.method}. /help explains; Ctrl-D leaves.")
    while not shell.done:
        try:
            line = await lines.prompt_async()
        except KeyboardInterrupt:
            shell.say("Ctrl-D leaves")
            continue
        except EOFError:
            break
        if not line.strip():
            continue
        try:
            with unheard():
                await _carried_out(shell, line.strip())
        except CannotWrite:  # nothing that is said would be seen
            raise
        except TokencollabError as error:
            shell.talk.print(Text(one_line(str(error)), style="red"))
    await shell.session.free()
    return 0


async def _carried_out(shell: Shell, line: str) -> bool:
    """A question or a command; False where Ctrl-C ended it."""
    task = asyncio.ensure_future(carry_out(shell, line))
    loop, before, stopped = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT), False

    def stop() -> None:
        """The first Ctrl-C ends an answer in order, the second at once."""
        nonlocal stopped
        stopping, shell.stop, stopped = shell.stop, None, True
        if stopping is not None:
            stopping()
        else:
            task.cancel()

    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not stopped:
            raise
        shell.say("stopped")
    finally:
        shell.stop = None
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
    return not stopped
