"""Every command of the prompt, without a terminal."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.repl_program import TEXT
from tests.unit.cli.repl.replkit import ScriptedShell, scripted_shell
from tokencollab import UsageError
from tokencollab.cli.repl.colours import Palette, parting
from tokencollab.cli.repl.commands import COMMANDS, completions
from tokencollab.cli.repl.display import PipedScreen, picture
from tokencollab.cli.repl.legend import FIGURES
from tokencollab.cli.repl.turns import turn_of_trace
from tokencollab.cli.repl.why import Explorer


async def test_why_shows_candidates_scores_and_the_exits_figures() -> None:
    async with scripted_shell("confipara-d", omega=2) as shell:
        await shell.do("first?")
        table = await shell.do("/why 3")
        chosen = next(line for line in table.splitlines() if line.startswith("→"))
        assert chosen.split() == ["→", '"never', '"', "14.000", "0", "14.00", "0.998"] or "never" in chosen
        for word in ("one", "two", "rank", "logit", "prob.", "score", "EOS", "two against the base", "T0", "theta 0.6"):
            assert word in table
    async with scripted_shell("unite", words=True) as shell:
        await shell.do("first?")
        said = await shell.do("/why 1")
        assert '"The ", chosen; score' in said
        assert "two rank 0" in said


async def test_the_scores_are_those_of_the_method() -> None:
    async with scripted_shell("duetnet", top_p=1.0) as shell:
        await shell.do("first?")
        line = next(line for line in (await shell.do("/why 1")).splitlines() if line.startswith("→"))
        assert line.split()[3] == "18.000"  # 9 from each


async def test_alone_marks_where_each_model_parts() -> None:
    async with scripted_shell() as shell:
        await shell.do("first?")
        said = await shell.do("/alone")
        assert said == f"The sky ▸{TEXT.removeprefix('The sky ')} \n{shell.session.last.text}\n"
        noted = shell.noted.getvalue().splitlines()
        assert noted[-4:] == ["one by itself:", "[19 tokens]", "two by itself:", "[19 tokens; the same text]"]
        assert len(shell.session.turns) == 1
    async with scripted_shell(words=True) as shell:
        await shell.do("first?")
        said = await shell.do("/alone")
        assert "one by itself, other after character 8: blue because" not in said
        assert "one by itself, other after character 8: is blue" in said
        assert "two by itself" in said
    assert [parting(*pair) for pair in [("", ""), ("a", ""), ("ab", "ac"), ("ab", "ab")]] == [0, 0, 1, 2]


async def test_alone_is_written_as_it_comes_and_can_be_stopped() -> None:
    class Impatient(PipedScreen):
        """Stops what is being written at its third token."""

        heard = 0

        def put(self, spans: Iterable[tuple[str, str]]) -> None:
            super().put(spans)
            self.heard += 1
            if self.heard == 3 and shell.shell.stop is not None:
                shell.shell.stop()

    async with scripted_shell() as shell:
        await shell.do("first?")
        shell.shell.screen = Impatient(shell.answers)
        said = await shell.do("/alone")
        assert said.startswith("The sky ▸is ")
        assert len(said) < len(TEXT) / 2
        assert shell.noted.getvalue().splitlines()[-1].endswith(" tokens; stopped]")
        assert "two by itself" not in shell.noted.getvalue()


async def test_methods_and_settings_are_changed_and_checked() -> None:
    async with scripted_shell("confipara-d") as shell:
        assert "omega 10" in await shell.do("/set omega 10")
        assert shell.session.chosen().omega == 10
        assert "omega 10 (set)" in await shell.do("/set")
        await shell.do("/set top-t 2", "/set temperature 0.5")
        assert "without omega" in await shell.do("/method duetnet")
        assert shell.session.settings == {"top_t": 2, "temperature": 0.5}
        await shell.do("/set temperature", "/set top_t")
        assert shell.session.settings == {}
        await shell.do("/set weights one=2 two=0.5")
        assert dict(shell.session.chosen().weights) == {"one": 2.0, "two": 0.5}
        await shell.do("/set weights", '/set stop "a\\nb" "c"')
        assert shell.session.stops() == ("a\nb", "c")
        await shell.do("/set stop")
        assert shell.session.stops() == ("\nQuestion:",)  # the models are of plain text


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
        ("/save answer.txt", r"answer.txt: the trace of the last answer ends in \.jsonl, the conversation in \.json"),
        ("/save", "usage: /save"),
        ("/undo! ", "usage: /undo"),
        ("/temperature warm", "temperature must be a number"),
        ("/temperature -1", "temperature must be a number above 0"),
        ("/temperature 0.7 x", "a seed is a whole number"),
        ("/save /nowhere/at/all.json", "/nowhere/at/all.json"),
        ("/load /nowhere/at/all", "/nowhere/at/all"),
        ("/load", "usage: /load"),
        ("/export picture.png", r"picture.png: a picture ends in \.svg or \.html"),
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
    async with scripted_shell() as shell:
        await shell.do("first?")
        before = (shell.session.method, dict(shell.session.settings), shell.session.limits, len(shell.session.turns))
        with pytest.raises(UsageError, match=reason) as error:
            await shell.do(line)
        assert "\n" not in str(error.value)
        assert before == (shell.session.method, shell.session.settings, shell.session.limits, len(shell.session.turns))


@pytest.mark.parametrize("line", ["/why 1", "/alone", "/stats", "/retry", "/undo", "/save x.jsonl", "/export x.svg"])
async def test_before_the_first_question_there_is_nothing_to_look_at(line: str, tmp_path: Path) -> None:
    async with scripted_shell() as shell:
        with pytest.raises(UsageError, match=r"no answer yet|nothing to|ask something"):
            await shell.do(line)
        assert await shell.do("/history") == "nothing was asked yet\n"


def wrote(shell: ScriptedShell) -> tuple[str, ...]:
    return shell.session.turns[-1].answer.models


@pytest.mark.parametrize("name", ["run.jsonl", "talk.json", "answer.svg", "answer.html"])
async def test_a_file_that_is_there_is_overwritten_only_on_request(name: str, tmp_path: Path) -> None:
    file = tmp_path / f"my {name}"
    command = "export" if name.startswith("answer") else "save"
    async with scripted_shell() as shell:
        await shell.do("first?", f"/{command} '{file}'")
        written = file.read_text()
        file.write_text("precious")
        with pytest.raises(UsageError, match=f"exists; /{command}! '.*{name}' overwrites it"):
            await shell.do(f"/{command} '{file}'")
        assert file.read_text() == "precious"
        await shell.do(f"/{command}! '{file}'")
        assert file.read_text().splitlines()[:1] == written.splitlines()[:1]
        (link := tmp_path / f"link-{name}").symlink_to(tmp_path / "nowhere")
        with pytest.raises(UsageError, match="exists"):
            await shell.do(f"/{command} {link}")


@pytest.mark.parametrize("word", ["exit", "quit", "bye", ":q", "EXIT"])
async def test_words_that_mean_to_leave_leave(word: str) -> None:
    async with scripted_shell() as shell:
        await shell.do(word)
        assert shell.shell.done
        assert shell.noted.getvalue() == f"/quit (\\{word} asks the models)\n"
        assert not shell.session.turns


async def test_help_without_a_slash_helps_and_the_models_can_still_be_asked() -> None:
    async with scripted_shell() as shell:
        for word in ("help", "?", "Help"):
            assert "/models" in await shell.do(word)
        assert not shell.session.turns
        await shell.do("\\help", "help me", "//exit", "\\other", "exit now")
        asked = [turn.question for turn in shell.session.turns]
        assert asked == ["help", "help me", "/exit", "\\other", "exit now"]
        assert not shell.shell.done


@pytest.mark.parametrize("method", ["base", "unite", "duetnet", "bytewise", "consult", "confipara-d"])
async def test_a_temperature_samples_whatever_the_method(method: str) -> None:
    async with scripted_shell(method) as shell:
        assert await shell.do("/temperature") == "temperature 0: the best piece is taken\n"
        greedy = await shell.do("first?")
        assert await shell.do("/temperature 3 7") == "temperature 3, seed 7\n"
        texts = []
        for seed in (1, 2, 1, 3):
            await shell.do("/undo", f"/seed {seed}")
            texts.append(await shell.do("first?"))
        assert texts[0] == texts[2]
        assert len({greedy, *texts}) == 4
        turn = shell.session.last
        assert turn_of_trace(turn.trace).text == turn.text, "the replay is another answer"
        assert "temperature 3 (set)" in await shell.do("/set")
        await shell.do("/temperature 3 11", "/retry")
        assert shell.session.last.answer.seed == 11
        await shell.do("/retry")
        assert shell.session.last.answer.seed == 12
        await shell.do("/seed 3")
        assert await shell.do("/temperature 0") == "temperature 0: the best piece is taken\n"
        assert "temperature 0 (set)" in await shell.do("/set")
        assert "\ntemperature 0\n" in await shell.do("/set temperature", "/set")
        await shell.do("/undo")
        assert await shell.do("first?") == greedy
        await shell.do("/temperature 0.5", "/method modelswitch")
        assert await shell.do("/temperature") == "temperature 0.5, seed 3\n"


async def test_notices_are_told_once_and_those_of_an_answer_each_time() -> None:
    async with scripted_shell("duetnet") as shell:
        for _ in range(2):
            shell.session.notices += ["of the method", "two takes no further part in this answer: full"]
            await shell.do("first?")
        assert shell.noted.getvalue().count("of the method") == 1
        assert shell.noted.getvalue().count("two takes no further part") == 2


async def test_the_end_of_an_answer_says_what_ended_it() -> None:
    async with scripted_shell("base") as shell:
        assert await shell.do("/set max_tokens 3") == "max_tokens 3\n"
        await shell.do("first?")
        assert "; cut off at 3 tokens: /set max_tokens]" in shell.noted.getvalue()
        assert await shell.do("/set max_tokens") == "max_tokens 256\n"
        assert await shell.do("/set members") == "members all\n"


async def test_models_come_and_go() -> None:
    async with scripted_shell() as shell:
        assert "three takes part" in await shell.do("/models add three")
        await shell.do("first?")
        assert wrote(shell) == ("one", "two", "three")
        listed = await shell.do("/models")
        assert all(word in listed for word in ("one (base)", "two", "three", "up"))
        await shell.do("/models drop two", "second?")
        assert wrote(shell) == ("one", "three")
        await shell.do("/set members one", "/method base", "third?")
        assert wrote(shell) == ("one",)
    async with scripted_shell(words=True) as shell:
        assert "two: up, restarted 0 times" in await shell.do("/models")


async def test_methods_between_models_show_samples_and_the_vote() -> None:
    async with scripted_shell() as shell:
        said = await shell.do("/method modelswitch", "/set samples 3", "/set temperature 0.1", "first?")
        assert "The sky" in said
        noted = shell.noted.getvalue()
        labels = sorted(line.split(":")[0] for line in noted.splitlines())
        assert labels[:3] == ["one, sample 1", "one, sample 2", "one, sample 3"]
        for line in ("/why", "/stats"):
            assert "samples" in await shell.do(line)
        with pytest.raises(UsageError, match="no trace"):
            await shell.do("/save x.jsonl")
        await shell.do("/method duetnet", "second?")
        assert len(shell.session.messages("x")) == 5


async def test_a_response_is_saved_and_read_again(tmp_path: Path) -> None:
    async with scripted_shell() as shell:
        await shell.do("/method modelswitch", "/set samples 2", "first?", f"/save {tmp_path / 'talk.json'}")
        text = shell.session.turns[0].text
    async with scripted_shell() as shell:
        await shell.do(f"/load {tmp_path / 'talk.json'}")
        assert (shell.session.turns[0].text, shell.session.method) == (text, "modelswitch")
        assert shell.session.settings == {"samples": 2}


async def test_pictures_have_the_answer_in_its_tints(tmp_path: Path) -> None:
    async with scripted_shell("dpara-6") as shell:
        await shell.do("Why <b>?", f"/export {tmp_path / 'a.svg'}", f"/export {tmp_path / 'a.html'}")
        turn = shell.session.last
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
    async with scripted_shell("dpara-4") as shell:
        await shell.do("first?")
        explorer = Explorer(shell.session.last, Palette())
        last = len(shell.session.last.tokens)
        assert f"step {last}: EOS" in explorer.explanation(80)
        explorer.move(-1)
        assert '"silence."' in explorer.explanation(80) or "silence" in explorer.explanation(80)
        explorer.move(-1000)
        shown = explorer.answer(200)
        assert "reverse" in shown[1][0]
        assert "".join(text for _, text, *_ in shown) == shell.session.last.text + "" * last
        assert "agreed" in explorer.explanation(80)
        explorer.move(1000)
        assert explorer.at == last - 1
        assert "∅" in "".join(text for _, text, *_ in explorer.answer(200))


async def test_completion_knows_commands_methods_settings_models_and_files(tmp_path: Path) -> None:
    (tmp_path / "talk.json").touch()
    (tmp_path / "folder").mkdir()

    async with scripted_shell() as shell:

        def after(text: str) -> list[str]:
            return completions(text, shell.session, ["three", "two"])

        assert after("/") == [f"/{name}" for name in COMMANDS]
        assert after("/s") == ["/stats", "/set", "/system", "/seed", "/save"]
        assert after(f"/save! {tmp_path}/t") == [f"{tmp_path}/talk.json"]
        assert after("/help T") == ["T0"]
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
    async with scripted_shell() as shell:
        said = await shell.do("/help")
        assert all(f"/{name}" in said for name in COMMANDS)
        assert "step N" in await shell.do("/help why") == await shell.do("/help /why")
        assert all(name in said for name in FIGURES)
        for name in FIGURES:
            lines = (await shell.do(f"/help {name}")).splitlines()
            assert len(lines) == 2
            assert lines[0].startswith(f"{name}: ")
            assert await shell.do(f"/help {name.lower()}") == await shell.do(f"/help {name.upper()}")
        await shell.do("/quit")
        assert shell.shell.done
