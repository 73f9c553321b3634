"""Files of records: one writer, whole lines after whatever ended the last one, nothing changed before it is checked."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokencollab.errors import CannotWrite, UsageError
from tokencollab.protocol.checksums import add_checksum
from tokencollab.records import RecordFile, compare_settings, in_thread, in_use, whole_lines

LINES = [b'{"n": 1, "text": "a}{\\n"}', '{"text": "Zoë 你好"}'.encode(), b"{}"]


def checked(*lines: bytes) -> bytes:
    """The content of a file of these lines."""
    return b"".join(add_checksum(line)[0] + b"\n" for line in lines)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.jsonl"


def written(path: Path, *lines: bytes, resume: bool = False) -> bytes:
    file = RecordFile(path, resume=resume)
    file.keep(file.lines)
    for line in lines:
        file.append(line)
    file.close()
    return path.read_bytes()


@settings(max_examples=60)
@given(
    cut=st.integers(0, sum(map(len, LINES)) + len(LINES)), end=st.sampled_from([b"", b"\x00" * 9, b'{"n"', b"[" * 9000])
)
def test_cut_at_any_byte_it_has_its_whole_lines_again(
    tmp_path_factory: pytest.TempPathFactory, cut: int, end: bytes
) -> None:
    path = tmp_path_factory.mktemp("cut") / "records.jsonl"
    whole = b"".join(line + b"\n" for line in LINES)
    kept = [line for n, line in enumerate(LINES) if cut >= sum(map(len, LINES[: n + 1])) + n]
    torn = end * (whole[:cut][-1:] in (b"", b"\n"))
    path.write_bytes(whole[:cut] + torn)  # by an earlier version: without checksums
    assert whole_lines(path.read_bytes()) == kept
    plain = b"".join(line + b"\n" for line in kept)
    assert written(path, b'{"new": 1}', resume=True) == (plain + b'{"new": 1}\n' if kept else checked(b'{"new": 1}'))
    there = len(checked(*kept))
    path.write_bytes(checked(*LINES)[: there + cut % 20] + (b"" if cut % 20 else torn))
    assert written(path, b'{"new": 1}', resume=True) == checked(*kept, b'{"new": 1}')


def test_nothing_changes_before_it_is_said_what_to_keep(path: Path) -> None:
    path.write_bytes(b'{"a": 1}\n{"b')
    file = RecordFile(path, resume=True)
    assert (file.created, file.lines) == (False, [b'{"a": 1}'])
    file.close()
    assert path.read_bytes() == b'{"a": 1}\n{"b'


def test_a_file_that_got_nothing_is_removed_unless_it_was_there(path: Path) -> None:
    RecordFile(path, resume=False).close()
    assert not path.exists()
    path.touch()
    RecordFile(path, resume=True).close()
    assert path.exists()
    with pytest.raises(UsageError, match="exists; continue it with --resume"):
        RecordFile(path, resume=False)


def test_one_writer_until_it_is_killed(path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tokencollab.records import RecordFile\n"
        "file = RecordFile(Path(sys.argv[1]), resume=True); file.append(b'{}'); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UsageError, match="another process"):
            RecordFile(path, resume=True)
        process.send_signal(signal.SIGKILL)
    assert written(path, b'{"n": 2}', resume=True) == checked(b"{}", b'{"n": 2}')


def test_a_file_is_in_use_while_it_is_open(path: Path) -> None:
    assert not in_use(path), "there is none"
    file = RecordFile(path, resume=False)
    file.append(b"{}")
    assert in_use(path)
    file.close()
    assert not in_use(path)


def test_a_file_that_was_replaced_since_it_was_opened_is_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, b"{}")
    before, opened = path.read_bytes(), os.open

    def slowly(*arguments: object) -> int:
        file = opened(*arguments)  # type: ignore[arg-type]
        path.rename(path.with_name("old"))
        path.write_bytes(before)
        return file

    monkeypatch.setattr(os, "open", slowly)
    with pytest.raises(UsageError, match="in use"):
        RecordFile(path, resume=True)


def test_a_disk_that_is_full_for_a_while_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    file = RecordFile(path, resume=False)
    file.append(b'{"n": 1}')

    def full(number: int, data: bytes) -> int:
        if len(data) < 5:
            raise OSError(28, "No space left on device")
        return write(number, data[:4])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(CannotWrite, match=r"records\.jsonl cannot be written: No space left on device"):
            file.append(b'{"n": 2}')
    assert path.read_bytes() == checked(b'{"n": 1}')
    file.append(b'{"n": 3}')
    file.close()
    assert path.read_bytes() == checked(b'{"n": 1}', b'{"n": 3}')


def test_lines_of_many_threads_stay_whole(path: Path) -> None:
    file = RecordFile(path, resume=False, sync=False)
    lines = [b'{"n": %d}' % n for n in range(200)]
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(file.append, lines))
    file.close()
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(map(checked, lines))


async def test_what_runs_in_a_thread_is_finished_before_its_cancellation_is_told() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def call() -> None:
        begun.set()
        go_on.wait()
        done.append(True)

    task = asyncio.create_task(in_thread(call))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done


def test_the_first_setting_that_differs_is_named(path: Path) -> None:
    compare_settings(path, {"seed": 1, "stop": []}, {"stop": [], "seed": 1})
    for before, now, words in (
        ({"seed": 1}, {"seed": 2}, "cannot be resumed with another seed: seed was 1 and is now 2$"),
        ({"seed": 1}, {}, "another seed: seed was 1 and is now null$"),
        ({}, {"items": ["x"] * 1000}, "another items$"),
    ):
        with pytest.raises(UsageError, match=words):
            compare_settings(path, before, now)


# Nothing that was changed is taken for what it was


def file_of(path: Path, chained: bool, *lines: bytes) -> bytes:
    file = RecordFile(path, resume=False, sync=False, chained=chained)
    for line in lines:
        file.append(line)
    file.close()
    return path.read_bytes()


def kept(path: Path, chained: bool) -> list[bytes]:
    """The lines of the file as a resumed run finds them, after its check."""
    file = RecordFile(path, resume=True, sync=False, chained=chained)
    try:
        lines = file.lines
        file.keep(lines)
        return lines
    finally:
        file.close()


def kept_or_why(path: Path, chained: bool) -> list[bytes] | str:
    try:
        return kept(path, chained)
    except UsageError as error:
        return str(error)


@pytest.mark.parametrize("chained", [False, True])
def test_every_changed_byte_is_noticed_with_the_line(path: Path, chained: bool) -> None:
    """Or it is the end of the last line, which is then one that was cut short, and left out as ever."""
    whole = file_of(path, chained, *LINES)
    lines = whole.splitlines()
    for at in range(len(whole)):
        for bit in (1, 32):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            found = kept_or_why(path, chained)
            if isinstance(found, str):
                assert re.search(r"records\.jsonl, line [123]: it was changed since it was written", found)
            else:
                assert found == lines[:-1], "the end of the last line was torn"
                assert at >= len(whole) - 1


def test_lines_that_were_taken_out_moved_or_put_in_are_noticed_where_lines_are_chained(path: Path) -> None:
    lines = [b'{"n": %d}' % n for n in range(4)]
    first, second, third, last = file_of(path, True, *lines).splitlines(keepends=True)
    alien = add_checksum(b'{"n": 9}')[0] + b"\n"
    for changed in (
        [second, third],
        [first, third, last],
        [first, third, second, last],
        [first, second, second, third],
        [first, alien, second],
        [alien, second, third],
        [first, lines[1] + b"\n", third],
    ):
        path.write_bytes(b"".join(changed))
        with pytest.raises(UsageError, match="it was changed since it was written"):
            kept(path, True)
    path.write_bytes(first + second)
    assert kept(path, True) == [first[:-1], second[:-1]], "an end that is missing is what a killed process leaves"


def test_a_chain_goes_on_after_it_was_cut_back_and_after_a_full_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    lines = [b'{"n": %d}' % n for n in range(5)]
    whole = file_of(path, True, *lines)
    path.write_bytes(whole[:-3])
    file = RecordFile(path, resume=True, sync=False, chained=True)
    file.keep(file.lines[:2])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(CannotWrite):
            file.append(lines[2])
    for line in lines[2:]:
        file.append(line)
    file.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("chained", [False, True])
def test_a_file_of_an_earlier_version_stays_without_checksums(path: Path, chained: bool) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(line + b"\n" for line in LINES))
    file = RecordFile(path, resume=True, chained=chained)
    file.keep(file.lines)
    assert not file.checksums
    file.append(b'{"new": 1}')
    file.close()
    assert path.read_bytes() == b"".join(line + b"\n" for line in [*LINES, b'{"new": 1}'])


def test_a_file_is_for_its_owner_alone_and_one_that_is_there_keeps_its_mode(path: Path) -> None:
    file_of(path, False, *LINES)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    file = RecordFile(path, resume=True)
    file.keep(file.lines[1:])  # in a new file
    file.close()
    assert path.stat().st_mode & 0o777 == 0o644
