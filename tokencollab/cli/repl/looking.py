"""Commands that look into an answer."""

from tokencollab.cli.repl.beside import beside_table, beside_words
from tokencollab.cli.repl.desk import BadUse, Desk
from tokencollab.cli.repl.settings import whole_number
from tokencollab.cli.repl.turns import Turn
from tokencollab.cli.repl.why import headline, reason_of, sentences_of, state_of, table_of
from tokencollab.cli.terminal import response_table, summary_table


async def why(desk: Desk, words: list[str]) -> None:
    turn = desk.session.last
    if turn.response is not None:
        desk.tell(response_table(turn.response))
        return
    match words:
        case [word] if (number := whole_number(word)) is not None:
            explain(desk, turn, number)
        case [] if desk.explore is not None and not desk.words:
            await desk.explore(turn)
        case _:
            raise BadUse


def explain(desk: Desk, turn: Turn, number: int) -> None:
    """One step of an answer."""
    reason = reason_of(turn, number)
    desk.tell(headline(reason, turn.base))
    if desk.words:
        desk.tell(*sentences_of(reason))
    else:
        desk.tell(table_of(reason))
    desk.tell(*state_of(reason))


async def alone(desk: Desk, words: list[str]) -> None:
    if words:
        raise BadUse
    turn = desk.session.last
    others = await desk.session.alone(desk.stoppable)
    if desk.words:
        desk.tell(*beside_words(turn.answer, others))
    else:
        desk.tell(beside_table(turn.answer, others, desk.palette.marks.exit))


async def stats(desk: Desk, words: list[str]) -> None:
    if words:
        raise BadUse
    turn = desk.session.last
    desk.tell(summary_table(turn.answer) if turn.response is None else response_table(turn.response))


async def history(desk: Desk, words: list[str]) -> None:
    if words:
        raise BadUse
    turns = desk.session.turns
    if not turns:
        desk.tell("nothing was asked yet")
    for number, turn in enumerate(turns, start=1):
        desk.tell(f"{number}. {' '.join(turn.question.split())}", f"   {' '.join(turn.text.split())[:200]}")
