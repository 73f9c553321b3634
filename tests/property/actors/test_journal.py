"""An answer whose writing is cut off anywhere goes on from its journal, byte for byte."""

import asyncio
import fcntl
import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.actors.torture import METHODS, NAMES, engine, method_named
from tests.support.checksums import with_checksums, without_checksum
from tokencollab import Answer, Collaboration, UsageError
from tokencollab.actors.journal import SUFFIX, read_journal
from tokencollab.policies.replay import replay
from tokencollab.protocol.trace import lines_of, parse_trace
from tokencollab.testing import Faults, FaultyRuntime, ScriptedEngine, run_on_fake_clock, scripted_runtime

Damage: TypeAlias = Callable[[list[str]], list[str]]


def team(method: str, models: int, journal: Path | None = None, faults: Faults | None = None) -> Collaboration:
    runtime = FaultyRuntime({name: lambda name=name: engine(name) for name in NAMES}, faults)  # type: ignore[misc]
    return Collaboration(NAMES[0], NAMES[1:models], method_named(method), runtime=runtime, journal=journal)


async def whole(method: str, models: int, limit: int, seed: int) -> Answer:
    async with team(method, models) as writers:
        return await writers.generate("?", max_tokens=limit, seed=seed)


def cut_off(method: str, models: int, limit: int, seed: int, folder: Path, after: int) -> Path:
    """Writes ``after`` tokens with a journal, then loses the program."""
    run_on_fake_clock(begun(method, models, limit, seed, folder, after))
    (journal,) = folder.glob(f"*{SUFFIX}")
    return journal


async def begun(method: str, models: int, limit: int, seed: int, folder: Path, after: int) -> None:
    async with team(method, models, folder) as writers:
        stream = writers.stream("?", max_tokens=limit, seed=seed)
        for _ in range(after):
            await anext(stream)
        await stream.aclose()


async def resumed(method: str, models: int, journal: Path) -> Answer:
    trace = io.StringIO()
    async with team(method, models) as writers:
        stream = writers.resume(journal, trace=trace)
        async for _ in stream:
            pass
    assert len(trace.getvalue().splitlines()) == 1 + stream.answer.tokens
    return stream.answer


