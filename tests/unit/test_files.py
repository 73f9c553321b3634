"""Files that are written whole or not at all, whatever fails on the way."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tokencollab.errors import UsageError
from tokencollab.files import write_whole


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
