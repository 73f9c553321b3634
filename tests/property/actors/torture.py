"""Sessions under random faults, and what must be true of each: the harness of `test_faults` and of `make torture`."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import exp
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from tokencollab import Collaboration, ModelFailed, ModelRefused, Piece, PlatformFull, PromptTooLong, Token
from tokencollab.actors.journal import Past, read_journal
from tokencollab.actors.supervisor import FaultPolicy
from tokencollab.engines.base import EXTRA_CANDIDATES
from tokencollab.policies import events as e
from tokencollab.policies.machine import make_policy
from tokencollab.policies.methods import Method, parse_method, sampling_of
from tokencollab.policies.replay import replay
from tokencollab.policies.selection import choose_solo
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.trace import TraceStep
from tokencollab.testing import Faults, FaultyRuntime, ScriptedEngine, run_on_fake_clock

NAMES = ("a", "b", "c", "d")
VOCABULARY: tuple[Piece, ...] = (b" ", b"a", b"b", b"ab", b" a", b".", b"\xe6\x97", b"\xa5", "é".encode(), None)
METHODS = (
    *("base", "gac", "unite", "duetnet", "dp", "dk", "upara-5", "dpara-5", "bytewise"),
    *(
        "confipara-u",
        "confipara-d",
        "confipara-b",
        "consult",
        "per-collaborator",
    ),
    "consult-u",
)


def engine(name: str) -> ScriptedEngine:
    """A model whose logits are a fixed function of its name and the end of the text."""

    def script(text: bytes) -> Mapping[Piece, float]:
        own = blake2b(name.encode() + b"|" + text[-6:], digest_size=16).digest()
        shared = blake2b(text[-6:], digest_size=16).digest()
        logits = {piece: 12 + 3 * (own[i] + 2 * shared[i]) / 256 for i, piece in enumerate(VOCABULARY)}
        return logits | {None: logits[None] - 3}  # EOS is rare

    return ScriptedEngine(name, script)


def method_named(name: str) -> Method:
    """A preset, or one of the exits that have no preset, over an aggregation that brings them about."""
    match name:
        case "consult" | "consult-u":
            return parse_method("consult" if name == "consult" else "unite", exit="consult", consult_below=0.4)
        case "per-collaborator":
            return parse_method("unite", exit=name, patience=2)
        case "confipara-u" | "confipara-d" | "confipara-b":
            return parse_method(name, omega=3, theta=0.5)
        case _:
            return parse_method(name)


@dataclass
class Course:
    """What became of a session."""

    method: Method
    models: tuple[str, ...]
    seed: int
    max_tokens: int
    tokens: list[Token]
    text: str
    past: Past
    failed: bool
    lied: bool
    exhausted: bool
    faults: Counter[str]
    restarts: int


def fault_policy(random: Random) -> FaultPolicy:
    """Short, and different every time."""
    return FaultPolicy(
        multiple=random.uniform(5, 50),
        floor=random.uniform(0.05, 3),
        ceiling=20,
        prefill=random.uniform(1, 100),
        lag=random.choice([0, random.uniform(0, 3)]),
        failures=random.randint(1, 3),
        restarts=random.randint(0, 4),
        healthy=random.randint(1, 20),
        backoff=random.uniform(0, 1),
        wait_for_base=random.random() < 0.3,
    )


def faults(random: Random) -> Faults:
    """Some kinds of faults, rare or not."""
    share = random.choice([0.002, 0.01, 0.03, 0.1])
    every = Faults.all(share)
    spared = {kind: 0.0 for kind in every.__dataclass_fields__ if random.random() < 0.4 and kind[:4] != "late"}
    return replace(every, **spared)


async def write(seed: int, journals: Path) -> Course | None:
    """One session under faults; afterwards no session is left at any model, and no task anywhere.

    None: the base refused the conversation.
    """
    random = Random(seed)  # noqa: S311 - chance for tests
    models = NAMES[: random.randint(1, 3)]
    method = method_named(random.choice(METHODS))
    limit = random.randint(1, 24)
    make = {name: lambda name=name: engine(name) for name in NAMES}
    bad = faults(random)
    runtime = FaultyRuntime(make, bad, seed)
    tokens: list[Token] = []
    failed, refused, slow = False, False, random.random() < 0.3
    joins_at, leaves_at = random.randint(1, 40), random.randint(1, 40)
    options: dict[str, Any] = {"fault_policy": fault_policy(random), "journal": journals, "keep_journal": True}
    async with Collaboration(models[0], models[1:], method, runtime=runtime, **options) as team:
        stream = team.stream("?", max_tokens=limit, seed=seed)
        try:
            async for token in stream:
                tokens.append(token)
                if slow:
                    await asyncio.sleep(random.uniform(0, 1))
                if token.step == joins_at and "d" not in team.members:
                    await team.add("d")
                if token.step == leaves_at and len(team.models) > 1:
                    await team.remove(list(team.members)[-1])
        except ModelFailed:
            failed = True
        except (PromptTooLong, ModelRefused, PlatformFull):
            refused = True
        await asyncio.sleep(10_000)  # whatever was late has come, and every restart is over
        for name, left in runtime.engines.items():
            assert not left.texts or team.members[name].health == "out", f"a session is left at {name}"
        total = Counter[str]()
        for member in team.members.values():
            total.update(member.faults)
        restarts = sum(member.restarts for member in team.members.values())
        answer = stream.answer
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task is left"
    assert stream.journal is not None
    if refused:
        assert not tokens
        assert stream.journal.name not in os.listdir(journals)
        return None
    past = read_journal(stream.journal)
    exhausted = answer.finish_reason == "length" and answer.tokens < limit
    lied = bad.lie > 0
    return Course(method, models, seed, limit, tokens, answer.text, past, failed, lied, exhausted, total, restarts)


def check(course: Course) -> None:
    """The text is what was streamed and what the trace has, and what a run without faults would have written."""
    pieces = [token.piece for token in course.tokens if token.piece != b""]
    written = b"".join(piece for piece in pieces if piece is not None)
    assert course.text == "".join(token.text for token in course.tokens)
    if not course.failed:
        assert course.text == written.decode("utf-8", "replace")
        assert course.exhausted or pieces[-1] is None or len(pieces) == course.max_tokens
    trace = course.past.trace
    assert [step.chosen for step in trace.steps] == pieces
    text = b""
    for step in trace.steps:
        for model, sent in step.candidates:
            if course.lied:
                continue
            at = dict(step.offsets).get(model, len(text)) if course.method.aggregation == "bytewise" else len(text)
            assert sent == candidates(model, text[:at], len(sent.candidates)), (step.step, model)
        text += step.chosen or b""
    if course.lied and any(answers_twice(step) for step in trace.steps):
        return  # a step has one answer of each model: a liar's other one is not in the trace, and is not replayed
    assert again(course)[: len(pieces)] == pieces
    if trace.steps:
        assert [step.chosen for step in replay(trace, None, past_exit=True)] == pieces
    if course.method.aggregation != "bytewise" and not course.lied:
        voters = [(token.alone, frozenset(token.ranks)) for token in course.tokens if token.piece != b""]
        assert without_faults(course, voters) == pieces


def answers_twice(step: TraceStep) -> bool:
    """Whether a model was asked anew within a step, because the others were lost."""
    answers = [(heard.event, heard.model) for heard in step.heard if heard.event == "candidates"]
    return len(set(answers)) < len(answers)


def again(course: Course) -> list[Piece]:
    """The pieces that the journal's events lead to."""
    policy = make_policy(course.method, max_tokens=course.max_tokens, seed=course.seed, report=True)
    state, commands = policy.start(course.models)
    pieces = [command.piece for command in commands if isinstance(command, e.Commit)]
    for heard in course.past.heard:
        state, commands = policy.step(state, heard.event)
        pieces += [command.piece for command in commands if isinstance(command, e.Commit)]
    return pieces


