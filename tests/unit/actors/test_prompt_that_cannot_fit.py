"""A prompt that no tokenizer could make short enough is refused where it is asked, and not sent."""

from dataclasses import replace

import pytest

from tokencollab import Answer, ChatMessage, Collaboration, PromptTooLong
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.protocol.messages import Open, Opened, Refused
from tokencollab.testing import ScriptedEngine


class Hears(ScriptedEngine):
    """A context of 10 tokens; a token stands for 4 bytes at most, or for nobody knows how many (0)."""

    def __init__(self, name: str, token_bytes: int = 4) -> None:
        super().__init__(name, lambda text: {b"a": 1.0, None: len(text) - 5.0})
        self.info = replace(self.info, context_length=10, token_bytes=token_bytes)
        self.heard: list[int] = []

    def open(self, request: Open) -> Opened | Refused:
        self.heard.append(sum(len(turn.content) for turn in request.messages))
        return super().open(request)


async def ask(base: Hears, prompt: list[ChatMessage], *others: Hears) -> Answer:
    engines = {engine.info.name: engine for engine in (base, *others)}
    runtime = LocalRuntime(lambda spec: engines[spec.name])
    async with Collaboration(base.info.name, [each.info.name for each in others], "dp", runtime=runtime) as team:
        return await team.generate(prompt, max_tokens=3)


async def test_the_base_says_so_without_having_been_asked() -> None:
    base = Hears("a")
    with pytest.raises(PromptTooLong, match=r"^the prompt has 41 bytes for a, whose context holds 10"):
        await ask(base, [ChatMessage("user", "x" * 41)])
    assert base.heard == []


async def test_a_collaborator_is_lost_for_the_answer_only() -> None:
    base, other = Hears("a", 0), Hears("b")
    answer = await ask(base, [ChatMessage("system", "x" * 20), ChatMessage("user", "é" * 11)], other)
    assert list(answer.left) == ["b"]
    assert (answer.text, other.heard) == ("aaa", [])


@pytest.mark.parametrize(
    ("messages", "token_bytes"),
    [
        ([ChatMessage("user", "x" * 40)], 4),  # it may just fit
        ([ChatMessage("user", " " * 50 + "x" * 40 + "\n" * 50)], 4),  # templates strip
        # Templates take the reasoning out of earlier turns.
        ([ChatMessage("user", "x"), ChatMessage("assistant", "y" * 99), ChatMessage("user", "z")], 4),
        ([ChatMessage("user", "x" * 5000)], 0),
    ],
)
async def test_what_may_fit_is_asked(messages: list[ChatMessage], token_bytes: int) -> None:
    base = Hears("a", token_bytes)
    assert (await ask(base, messages)).text == "aaa"
    assert len(base.heard) == 1
