"""Commands that write and read files."""

from tokencollab.cli.repl.desk import BadUse, Desk
from tokencollab.cli.repl.export import picture
from tokencollab.errors import UsageError
from tokencollab.files import typed_path, write_whole


async def save(desk: Desk, words: list[str]) -> None:
    match words:
        case [name] if name.endswith(".jsonl"):
            lines = desk.session.last.trace
            if not lines:
                raise UsageError("the last answer has no trace; a name that ends in .json saves the conversation")
            _write(name, "".join(f"{line}\n" for line in lines))
            desk.tell(f"the trace of the last answer is in {name}")
        case [name] if name.endswith(".json"):
            _write(name, desk.session.dumped())
            desk.tell(f"the conversation is in {name}")
        case _:
            raise BadUse


async def load(desk: Desk, words: list[str]) -> None:
    match words:
        case [name]:
            what = desk.session.load(_read(name))
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
            _write(name, picture(desk.session.last, name))
            desk.tell(f"the picture is in {name}")
        case _:
            raise BadUse


def _read(name: str) -> str:
    try:
        return typed_path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name} cannot be read: it is not UTF-8 text") from None


def _write(name: str, text: str) -> None:
    write_whole(typed_path(name), text)
