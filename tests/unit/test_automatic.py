"""`auto`: which method it means for which team, and what the user is told."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tokencollab import Capabilities, Collaboration, ModelInfo, Piece, UsageError, parse_method
from tokencollab.actors.journal import SUFFIX
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.policies.automatic import fit
from tokencollab.protocol.trace import parse_trace
from tokencollab.testing import ScriptedEngine

ALL = Capabilities()
NO_MARGINALS = Capabilities(marginals=False)
LITTLE = Capabilities(raw_logits=False, marginals=False, piece_scores=False)


def model(name: str, can: Capabilities = ALL, vocabulary: int = 100, chat: bool = True) -> ModelInfo:
    return ModelInfo(name, "Made", 1, vocabulary, 100, "float32", "made", chat, can)


def team(*infos: ModelInfo) -> dict[str, ModelInfo]:
    return {info.name: info for info in infos}


@pytest.mark.parametrize(
    ("members", "name", "why"),
    [
        (team(model("a")), "consult", "auto: a alone"),
        (
            team(model("a"), model("b")),
            "consult",
            "auto: consult; a writes, and where it is unsure asks b, byte by byte, whatever the tokenizers",
        ),
        (team(model("a"), model("b", vocabulary=7)), "consult", "asks b, byte by byte, whatever the tokenizers"),
        (team(*map(model, "abcd")), "consult", "asks b, c, d, byte by byte, whatever the tokenizers"),
        (team(*map(model, "abcdef")), "consult", "asks the 5 others, byte by byte, whatever the tokenizers"),
        (
            team(model("a"), model("b", NO_MARGINALS)),
            "unite+consult",
            "auto: unite+consult; a writes, and where it is unsure asks b, by pieces, since b gives no byte marginals",
        ),
        (team(model("a", NO_MARGINALS), model("b")), "unite+consult", "by pieces, since a gives no byte marginals"),
        (
            team(model("a"), model("b", NO_MARGINALS, vocabulary=7)),
            "unite+consult",
            "since b gives no byte marginals; their tokenizers differ, which spoils such votes",
        ),
        (team(model("a"), model("b", LITTLE)), "gac+consult", "by pieces, since b gives no byte marginals"),
    ],
)
def test_what_the_members_can_do_decides(members: Mapping[str, ModelInfo], name: str, why: str) -> None:
    chosen, notices = fit(parse_method("auto"), members, untrusted=list(members))
    assert chosen.name == name
    assert not chosen.scoring.trusts_scale
    assert notices[0].endswith(why)
    assert notices[0].startswith("auto: ")


def test_settings_are_kept_and_those_of_other_methods_refused() -> None:
    for can in (ALL, NO_MARGINALS, LITTLE):
        members = team(model("a"), model("b", can))
        chosen, _ = fit(parse_method("auto", consult_below=0.7, weights={"b": 0.5}, top_k=4), members)
        assert (chosen.consult_below, chosen.weight_of("b"), chosen.top_k) == (0.7, 0.5, 4)
    with pytest.raises(
        UsageError, match="reference has no effect with the aggregation bytewise; it belongs to duetnet"
    ):
        parse_method("auto", reference="floor")
    few = team(model("a"), model("b", Capabilities(max_candidates=5)))
    with pytest.raises(UsageError, match=r"b does not give more than 5 candidates .* which consult needs"):
        fit(parse_method("auto"), few)


def test_who_names_an_aggregation_or_an_exit_chooses() -> None:
    assert parse_method("auto", aggregation="unite").to_json() == parse_method("unite", exit="never").to_json()
    assert parse_method("auto", exit="fixed-3").to_json() == parse_method("bytewise", exit="fixed-3").to_json()


def test_another_method_stays_as_it_is() -> None:
    for name in ("base", "unite", "bytewise", "consult"):
        method = parse_method(name)
        assert fit(method, team(model("a"), model("b"))) == (method, ())


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        ("", ""),
        ("abc", ""),
        (
            "b",
            "b is a plain-text model (no chat template) and goes on with a text instead of answering it: its vote can",
        ),
        (
            "bc",
            "b, c are plain-text models (no chat template) and go on with a text instead of answering it: their votes",
        ),
        ("a", "a is a plain-text model (no chat template) and goes on with a text instead of answering it: the answer"),
        (
            "ab",
            "a, b are plain-text models (no chat template) and go on with a text instead of answering it: the answer",
        ),
    ],
)
@pytest.mark.parametrize("method", ["auto", "unite", "bytewise"])
def test_a_plain_text_model_beside_an_instruct_model_is_told(plain: str, told: str, method: str) -> None:
    members = team(*(model(name, chat=name not in plain) for name in "abc"))
    notices = [text for text in fit(parse_method(method), members)[1] if not text.startswith("auto")]
    assert len(notices) == bool(told)
    assert "".join(notices).startswith(told)


class Instruct(ScriptedEngine):
    def __init__(self, name: str, script: Any, can: Capabilities | None = None, chat: bool = True) -> None:
        super().__init__(name, script, capabilities=can)
        self.info = replace(self.info, chat_template=chat)


def doubtful(text: bytes) -> Mapping[Piece, float]:
    return {b"a": 1.0, b"b": 0.9, None: 0.5 * len(text) - 3}


def sure(text: bytes) -> Mapping[Piece, float]:
    return {b"a": 0.0, b"b": 9.0, None: 3.0 * len(text) - 9}


async def test_it_is_the_default_and_its_traces_have_what_was_chosen() -> None:
    heard: list[str] = []
    engines = {"a": Instruct("a", doubtful), "b": Instruct("b", sure, chat=False)}
    async with Collaboration(
        "a", ["b"], runtime=LocalRuntime(lambda spec: engines[spec.name]), notify=heard.append
    ) as team:
        trace = io.StringIO()
        answers = [await team.generate("?", trace=trace), await team.generate("?")]
        expected = await team.generate("?", method="consult")
    assert {answer.text for answer in answers} == {expected.text}
    assert expected.text
    assert [answer.method for answer in answers] == ["consult", "consult"]
    assert parse_trace(trace.getvalue().splitlines()).settings["method"] == parse_method("consult").to_json()
    assert [text.split()[0] for text in heard] == ["auto:", "b"], "each once"


async def test_who_comes_and_goes_changes_what_it_means() -> None:
    engines = {name: Instruct(name, doubtful, NO_MARGINALS if name == "c" else None) for name in "abc"}
    async with Collaboration("a", [], runtime=LocalRuntime(lambda spec: engines[spec.name])) as team:
        assert (await team.generate("?")).method == "consult"
        await team.add("c")
        assert (await team.generate("?")).method == "unite+consult"
        await team.remove("c")
        await team.add("b")
        assert (await team.generate("?")).method == "consult"


async def test_an_answer_goes_on_by_the_method_that_it_began_by(tmp_path: Any) -> None:
    """Also where `auto` would mean another one for the members that are there now."""
    engines = {name: Instruct(name, doubtful, NO_MARGINALS if name == "c" else None) for name in "abc"}

    def among(*others: str) -> Collaboration:
        runtime = LocalRuntime(lambda spec: engines[spec.name])
        return Collaboration("a", others, runtime=runtime, journal=tmp_path, keep_journal=True)

    async with among("b") as team:
        whole = await team.generate("?")
    (journal,) = tmp_path.glob(f"*{SUFFIX}")
    lines = journal.read_text().splitlines(keepends=True)
    assert json.loads(lines[0])["method"]["name"] == "consult"
    journal.write_text("".join(lines[: len(lines) // 2]))
    async with among("b") as team:
        stream = team.resume(journal)
        async for _ in stream:
            pass
    assert (stream.answer.text, stream.answer.method) == (whole.text, "consult")
    journal.write_text("".join(lines[: len(lines) // 2]))
    async with among("b", "c") as team:  # c cannot vote on bytes: the answer does not become another one for it
        with pytest.raises(UsageError, match="c does not give byte marginals, which consult needs"):
            team.resume(journal)
