"""The slash commands: one small function each, in one table."""

import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from rich.table import Table
from rich.text import Text

from tokencollab.cli.repl import changing, filing, looking
from tokencollab.cli.repl.desk import BadUse, Desk
from tokencollab.cli.terminal import add_row
from tokencollab.errors import UsageError

Run: TypeAlias = Callable[[Desk, list[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its name, what may follow it, what it does, and the function."""

    name: str
    usage: str
    what: str
    run: Run


async def run_command(desk: Desk, line: str) -> None:
    """Carries out a line that begins with a slash.

    Raises:
        UsageError: there is no such command, or what follows it cannot be.
        TokencollabError: a model failed.
    """
    name, _, rest = line[1:].strip().partition(" ")
    try:
        words = [rest.strip()] * bool(rest.strip()) if name in _TEXTS else shlex.split(rest)
    except ValueError as error:
        raise UsageError(f"/{name}: {error}") from None
    command = COMMANDS.get(name)
    if command is None:
        close = [known for known in COMMANDS if name and known.startswith(name)]
        hint = f"; did you mean /{close[0]}?" if close else ""
        raise UsageError(f"there is no command /{name}{hint} (/help lists them; a question may begin with //)")
    try:
        await command.run(desk, words)
    except BadUse:
        raise UsageError(f"usage: /{name} {command.usage}".rstrip()) from None


async def _help(desk: Desk, words: list[str]) -> None:
    if words:
        command = COMMANDS.get(words[0].removeprefix("/"))
        if command is None:
            raise UsageError(f"there is no command {words[0]}")
        desk.tell(f"/{command.name} {command.usage}", command.what)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for command in COMMANDS.values():
        add_row(table, f"/{command.name} {command.usage}", command.what)
    desk.tell(table)
    if not desk.words:
        legend = Text()
        for part, style in desk.palette.legend():
            legend.append(part, style=style)
        desk.tell(legend)
    if desk.interactive:
        desk.tell(
            "Enter sends, Alt-Enter begins a new line, Ctrl-C stops an answer, Ctrl-D leaves. Left with nothing typed "
            "walks over the answer."
        )


async def _quit(desk: Desk, words: list[str]) -> None:
    desk.done = True


_ALL: Final = (
    Command("why", "[N]", "step N: candidates, scores, the exit's figures; without N, by arrow keys", looking.why),
    Command("alone", "", "what each model writes by itself, beside the answer", looking.alone),
    Command("stats", "", "figures of the last answer", looking.stats),
    Command("method", "[NAME]", "the method, or another one", changing.method),
    Command("set", "[NAME [VALUE]]", "what is set; a setting; without VALUE back to its default", changing.set_one),
    Command("models", "[add MODEL | drop NAME]", "who takes part, and how they are", changing.models),
    Command("system", "[TEXT | off]", "the system message", changing.system),
    Command("seed", "[N]", "of every random choice", changing.seed),
    Command("retry", "", "ask the last question again; with the next seed where chance has a part", changing.retry),
    Command("undo", "", "take the last question and its answer back", changing.undo),
    Command("history", "", "the conversation so far", looking.history),
    Command("save", "FILE", "the last answer's trace (.jsonl) or the conversation (.json)", filing.save),
    Command("load", "FILE", "a trace to look at, or a conversation to go on with", filing.load),
    Command("export", "FILE", "the answer as a picture (.svg, .html)", filing.export),
    Command("help", "[COMMAND]", "this list", _help),
    Command("quit", "", "leave, as Ctrl-D does", _quit),
)  # fmt: skip
_TEXTS: Final = ("system",)  # what follows is a text, not words
COMMANDS: Final = {command.name: command for command in _ALL}