def candidates(model: str, text: bytes, listed: int) -> CandidateSet:
    """What ``model`` lists after ``text``."""
    scripted = engine(model)
    scripted.texts["s"] = text
    (answered,) = scripted.next_candidates([m.NextCandidates("s", len(text), b"", listed - EXTRA_CANDIDATES)])
    assert answered is not None
    assert isinstance(answered.reply, m.CandidatesReply)
    return answered.reply.candidates


def without_faults(course: Course, voters: Sequence[tuple[bool, frozenset[str]]]) -> list[Piece]:
    """The pieces of a run in which ``voters`` answer at each step, and nobody else; a plain loop over the policy."""
    policy = make_policy(course.method, max_tokens=course.max_tokens, seed=course.seed, report=True)
    sampling = sampling_of(course.method, course.seed)
    pieces: list[Piece] = []
    state, commands = policy.start(course.models)
    queue = list(commands)
    while len(pieces) < len(voters):
        alone, now = voters[len(pieces)]
        queue.sort(
            key=lambda command: isinstance(command, e.RequestCandidates) and command.model in now
        )  # who is lost, first
        command = queue.pop(0)
        text = b"".join(piece or b"" for piece in pieces)
        after = voters[len(pieces) + 1][1] if len(pieces) + 1 < len(voters) else frozenset()
        happened: list[e.Event] = []
        goes_on = isinstance(command, e.RunSolo) and len(voters) > len(pieces) + 1 and voters[len(pieces) + 1][0]
        match command:
            case e.RequestCandidates(model, question, _, k) if model in now:
                happened = [e.CandidatesArrived(model, question, candidates(model, text, k + EXTRA_CANDIDATES))]
            case e.RequestCandidates(model):
                happened = [e.ModelLost(model)]
            case e.RequestScores(model, question, _, wanted):
                logits = {c.piece: c.logit for c in candidates(model, text, len(VOCABULARY)).candidates}
                happened = [e.ScoresArrived(model, question, tuple(logits[piece] for piece in wanted))]
            case e.RunSolo(model, question, unsure=unsure):
                listed = candidates(model, text, sampling.top_k + EXTRA_CANDIDATES)
                if not alone:  # unsure of this word
                    back = sorted(now - set(policy.taking_part(state)))
                    happened = [*map(e.ModelJoined, back), e.CandidatesArrived(model, question, listed)]
                    goes_on = False
                else:
                    assert exp(listed.best.logprob) >= unsure
                    piece = choose_solo(listed, sampling, len(pieces) + 1)
                    happened = [e.SoloStep(model, question, piece, listed)]
                    goes_on = goes_on or unsure > 0
            case e.Commit(piece, _):
                pieces.append(piece)
        for model in after - set(policy.taking_part(state)) if happened and not queue and not goes_on else ():
            state, more = policy.step(state, e.ModelJoined(model))
            queue.extend(more)
        for event in happened:
            state, more = policy.step(state, event)
            queue = [
                *(c for c in more if isinstance(c, e.Commit)),
                *queue,
                *(c for c in more if not isinstance(c, e.Commit)),
            ]
        if goes_on and not any(isinstance(waiting, e.RunSolo) for waiting in queue):
            queue.append(command)  # it writes the next one too, unless a new run has begun
    return pieces


def main(first: int, number: int) -> None:
    """Runs sessions and says what befell them."""
    courses, refused, failed, restarts, pieces = 0, 0, 0, 0, 0
    befallen: Counter[str] = Counter()
    for seed in range(first, first + number):
        try:
            with TemporaryDirectory() as folder:
                course = run_on_fake_clock(write(seed, Path(folder)))
            if course is None:
                refused += 1
                continue
            check(course)
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
        courses += 1
        failed += course.failed
        restarts += course.restarts
        pieces += len(course.tokens)
        befallen.update(course.faults)
    kinds = ", ".join(f"{kind} {times}" for kind, times in befallen.items())
    print(
        f"{courses} sessions, {pieces} pieces, {failed} lost every model for good; {refused} more were refused by the "
        f"base; {restarts} restarts; {kinds}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
