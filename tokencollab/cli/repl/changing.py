"""Commands that change how answers are written, and the conversation."""

from rich.table import Table

from tokencollab.cli.repl.desk import BadUse, Desk
from tokencollab.cli.repl.settings import LARGEST, change, described, whole_number
from tokencollab.cli.terminal import add_row
from tokencollab.errors import UsageError


async def method(desk: Desk, words: list[str]) -> None:
    session = desk.session
    match words:
        case []:
            desk.tell(f"method {session.method}")
        case [name]:
            dropped = session.use_method(name)
            gone = f"; without {', '.join(dropped)}, which it does not use" if dropped else ""
            desk.tell(f"method {name}{gone}")
        case _:
            raise BadUse


async def set_one(desk: Desk, words: list[str]) -> None:
    match words:
        case []:
            desk.tell(*described(desk.session))
        case [name, *values]:
            desk.tell(change(desk.session, name, values))


async def seed(desk: Desk, words: list[str]) -> None:
    match words:
        case [] if not words:
            pass
        case [word] if (number := whole_number(word)) is not None:
            desk.session.seed = number
        case _:
            raise UsageError("a seed is a whole number from 0 to 2**53 - 1")
    desk.tell(f"seed {desk.session.seed}")


async def system(desk: Desk, words: list[str]) -> None:
    if words:
        desk.session.system = "" if words == ["off"] else words[0]
    desk.tell(f"system message: {desk.session.system or 'none'}")


async def models(desk: Desk, words: list[str]) -> None:
    team = desk.session.team
    match words:
        case []:
            _list_models(desk)
        case ["add", model]:
            desk.tell(f"{await team.add(model)} takes part")
        case ["drop", model]:
            await team.remove(model)
            desk.tell(f"{model} takes no further part")
        case _:
            raise BadUse


def _list_models(desk: Desk) -> None:
    members = list(desk.session.team.members.values())
    if desk.words:
        for member in members:
            desk.tell(f"{member.name}: {member.health}, restarted {member.restarts} times")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "health", "restarts", "failed", "parameters", "context", "engine"):
        table.add_column(heading, justify="left" if heading in ("model", "health", "engine") else "right")
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
    desk.tell(table)


async def retry(desk: Desk, words: list[str]) -> None:
    session = desk.session
    if words:
        raise BadUse
    if not session.turns:
        raise UsageError("there is nothing to ask again")
    turn = session.turns.pop()
    if session.samples:
        session.seed = turn.answer.seed + 1 if turn.answer.seed < LARGEST else 0
    try:
        await desk.ask(turn.question)
    except BaseException:
        if not session.turns or session.turns[-1].question != turn.question:
            session.turns.append(turn)
        raise


async def undo(desk: Desk, words: list[str]) -> None:
    session = desk.session
    if words:
        raise BadUse
    if not session.turns:
        raise UsageError("there is nothing to take back")
    session.shown = None
    desk.tell(f"taken back: {' '.join(session.turns.pop().question.split())}")
