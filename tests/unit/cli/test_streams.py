"""Standard streams that are closed, full, or know no more than ASCII."""

import os
import subprocess
import sys

import pytest

COMMAND = "from tokencollab.cli import main; main()"
PROGRESS = """
import sys
from tokencollab.cli.streams import prepare_streams
prepare_streams()
from tokencollab.cli.terminal import ProgressView
progress = ProgressView()
progress.update("loading", 0, 0)
print("the answer → \\udcff", flush=True)
progress.say("a notice")
print("\\udcff", file=sys.stderr)
"""


def shell(code: str, arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program with the redirections that are among its ``arguments``."""
    return subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {arguments}', sys.executable, code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&- <&-"])
def test_messages_that_cannot_be_written_do_not_cost_the_answer(redirection: str) -> None:
    result = shell(PROGRESS, redirection)
    assert (result.returncode, result.stdout, result.stderr) == (0, "the answer → \\udcff\n", "")


@pytest.mark.parametrize("arguments", ["methods", "models list", "models list --json", "--help"])
def test_an_answer_that_cannot_be_written_is_one_line(arguments: str) -> None:
    result = shell(COMMAND, f"{arguments} >/dev/full")
    assert (result.returncode, result.stderr) == (
        1,
        "tokencollab: the answer cannot be written: No space left on device\n",
    )
    closed = shell(COMMAND, f"{arguments} >&-")
    assert (closed.returncode, closed.stderr) == (0, "")


def test_a_reader_that_has_left_is_no_failure() -> None:
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-c", COMMAND, "methods"], stdout=write, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (0, b"")


def test_what_is_not_ascii_is_told_by_its_number_where_only_ascii_can_be_written() -> None:
    result = shell(PROGRESS, "", PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stdout) == (0, "the answer \\u2192 \\udcff\n")
    assert shell(PROGRESS, "", PYTHONIOENCODING="ascii:replace").stdout == "the answer ? ?\n"


def test_a_file_that_is_opened_does_not_take_the_place_of_a_closed_stream() -> None:
    code = "import os\nfrom tokencollab.cli.streams import prepare_streams\nprepare_streams()\n"
    result = shell(f"{code}os._exit(open(os.devnull).fileno())", "<&- >&- 2>&-")
    assert result.returncode == 3
