"""`tokencollab repl`: questions, answers that show who backed every piece, and commands to look into them."""

import argparse
import asyncio
import sys
from typing import Any

from tokencollab.cli.arguments import add_answer, add_method, add_models
from tokencollab.cli.repl.session import Conversation, Limits
from tokencollab.cli.runs import engine_options, fetch_models, make_team
from tokencollab.cli.terminal import ProgressView, quiet_logs
from tokencollab.errors import UsageError
from tokencollab.models.resolve import list_models
from tokencollab.policies.methods import AUTO, parse_method
from tokencollab.policies.responses.response_methods import is_response_method

_PAIR = ("smollm2-135m-instruct", "gemma-3-270m")
_ALWAYS_HERE = ("arith-bytes", "arith-pairs")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "repl",
        description="Ask at a prompt, and see who backs every piece. From a pipe: one question or command per line.",
    )
    add_models(parser, base="pair")
    add_answer(parser)
    parser.add_argument("--plain", action="store_true", help="words instead of colours (for a screen reader)")
    add_method(parser)
    parser.set_defaults(run=repl)


def repl(arguments: argparse.Namespace) -> int:
    # Before models are fetched: it needs the extra `repl`.
    from tokencollab.cli.repl import prompt  # noqa: PLC0415

    quiet_logs(only_errors=sys.stdin.isatty())  # what happens to models is shown in the answer
    if arguments.base is None and arguments.collaborators:
        raise UsageError("--with needs --base")
    with ProgressView() as progress:
        if arguments.base is None:
            arguments.base, *arguments.collaborators = installed_models(progress)
        name = arguments.method or (AUTO if arguments.collaborators else "base")
        method = parse_method("base") if is_response_method(name) else parse_method(name, **arguments.settings)
        options = engine_options(arguments)
        fetch_models(arguments, options, progress)
        notices: list[str] = []
        team = make_team(arguments, options, method, progress, notices.append)
        session = Conversation(
            team,
            name,
            arguments.settings,
            arguments.seed,
            arguments.system or "",
            Limits(arguments.max_tokens, tuple(arguments.stop) or None),
            notices=notices,
        )

        async def converse() -> int:
            async with team:
                progress.close()
                session.check(session.method, session.settings)
                shell = prompt.make_shell(session, arguments.plain)
                return await prompt.converse(team, shell, [row.name for row in list_models()])

        return asyncio.run(converse())


def installed_models(progress: ProgressView) -> tuple[str, str]:
    """The known pair if it is installed, else specialists that come with tokencollab."""
    here = {row.name for row in list_models() if row.installed}
    if here.issuperset(_PAIR):
        return _PAIR
    fetch = " and ".join(f"`tokencollab models pull {name}`" for name in _PAIR)
    progress.say(f"{' and '.join(_ALWAYS_HERE)} know arithmetic only, e.g. 20+24*2+0-25*13; for talk: {fetch}")
    return _ALWAYS_HERE