@given(data=st.data(), method=st.sampled_from(METHODS), models=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_a_journal_cut_at_any_byte_is_resumed_to_the_same_answer(
    data: st.DataObject, method: str, models: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    limit = 20
    expected = run_on_fake_clock(whole(method, models, limit, seed))
    after = data.draw(st.integers(1, max(1, expected.tokens - 1)), label="after")
    journal = cut_off(method, models, limit, seed, tmp_path_factory.mktemp("j"), after)
    written = journal.read_bytes()
    header = written.index(b"\n") + 1
    kept = data.draw(st.integers(header, len(written)), label="kept")
    journal.write_bytes(written[:kept])
    answer = run_on_fake_clock(resumed(method, models, journal))
    same = ("text", "pieces", "tokens", "exit_step", "cost", "agreed", "proposed", "finish_reason", "seed", "method")
    assert {name: getattr(answer, name) for name in same} == {name: getattr(expected, name) for name in same}
    assert not journal.exists()


def test_a_resumed_answer_may_be_cut_off_and_resumed_again(tmp_path: Path) -> None:
    expected = run_on_fake_clock(whole("confipara-d", 3, 30, 7))
    journal = cut_off("confipara-d", 3, 30, 7, tmp_path, 2)

    async def a_bit_more(steps: int) -> None:
        async with team("confipara-d", 3) as writers:
            stream = writers.resume(journal)
            for _ in range(steps):
                await anext(stream)
            await stream.aclose()

    for steps in (5, 4, 9):
        run_on_fake_clock(a_bit_more(steps))
    assert run_on_fake_clock(resumed("confipara-d", 3, journal)).pieces == expected.pieces


def test_a_journal_is_a_trace(tmp_path: Path) -> None:
    journal = cut_off("confipara-u", 3, 30, 7, tmp_path, 25)
    past = read_journal(journal)
    steps = list(replay(past.trace, None, past_exit=True))
    assert len(steps) == 25
    assert all(step.chosen == step.recorded for step in steps)


def test_an_answer_that_ended_leaves_a_journal_only_where_it_is_to_be_kept(tmp_path: Path) -> None:
    async def write(keep: bool) -> list[Path]:
        async with team("duetnet", 2, tmp_path) as writers:
            writers._keep_journal = keep
            await writers.generate("?", max_tokens=5)
            stream = writers.stream("?", max_tokens=10**6)
            async for token in stream:
                if token.step == 3:
                    stream.cancel()
        return await asyncio.to_thread(lambda: list(tmp_path.iterdir()))

    assert asyncio.run(write(keep=False)) == []
    kept = asyncio.run(write(keep=True))
    assert len(kept) == 2
    ended = max(kept, key=lambda path: len(path.read_text().splitlines()))
    with pytest.raises(UsageError, match="had come to its end"):
        run_on_fake_clock(resumed("duetnet", 2, ended))


def test_a_full_disk_ends_the_journal_and_not_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run_on_fake_clock(whole("duetnet", 2, 20, 3))

    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)

    async def write() -> Answer:
        async with team("duetnet", 2, tmp_path) as writers:
            return await writers.generate("?", max_tokens=20, seed=3)

    assert run_on_fake_clock(write()).pieces == expected.pieces


def test_an_answer_with_other_line_ends_of_unicode_in_it_is_resumed(tmp_path: Path) -> None:
    ends = ["\u2028", "\u2029", "\x85", "\x0b", "\x1e", "\r", "\n"]
    one = ScriptedEngine("one", lambda text: {ends[len(text.decode()) % len(ends)].encode(): 2.0, b"a": 1.0, None: 0.0})

    async def write(resume: Path | None) -> tuple[str, str]:
        async with Collaboration("one", (), "base", runtime=scripted_runtime(one), journal=tmp_path) as writer:
            if resume is None:
                trace = io.StringIO()
                stream = writer.stream("?", max_tokens=40, trace=trace)
                for _ in range(30):
                    await anext(stream)
                await stream.aclose()
                assert len(parse_trace(lines_of(trace.getvalue())).steps) == 30
                return "", stream.answer.text
            whole = await writer.generate("?", max_tokens=40)
            return whole.text, "".join([token.text async for token in writer.resume(resume)])

    asyncio.run(write(None))
    (journal,) = tmp_path.glob(f"*{SUFFIX}")
    expected, got = asyncio.run(write(journal))
    assert got == expected
    assert not set(ends).difference(got)


def journal_lines(journal: Path) -> list[str]:
    return journal.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda lines: [lines[0], lines[2]], "step"),
        (lambda lines: [lines[0], lines[1].replace('"heard"', '"unheard"')], "journal"),
        (lambda lines: [lines[0], lines[1].replace('"event":"candidates"', '"event":"telepathy"')], "telepathy"),
        (lambda lines: [lines[0].replace('"messages"', '"letters"'), *lines[1:]], "conversation"),
        (lambda lines: [lines[0].replace('"max_tokens"', '"most"'), *lines[1:]], "header"),
        (lambda lines: [lines[0].replace('"method":{', '"method":{"humour":1,'), *lines[1:]], "humour"),
        (lambda lines: [line.replace('"a"', '"z"') for line in lines], "'z'"),
        (lambda lines: [*lines[:-1], lines[-1].replace('"chosen":', '"chosen":"?","was":')], "do not lead"),
        (lambda lines: [lines[0][:-2]], "empty"),
    ],
)
def test_a_damaged_journal_is_refused_with_the_reason(damage: Damage, reason: str, tmp_path: Path) -> None:
    """Also where its checksums are right, or there are none, as in a journal of an earlier version."""
    journal = cut_off("duetnet", 2, 20, 3, tmp_path, 4)
    written = journal_lines(journal)
    damaged = damage([without_checksum(line) for line in written])
    whole = damaged[-1].endswith("\n")
    for lines in [damaged, *([with_checksums(damaged, chained=True)] if whole else [])]:
        journal.write_text("".join(lines))
        with pytest.raises(UsageError, match=reason):
            run_on_fake_clock(resumed("duetnet", 2, journal))
    assert journal.exists()


def test_two_programs_cannot_write_one_journal(tmp_path: Path) -> None:
    journal = cut_off("duetnet", 2, 20, 3, tmp_path, 4)
    with journal.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process"):
            run_on_fake_clock(resumed("duetnet", 2, journal))
    run_on_fake_clock(resumed("duetnet", 2, journal))
