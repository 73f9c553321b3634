"""The example of a web page: its events over HTTP, and the page itself in headless Chromium where there is one."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn

from examples.web.app import make_app
from tests.support.browser import CHROMIUM, opened
from tests.support.repl_program import TEXT, Teller
from tokencollab import Collaboration, parse_method
from tokencollab.protocol.messages import Open, Opened, Refused
from tokencollab.testing import scripted_runtime


@asynccontextmanager
async def served(method: str = "dpara-6") -> AsyncIterator[tuple[str, list[Teller]]]:
    """The address of the page, and its models."""
    engines = [Teller("one", contrary=False), Teller("two", contrary=True)]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with Collaboration("one", ["two"], method, runtime=scripted_runtime(*engines)) as team:
            server = uvicorn.Server(uvicorn.Config(make_app(team), log_level="warning"))
            task = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}", engines
            finally:
                server.should_exit = True
                await task


def asked(*contents: str, method: str | None = None) -> dict[str, Any]:
    """A conversation whose messages are the user's and the assistant's in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)]
    return {"messages": messages, "method": method}


async def events(client: aiohttp.ClientSession, address: str, body: object) -> list[tuple[str, Any]]:
    async with client.post(f"{address}/answer", json=body) as reply:
        assert reply.content_type == "text/event-stream"
        blocks = (await reply.text()).strip().split("\n\n")
    lines = [block.splitlines() for block in blocks]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]


async def test_events_are_the_tokens_with_who_backed_them() -> None:
    async with served() as (address, _), aiohttp.ClientSession() as client:
        heard = await events(client, address, asked("Why?"))
        async with client.get(address) as page:
            text = await page.text()
    names, data = zip(*heard, strict=True)
    assert names == ("token",) * (len(names) - 1) + ("end",)
    assert "".join(d["text"] for d in data[:-1]).startswith("The sky never blue")
    assert [d["backing"] for d in data[:7]] == ["agreed", "agreed", "against", "agreed", "agreed", "against", "alone"]
    assert data[-1]["tokens"] == len(names) - 1
    assert not re.search(r"(src|href)=|url\(|https?:|@import|innerHTML", text), (
        "the page takes something from elsewhere"
    )


async def test_the_whole_conversation_is_sent_and_the_method_is_the_one_that_was_chosen() -> None:
    async with served() as (address, engines), aiohttp.ClientSession() as client:
        heard: list[list[str]] = []

        def listening(opened: Callable[[Open], Opened | Refused]) -> Callable[[Open], Opened | Refused]:
            def open_session(request: Open) -> Opened | Refused:
                heard.append([message.content for message in request.messages])
                return opened(request)

            return open_session

        for engine in engines:
            engine.open = listening(engine.open)  # type: ignore[method-assign, assignment]
        together = await events(client, address, asked("Why?", "Because.", "And now?", method="duetnet"))
        alone = await events(client, address, asked("Why?", method="base"))
        async with client.get(f"{address}/methods") as reply:
            methods = [row["name"] for row in await reply.json()]
    assert heard[:2] == [["Why?", "Because.", "And now?"]] * 2
    assert {data["backing"] for name, data in together if name == "token"} == {"agreed", "against"}
    assert {data["backing"] for name, data in alone if name == "token"} == {"alone"}
    assert methods[0] == "dpara-6"
    assert {"bytewise", "consult", "unite", "upara-20"} < set(methods)
    assert len(methods) == len(set(methods))
    for method in methods:
        parse_method(method)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (asked(" "), "the prompt is empty: give a question"),
        (asked(), "the prompt is empty: give a question"),
        (asked("Why?", method="duett"), "unknown method 'duett'; there are auto, base, "),
        (asked("Why?", method="\n\x1b[2J"), "unknown method "),
        (asked("Why?", method="modelswitch"), "unknown method 'modelswitch'"),
        ({"messages": [{"role": "king", "content": "Why?"}]}, "message 1: unknown role 'king'; there are "),
    ],
)
async def test_what_cannot_be_answered_is_told_in_one_line(body: dict[str, Any], said: str) -> None:
    async with served("duetnet") as (address, engines), aiohttp.ClientSession() as client:
        ((name, line),) = await events(client, address, body)
        assert name == "failed"
        assert line.startswith(said)
        assert "\n" not in line
        assert "\x1b" not in line
        assert [engine.texts for engine in engines] == [{}, {}]
        for wrong in ({"messages": "Why?"}, {}, {"messages": [{"role": "user", "content": 3}]}):
            async with client.post(f"{address}/answer", json=wrong) as reply:
                assert reply.status == 422


