"""The conversation at the prompt: what is asked, kept, taken back, and read again."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from tests.unit.cli.repl.replkit import ScriptedShell, scripted_shell
from tokencollab import Collaboration, ModelFailed, Token, TokencollabError, TraceError, UsageError
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.cli.repl.display import PipedScreen
from tokencollab.cli.repl.input import PipedLines
from tokencollab.cli.repl.prompt import make_shell
from tokencollab.cli.repl.session import Conversation
from tokencollab.cli.repl.turns import ConversationTurn, turn_of_trace
from tokencollab.cli.terminal import add_row


def told(session: Conversation) -> list[tuple[str, str]]:
    return [(turn.question, turn.text) for turn in session.turns]


async def test_a_question_goes_with_the_conversation_before_it() -> None:
    async with scripted_shell() as shell:
        await shell.do("/system Be brief, it's late.", "first?", "second?")
        messages = shell.session.messages("third?")
        assert [turn.role for turn in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
        assert messages[0].content == "Be brief, it's late."
        assert messages[2].content == shell.session.turns[0].text != ""
        await shell.do("/undo", "/system off")
        assert [turn.content for turn in shell.session.messages("x")][::2] == ["first?", "x"]


async def test_retry_asks_again_and_with_another_seed_only_where_chance_has_a_part() -> None:
    async with scripted_shell() as shell:
        await shell.do("first?", "/retry")
        assert [turn.answer.seed for turn in shell.session.turns] == [0]
        await shell.do("/method dk", "/set top_t 3", "/set temperature 5", "/retry")
        first = shell.session.turns[-1]
        assert first.answer.seed == 1
        await shell.do("/seed 1", "/undo", "first?")
        assert shell.session.turns[-1].text == first.text
        texts = {first.text}
        for _ in range(4):
            await shell.do("/retry")
            texts.add(shell.session.turns[-1].text)
        assert len(texts) > 1
        assert len(shell.session.turns) == 1


async def test_behind_the_last_seed_comes_the_first() -> None:
    async with scripted_shell("dk", top_t=3, temperature=5.0) as shell:
        await shell.do(f"/seed {2**53 - 1}", "first?", "/retry")
        assert [turn.answer.seed for turn in shell.session.turns] == [0]


async def test_a_text_may_begin_with_a_mark_of_its_encoding() -> None:
    lines = PipedLines(BytesIO(b"\xef\xbb\xbf/seed 1\n\xef\xbb\xbfx\n"))
    assert [await lines.next() for _ in range(3)] == ["/seed 1", "\ufeffx", None]


async def test_in_a_pipe_a_row_of_a_table_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async with scripted_shell() as scripted:
        shell = make_shell(scripted.session, plain=False)
        table = Table(box=None, show_header=False)
        add_row(table, "long " * 60, "x")
        shell.tell(table)
        assert len(capsys.readouterr().out.splitlines()) == 1


class Stopping(PipedScreen):
    """Stops the answer at its seventh word."""

    def __init__(self, shell: ScriptedShell) -> None:
        super().__init__(shell.answers)
        self._shell = shell.shell

    def write(self, token: Token, base: str) -> None:
        super().write(token, base)
        if token.step == 7:
            assert self._shell.stop is not None
            self._shell.stop()


async def test_an_answer_that_is_stopped_is_kept() -> None:
    async with scripted_shell() as shell:
        await shell.do("/set max_tokens 100000")
        shell.shell.screen = Stopping(shell)
        await shell.do("on forever")
        turn = shell.session.turns[-1]
        assert turn.answer.finish_reason == "cancelled"
        assert turn.text + "\n" == shell.answers.getvalue()
        assert len(turn.parsed.steps) == turn.answer.tokens < 100000
        assert "stopped" in shell.noted.getvalue()


async def test_a_model_that_dies_in_the_middle_shows_and_the_answer_goes_on() -> None:
    async with scripted_shell() as shell:
        await shell.do("it dies")
        turn = shell.session.turns[-1]
        assert turn.answer.finish_reason == "end"
        assert turn.answer.lost == {"two": 1}
        assert "two was lost at step 5" in shell.noted.getvalue()
        assert "two was back after step" in shell.noted.getvalue()
        assert "two was lost" in await shell.do("/why 5")


async def test_with_every_model_lost_what_was_written_stays_and_the_next_question_works() -> None:
    async with scripted_shell() as shell:
        await shell.do("/set members two", "/method base")
        with pytest.raises(ModelFailed):
            await shell.do("it is doomed")
        assert shell.session.turns[-1].answer.tokens == 4
        await shell.do("/set members", "/undo")
        assert "The" in await shell.do("again?")


@pytest.mark.parametrize("method", ["duetnet", "unite", "dpara-4", "confipara-u", "base", "bytewise"])
async def test_a_saved_conversation_comes_back_with_every_step(method: str, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    async with scripted_shell(method) as shell:
        await shell.do("/system short", "first?", "it dies", f"/save {file}")
        saved = list(shell.session.turns)
    async with scripted_shell() as shell:
        await shell.do(f"/load {file}")
        assert (shell.session.system, shell.session.method) == ("short", method)
        for turn, known in zip(shell.session.turns, saved, strict=True):
            assert (turn.question, turn.text) == (known.question, known.text)
            assert turn.answer.to_json() | {"aligned": 0, "cost": 0} == known.answer.to_json() | {
                "aligned": 0,
                "cost": 0,
            }
            if method == "bytewise":  # steps of bytewise voting are read; ranks of pieces under losses may differ
                assert [token.piece for token in turn.tokens] == [token.piece for token in known.tokens]
                continue
            for one, other in zip(turn.tokens, known.tokens, strict=True):
                assert (one.text, one.piece, one.step, one.alone, one.lost) == (
                    other.text,
                    other.piece,
                    other.step,
                    other.alone,
                    other.lost,
                )
                assert one.ranks == other.ranks or one.alone
                assert one.efficacy == other.efficacy
        assert "probability" in await shell.do("/why 2") or "rank" in await shell.do("/why 2")
        assert (await shell.do("third?")).strip()


async def test_a_trace_is_looked_at_and_the_conversation_stays(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    async with scripted_shell("dpara-5") as shell:
        await shell.do("first?", f"/save {file}")
        text = shell.session.turns[-1].text
    async with scripted_shell() as shell:
        await shell.do("mine")
        said = await shell.do(f"/load {file}", "/why 5")
        assert text in said
        assert "dpara-5" in said
        assert told(shell.session)[0][0] == "mine"
        assert shell.session.last is shell.session.shown
        with pytest.raises(UsageError, match="ask something"):
            await shell.do("/alone")
        await shell.do("and now?")
        assert shell.session.shown is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "neither"),
        ("[1]", "neither"),
        ("{}", "neither"),
        ('{"tokencollab_conversation": 2}', "neither"),
        ('{"tokencollab_conversation": 1, "turns": 3, "method": "base"}', "no conversation"),
        ('{"tokencollab_conversation": 1, "turns": [], "method": "duett"}', "duett"),
        ('{"tokencollab_conversation": 1, "turns": [], "method": "base", "settings": {"x": 1}}', "settings"),
        ('{"tokencollab_conversation": 1, "turns": [{"question": 1}], "method": "base"}', "question"),
        ('{"tokencollab_trace": 1, "models": ["a"]}', "method"),
        ('{"tokencollab_trace": 1, "models": ["a"], "method": "base"}\n{"step": 2}', "line 2"),
    ],
)
async def test_a_damaged_file_changes_nothing(content: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "damaged"
    file.write_text(content)
    async with scripted_shell() as shell:
        await shell.do("first?")
        before = (told(shell.session), shell.session.method, shell.session.settings, shell.session.shown)
        with pytest.raises((UsageError, TraceError), match=reason):
            await shell.do(f"/load {file}")
        assert (told(shell.session), shell.session.method, shell.session.settings, shell.session.shown) == before


async def test_turns_survive_their_json_form() -> None:
    async with scripted_shell("unite") as shell:
        await shell.do("first?")
        (turn,) = shell.session.turns
    again = ConversationTurn.from_json(json.loads(json.dumps(turn.to_json())))
    assert (again.trace, again.tokens) == (turn.trace, turn.tokens)
    assert (again.tokens, again.text) == ((read := turn_of_trace(turn.trace)).tokens, read.text)


# ---------------------------------------------------------------- the KV cache of earlier turns


@pytest.mark.parametrize("kinds", [("bytes", "llama"), ("gemma", "chars")])
async def test_a_second_question_computes_only_what_is_new(
    kinds: tuple[str, str], tiny_engine: Callable[..., Any]
) -> None:
    engines = [tiny_engine(kind, copy=10 + number) for number, kind in enumerate(kinds)]  # with no others' sessions
    by_name = {engine.info.name: engine for engine in engines}
    names = list(by_name)
    async with Collaboration(names[0], names[1:], runtime=LocalRuntime(load=lambda spec: by_name[spec.name])) as team:
        session = Conversation(team, "unite")
        session.limits.max_tokens = 24
        await ask(session, "Why is the sky blue, and why is it dark at night?")
        for engine in engines:
            assert len(engine.pool) == 1  # the answer's, until the next one has begun
        before = [engine.pool.shared for engine in engines]
        prompts = [len(next(iter(engine.pool._sessions.values())).prompt.ids) for engine in engines]
        await ask(session, "And at noon?")
        for engine, shared, prompt in zip(engines, before, prompts, strict=True):
            assert engine.pool.shared - shared >= prompt - 2, "the earlier conversation was computed again"
            assert len(engine.pool) == 1
        with pytest.raises(TokencollabError):
            await ask(session, "too long " * 2000)
        await session.free()
    assert [len(engine.pool) for engine in engines] == [0, 0]


async def ask(session: Conversation, question: str) -> None:
    await session.ask(question, lambda token, stream: None, lambda stop: None)
