"""The example of a web page: its events over HTTP, and the page itself in headless Chromium where there is one."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn

from examples.web.app import make_app
from tests.support.browser import CHROMIUM, opened
from tests.support.repl_program import TEXT, Teller
from tokencollab import Collaboration
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


async def test_events_are_the_tokens_with_who_backed_them() -> None:
    async with served() as (address, _), aiohttp.ClientSession() as client:
        async with client.get(f"{address}/answer", params={"q": "Why?"}) as reply:
            assert reply.content_type == "text/event-stream"
            blocks = (await reply.text()).strip().split("\n\n")
        async with client.get(address) as page:
            assert "EventSource" in await page.text()
    names = [block.splitlines()[0].removeprefix("event: ") for block in blocks]
    data: list[dict[str, Any]] = [json.loads(block.splitlines()[1].removeprefix("data: ")) for block in blocks]
    assert names == ["token"] * (len(blocks) - 1) + ["end"]
    assert "".join(d["text"] for d in data[:-1]).startswith("The sky never blue")
    assert [d["backing"] for d in data[:7]] == ["agreed", "agreed", "against", "agreed", "agreed", "against", "alone"]
    assert data[-1]["tokens"] == len(blocks) - 1


async def test_a_question_that_cannot_be_answered_is_told_and_a_reader_that_leaves_frees_everything() -> None:
    async with served("duetnet") as (address, engines), aiohttp.ClientSession() as client:
        async with client.get(f"{address}/answer", params={"q": " "}) as reply:
            assert await reply.text() == 'event: failed\ndata: "the prompt is empty: give a question"\n\n'
        async with client.get(f"{address}/answer", params={"q": "on forever"}) as reply:
            assert (await reply.content.readline()).startswith(b"event: token")
            reply.close()
    assert [engine.texts for engine in engines] == [{}, {}]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
async def test_the_page_shows_tinted_tokens_in_a_browser(tmp_path: Path) -> None:
    async with asyncio.timeout(90), served() as (address, _), opened(address, tmp_path) as page:
        await page.loaded("document.getElementById('figures')")
        result = await page.run(ASK)
    assert result["text"].startswith("The sky never blue")
    assert result["text"].endswith(TEXT.split("air ")[1] + " ")
    assert result["classes"][:7] == ["agreed", "agreed", "against", "agreed", "agreed", "against", "alone"]
    assert result["figures"] == "19 tokens, cost 25"
    assert len(set(result["colours"])) == 3


ASK = """new Promise((done) => {
  const answer = document.getElementById("answer"), figures = document.getElementById("figures");
  new MutationObserver(() => figures.textContent && done({
    text: answer.textContent,
    figures: figures.textContent,
    classes: [...answer.children].map((piece) => piece.className),
    colours: [...answer.children].map((piece) => getComputedStyle(piece).color),
  })).observe(figures, {childList: true});
  document.querySelector("input").value = "Why?";
  document.querySelector("button").click();
})"""
