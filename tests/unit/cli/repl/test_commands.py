"""Every command of the prompt, without a terminal."""

from pathlib import Path

import pytest

from tests.unit.cli.repl.replkit import Laid, laid
from tokencollab import UsageError
from tokencollab.cli.repl.beside import parting
from tokencollab.cli.repl.colours import Palette
from tokencollab.cli.repl.commands import COMMANDS
from tokencollab.cli.repl.completion import completions
from tokencollab.cli.repl.explore import Explorer
from tokencollab.cli.repl.export import picture


async def test_why_shows_candidates_scores_and_the_exits_figures() -> None:
    async with laid("confipara-d", omega=2) as desk:
        await desk.do("first?")
        table = await desk.do("/why 3")
        chosen = next(line for line in table.splitlines() if line.startswith("→"))
        assert chosen.split() == ["→", '"never', '"', "14.000", "0", "14.00", "0.998"] or "never" in chosen
        for word in ("one", "two", "rank", "logit", "prob.", "score", "EOS", "two against the base", "T0", "theta 0.6"):
            assert word in table
    async with laid("unite", words=True) as desk:
        await desk.do("first?")
        said = await desk.do("/why 1")
        assert '"The ", chosen; score' in said
        assert "two rank 0" in said


async def test_the_scores_are_those_of_the_method() -> None:
    async with laid("duetnet", top_p=1.0) as desk:
        await desk.do("first?")
        line = next(line for line in (await desk.do("/why 1")).splitlines() if line.startswith("→"))
        assert line.split()[3] == "18.000"  # 9 from each


async def test_alone_marks_where_each_model_parts() -> None:
    async with laid() as desk:
        await desk.do("first?")
        table = await desk.do("/alone")
        assert "together" in table
        assert "▸" in table
        assert len(desk.session.turns) == 1
    async with laid(words=True) as desk:
        await desk.do("first?")
        said = await desk.do("/alone")
        assert "one by itself, other after character 8: blue because" not in said
        assert "one by itself, other after character 8: is blue" in said
        assert "two by itself" in said
    assert [parting(*pair) for pair in [("", ""), ("a", ""), ("ab", "ac"), ("ab", "ab")]] == [0, 0, 1, 2]


async def test_methods_and_settings_are_changed_and_checked() -> None:
    async with laid("confipara-d") as desk:
        assert "omega 10" in await desk.do("/set omega 10")
        assert desk.session.chosen().omega == 10
        assert "omega 10 (set)" in await desk.do("/set")
        await desk.do("/set top-t 2", "/set temperature 0.5")
        assert "without omega" in await desk.do("/method duetnet")
        assert desk.session.settings == {"top_t": 2, "temperature": 0.5}
        await desk.do("/set temperature", "/set top_t")
        assert desk.session.settings == {}
        await desk.do("/set weights one=2 two=0.5")
        assert dict(desk.session.chosen().weights) == {"one": 2.0, "two": 0.5}
        await desk.do("/set weights", '/set stop "a\\nb" "c"')
        assert desk.session.stops() == ("a\nb", "c")
        await desk.do("/set stop")
        assert desk.session.stops() == ("\nQuestion:",)  # the models are of plain text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("/set omega 10", "no effect"),
        ("/set top_k many", "top_k"),
        ("/set top_k 1 2", "one value"),
        ("/set weights 3", "MODEL=NUMBER"),
        ("/set frob 3", "frob"),
        ("/set max_tokens 0", "max_tokens"),
        ("/set members four", "four"),
        ("/set extract poems", "poems"),
        ("/method duett", "duetnet"),
        ("/method self-consistency", "1 model"),
        ("/method a b", "usage: /method"),
        ("/seed -1", "seed"),
        ("/seed x", "seed"),
        (f"/seed {'9' * 5000}", r"from 0 to 2\*\*53 - 1"),
        (f"/seed {1 << 53}", r"from 0 to 2\*\*53 - 1"),
        (f"/set max_tokens {'9' * 5000}", r"from 1 to 2\*\*53 - 1"),
        (f"/set top_k {'9' * 5000}", "top_k"),
        (f"/set omega {'9' * 400}", "omega"),
        (f"/set weights one={'9' * 400}", "weight"),
        (f"/why {'9' * 5000}", "usage: /why"),
        ("/save a\0b.json", "no file has the name"),
        ("/save ~nobody-at-all/b.jsonl", "no file has the name"),
        ("/export a\0b.svg", "no file has the name"),
        ("/load a\0b", "no file has the name"),
        ("/load \udcff\ud800", "no file has the name"),
        ("/models add", "usage: /models"),
        ("/models drop four", "four"),
        ("/models drop one", "base"),
        ("/why", "usage: /why"),
        ("/why 99", "steps 1 to"),
        ("/why 0", "steps 1 to"),
        ("/why x", "usage: /why"),
        ("/save answer.txt", "usage: /save"),
        ("/save /nowhere/at/all.json", "/nowhere/at/all.json"),
        ("/load /nowhere/at/all", "/nowhere/at/all"),
        ("/load", "usage: /load"),
        ("/export picture.png", "svg"),
        ("/export /nowhere/at/all.svg", "/nowhere"),
        ("/help frob", "frob"),
        ("/frob", "/help"),
        ("/sta", "did you mean /stats"),
        ("/", "/help"),
        ('/save "x', "quotation"),
        ("/undo 3", "usage: /undo"),
        ("/alone x", "usage: /alone"),
    ],
)
async def test_what_cannot_be_done_is_told_in_one_line_and_changes_nothing(line: str, reason: str) -> None:
    async with laid() as desk:
        await desk.do("first?")
        before = (desk.session.method, dict(desk.session.settings), desk.session.limits, len(desk.session.turns))
        with pytest.raises(UsageError, match=reason) as error:
            await desk.do(line)
        assert "\n" not in str(error.value)
        assert before == (desk.session.method, desk.session.settings, desk.session.limits, len(desk.session.turns))


