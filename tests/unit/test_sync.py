"""`tokencollab.sync`: the same from a script, a notebook and several threads."""

import asyncio
import gc
import inspect
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

import tokencollab
from tokencollab import EOS, Piece, PromptTooLong, UsageError
from tokencollab.protocol.messages import Open, Opened
from tokencollab.sync import Collaboration
from tokencollab.testing import ScriptedEngine, scripted_runtime

LONG = 100_000


def spell(text: bytes, name: str = "a") -> ScriptedEngine:
    return ScriptedEngine(name, lambda done: {text[len(done) : len(done) + 1] or EOS: 9.0, b"~": 1.0})


def forever(name: str = "a", hook: Callable[[bytes], None] = lambda done: None) -> ScriptedEngine:
    def script(done: bytes) -> Mapping[Piece, float]:
        hook(done)
        return {b"a": 9.0, b"~": 1.0}

    return ScriptedEngine(name, script)


def team(engine: ScriptedEngine) -> Collaboration:
    return Collaboration("a", runtime=scripted_runtime(engine))


def test_answers_tokens_and_responses() -> None:
    with team(spell(b"answer 7")) as started:
        assert started.generate("?").text == "answer 7"
        with started.stream("?", max_tokens=6) as stream:
            assert [token.text for token in stream] == list("answer")
            assert stream.answer.finish_reason == "length"
        assert started.ask("?", "self-consistency", samples=2, extract="number").answer == "7"
        assert [info.name for info in started.models] == list(started.members) == ["a"]
    with pytest.raises(UsageError, match="once it is started"):
        started.generate("?")
    assert started.start().generate("?").text == "answer 7"
    started.close()
    started.close()


def test_it_has_every_method_and_argument_of_its_model() -> None:
    names = {name for name in dir(tokencollab.Collaboration) if not name.startswith("_")}
    inner = {"stream_request", "check_method", "supervisors"}
    assert names - inner - {"aclose"} | {"close", "ask"} == {n for n in dir(Collaboration) if not n.startswith("_")}
    for name in ("__init__", "stream", "generate", "resume"):
        assert inspect.signature(getattr(Collaboration, name)) == inspect.signature(
            getattr(tokencollab.Collaboration, name)
        )


def test_errors_come_out_as_themselves() -> None:
    class Refusing(ScriptedEngine):
        def open(self, request: Open) -> Opened:
            raise PromptTooLong("too long")

    with team(Refusing("a", lambda done: {EOS: 1.0})) as started, pytest.raises(PromptTooLong, match="too long"):
        started.generate("?")
    with team(spell(b"x")) as started, pytest.raises(UsageError, match="empty"):
        started.stream("")
    broken = ScriptedEngine("b", lambda done: {EOS: 1.0})
    with pytest.raises(Exception, match="a"), team(broken):
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "tokencollab-sync"]


async def test_it_works_where_an_event_loop_is_running() -> None:
    with team(spell(b"yes")) as started:
        assert started.generate("?").text == "yes"
        assert "".join(token.text for token in started.stream("?")) == "yes"
    assert asyncio.get_running_loop().is_running()


def test_a_stream_that_is_left_early_ends_its_answer() -> None:
    engine = forever()
    with team(engine) as started:
        stream = started.stream("?", max_tokens=LONG)
        next(stream)
        assert engine.texts
        stream.close()
        stream.close()
        assert not engine.texts
        assert (stream.answer.finish_reason, list(stream)) == ("cancelled", [])
        for _ in started.stream("?", max_tokens=LONG):
            break
        gc.collect()
        left = started.stream("?", max_tokens=LONG)
        next(left)
        left.cancel()
        list(left)
        assert left.answer.finish_reason == "cancelled"
        kept = started.stream("?", max_tokens=LONG)
        next(kept)
    kept.close()  # after the team: nothing is left to do
    assert not engine.texts


def test_many_threads_ask_one_team() -> None:
    with team(spell(b"the same answer")) as started, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda seed: started.generate("?", seed=seed).text, range(64)))
    assert answers == ["the same answer"] * 64


def test_closing_ends_what_other_threads_wait_for() -> None:
    begun = threading.Event()
    started = team(forever(hook=lambda done: begun.set())).start()
    ended: list[object] = []

    def ask() -> None:
        try:
            ended.append(started.generate("?", max_tokens=LONG).finish_reason)
        except UsageError as error:
            ended.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    begun.wait()
    started.close()
    thread.join()
    assert ended[0] == "cancelled" or "once it is started" in str(ended[0])


def test_a_function_that_is_called_meanwhile_must_not_wait() -> None:
    told: list[str] = []

    def heard(sample: object) -> None:
        try:
            started.generate("?")
        except UsageError as error:
            told.append(str(error))

    with team(spell(b"7")) as started:
        started.ask("?", "self-consistency", samples=1, heard=heard)
    assert "must not wait" in told[0]


def test_ctrl_c_ends_the_answer_that_is_waited_for() -> None:
    main = threading.get_ident()
    armed = threading.Event()

    def interrupt(done: bytes) -> None:
        if len(done) > 50 and armed.is_set():
            armed.clear()
            signal.pthread_kill(main, signal.SIGINT)

    engine = forever(hook=interrupt)
    with team(engine) as started:
        armed.set()
        with pytest.raises(KeyboardInterrupt):
            started.generate("?", max_tokens=LONG)
        assert started.generate("?", max_tokens=2).text == "aa"  # the team is as it was
        assert not engine.texts
        stream = started.stream("?", max_tokens=LONG)
        armed.set()
        with pytest.raises(KeyboardInterrupt):
            list(stream)
        assert list(stream) == []
    assert not engine.texts


@pytest.mark.parametrize("asked", ["", "stream = team.stream('?', max_tokens=10**6); next(stream)"])
def test_a_program_that_closes_nothing_ends(asked: str) -> None:
    program = f"""
from tests.unit.test_sync import forever, team as made
team = made(forever()).start()
{asked}
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_team_that_is_collected_is_closed() -> None:
    started: Collaboration | None = team(spell(b"x")).start()
    assert started is not None
    started = None
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "tokencollab-sync"]
