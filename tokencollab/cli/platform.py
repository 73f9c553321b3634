"""`tokencollab platform up | status | down`."""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from tokencollab.actors.platform.registry import Entry
from tokencollab.cli.arguments import Parser, add_engine, cpus, model, natural, positive
from tokencollab.cli.runs import engine_options, fetch
from tokencollab.cli.terminal import ProgressView, add_row, headed_table, print_table, put, put_json, quiet_logs
from tokencollab.errors import UsageError
from tokencollab.member import Member

if TYPE_CHECKING:
    from tokencollab.actors.platform.client import PlatformClient


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "platform",
        description="Share models, and coordinators that write answers with them, between programs, in a running Ray "
        "cluster: they stay until they are taken down.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)
    up = actions.add_parser("up", help="start models and coordinators, beside those that run already")
    up.add_argument(
        "--model",
        dest="models",
        type=model,
        action="append",
        default=[],
        metavar="MODEL",
        help="known name, hub id, folder of safetensors, or .gguf file (repeatable)",
    )
    up.add_argument("--cpus-per-model", type=cpus, default=1.0, metavar="N", help="reserved in the cluster (default 1)")
    up.add_argument(
        "--coordinators", type=natural, default=0, metavar="N", help="so many coordinators, with those that are there"
    )
    up.add_argument("--base", metavar="NAME", help="the base where none is named (default: the first model)")
    add_engine(up)
    up.add_argument("--max-sessions", type=positive, default=256, metavar="N", help="answers at a time (default 256)")
    status = actions.add_parser("status", help="the models and coordinators of the platform and their health")
    status.add_argument("--json", action="store_true", help="one JSON object for each, one a line")
    down = actions.add_parser("down", help="end models, or the whole platform")
    down.add_argument("--model", dest="models", action="append", metavar="NAME", help="only this one (repeatable)")
    for action in (up, status, down):
        action.add_argument(
            "--namespace", default="tokencollab", metavar="NAME", help="which platform (default: tokencollab)"
        )
    parser.set_defaults(run=platform)


def platform(arguments: argparse.Namespace) -> int:
    quiet_logs()
    action = {"up": _up, "status": _status, "down": _down}[arguments.action]
    return asyncio.run(action(arguments))


async def _up(arguments: argparse.Namespace) -> int:
    from tokencollab.actors.platform.client import PlatformClient, check_room, connect, with_gpus  # noqa: PLC0415
    from tokencollab.actors.platform.service import SharedSpec  # noqa: PLC0415
    from tokencollab.remote.coordinator_actor import coordinator_specs  # noqa: PLC0415

    if not (arguments.models or arguments.coordinators or arguments.base):
        raise UsageError("nothing to start: name a model by --model, or give --coordinators N")
    connect()
    options = replace(engine_options(arguments), max_sessions=arguments.max_sessions)
    if options.threads is None:
        options = replace(options, threads=max(1, int(arguments.cpus_per_model)))
    with ProgressView() as progress:
        found = fetch(arguments.models, options, progress)
        client = PlatformClient(arguments.namespace)
        entries = await client.entries() if client.is_there() else ()
        there = {entry.name: entry.kind for entry in entries if entry.health != "out"}
        specs = [
            SharedSpec(model.name, model.source, model.options, Member.parse(text).threads or arguments.cpus_per_model)
            for model, text in zip(found, arguments.models, strict=True)
        ]
        models = [name for name, kind in there.items() if kind == "model"] + [spec.name for spec in specs]
        if arguments.base not in (None, *models):
            raise UsageError(f"--base {arguments.base}: no such model; there: {', '.join(models) or 'none'}")
        missing = with_gpus([spec for spec in specs if spec.name not in there])
        coordinators = coordinator_specs(arguments.namespace, arguments.coordinators, arguments.max_sessions)
        missing += [spec for spec in coordinators if spec.name not in there]
        specs += coordinators
        for spec in specs:
            if spec.name in there:
                progress.say(f"{spec.name} runs already and stays as it is")
        check_room(missing)
        if missing:
            progress.update("loading " + ", ".join(spec.name for spec in missing), 0, 0)
        client.create()
        await client.up(missing, arguments.base or "")
        waiting = (client.look_after(spec.name) for spec in specs)
        started = await asyncio.gather(*waiting, return_exceptions=True)
        failed = [each for each in started if not isinstance(each, Entry)]
        for entry in started:
            if isinstance(entry, Entry) and entry.info is not None:
                for notice in entry.info.notices:
                    progress.say(f"{entry.name}: {notice}")
    _print(await client.entries())
    if failed:
        raise failed[0]
    return 0


def _running(arguments: argparse.Namespace) -> "PlatformClient":
    from tokencollab.actors.platform.client import PlatformClient, connect  # noqa: PLC0415

    connect()
    client = PlatformClient(arguments.namespace)
    client.find()
    return client


async def _status(arguments: argparse.Namespace) -> int:

    entries = await _running(arguments).entries()
    if arguments.json:
        for entry in entries:
            put_json(asdict(entry))
    else:
        _print(entries)
    return 0


async def _down(arguments: argparse.Namespace) -> int:
    client = _running(arguments)
    there = [entry.name for entry in await client.entries()]
    names: Sequence[str] = arguments.models or there
    if unknown := [name for name in names if name not in there]:
        raise UsageError(f"unknown model {', '.join(unknown)}; the platform has: {', '.join(there) or 'nothing'}")
    gone = await client.down(names)
    if not arguments.models:
        client.end()
    put(f"taken down: {', '.join(gone) or 'nothing'}")
    return 0


def _print(entries: Sequence[Entry]) -> None:
    """The models and coordinators of a platform, on standard output."""
    table = headed_table("name", "health", ">sessions", ">tokens/s", ">memory", ">restarts", "what")
    for entry in entries:
        info = entry.info
        what = entry.kind if info is None else f"{info.engine}, {info.dtype}, context {info.context_length}"
        figures = entry.figures
        add_row(
            table,
            entry.name,
            entry.health,
            str(figures.sessions),
            f"{entry.tokens_per_second:.1f}",
            f"{figures.memory / 1e6:.0f} MB",
            str(entry.restarts),
            what,
        )
    print_table(table)
