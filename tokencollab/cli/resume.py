"""`tokencollab resume`."""

import argparse
from contextlib import ExitStack
from typing import Any

from tokencollab.actors.journal import read_journal
from tokencollab.cli.arguments import add_output, add_plugin, add_runtime, file_name
from tokencollab.cli.generate import write
from tokencollab.cli.runs import fault_policy_of, open_trace, runtime_of
from tokencollab.cli.terminal import ProgressView, quiet_logs
from tokencollab.collaboration import Collaboration
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import UsageError


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "resume",
        description="Go on with an interrupted answer from its journal, with the models named there.",
    )
    parser.add_argument("journal", type=file_name, metavar="JOURNAL", help="the file that was left by --journal")
    add_runtime(parser)
    add_plugin(parser)
    add_output(parser)
    parser.set_defaults(run=resume)


def resume(arguments: argparse.Namespace) -> int:
    """`tokencollab resume`: the models, the method and the limits are those of the journal."""
    quiet_logs()
    past = read_journal(arguments.journal)
    match past.trace.settings:
        case {"sources": dict(sources), "options": dict(options)} if set(past.trace.models) <= set(sources):
            base, *collaborators = (str(sources[name]) for name in past.trace.models)
        case _:
            raise UsageError(f"the header of {arguments.journal} does not say where its models come from")
    with ExitStack() as stack:
        trace = stack.enter_context(open_trace(arguments.trace))
        progress = stack.enter_context(ProgressView())
        notices: list[str] = []
        team = Collaboration(
            base,
            collaborators,
            runtime=runtime_of(arguments),
            options=EngineOptions.from_json(options),
            progress=progress.update,
            notify=notices.append,
            fault_policy=fault_policy_of(arguments),
        )
        return write(arguments, team, lambda: team.resume(past.path, trace=trace), progress, notices)
