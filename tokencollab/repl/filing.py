"""Commands that write and read files."""

from tokencollab.protocol.errors import UsageError
from tokencollab.repl.desk import BadUse, Desk
from tokencollab.repl.files import read_whole, write_whole
from tokencollab.repl.pictures import picture


async def save(desk: Desk, words: list[str]) -> None:
    match words:
        case [name] if name.endswith(".jsonl"):
            lines = desk.session.last.trace
            if not lines:
                raise UsageError("the last answer has no trace; a name that ends in .json saves the conversation")
            write_whole(name, "".join(f"{line}\n" for line in lines))
            desk.tell(f"the trace of the last answer is in {name}")
        case [name] if name.endswith(".json"):
            write_whole(name, desk.session.dumped())
            desk.tell(f"the conversation is in {name}")
        case _:
            raise BadUse


async def load(desk: Desk, words: list[str]) -> None:
    match words:
        case [name]:
            what = desk.session.load(read_whole(name))
            for turn in [desk.session.shown] if desk.session.shown else desk.session.turns:
                if turn.question:
                    desk.tell(f"> {turn.question}")
                desk.show(turn)
            desk.tell(f"{name} is {what}")
        case _:
            raise BadUse


async def export(desk: Desk, words: list[str]) -> None:
    match words:
        case [name]:
            write_whole(name, picture(desk.session.last, name))
            desk.tell(f"the picture is in {name}")
        case _:
            raise BadUse
