"""`tokencollab replay`."""

import argparse
import json
from io import StringIO
from pathlib import Path
from typing import Any

from rich.table import Table

from tokencollab.commands.replay_samples import replay_samples
from tokencollab.errors import UsageError
from tokencollab.policies.methods import parse_method
from tokencollab.policies.replay import replay as replay_trace
from tokencollab.policies.responses.recorded import are_samples
from tokencollab.policies.responses.response_methods import is_response_method
from tokencollab.protocol.trace import parse_trace
from tokencollab.terminal import add_row, print_table


def replay(arguments: argparse.Namespace) -> int:
    """`tokencollab replay TRACE`: of tokens, or of recorded samples."""
    try:
        text = Path(arguments.trace).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the trace {arguments.trace} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{arguments.trace} is no trace: it is not UTF-8 text") from None
    between = is_response_method(arguments.method) if arguments.method else are_samples(text)
    settings = arguments.between if between else arguments.settings
    if settings and not arguments.method:
        raise UsageError(
            f"--{next(iter(settings)).replace('_', '-')} needs --method: the trace's own settings are fixed"
        )
    return replay_samples(arguments, text) if between else _replay_tokens(arguments, text)


def _replay_tokens(arguments: argparse.Namespace, text: str) -> int:
    about_samples = [name for name in ("model", "extract") if getattr(arguments, name) is not None]
    for name in [*about_samples, *arguments.between]:
        if name not in arguments.settings:
            raise UsageError(f"--{name.replace('_', '-')} is about recorded samples, and this is a trace of tokens")
    method = parse_method(arguments.method, **arguments.settings) if arguments.method else None
    trace = parse_trace(StringIO(text))
    steps: list[dict[str, Any]] = [step.to_json() for step in replay_trace(trace, method, arguments.past_exit)]
    if arguments.json:
        for step in steps:
            print(json.dumps(step, ensure_ascii=False))
        return 0
    table = Table(box=None, pad_edge=False)
    for heading in ("step", "recorded", "chosen", "ranks", "ST", "RT", "T0", ""):
        table.add_column(heading)
    for step in steps:
        ranks = " ".join("-" if rank is None else str(rank) for rank in step["ranks"].values())
        figures = ["" if step[key] is None else f"{step[key]:.3f}" for key in ("st", "rt", "t0")]
        pieces = [json.dumps(step[key], ensure_ascii=False) for key in ("recorded", "chosen")]
        add_row(table, str(step["step"]), *pieces, ranks, *figures, "exited" if step["exited"] else "")
    print_table(table)
    return 0
