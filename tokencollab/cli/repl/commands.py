"""The slash commands. One table declares them: dispatch, completion and /help come from it."""

import inspect
import os
import shlex
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

from rich.table import Table

from tokencollab.cli.repl.display import picture
from tokencollab.cli.repl.legend import FIGURES, meaning
from tokencollab.cli.repl.session import Conversation
from tokencollab.cli.repl.settings import LARGEST, change, described, setting_names, values_of, whole_number
from tokencollab.cli.repl.shell import Shell
from tokencollab.cli.repl.why import candidates_of, explore, headline, reason_of, sentences_of, state_of
from tokencollab.cli.terminal import add_row, headed_table, response_table, summary_table
from tokencollab.errors import UsageError
from tokencollab.files import read_text, reading, typed_path, write_whole
from tokencollab.policies.methods import list_methods
from tokencollab.policies.responses.response_methods import list_response_methods


class Typed(NamedTuple):
    """A command as far as it was typed: the words after its name, then the beginning of the next one.

    ``known_models`` are those that can be added by name.
    """

    session: Conversation
    known_models: Sequence[str]
    words: list[str]
    last: str


class BadUse(UsageError):
    pass


class PromptCommand(NamedTuple):
    """A command: ``run`` gets the shell and the words; its signature says how many there may be."""

    name: str
    arguments: str
    help: str
    run: Callable[..., Awaitable[None]]
    complete: Callable[[Typed], Iterable[str]] = lambda typed: ()


_MEANT: Final = {"exit": "quit", "quit": "quit", "bye": "quit", ":q": "quit", "help": "help", "?": "help"}
"""Words that mean a command where they are all that was typed."""


async def carry_out(shell: Shell, line: str) -> None:
    """Runs a command, or asks the models."""
    if (meant := _MEANT.get(line.lower())) is not None:
        shell.say(f"/{meant} (\\{line} asks the models)")
        line = f"/{meant}"
    if line.startswith("/") and not line.startswith("//"):
        await run_command(shell, line)
    else:
        escaped = line.startswith("//") or (line.startswith("\\") and line[1:].lower() in _MEANT)
        await shell.ask(line[1:] if escaped else line)


async def run_command(shell: Shell, line: str) -> None:
    """Runs a line that begins with a slash; with ``!`` behind its name a command overwrites files."""
    name, _, rest = line[1:].strip().partition(" ")
    over = {"over": True} if name.endswith("!") else {}
    name = name.removesuffix("!")
    command = COMMANDS.get(name)
    if command is None:
        close = [known for known in COMMANDS if name and known.startswith(name)]
        hint = f"; did you mean /{close[0]}?" if close else ""
        raise UsageError(f"unknown command /{name}{hint} (/help lists them; a question may begin with //)")
    try:
        words = [rest.strip()] * bool(rest.strip()) if "TEXT" in command.arguments else shlex.split(rest)
    except ValueError as error:
        raise UsageError(f"/{name}: {error}") from None
    try:
        try:
            inspect.signature(command.run).bind(shell, *words, **over)
        except TypeError:
            raise BadUse from None
        await command.run(shell, *words, **over)
    except BadUse:
        raise UsageError(f"usage: /{name} {command.arguments}".rstrip()) from None


def completions(text: str, session: Conversation, known_models: Sequence[str]) -> list[str]:
    """What the last word of ``text`` may become, in order; nothing where it is a question.

    ``known_models`` are those that can be added by name.
    """
    if not text.startswith("/") or text.startswith("//"):
        return []
    *before, last = text.split(" ")
    if not before:
        return [f"/{name}" for name in COMMANDS if name.startswith(last[1:])]
    name, *words = filter(None, before)
    command = COMMANDS.get(name[1:].removesuffix("!"))
    if command is None:
        return []
    found = command.complete(Typed(session, known_models, words, last))
    return [word for word in found if word.startswith(last) and word != last]


# Looking into an answer


async def _why(shell: Shell, step: str | None = None) -> None:
    turn = shell.session.last
    if turn.response is not None:
        await _stats(shell)
        return
    if step is None and shell.interactive and not shell.words:
        await explore(turn, shell.palette)
        return
    number = None if step is None else whole_number(step)
    if number is None:
        raise BadUse
    reason = reason_of(turn, number)
    shell.tell(headline(reason, turn.base))
    candidates = sentences_of(reason) if shell.words else candidates_of(reason, shell.talk.width)
    shell.tell(*candidates, *state_of(reason))


async def _alone(shell: Shell) -> None:
    await shell.alone()


async def _stats(shell: Shell) -> None:
    turn = shell.session.last
    shell.tell(summary_table(turn.answer) if turn.response is None else response_table(turn.response))


