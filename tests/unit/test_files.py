"""Files that are written whole or not at all, whatever fails on the way."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokencollab import Collaboration, Member
from tokencollab.actors.journal import read_journal
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import UsageError
from tokencollab.files import (
    cache_folder,
    make_private_folder,
    read_object,
    read_text,
    reading,
    typed_path,
    write_whole,
)
from tokencollab.models.cache import MARKER, ModelCache
from tokencollab.models.resolve import ModelStore
from tokencollab.protocol.json_text import NotJson, read_json


def test_what_was_there_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    for text in ("one", "zwei 日本語 🙂\n", ""):
        write_whole(path, text)
        assert path.read_bytes() == text.encode()
        assert os.listdir(tmp_path) == ["talk.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_what_was_there(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "talk.json"
    write_whole(path, "before")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(UsageError, match=r"talk\.json cannot be written: No space left on device"):
        write_whole(path, "after")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["talk.json"]


def test_what_no_encoding_has_is_written_as_in_json(tmp_path: Path) -> None:
    write_whole(tmp_path / "talk.json", json.dumps("\ud800é", ensure_ascii=False))
    assert json.loads((tmp_path / "talk.json").read_text(encoding="utf-8")) == "\ud800é"


def test_where_no_file_can_be_is_said_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "talk.json", tmp_path):
        with pytest.raises(UsageError, match="cannot be written: "):
            write_whole(path, "text")
    assert os.listdir(tmp_path) == []


NO_NAMES = ["~nosuchuser", "~nosuchuser/x", "n" * 300, f"a/{'é' * 200}/b", "a\0b", "\ud800", "x/" * 3000]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_no_file_has_is_one_line_at_every_door(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    doors: list[Callable[[], object]] = [
        lambda: typed_path(name),
        lambda: typed_path(Path("folder") / name) if not name.startswith("~") else typed_path(Path(name)),
        lambda: Member(name).find(EngineOptions()),
        lambda: Collaboration("one", journal=name),
        lambda: read_journal(name),
    ]
    for door in doors:
        with pytest.raises(UsageError) as error:
            door()
        assert "\n" not in str(error.value)
    if name.isprintable():
        monkeypatch.setenv("TOKENCOLLAB_CACHE", name)
        for read in (cache_folder, ModelStore):
            with pytest.raises(UsageError, match="TOKENCOLLAB_CACHE: no file has"):
                read()


def test_what_is_written_is_for_its_owner_alone_and_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        (tmp_path / "there").mkdir(mode=0o755)
        folder = tmp_path / "there" / "a" / "b"
        make_private_folder(folder)
        make_private_folder(folder)
        write_whole(folder / "new", "x")
        (folder / "old").touch(mode=0o640)
        write_whole(folder / "old", "x")
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (folder.parent.parent, folder.parent, folder)]
    assert modes == [0o755, 0o700, 0o700]
    assert [(folder / name).stat().st_mode & 0o777 for name in ("new", "old")] == [0o600, 0o640]


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (PermissionError(13, "Permission denied"), "cannot be read: Permission denied"),
        (KeyError("x"), r"is damaged \(KeyError: 'x'\)"),
        (ZeroDivisionError("no"), "is damaged"),
        (RecursionError(), "is nested too deep"),
        (MemoryError(), "is damaged"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), "it is not UTF-8 text"),
        (NotJson("why"), "is damaged: why"),
        (UsageError("line 3: no"), "the trace /a/b: line 3: no"),
        (UsageError("/a/b has it"), "^/a/b has it$"),
    ],
)
def test_whatever_goes_wrong_with_a_file_is_one_line_with_its_name(raised: Exception, told: str) -> None:
    with pytest.raises(UsageError, match=told) as error, reading(Path("/a/b"), "the trace /a/b"):
        raise raised
    assert "/a/b" in str(error.value)


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_text(tmp_path / "x") == '{"a": 1}'
    assert read_object(tmp_path / "x") == read_json((tmp_path / "x").read_bytes()) == {"a": 1}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ('{"a": 1, "a": 1}', 'the key "a" occurs twice'),
        ('[{"b": {"a": 1, "c": 2, "a": 3}}]', 'the key "a" occurs twice'),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "Infinity is no number"),
        ('{"a": -1e999}', "-1e999 is out of range"),
        ("9" * 5000, "too many digits"),
        ('"\\ud800"', "lone surrogate"),
        ('{"\\udfff": 1}', "lone surrogate"),
        ('"\ud800"', "lone surrogate"),
        (b"\xff", "not UTF-8"),
        ("[" * 101 + "]" * 101, "nested too deep"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 5000, "nested too deep"),
        ("", "not JSON: Expecting value"),
        ("{} {}", "not JSON: Extra data"),
    ],
)
def test_json_is_read_strictly(data: str | bytes, reason: str) -> None:
    with pytest.raises(NotJson, match=reason):
        read_json(data)


def test_what_is_json_is_read_as_it_is() -> None:
    values: list[Any] = [{"a": ["[" * 200, {"b": None}], "é": "\U0001f600"}, [1e308, 2**70, -0.5], "{[", [[[]]] * 200]
    for value in values:
        for ascii_only in (False, True):
            assert read_json(json.dumps(value, ensure_ascii=ascii_only)) == value
    deep = "[" * 100 + "]" * 100
    assert json.dumps(read_json(deep)) == deep


@pytest.mark.parametrize("odd", [{"licence": 7}, {"source": 5}, {"files": [1]}, {"files": {"x": "9"}}, {"name": None}])
def test_a_marker_of_odd_types_is_a_model_that_is_not_there(odd: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "models" / "gguf-0123456789ab"
    folder.mkdir(parents=True)
    marker: dict[str, Any] = {"name": "m", "source": "s", "sha256": "0", "licence": None, "files": {}}
    (folder / MARKER).write_text(json.dumps(marker))
    assert ModelCache(tmp_path).installed(folder.name)
    (folder / MARKER).write_text(json.dumps(marker | odd))
    (folder / "gone").symlink_to("nowhere")
    assert ModelCache(tmp_path).installed(folder.name) is None
    assert len(ModelStore(ModelCache(tmp_path)).rows()) == len(ModelStore(ModelCache(tmp_path / "none")).rows())
