"""Scripted models on a platform, and a program that has them write: for tests and benchmarks of shared models.

``python -m tests.support.shared_models up NAMESPACE NAME ...``; ``... answer NAMESPACE BASE``, which prints a JSON line
per token, with ``--remote`` by a coordinator of the platform; ``... watch NAMESPACE``, which prints the platform's
entries again and again.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from hashlib import blake2b
from typing import Any, TextIO

from tokencollab import EOS, Collaboration, EngineOptions, FaultPolicy, Piece
from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.cli.terminal import quiet_logs
from tokencollab.engines.base import EngineReply, EngineRequest
from tokencollab.testing import ScriptedEngine

LETTERS = [bytes([letter]) for letter in b"abcdefghijklmnopqrstuvwxyz "]


def script(done: bytes) -> Mapping[Piece, float]:
    """The same for every model: letters that depend on all of the text, so that a wrong one changes what follows."""
    draws = blake2b(done, digest_size=len(LETTERS)).digest()
    return {letter: 5 + draw / 32 for letter, draw in zip(LETTERS, draws, strict=True)} | {EOS: 1.0}


@cache
def text(length: int) -> bytes:
    """What these models write."""
    done = b""
    while len(done) < length:
        logits = script(done)
        done += max(LETTERS, key=lambda piece: (logits[piece], -piece[0]))
    return done


class SlowEngine(ScriptedEngine):
    """Takes its time for a step, however many sessions share it."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(name, script)
        self._seconds = seconds

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        self.calls.clear()
        time.sleep(self._seconds)
        return super().next_candidates(requests)


def load(spec: ModelSpec) -> SlowEngine:
    """The engine of a shared model; its folder is the seconds of a step."""
    return SlowEngine(spec.name, float(spec.source))


async def bring_up(
    namespace: str,
    names: Iterable[str],
    *,
    seconds: float = 0.01,
    sessions: int = 256,
    coordinators: int = 0,
    fault_policy: FaultPolicy | None = None,
) -> None:
    """Starts such models on the platform of a namespace, and coordinators."""
    from tokencollab.actors.platform.client import PlatformClient, check_room, connect
    from tokencollab.actors.platform.service import SharedSpec
    from tokencollab.remote.coordinator_actor import coordinator_specs

    connect()
    options = EngineOptions(threads=1, max_sessions=sessions)
    where = "tests.support.shared_models:load"
    specs = [SharedSpec(name, str(seconds), options, cpus=0.01, load=where) for name in names]
    specs += coordinator_specs(namespace, coordinators, sessions)
    check_room(specs)
    client = PlatformClient(namespace)
    client.create(fault_policy)
    await client.up(specs)
    await asyncio.gather(*(client.look_after(spec.name) for spec in specs))


async def answer(arguments: argparse.Namespace) -> None:
    """One answer by all models of the namespace, or the rest of one."""
    from tokencollab.actors.platform import client
    from tokencollab.remote import RemoteCollaboration

    fault_policy = replace(FaultPolicy(), floor=arguments.deadline, ceiling=max(arguments.deadline, 60.0))
    settings: dict[str, Any] = {"runtime": client.PlatformRuntime(arguments.namespace), "fault_policy": fault_policy}
    team: Any = Collaboration(arguments.base, None, "unite", journal=arguments.journal, exit=arguments.exit, **settings)
    if arguments.far:
        client._channel = no_channel
    if arguments.remote:
        team = RemoteCollaboration(arguments.namespace, arguments.base, None, "unite", exit=arguments.exit)
    await write(arguments, team, arguments.trace)


async def no_channel(address: object) -> None:
    """The way to an actor of another node."""


async def write(arguments: argparse.Namespace, team: Any, trace: TextIO | None) -> None:
    """Prints the answer of a team."""
    async with team:
        if arguments.resume == "-":  # stands by
            print(json.dumps({"ready": True}), flush=True)
            arguments.resume = (await asyncio.to_thread(sys.stdin.readline)).strip()
        if arguments.resume:
            stream = team.resume(arguments.resume, trace=trace)
        else:
            stream = team.stream("?", max_tokens=arguments.max_tokens, trace=trace)
        async for token in stream:
            said = {"step": token.step, "text": token.text, "by": sorted(token.ranks), "lost": list(token.lost)}
            print(json.dumps(said | {"at": time.time()}), flush=True)
        answer = stream.answer
        print(json.dumps({"answer": answer.text, "lost": answer.lost, "figures": answer.to_json()}), flush=True)


async def watch(namespace: str) -> None:
    """Prints who is there, until it is killed."""
    from tokencollab.actors.platform.client import PlatformClient, connect

    connect()
    client = PlatformClient(namespace)
    client.find()
    while True:
        print(json.dumps({entry.name: asdict(entry) for entry in await client.entries()}), flush=True)
        await asyncio.sleep(0.2)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["up", "answer", "watch"])
    parser.add_argument("namespace")
    parser.add_argument("base", nargs="*")
    parser.add_argument("--seconds", type=float, default=0.01)
    parser.add_argument("--sessions", type=int, default=256)
    parser.add_argument("--deadline", type=float, default=10.0)
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--exit", default="never")
    parser.add_argument("--coordinators", type=int, default=0)
    parser.add_argument("--remote", action="store_true", help="by a coordinator of the platform")
    parser.add_argument("--far", action="store_true", help="as from another node: by Ray's calls")
    parser.add_argument("--trace", type=argparse.FileType("w", encoding="utf-8"))
    parser.add_argument("--journal")
    parser.add_argument("--resume", help="a journal; -: one that is named on standard input")
    arguments = parser.parse_args()
    quiet_logs()
    if arguments.action == "up":
        numbers = {name: getattr(arguments, name) for name in ("seconds", "sessions", "coordinators")}
        asyncio.run(bring_up(arguments.namespace, arguments.base, **numbers))
    elif arguments.action == "watch":
        asyncio.run(watch(arguments.namespace))
    else:
        (arguments.base,) = arguments.base or [None]
        asyncio.run(answer(arguments))


if __name__ == "__main__":
    main()
