"""`tokencollab resume`."""

import argparse
from contextlib import ExitStack

from tokencollab.actors.journal import read_journal
from tokencollab.collaboration import Collaboration
from tokencollab.commands.generate import write
from tokencollab.commands.shared import fault_policy_of, open_trace, runtime_of
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import UsageError
from tokencollab.terminal import ProgressView, quiet_logs


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
