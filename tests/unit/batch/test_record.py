"""The answers file is whole after whatever ended the last run, and has every answer once."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokencollab.batch.prompts import PromptLine
from tokencollab.batch.record import AnswerFile
from tokencollab.errors import CannotWrite, UsageError
from tokencollab.protocol.messages import ChatMessage

SETTINGS = {"prompts_sha256": "abc", "seed": 0, "stop": []}


def line(number: int, **carried: Any) -> PromptLine:
    return PromptLine(number, f"q{number}", (ChatMessage("user", "?"),), 8, (), 1, carried)


LINES = [line(number, note=f"Zoë {number}\n你好") for number in range(1, 9)]


def open_file(path: Path, settings: dict[str, Any] | None = None, **options: Any) -> AnswerFile:
    return AnswerFile(path, SETTINGS if settings is None else settings, LINES, **options)


def records(path: Path) -> list[dict[str, Any]]:
    """Without their checksums."""
    data = path.read_bytes()
    assert data.endswith(b"\n") or not data
    found = [json.loads(raw) for raw in data.splitlines()]
    assert all(re.fullmatch("[0-9a-f]{8}", record.pop("crc32")) for record in found)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers.jsonl"


def test_a_line_has_id_number_what_was_carried_and_the_answer(path: Path) -> None:
    with open_file(path) as file:
        file.answer(LINES[1], {"text": "a\u2028b"})
        file.error(LINES[0], "ModelFailed: gone")
        assert len(records(path)) == 2, "each line is there when the call returns"
    carried = [{"note": LINES[index].carried["note"]} for index in (1, 0)]
    assert records(path) == [
        {"id": "q2", "line": 2, **carried[0], "answer": {"text": "a\u2028b"}},
        {"id": "q1", "line": 1, **carried[1], "error": "ModelFailed: gone"},
    ]


@settings(max_examples=40)  # each waits for the disk some ten times
@given(st.data())
def test_cut_at_any_byte_it_goes_on_without_loss_or_repetition(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "answers.jsonl"
    order = data.draw(st.permutations(LINES))
    failing = data.draw(st.sets(st.sampled_from(range(1, 9))))
    retry = data.draw(st.booleans())

    def write(file: AnswerFile, question: PromptLine) -> None:
        if question.number in failing:
            file.error(question, "no")
        else:
            file.answer(question, {"text": f"answer {question.number}"})

    with open_file(path) as file:
        for question in order[: data.draw(st.integers(1, 8))]:
            write(file, question)
    whole = path.read_bytes()
    for _ in range(2):  # interrupted twice
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut] + data.draw(st.sampled_from([b"", b"\x00" * 30, b'{"id"'])) * (cut == len(whole)))
        finished = {json.loads(raw)["line"] for raw in whole[:cut].splitlines() if _is_whole(raw)}
        with open_file(path, resume=True, retry_failed=retry) as file:
            assert file.answered == finished - failing
            assert file.failed == (set() if retry else finished & failing)
            assert sorted(entry["line"] for entry in records(path)) == sorted(file.answered | file.failed)
            for question in order:
                if question.number not in file.answered | file.failed:
                    write(file, question)
                    break
        whole = path.read_bytes()
    with open_file(path, resume=True) as file:
        for question in order:
            if question.number not in file.answered | file.failed:
                write(file, question)
    assert sorted(entry["line"] for entry in records(path)) == list(range(1, 9))
    assert {entry["line"] for entry in records(path) if "error" in entry} == failing


def _is_whole(raw: bytes) -> bool:
    try:
        return isinstance(json.loads(raw), dict)
    except ValueError:
        return False


def test_a_file_that_is_there_is_refused_unless_it_is_resumed(path: Path) -> None:
    with open_file(path) as file:
        file.answer(LINES[0], {})
    before = path.read_bytes()
    with pytest.raises(UsageError, match="--resume"):
        open_file(path)
    assert path.read_bytes() == before


def test_resuming_what_is_not_there_begins_it(path: Path) -> None:
    with open_file(path, resume=True) as file:
        file.answer(LINES[0], {})
    assert len(records(path)) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prompts_sha256": "abd", "seed": 0, "stop": []}, "prompts have changed"),
        ({"prompts_sha256": "abc", "seed": 1, "stop": []}, "seed was 0 and is now 1"),
        ({"prompts_sha256": "abc", "seed": 0, "stop": ["x"]}, r"stop was \[\] and is now"),
        ({"prompts_sha256": "abc", "seed": 0}, r"stop was \[\] and is now null"),
        ({"prompts_sha256": "abc", "seed": 0, "stop": [], "dtype": "auto"}, "dtype was null"),
    ],
)
def test_other_prompts_or_settings_are_refused_with_the_reason(
    path: Path, settings: dict[str, Any], words: str
) -> None:
    with open_file(path) as file:
        file.answer(LINES[0], {})
    before = path.read_bytes()
    with pytest.raises(UsageError, match=words):
        open_file(path, settings, resume=True)
    assert path.read_bytes() == before
    open_file(path, resume=True).close()


def test_one_writer_at_a_time_also_after_errors_were_taken_out(path: Path) -> None:
    with open_file(path) as file:
        file.error(LINES[0], "no")
        file.answer(LINES[1], {})
        with pytest.raises(UsageError, match="another run"):
            open_file(path, resume=True)
    with open_file(path, resume=True, retry_failed=True) as file:
        with pytest.raises(UsageError, match="another run"):
            open_file(path, resume=True)
        file.answer(LINES[0], {})
    assert [entry["line"] for entry in records(path)] == [2, 1]
    assert sorted(os.listdir(path.parent)) == ["answers.jsonl", "answers.jsonl.run.json"]


def test_taking_errors_out_keeps_a_link_and_touches_no_other_file(path: Path) -> None:
    target = path.parent / "elsewhere" / "target.jsonl"
    target.parent.mkdir()
    with open_file(path) as file:
        file.error(LINES[0], "no")
        file.answer(LINES[1], {})
    path.rename(target)
    path.symlink_to(target)
    others = [place.with_name(place.name + ".new") for place in (path, target)]
    for other in others:
        other.write_text("mine")
    open_file(path, resume=True, retry_failed=True).close()
    assert path.is_symlink()
    assert [entry["line"] for entry in records(target)] == [2]
    assert [other.read_text() for other in others] == ["mine", "mine"]
    assert sorted(os.listdir(target.parent)) == ["target.jsonl", "target.jsonl.new"]


def test_errors_that_cannot_be_taken_out_stay_and_nothing_is_left_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_file(path) as file:
        file.error(LINES[0], "no")
        file.answer(LINES[1], {})
    before = path.read_bytes()

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UsageError, match="cannot be used: No space left on device"):
        open_file(path, resume=True, retry_failed=True)
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["answers.jsonl", "answers.jsonl.run.json"]


def test_a_run_that_wrote_nothing_leaves_nothing_behind(path: Path) -> None:
    open_file(path).close()
    assert os.listdir(path.parent) == []


def test_after_a_crash_before_the_first_answer_other_settings_may_be_used(path: Path) -> None:
    path.touch()
    with open_file(path, {"seed": 5}, resume=True) as file:
        file.answer(LINES[0], {})
    assert json.loads((path.parent / "answers.jsonl.run.json").read_text()) == {"seed": 5}


def damage_settings(path: Path) -> None:
    (path.parent / "answers.jsonl.run.json").write_text("{", encoding="utf-8")


def remove_settings(path: Path) -> None:
    (path.parent / "answers.jsonl.run.json").unlink()


def add(text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_settings, "run.json is damaged"),
        (remove_settings, "is not there"),
        (add("nonsense"), "line 2 is no answer"),
        (add('{"id": "q3", "line": 2, "answer": {}}'), "line 2 is no answer"),
        (add('{"id": "q99", "line": 99, "answer": {}}'), "line 2 is no answer"),
        (add('{"id": "q2", "line": [2], "answer": {}}'), "line 2 is no answer"),
        (add('{"id": "q2", "line": 2}'), "line 2 is no answer"),
        (add('{"id": "q1", "line": 1, "error": "no"}'), "answers prompt line 1 again"),
    ],
)
def test_what_is_not_of_this_run_is_refused_and_left_alone(
    path: Path, damage: Callable[[Path], None], words: str
) -> None:
    with open_file(path) as file:
        file.answer(LINES[0], {})
    damage(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=words):
        open_file(path, resume=True)
    assert path.read_bytes() == before


def test_a_full_disk_leaves_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_file(path) as file:
        file.answer(LINES[0], {})
        before = path.read_bytes()
        write, room = os.write, [20]

        def until_full(descriptor: int, data: bytes) -> int:
            if not room[0]:
                raise OSError(28, "No space left on device")
            written = write(descriptor, data[: room[0]])
            room[0] -= written
            return written

        monkeypatch.setattr(os, "write", until_full)
        with pytest.raises(CannotWrite, match=r"No space left on device; it has 1 answers, and --resume"):
            file.answer(LINES[1], {})
        assert path.read_bytes() == before
        assert file.answered == {1}
        monkeypatch.undo()
        file.answer(LINES[1], {})
    assert [entry["line"] for entry in records(path)] == [1, 2]


def test_a_folder_a_device_or_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for place, words in ((tmp_path, "no file"), (Path("/dev/null"), "no file"), (tmp_path / "a" / "b", "No such file")):
        with pytest.raises(UsageError, match=words):
            open_file(place, resume=True)


def test_an_answer_that_was_changed_is_an_error_with_the_line_and_the_file_is_left_alone(path: Path) -> None:
    with open_file(path) as file:
        for question in LINES[:3]:
            file.answer(question, {"text": f"answer {question.number}"})
    whole = path.read_bytes()
    for at in range(0, len(whole) - 1, 3):
        path.write_bytes(changed := whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(UsageError, match=r"answers\.jsonl.* line [123]"):
            open_file(path, resume=True)
        assert path.read_bytes() == changed


def test_answers_of_an_earlier_version_are_resumed_without_checksums(path: Path) -> None:
    with open_file(path) as file:
        file.answer(LINES[0], {"text": "x"})
        assert file.checksums
    path.write_bytes(before := re.sub(rb',"crc32":"[0-9a-f]{8}"', b"", path.read_bytes()))
    with open_file(path, resume=True) as file:
        assert not file.checksums
        assert file.answered == {1}
        file.answer(LINES[1], {})
    assert path.read_bytes().startswith(before)
    assert b"crc32" not in path.read_bytes()


def test_answers_and_settings_are_for_their_owner_alone(path: Path) -> None:
    with open_file(path) as file:
        file.answer(LINES[0], {})
        assert {place.stat().st_mode & 0o777 for place in path.parent.iterdir()} == {0o600}


def test_a_name_that_leaves_no_room_for_that_of_the_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="File name too long"):
        open_file(tmp_path / ("n" * 250))
    assert os.listdir(tmp_path) == []