@pytest.mark.parametrize("line", ["/why 1", "/alone", "/stats", "/retry", "/undo", "/save x.jsonl", "/export x.svg"])
async def test_before_the_first_question_there_is_nothing_to_look_at(line: str, tmp_path: Path) -> None:
    async with laid() as desk:
        with pytest.raises(UsageError, match=r"no answer yet|nothing to|ask something"):
            await desk.do(line)
        assert await desk.do("/history") == "nothing was asked yet\n"


def wrote(desk: Laid) -> tuple[str, ...]:
    return desk.session.turns[-1].answer.models


async def test_models_come_and_go() -> None:
    async with laid() as desk:
        assert "three takes part" in await desk.do("/models add three")
        await desk.do("first?")
        assert wrote(desk) == ("one", "two", "three")
        listed = await desk.do("/models")
        assert all(word in listed for word in ("one (base)", "two", "three", "up"))
        await desk.do("/models drop two", "second?")
        assert wrote(desk) == ("one", "three")
        await desk.do("/set members one", "/method base", "third?")
        assert wrote(desk) == ("one",)
    async with laid(words=True) as desk:
        assert "two: up, restarted 0 times" in await desk.do("/models")


async def test_methods_between_models_show_samples_and_the_vote() -> None:
    async with laid() as desk:
        said = await desk.do("/method modelswitch", "/set samples 3", "/set temperature 0.1", "first?")
        assert "The sky" in said
        noted = desk.noted.getvalue()
        assert sorted(line.split(":")[0] for line in noted.splitlines())[:3] == ["one 1", "one 2", "one 3"]
        for line in ("/why", "/stats"):
            assert "samples" in await desk.do(line)
        with pytest.raises(UsageError, match="no trace"):
            await desk.do("/save x.jsonl")
        await desk.do("/method duetnet", "second?")
        assert len(desk.session.messages("x")) == 5


async def test_a_response_is_saved_and_read_again(tmp_path: Path) -> None:
    async with laid() as desk:
        await desk.do("/method modelswitch", "/set samples 2", "first?", f"/save {tmp_path / 'talk.json'}")
        text = desk.session.turns[0].text
    async with laid() as desk:
        await desk.do(f"/load {tmp_path / 'talk.json'}")
        assert (desk.session.turns[0].text, desk.session.method) == (text, "modelswitch")
        assert desk.session.settings == {"samples": 2}


async def test_pictures_have_the_answer_in_its_tints(tmp_path: Path) -> None:
    async with laid("dpara-6") as desk:
        await desk.do("Why <b>?", f"/export {tmp_path / 'a.svg'}", f"/export {tmp_path / 'a.html'}")
        turn = desk.session.last
    svg, html = ((tmp_path / name).read_text() for name in ("a.svg", "a.html"))
    assert svg.startswith("<svg")
    assert "silence." in svg.replace("&#160;", " ")
    for page in (svg, html):
        assert "<b>" not in page
        assert "url(http" not in page.replace('"', "")
        assert "never" in page
        assert "▸" in page
    assert html == picture(turn, "a.HTML")
    colours = {part.split(";")[0] for part in html.split("color: ")[1:]}
    assert len(colours) >= 4


async def test_walking_over_an_answer() -> None:
    async with laid("dpara-4") as desk:
        await desk.do("first?")
        explorer = Explorer(desk.session.last, Palette())
        last = len(desk.session.last.tokens)
        assert f"step {last}: EOS" in explorer.explanation(80)
        explorer.move(-1)
        assert '"silence."' in explorer.explanation(80) or "silence" in explorer.explanation(80)
        explorer.move(-1000)
        shown = explorer.answer()
        assert "reverse" in shown[1][0]
        assert "".join(text for _, text, *_ in shown) == desk.session.last.text + "" * last
        assert "agreed" in explorer.explanation(80)
        explorer.move(1000)
        assert explorer.at == last - 1
        assert "∅" in "".join(text for _, text, *_ in explorer.answer())


async def test_completion_knows_commands_methods_settings_models_and_files(tmp_path: Path) -> None:
    (tmp_path / "talk.json").touch()
    (tmp_path / "folder").mkdir()

    async with laid() as desk:

        def after(text: str) -> list[str]:
            return completions(text, desk.session, ["three", "two"])

        assert after("/") == [f"/{name}" for name in COMMANDS]
        assert after("/s") == ["/stats", "/set", "/system", "/seed", "/save"]
        assert "confipara-d" in after("/method conf")
        assert "modelswitch" in after("/method mod")
        assert after("/set refer") == ["reference"]
        assert after("/set reference ") == ["raw", "floor"]
        assert after("/models ") == ["add", "drop"]
        assert after("/models add th") == ["three"]
        assert after("/models drop ") == ["two"]
        assert after("/help al") == ["alone"]
        assert after(f"/load {tmp_path}/t") == [f"{tmp_path}/talk.json"]
        assert after(f"/load {tmp_path}/f") == [f"{tmp_path}/folder/"]
        assert after("/load ~nobody-at-all/") == after("/load a\0b/") == []
        assert after("why is /") == after("//s") == after("") == after("/nothing x") == []


async def test_help_explains_every_command() -> None:
    async with laid() as desk:
        said = await desk.do("/help")
        assert all(f"/{name}" in said for name in COMMANDS)
        assert "step N" in await desk.do("/help why") == await desk.do("/help /why")
        await desk.do("/quit")
        assert desk.desk.done
