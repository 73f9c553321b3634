"""`next_candidates` of a model actor: from plain values, at one offset or several."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tokencollab import CandidateSet, ChatMessage, Piece, PromptTooLong, UsageError
from tokencollab.actors import candidates_along
from tokencollab.actors.model import ModelActor
from tokencollab.engines.base import Engine, EngineReply, EngineRequest
from tokencollab.protocol import messages as m
from tokencollab.testing import ScriptedEngine

TEXT = b"The sky"


def next_letter(text: bytes) -> Mapping[Piece, float]:
    """The letter that follows in the alphabet, by the last byte."""
    last = text[-1] if text else 96
    return {bytes([(last + 1) % 256]): 5.0, b"~": 3.0, None: 2.0, "é".encode(): 1.0, b"\xff": 0.0}


class OneByOne(ScriptedEngine):
    """Answers the first offset only."""

    def _answer(self, request: EngineRequest) -> EngineReply:
        return super()._answer(request.at_first_offset() if isinstance(request, m.NextCandidates) else request)


def best(sets: list[CandidateSet]) -> list[Piece]:
    return [one.best.piece for one in sets]


async def test_a_text_gives_the_candidates_after_it_and_leaves_no_session() -> None:
    engine = ScriptedEngine("m", next_letter)
    actor = ModelActor(lambda: engine)
    found = await actor.next_candidates("The sky", k=3)
    assert [candidate.piece for candidate in found.candidates] == [b"z", b"~", None]
    assert repr(found) == "<'z' 82.6%, '~' 11.2%, EOS 4.1%>"
    assert repr(await actor.next_candidates(b"The sky", k=5)).endswith("'é' 1.5%, b'\\xff' 0.6%>")
    assert await actor.next_candidates(b"The sky", k=3) == found
    assert engine.texts == {}
    await actor.stop()


async def test_a_conversation_gives_the_beginning_of_its_answer() -> None:
    actor = ModelActor(lambda: ScriptedEngine("m", next_letter))
    for prompt in ([ChatMessage("user", "?")], [{"role": "user", "content": "?"}]):
        assert (await actor.next_candidates(prompt, 1)).best.piece == b"a"
    await actor.stop()


@pytest.mark.parametrize("kind", [ScriptedEngine, OneByOne])
@pytest.mark.parametrize("enough", [1, 1 << 20])
async def test_several_offsets_give_what_each_gives_by_itself(
    kind: type[ScriptedEngine], enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates_along, "_ENOUGH", enough)
    engine = kind("m", next_letter)
    actor = ModelActor(lambda: engine)
    offsets = [0, 1, 4, 7]
    found = await actor.next_candidates(TEXT, 2, offsets)
    assert best(found) == [b"a", b"U", b"!", b"z"]
    assert found == [await actor.next_candidates(TEXT[:offset], 2) for offset in offsets]
    await actor.stop()


async def test_a_reply_at_several_offsets_has_a_set_for_each_and_the_text_up_to_the_last() -> None:
    for kind in (ScriptedEngine, OneByOne):
        engine = kind("m", next_letter)
        actor = ModelActor(lambda engine=engine: engine)  # type: ignore[misc]
        await actor.ask(m.Open("s", (ChatMessage("user", "?"),)))
        reply = await actor.ask(m.NextCandidates("s", 0, TEXT, 4, (2, 5)))
        assert isinstance(reply, m.CandidatesReply)
        assert (reply.offset, reply.forwarded, len(reply.earlier)) == (5, 2, 1)
        assert best([*reply.earlier, reply.candidates]) == [b"i", b"t"]
        assert engine.texts["s"] == TEXT[:5]
        await actor.stop()


async def test_where_the_context_ends_what_was_answered_before_is_the_reply() -> None:
    actor = ModelActor(lambda: OneByOne("m", next_letter, context_length=5))
    await actor.ask(m.Open("s", (ChatMessage("user", "?"),)))
    reply = await actor.ask(m.NextCandidates("s", 0, TEXT, 4, (1, 3, 6)))
    assert isinstance(reply, m.CandidatesReply)
    assert (reply.offset, len(reply.earlier)) == (3, 1)
    assert await actor.ask(m.NextCandidates("s", 3, TEXT[3:], 4, (6,))) == m.ContextExhausted("s", 6)
    with pytest.raises(PromptTooLong, match="the 7 bytes of the prefix do not fit"):
        await actor.next_candidates(TEXT)
    await actor.stop()


async def test_offsets_outside_the_text_are_refused() -> None:
    actor = ModelActor(lambda: ScriptedEngine("m", next_letter))
    await actor.ask(m.Open("s", (ChatMessage("user", "?"),)))
    for offsets in ((0, 2), (2, 8)):
        reply = await actor.ask(m.NextCandidates("s", 1, TEXT[1:], 4, offsets))
        assert reply == m.Refused("s", "ModelRefused", "the offsets must lie between the start and the end of the text")
    await actor.stop()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("x", 0), "k must be from 1 to"),
        (("x", 5, [2]), "offsets must ascend from 0 to the 1 bytes"),
        (("xy", 5, [1, 1]), "offsets must ascend"),
        (("xy", 5, []), "offsets must ascend"),
        (([],), "the prompt is empty"),
        (("\ud800",), "lone surrogate"),
    ],
)
async def test_what_cannot_be_asked_is_told_in_one_line(arguments: Any, reason: str) -> None:
    actor = ModelActor(lambda: ScriptedEngine("m", next_letter))
    with pytest.raises(UsageError, match=reason):
        await actor.next_candidates(*arguments)
    await actor.stop()


@pytest.fixture
def actor_of(tiny_engine: Callable[..., Engine]) -> Callable[[str], ModelActor]:
    return lambda kind: ModelActor(lambda: tiny_engine(kind))


@pytest.mark.parametrize("kind", ["bytes", "gemma"])
async def test_a_transformer_goes_on_with_a_plain_text(kind: str, actor_of: Callable[[str], ModelActor]) -> None:
    actor = actor_of(kind)
    offsets = [0, 3, 7]
    along = await actor.next_candidates(TEXT, 4, offsets)
    assert len({one.best.logprob for one in along}) == 3
    for offset, found in zip(offsets, along, strict=True):
        alone = await actor.next_candidates(TEXT[:offset].decode(), 4)
        assert [c.piece for c in alone.candidates] == [c.piece for c in found.candidates]
        assert [c.logprob for c in alone.candidates] == pytest.approx([c.logprob for c in found.candidates], abs=1e-4)
    await actor.stop()
