"""`tokencollab repl`."""

import argparse
import asyncio
import sys

from tokencollab.commands.shared import check_stops, engine_options, fetch_models, make_team
from tokencollab.engines import store
from tokencollab.policies.methods import parse_method
from tokencollab.protocol.errors import UsageError
from tokencollab.repl.prompt import converse, make_desk
from tokencollab.repl.session import Limits, Session
from tokencollab.responses.methods import is_response_method
from tokencollab.terminal import ProgressView, quiet_logs

_PAIRS = (("smollm2-135m-instruct", "gemma-3-270m"),)


def repl(arguments: argparse.Namespace) -> int:
    """`tokencollab repl`."""
    quiet_logs(only_errors=sys.stdin.isatty())  # what happens to models is shown in the answer
    check_stops(arguments)
    if arguments.base is None:
        if arguments.collaborators:
            raise UsageError("--with needs --base")
        arguments.base, *arguments.collaborators = installed_models()
    name = arguments.method or ("confipara-d" if arguments.collaborators else "base")
    method = parse_method("base") if is_response_method(name) else parse_method(name, **arguments.settings)
    options = engine_options(arguments)
    with ProgressView() as progress:
        fetch_models(arguments, options, progress)
        notices: list[str] = []
        team = make_team(arguments, options, method, progress, notices.append)
        session = Session(
            team,
            name,
            arguments.settings,
            arguments.seed,
            arguments.system or "",
            Limits(arguments.max_tokens, tuple(arguments.stop) or None),
            notices=notices,
        )
        return asyncio.run(_run(session, arguments.plain, progress))


async def _run(session: Session, plain: bool, progress: ProgressView) -> int:
    async with session.team as team:
        progress.close()
        session.check(session.method, session.settings)
        return await converse(team, make_desk(session, plain), [row.name for row in store.list_models()])


def installed_models() -> tuple[str, ...]:
    """The pair that is installed, the base first; one model, where it is the only one.

    Raises:
        UsageError: none is.
    """
    here = [row.name for row in store.list_models() if row.installed]
    for pair in _PAIRS:
        if set(pair) <= set(here):
            return pair
    if not here:
        fetch = " and ".join(f"`tokencollab models pull {name}`" for name in _PAIRS[0])
        raise UsageError(f"no model is installed: name one with --base, or fetch the known pair with {fetch}")
    return tuple(here[:2])
