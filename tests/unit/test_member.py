"""Members: their texts, their options, their weights, and where all of that is kept."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tokencollab import (
    AnswerStream,
    Capabilities,
    Collaboration,
    EngineOptions,
    Member,
    ModelRefused,
    Piece,
    Respondent,
    UnknownModel,
    UsageError,
    ask,
)
from tokencollab.actors.journal import read_journal
from tokencollab.actors.runtimes.base import ModelSpec, gpu_shares, on_gpus
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.cli import main
from tokencollab.cli.repl.session import Conversation
from tokencollab.member import split_members
from tokencollab.testing import ScriptedEngine


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("gemma-3-270m", Member("gemma-3-270m")),
        ("gemma-3-270m@dtype=bfloat16", Member("gemma-3-270m", dtype="bfloat16")),
        (
            "/a@b/c@threads=2,weight=.5,kv-megabytes=64,device=cuda:1,engine=transformers,name=me",
            Member("/a@b/c", threads=2, weight=0.5, kv_megabytes=64, device="cuda:1", engine="transformers", name="me"),
        ),
        ("m@weight=2", Member("m", weight=2)),
        (
            'm@dtype=auto,template.enable_thinking=false,template.effort=low,template.n=-2.5,template.x=null,template.s="1"',
            Member(
                "m", dtype="auto", template={"enable_thinking": False, "effort": "low", "n": -2.5, "x": None, "s": "1"}
            ),
        ),
        (r'm@template.s="a\u002c b\u0040(\"' + "'" + r')"', Member("m", template={"s": "a, b@(\"')"})),
        ("me@host.template", Member("me@host.template")),
        ("m@trusted=no", Member("m", trusted=False)),
        ("m@trusted=True,weight=2", Member("m", weight=2, trusted=True)),
        ("vllm:http://me@host:80/v1?x=y", Member("vllm:http://me@host:80/v1?x=y")),
        ("me@host", Member("me@host")),
        ("x@dtype=auto@", Member("x@dtype=auto")),
        ("@", Member("@")),
    ],
)
def test_a_member_is_read_from_its_text_and_told_as_one(text: str, member: Member) -> None:
    assert Member.parse(text) == member
    assert Member.parse(str(member)) == member
    assert Member.of(member) is member
    assert Member.of(text) == member


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("m@dtype=int4", "m: unknown dtype 'int4'; there are auto, float32"),
        ("m@trusted=perhaps", "m: trusted must be yes or no, not 'perhaps'"),
        ("m@colour=red", "'colour=red' is not KEY=VALUE; the keys are engine, device, dtype, threads,"),
        ("m@dtype=auto,threads", "'threads' is not KEY=VALUE"),
        ("m@dtype", "'dtype' is not KEY=VALUE"),
        ("m@threads=x", "m: threads must be a whole number from 1 to"),
        ("m@threads=1.5", "m: threads must be a whole number from 1 to"),
        ("m@threads=1,threads=2", "threads is given twice"),
        ("m@weight=0", "m: weight must be a number from 1e-150 to 1e150, not 0"),
        ("m@weight=nan", "m: weight must be a number"),
        ("m@weight=heavy", "m: weight must be a number from 1e-150 to 1e150, not 'heavy'"),
        ("m@engine=abacus", "m: unknown engine 'abacus'; there are llamacpp, transformers"),
        ("m@template.enable_thinking", "'template.enable_thinking' is not KEY=VALUE"),
        ("m@template.x=1,template.x=2", "template.x is given twice"),
        ("m@template.messages=1", "m: template: messages cannot be given, it belongs to the conversation"),
        ("m@template.x=[1]", r"m: template: x must be a text, a number, true, false or null, not \[1\]"),
        ("m@template.x=NaN", "m: template: x must be a finite number"),
        ("m@template.x=1e999", "m: template: x must be a finite number"),
        ("m@template.1x=1", "m: template must have the arguments of a chat template by name"),
        ("m@template=1", "'template=1' is not KEY=VALUE; the keys are .*template.NAME"),
        ("m@name=", "m: name must be a text without , and @"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(text: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        Member.parse(text)
    assert "\n" not in str(caught.value)
    for arguments in (
        ["generate", "?", "--base", text],
        ["generate", "?", "--base", "m", "--with", text],
        ["ask", "?", "--model", f"unite(arith-pairs,{text})"],
    ):
        assert exit_code(*arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def exit_code(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_members_that_write_together_have_options_too() -> None:
    assert split_members("A@dtype=bfloat16,threads=2, B,C@weight=3") == [
        "A@dtype=bfloat16,threads=2",
        "B",
        "C@weight=3",
    ]
    assert split_members("A@template.x=1,template.y=2,B") == ["A@template.x=1,template.y=2", "B"]
    assert Respondent.parse("unite(A@dtype=auto,threads=2,B)").members == ("A@dtype=auto,threads=2", "B")


def test_a_gguf_file_goes_to_the_engine_that_is_named(tmp_path: Path) -> None:
    (file := tmp_path / "mine.gguf").write_bytes(b"GGUF")
    for found in (
        Member(str(file), engine="llamacpp").find(EngineOptions(threads=3)),
        Member(str(file)).find(EngineOptions(engine="llamacpp", threads=3)),
    ):
        assert found == ("mine", str(file), EngineOptions(engine="llamacpp", threads=3), None)
    with pytest.raises(ModelRefused, match="damaged or incomplete"):
        Member(str(file)).find(EngineOptions())
    with pytest.raises(UnknownModel, match=r"there is no file or folder no/such.gguf"):
        Member("no/such.gguf").find(EngineOptions(engine="llamacpp"))
    with pytest.raises(UsageError, match=r"the engine llamacpp does not take gemma-3-270m: it takes .gguf files"):
        Member("gemma-3-270m", engine="llamacpp").find(EngineOptions())


def test_members_of_different_dtypes_write_one_answer_and_its_journal_starts_the_same(
    tiny_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_model("bytes")
    lower = Member(str(folder), dtype="bfloat16", threads=1, name="lower", weight=3)
    options = EngineOptions(threads=1, device="cpu")
    team = Collaboration(folder, [lower], "unite", options=options, journal=tmp_path, keep_journal=True)

    async def write() -> AnswerStream:
        async with team:
            assert [(info.name, info.dtype) for info in team.models] == [
                (folder.name, "float32"),
                ("lower", "bfloat16"),
            ]
            stream = team.stream("Why?", max_tokens=40)
            async for _ in stream:
                pass
            assert (await team.generate("Why?", max_tokens=2, method="base", members=["lower"])).tokens == 2
        return stream

    stream = asyncio.run(write())
    assert stream.journal is not None
    past = read_journal(stream.journal)
    assert past.trace.settings["sources"] == {
        folder.name: str(folder),
        "lower": f"{folder}@dtype=bfloat16,threads=1,weight=3,name=lower",
    }
    assert past.trace.settings["method"]["weights"] == {"lower": 3}  # type: ignore[index]
    with stream.journal.open("r+b") as file:  # as if it had been killed
        file.truncate(stream.journal.stat().st_size // 2)
    code = exit_code("resume", str(stream.journal), "--json")
    assert (code, json.loads(capsys.readouterr().out)["text"]) == (0, stream.answer.text)


def logits(better: Piece) -> Callable[[bytes], Mapping[Piece, float]]:
    return lambda text: {b"a": 2.0, b"b": 1.0, **{better: 2.5}, None: -9.0}


def local(*names: str) -> LocalRuntime:
    engines = {"a": ScriptedEngine("a", logits(b"a")), "b": ScriptedEngine("b", logits(b"b"))}
    return LocalRuntime(lambda spec: engines[spec.source])


async def test_a_members_weight_is_the_methods_unless_the_method_says_otherwise() -> None:
    async def text(*members: str | Member, **settings: Any) -> str:
        async with Collaboration(members[0], members[1:], "dp", runtime=local(), **settings) as team:
            return (await team.generate("?", max_tokens=1)).text

    assert await text("a@weight=10", "b") == "a"
    assert await text("a", Member("b", weight=10)) == "b"
    assert await text("a@name=first", "b@weight=10,name=second") == "b"
    assert await text("a", "b@weight=10", weights={"a": 100.0}) == "a"


async def test_a_member_that_is_added_brings_its_options() -> None:
    specs: list[ModelSpec] = []

    def load(spec: ModelSpec) -> ScriptedEngine:
        specs.append(spec)
        return ScriptedEngine(spec.name, logits(b"a"))

    async with Collaboration("a", runtime=LocalRuntime(load), options=EngineOptions(threads=1)) as team:
        assert await team.add("b@threads=2,name=c") == "c"
    assert [(spec.name, spec.source, spec.options.threads) for spec in specs] == [("a", "a", 1), ("c", "b", 2)]


def specs_of(*devices: str) -> list[ModelSpec]:
    return [ModelSpec(str(i), "m", EngineOptions(device=device)) for i, device in enumerate(devices)]


def test_models_are_spread_over_the_gpus_of_a_machine() -> None:
    placed: dict[str, str] = {}
    specs = specs_of("auto", "cpu", "auto", "cuda:0", "auto")
    spread = on_gpus(specs, 2, placed)
    assert [spec.options.device for spec in spread] == ["cuda:0", "cpu", "cuda:1", "cuda:0", "cuda:0"]
    assert on_gpus(specs[2:3], 2, placed)[0].options.device == "cuda:1"  # restarted where it was
    for few in (0, 1):
        assert on_gpus(specs, few, {}) == specs


@pytest.mark.parametrize(
    ("devices", "free", "shares"),
    [
        (["auto", "cuda"], 0.0, [0, 0]),
        (["auto", "cuda"], 0.5, [0, 0]),
        (["auto", "cuda"], 1.0, [0.5, 0.5]),
        (["auto", "cpu", "cuda", "cuda:1"], 8.0, [1, 0, 1, 0]),
        (["auto"] * 3, 1.0, [0.3333] * 3),
        (["auto"] * 3, 2.0, [0.5] * 3),
        (["cpu"], 2.0, [0]),
        ([], 2.0, []),
    ],
)
def test_what_models_reserve_of_a_clusters_gpus(devices: list[str], free: float, shares: list[float]) -> None:
    assert gpu_shares(devices, free) == shares
    assert sum(gpu_shares(devices, free)) <= free


def test_batch_keeps_the_options_of_its_members(
    tmp_path: Path, tiny_model: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_model("bytes")
    (prompts := tmp_path / "p.jsonl").write_text('{"prompt": "?"}\n')
    command = ["batch", str(prompts), "--out", str(tmp_path / "out.jsonl"), "--max-tokens", "1", "--threads", "1"]
    assert exit_code(*command, "--base", f"{folder}@dtype=bfloat16") == 0
    assert exit_code(*command, "--base", str(folder), "--resume") == 2
    assert f"{folder}@dtype=bfloat16" in capsys.readouterr().err
    assert exit_code(*command, "--base", f"{folder}@dtype=bfloat16", "--resume") == 0


async def test_what_members_lack_is_told_before_anything_is_asked() -> None:
    little = Capabilities(raw_logits=False, marginals=False, text_logprobs=False)
    engines = {name: ScriptedEngine(name, logits(b"a"), capabilities=little) for name in "ab"}
    runtime = LocalRuntime(lambda spec: engines[spec.name])
    with pytest.raises(UsageError, match=r"^a does not give raw logits, which duetnet needs: use .*, e.g. dp$"):
        await Collaboration("a", ["b"], "duetnet", runtime=runtime).__aenter__()
    async with Collaboration("a", ["b"], "gac", runtime=runtime) as team:
        with pytest.raises(UsageError, match="a does not give byte marginals"):
            team.stream("?", method="bytewise")
        assert (await team.generate("?", method="bytewise", members=["a"], max_tokens=1)).text == "a"
        with pytest.raises(UsageError, match="a does not give raw logits, which unite needs"):
            await ask(team, "?", "modelswitch", ["unite(a,b)", "b"])
        with pytest.raises(UsageError, match="a does not give log-probabilities of a text, which best-of-n needs"):
            await ask(team, "?", "best-of-n")
        with pytest.raises(UsageError, match="a does not give log-probabilities of a text, which transfer needs"):
            await ask(team, "?", "transfer", selector="surprise-2")
        session = Conversation(team, "gac")
        with pytest.raises(UsageError, match="a does not give byte marginals"):
            session.use_method("bytewise")
        assert session.method == "gac"
        assert not engines["b"].calls


async def test_a_new_model_joins_the_answers_whose_method_it_can_do() -> None:
    little = Capabilities(raw_logits=False)
    engines = {name: ScriptedEngine(name, logits(b"a"), capabilities=little if name == "b" else None) for name in "abc"}
    for method, joins in (("dp", True), ("duetnet", False)):
        async with Collaboration("a", ["c"], method, runtime=LocalRuntime(lambda spec: engines[spec.name])) as team:
            stream = team.stream("?", max_tokens=20)
            await anext(aiter(stream))
            await team.add("b")
            async for _ in stream:
                pass
            assert ("b" in stream.answer.models) is joins