async def _history(shell: Shell) -> None:
    turns = shell.session.turns
    if not turns:
        shell.tell("nothing was asked yet")
    for number, turn in enumerate(turns, start=1):
        shell.tell(f"{number}. {' '.join(turn.question.split())}", f"   {' '.join(turn.text.split())[:200]}")


# Changing how answers are written, and the conversation


async def _method(shell: Shell, name: str | None = None) -> None:
    if name is None:
        shell.tell(f"method {shell.session.method}")
        return
    dropped = shell.session.use_method(name)
    shell.tell(f"method {name}" + (f"; without {', '.join(dropped)}, which it does not use" if dropped else ""))


async def _set(shell: Shell, name: str | None = None, *values: str) -> None:
    shell.tell(*described(shell.session) if name is None else [change(shell.session, name, list(values))])


async def _temperature(shell: Shell, value: str | None = None, seed: str | None = None) -> None:
    session = shell.session
    number = session.seed if seed is None else _read_seed(seed)
    if value is not None:
        change(session, "temperature", [value])
        session.seed = number
    now = session.temperature
    shell.tell("temperature 0: the best piece is taken" if not now else f"temperature {now:g}, seed {session.seed}")


async def _seed(shell: Shell, seed: str | None = None) -> None:
    if seed is not None:
        shell.session.seed = _read_seed(seed)
    shell.tell(f"seed {shell.session.seed}")


def _read_seed(text: str) -> int:
    if (number := whole_number(text)) is None:
        raise UsageError("a seed is a whole number from 0 to 2**53 - 1")
    return number


async def _system(shell: Shell, text: str | None = None) -> None:
    if text is not None:
        shell.session.system = "" if text == "off" else text
    shell.tell(f"system message: {shell.session.system or 'none'}")


async def _models(shell: Shell, action: str | None = None, model: str | None = None) -> None:
    team = shell.session.team
    match action, model:
        case None, _:
            _list_models(shell)
        case "add", str():
            shell.tell(f"{await team.add(model)} takes part")
        case "drop", str():
            await team.remove(model)
            shell.tell(f"{model} takes no further part")
        case _:
            raise BadUse


def _list_models(shell: Shell) -> None:
    members = list(shell.session.team.members.values())
    if shell.words:
        for member in members:
            shell.tell(f"{member.name}: {member.health}, restarted {member.restarts} times")
        return
    table = headed_table("model", "health", ">restarts", ">failed", ">parameters", ">context", "engine")
    for index, member in enumerate(members):
        info = member.info
        add_row(
            table,
            f"{member.name}{' (base)' if not index else ''}",
            member.health,
            str(member.restarts),
            str(sum(member.faults.values())),
            f"{info.parameters / 1e6:,.1f} M",
            f"{info.context_length:,}",
            info.engine,
        )
    shell.tell(table)


async def _retry(shell: Shell) -> None:
    session = shell.session
    if not session.turns:
        raise UsageError("there is nothing to ask again")
    turn = session.turns.pop()
    if session.samples and session.seed == turn.answer.seed:  # else somebody has chosen another
        session.seed = turn.answer.seed + 1 if turn.answer.seed < LARGEST else 0
    try:
        await shell.ask(turn.question)
    except BaseException:
        if not session.turns or session.turns[-1].question != turn.question:
            session.turns.append(turn)
        raise


async def _undo(shell: Shell) -> None:
    session = shell.session
    if not session.turns:
        raise UsageError("there is nothing to take back")
    session.shown = None
    shell.tell(f"taken back: {' '.join(session.turns.pop().question.split())}")


# Files


async def _save(shell: Shell, name: str, *, over: bool = False) -> None:
    if name.endswith(".jsonl"):
        lines = shell.session.last.trace
        if not lines:
            raise UsageError("the last answer has no trace; a name that ends in .json saves the conversation")
        _write("save", name, "".join(f"{line}\n" for line in lines), over)
        shell.tell(f"the trace of the last answer is in {name}")
    elif name.endswith(".json"):
        _write("save", name, shell.session.dumped(), over)
        shell.tell(f"the conversation is in {name}")
    else:
        raise UsageError(f"{name}: the trace of the last answer ends in .jsonl, the conversation in .json")


def _write(command: str, name: str, text: str, over: bool) -> None:
    path = typed_path(name)
    if not over and os.path.lexists(path):
        raise UsageError(f"{name} exists; /{command}! {shlex.quote(name)} overwrites it")
    write_whole(path, text)


async def _load(shell: Shell, name: str) -> None:
    path = typed_path(name)
    text = read_text(path, name)
    with reading(path, name):
        what = shell.session.load(text)
    for turn in [shell.session.shown] if shell.session.shown else shell.session.turns:
        if turn.question:
            shell.tell(f"> {turn.question}")
        shell.show(turn)
    shell.tell(f"{name} is {what}")


