"""A whole evaluation of trained models, from items to the page."""

import json
from pathlib import Path

import pytest

from tokencollab.cli import main
from tokencollab.evaluation.between import NEEDED, RIGHT, Policy, Sampled
from tokencollab.evaluation.folder import read_records
from tokencollab.evaluation.report.document import write_report
from tokencollab.evaluation.report.evaluations import Evaluation

pytestmark = pytest.mark.slow

SWITCH = ("modelswitch:samples=2", "self-consistency:samples=2:on=arith-pairs", "best-of-n:samples=2")
METHODS = ",".join(["base", "each", "bytewise", "confipara-b", *SWITCH])


def test_specialists_are_evaluated_to_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pair"
    n = 20
    models = ["--base", "arith-bytes", "--with", "arith-pairs"]
    dataset = ["--dataset", "simplemath", "--n", str(n)]
    with pytest.raises(SystemExit) as ended:
        main(["eval", *dataset, *models, "--methods", METHODS, "--out", str(out), "--json"])
    assert ended.value.code == 0
    summary = json.loads(capsys.readouterr().out)
    methods = summary["methods"]
    for name, row in methods.items():
        assert (row["n"], row["failed"], row["unreadable"], row["cut_off"]) == (n, 0, 0, 0), name
        assert row["accuracy"] >= 0.4, name  # each is right on most held-out problems
    assert methods["bytewise"]["accuracy"] >= max(methods[name]["accuracy"] for name in methods if "alone" in name)
    assert methods["confipara-b"]["against"] == "bytewise"
    assert 0 < methods["confipara-b"]["save"] < 0.5
    assert methods["confipara-b"]["exit_rate"] > 0
    # The base by itself and as one of each wrote the same, beside whatever else was being written.
    texts = {(record["method"], record["item"]): record["text"] for record in read_records(out)}
    assert all(texts["base", item] == text for (name, item), text in texts.items() if name == "alone:arith-bytes")
    records = {(record["method"], record["item"]): record for record in read_records(out)}
    # What was recomputed from the samples of best-of-n is what the methods themselves gave, from the same seeds.
    pair = ("arith-bytes", "arith-pairs")
    policies = [
        Policy("modelswitch", pair, 2),
        Policy("self-consistency", pair[1:], 2),
        Policy("best-of-n", pair, 2, "best"),
    ]
    sampled = Sampled(record for (name, _), record in records.items() if name == "best-of-n:samples=2")
    for name, policy in zip(SWITCH, policies, strict=True):
        found, given = sampled.values(policy), [records[name, item] for item in sampled.items]
        assert [row[RIGHT] for row in found] == [record["right"] for record in given], name
        assert [row[NEEDED] for row in found] == [record["response"]["samples"] for record in given], name
    page = write_report([Evaluation(out)], tmp_path / "report").read_text(encoding="utf-8")
    assert "wrongly, by design" in page
    assert "(ModelSwitch fig. 7)" in page
    assert "Response-level methods" in page
