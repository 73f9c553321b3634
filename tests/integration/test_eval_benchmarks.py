"""The benchmarks of the evaluation, on shipped models: ways of holding foreign pieces, and how probable answers are."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from benchmarks import alignment, fluency
from tokencollab.evaluation.folder import read_records

pytestmark = pytest.mark.slow


def run(module: object, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", *arguments])
    module.main()  # type: ignore[attr-defined]


def key_of(*scored: str) -> str:
    return sha256(json.dumps(scored).encode()).hexdigest()


def test_spellings_and_fluency_of_specialists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    run(alignment, monkeypatch, "--out", str(folder), "--n", "3", "--methods", "duetnet")
    shown = capsys.readouterr().out
    records = list(read_records(folder))
    methods = ["alone:arith-bytes", "alone:arith-pairs-dropout", "bytewise", "duetnet"]
    methods += ["duetnet/as-came", "duetnet/all-words", "duetnet/every-step"]
    assert sorted(record["method"] for record in records) == sorted(3 * methods)
    assert all(f"| {name.partition('/')[0]} | {name.partition('/')[2] or 'words'} |" in shown for name in methods)
    pairs = {
        name: np.mean([r["forwarded"]["arith-pairs-dropout"] for r in records if r["method"] == name])
        for name in methods[3:]
    }
    # Digits that came one by one are cut again as pairs, after the word.
    assert pairs["duetnet/all-words"] > 1.2 * pairs["duetnet"]
    before = (folder / "items.jsonl").read_bytes()
    run(alignment, monkeypatch, "--out", str(folder), "--n", "3", "--methods", "duetnet", "--resume")
    assert (folder / "items.jsonl").read_bytes() == before
    assert capsys.readouterr().out == shown

    scores = tmp_path / "scores.jsonl"
    arguments = [str(folder), "--by", "arith-bytes", "--n", "2", "--methods", "duetnet", "--scores", str(scores)]
    run(fluency, monkeypatch, *arguments)
    shown = capsys.readouterr().out
    rows = {cells[1].strip(): cells for cells in (line.split("|") for line in shown.splitlines() if line[:1] == "|")}
    assert list(rows)[2:] == ["alone:arith-bytes", "alone:arith-pairs-dropout", "duetnet"]
    kept = {line["key"]: line["bits"] for line in map(json.loads, scores.read_text(encoding="utf-8").splitlines())}
    chosen = [r for r in records if r["item"][-1] in "01" and r["method"] in rows]
    keys = {(r["method"], r["item"]): key_of("arith-bytes", r["question"], r["text"]) for r in chosen}
    assert set(keys.values()) == set(kept)  # each text is scored once, whoever wrote it
    for method in list(rows)[2:]:
        own = [r for r in chosen if r["method"] == method]
        bits = sum(kept[keys[method, r["item"]]] for r in own) / sum(len(r["text"].encode()) for r in own)
        assert rows[method][4].split()[0] == f"{bits:.3f}"
    assert float(rows["duetnet"][4].split()[0]) > float(rows["alone:arith-bytes"][4].split()[0])
    whole = scores.read_bytes()
    scores.write_bytes(whole[:-9])  # it was killed while it wrote
    run(fluency, monkeypatch, *arguments)
    assert capsys.readouterr().out == shown
    assert scores.read_bytes() == whole


def test_repetition_is_the_share_of_word_4_grams_seen_before() -> None:
    assert fluency.repeated("a b c") == 0.0
    assert fluency.repeated("a b c d e f g h") == 0.0
    assert fluency.repeated("a b c d a b c d a b c d") == pytest.approx(5 / 9)