async def _export(shell: Shell, name: str, *, over: bool = False) -> None:
    _write("export", name, picture(shell.session.last, name), over)
    shell.tell(f"the picture is in {name}")


# The prompt itself


async def _help(shell: Shell, name: str | None = None) -> None:
    if name is not None:
        if (command := COMMANDS.get(name.removeprefix("/"))) is not None:
            shell.tell(f"/{command.name} {command.arguments}".rstrip(), command.help)
        elif (lines := meaning(name)) is not None:
            shell.tell(*lines)
        else:
            raise UsageError(f"no command or figure {name}; there are {', '.join((*COMMANDS, *FIGURES))}")
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for command in COMMANDS.values():
        add_row(table, f"/{command.name} {command.arguments}", command.help)
    shell.tell(table, f"/help NAME explains a figure: {', '.join(FIGURES)}")
    if not shell.words:
        shell.tell(shell.palette.legend())
    if shell.interactive:
        shell.tell(
            "Enter sends, Alt-Enter begins a new line, Ctrl-C stops an answer, Ctrl-D leaves. Left with nothing typed "
            "walks over the answer."
        )


async def _quit(shell: Shell) -> None:
    shell.done = True


# What may follow a command


def _complete_first(*words: str) -> Callable[[Typed], Iterable[str]]:
    """One word, of these."""
    return lambda typed: () if typed.words else words


def _complete_files(typed: Typed) -> Iterable[str]:
    return () if typed.words else _paths(typed.last)


def _complete_methods(typed: Typed) -> Iterable[str]:
    rows = [] if typed.words else [*list_methods(), *list_response_methods()]
    return [name.replace("-N", "-20") for name, _, _ in rows]


def _complete_settings(typed: Typed) -> Iterable[str]:
    match typed.words:
        case []:
            return setting_names(typed.session.method)
        case ["members", *_]:
            return typed.session.team.members
        case [name]:
            return values_of(name, typed.session.method)
        case _:
            return ()


def _complete_models(typed: Typed) -> Iterable[str]:
    here = list(typed.session.team.members)
    match typed.words:
        case []:
            return ("add", "drop")
        case ["add"]:
            return [*(name for name in typed.known_models if name not in here), *_paths(typed.last)]
        case ["drop"]:
            return here[1:]
        case _:
            return ()


def _paths(begun: str) -> list[str]:
    folder, _, name = begun.rpartition("/")
    head = f"{folder}/" if "/" in begun else ""
    try:
        where = typed_path(folder or ("/" if begun.startswith("/") else ""))
        found = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in where.iterdir())
    except (OSError, UsageError):
        return []
    return [head + entry for entry in found if entry.startswith(name) and (name or not entry.startswith("."))]


def _names(typed: Typed) -> Iterable[str]:
    return () if typed.words else (*COMMANDS, *FIGURES)


_ALL: Final = (
    PromptCommand("why", "[N]", "step N: candidates, scores, the exit's figures; without N, by arrow keys", _why),
    PromptCommand("alone", "", "what each model writes by itself, bold from where it parts from the answer", _alone),
    PromptCommand("stats", "", "figures of the last answer", _stats),
    PromptCommand("method", "[NAME]", "the method, or another one", _method, _complete_methods),
    PromptCommand(
        "set", "[NAME [VALUE]]", "the settings; a setting; without VALUE its default", _set, _complete_settings
    ),
    PromptCommand("models", "[add MODEL | drop NAME]", "the members, and their health", _models, _complete_models),
    PromptCommand("system", "[TEXT | off]", "the system message", _system, _complete_first("off")),
    PromptCommand(
        "temperature", "[X [SEED]]", "sample the answers of any method, e.g. at 0.7; 0: the best piece", _temperature
    ),
    PromptCommand("seed", "[N]", "of every random choice", _seed),
    PromptCommand("retry", "", "ask the last question again; where answers are sampled, with the next seed", _retry),
    PromptCommand("undo", "", "take the last question and its answer back", _undo),
    PromptCommand("history", "", "the conversation so far", _history),
    PromptCommand(
        "save",
        "FILE",
        "the last answer's trace (.jsonl) or the conversation (.json); /save! overwrites",
        _save,
        _complete_files,
    ),
    PromptCommand("load", "FILE", "a trace to look at, or a conversation to go on with", _load, _complete_files),
    PromptCommand(
        "export", "FILE", "the answer as a picture (.svg, .html); /export! overwrites", _export, _complete_files
    ),
    PromptCommand("help", "[NAME]", "this list; a command or a figure, e.g. /help T0", _help, _names),
    PromptCommand("quit", "", "leave, as Ctrl-D does", _quit),
)
COMMANDS: Final = {command.name: command for command in _ALL}
