"""What the command line refuses before it does anything: one line, exit code 2."""

import pytest

from tokencollab.cli import main

ASK = ["ask", "Why?", "--model", "arith-bytes"]
GENERATE = ["generate", "Why?", "--base", "arith-bytes"]
NOT_UTF8 = "\udcff"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", NOT_UTF8, "--base", "arith-bytes"], "argument prompt: '\\udcff' is not UTF-8 text"),
        ([*GENERATE, "--system", NOT_UTF8], "argument --system: '\\udcff' is not UTF-8 text"),
        ([*GENERATE, "--stop", NOT_UTF8], "argument --stop: '\\udcff' is not UTF-8 text"),
        ([*GENERATE, "--with", NOT_UTF8], "argument --with: '\\udcff' is not UTF-8 text"),
        ([*ASK, "--stop", NOT_UTF8], "argument --stop: '\\udcff' is not UTF-8 text"),
        (["ask", NOT_UTF8, "--model", "arith-bytes"], "argument prompt: '\\udcff' is not UTF-8 text"),
        (["repl", "--system", NOT_UTF8], "argument --system: '\\udcff' is not UTF-8 text"),
        (["generate", "Why?", "--base", ""], "argument --base: the name is empty: name a model"),
        ([*GENERATE, "--with", ""], "argument --with: the name is empty: name a model"),
        (["repl", "--base", ""], "argument --base: the name is empty: name a model"),
        ([*ASK, "--model", ""], "argument --model: the name is empty: name a model"),
        ([*GENERATE, "--trace", ""], "argument --trace: the name is empty: name a file or folder"),
        ([*GENERATE, "--journal", ""], "argument --journal: the name is empty: name a file or folder"),
        ([*ASK, "--trace", ""], "argument --trace: the name is empty"),
        (["resume", "x", "--trace", ""], "argument --trace: the name is empty"),
        (["batch", "x", "--base", "y", "--out", ""], "argument --out: the name is empty"),
        ([*GENERATE, "--keep-journal"], "--keep-journal needs --journal"),
        ([*GENERATE, "--max-tokens", "9" * 400], f"'{'9' * 40}...' is not a whole number from 1 to 2**53 - 1"),
        ([*GENERATE, "--max-tokens", "9" * 5000], "is not a whole number from 1 to 2**53 - 1"),
        ([*GENERATE, "--seed", "9" * 400], "is not a whole number from 0 to 2**53 - 1"),
        ([*GENERATE, "--seed", str(1 << 53)], "is not a whole number from 0 to 2**53 - 1"),
        ([*GENERATE, "--top-p", "1e999"], "--top-p: top_p must be a number above 0 and at most 1, not '1e999'"),
        ([*GENERATE, "--top-p=-1e999"], "--top-p: top_p must be a number above 0 and at most 1, not '-1e999'"),
        ([*GENERATE, "--deadline", "inf"], "is not a number of seconds above 0"),
        ([*GENERATE, "--trace", f"/nowhere/{NOT_UTF8}"], "the trace cannot be written to /nowhere/"),
    ],
)
def test_bad_arguments_are_one_line(arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capfd.readouterr()
    assert (end.value.code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err


@pytest.mark.parametrize("number", ["0", str((1 << 53) - 1)])
def test_every_whole_number_up_to_2_to_the_53_is_a_seed(number: str) -> None:
    from tokencollab.cli.arguments import natural

    assert natural(number) == int(number)