async def test_nothing_that_a_model_writes_is_a_command() -> None:
    async with served("base") as (address, _), aiohttp.ClientSession() as client:
        heard = await events(client, address, asked("be wild"))
    text = "".join(data["text"] for name, data in heard if name == "token")
    assert "\ufffd[2J" in text
    assert "\x1b" not in text


async def freed(engines: list[Teller]) -> None:
    """Waits until no model has a session."""
    async with asyncio.timeout(60):
        while any(engine.texts for engine in engines):  # noqa: ASYNC110 - the engines are in other threads
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("method", ["duetnet", "base", "bytewise"])
async def test_a_reader_that_stops_ends_the_answer_and_frees_everything(method: str) -> None:
    async with served() as (address, engines), aiohttp.ClientSession() as client:
        async with client.post(f"{address}/answer", json=asked("on forever", method=method)) as reply:
            assert (await reply.content.readline()).startswith(b"event: token")
            reply.close()
        await freed(engines)
        assert (await events(client, address, asked("Why?")))[-1][0] == "end"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_the_page_has_a_conversation_a_choice_of_methods_and_a_stop(tmp_path: Path) -> None:
    async with asyncio.timeout(90), served() as (address, engines), opened(address, tmp_path) as page:
        await page.loaded("document.getElementById('talk')")
        result = await page.run(TALK)
        await freed(engines)  # what was stopped in the page is ended at the models
    first, second, stopped = result["answers"]
    assert first["text"].startswith("The sky never blue")
    assert first["text"].endswith(TEXT.split("air ")[1] + " ")
    assert first["classes"][:7] == ["agreed", "agreed", "against", "agreed", "agreed", "against", "alone"]
    assert first["figures"] == "19 tokens, cost 25"
    assert len(set(first["colours"])) == 3
    assert second["text"].strip() == TEXT
    assert set(second["classes"]) == {"alone"}
    assert stopped["figures"] == "stopped"
    assert stopped["text"].startswith("The sky")
    assert [message["role"] for message in result["messages"]] == ["user", "assistant"] * 3
    assert result["messages"][1]["content"] == first["text"]
    assert result["methods"][0] == "dpara-6"
    assert result["wide"] == 400, "a phone has to scroll sideways"
    assert result["left"] == 0


TALK = """(async () => {
  const until = async (test) => { while (!test()) await new Promise((next) => setTimeout(next, 10)); };
  await until(() => form.elements.method.length > 5);
  const answers = [];
  const put = async (question, method, enough) => {
    form.elements.q.value = question;
    form.elements.method.value = method;
    ask.click();
    const [answer, figures] = [...talk.children].slice(-2);
    await until(() => enough(answer, figures));
    stop.click();
    await until(() => !ask.disabled);
    answers.push({
      text: answer.textContent,
      figures: figures.textContent,
      classes: [...answer.children].map((piece) => piece.className),
      colours: [...answer.children].map((piece) => getComputedStyle(piece).color),
    });
  };
  await put("Why?", "dpara-6", (answer, figures) => figures.textContent);
  await put("And now?", "base", (answer, figures) => figures.textContent);
  await put("on forever", "duetnet", (answer) => answer.children.length > 3);
  const kept = messages;
  const methods = [...form.elements.method.options].map((option) => option.value);
  anew.click();
  const phone = document.createElement("iframe");
  phone.src = "/";
  phone.style = "width: 400px; height: 3000px; border: 0; position: fixed";
  document.body.append(phone);
  await until(() => phone.contentDocument?.querySelector("select")?.length > 5);
  phone.contentWindow.line("answer", "never ".repeat(80) + "x".repeat(300));
  const wide = phone.contentDocument.documentElement.scrollWidth;
  return { answers, messages: kept, methods, wide, left: talk.children.length + messages.length };
})()"""
