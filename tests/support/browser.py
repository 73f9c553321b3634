"""A page in headless Chromium, told what to do through the DevTools protocol."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page:
    """``events``: what the browser told of itself, e.g. requests and errors, once their domains are enabled."""

    def __init__(self, devtools: aiohttp.ClientWebSocketResponse) -> None:
        self._devtools = devtools
        self._calls = 0
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A call of the protocol, and its result."""
        self._calls += 1
        await self._devtools.send_json({"id": self._calls, "method": method, "params": parameters})
        while (answer := await self._devtools.receive_json()).get("id") != self._calls:
            self.events.append(answer)
        assert "error" not in answer, answer
        return dict(answer["result"])

    async def run(self, script: str) -> Any:
        """What ``script`` gives, when it has settled."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def loaded(self, condition: str = "true") -> None:
        """Returns when the page has been loaded, and ``condition`` holds."""
        while not await self.run(
            f"location.href != 'about:blank' && document.readyState == 'complete' && Boolean({condition})"
        ):
            pass


@asynccontextmanager
async def opened(address: str, profile: Path) -> AsyncIterator[Page]:
    """The page at ``address``; the browser keeps its own files in ``profile``."""
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
        *("--remote-debugging-port=0", f"--user-data-dir={profile}", address),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with aiohttp.ClientSession() as client:
            socket = await _debugger(browser, client, address)
            async with client.ws_connect(socket, max_msg_size=0) as devtools:
                yield Page(devtools)
    finally:
        browser.terminate()
        await browser.wait()


async def _debugger(browser: asyncio.subprocess.Process, client: aiohttp.ClientSession, address: str) -> str:
    assert browser.stderr is not None
    while b"DevTools listening on ws://" not in (line := await browser.stderr.readline()):
        assert line, "Chromium ended"
    port = line.split(b"/")[2].decode()
    while True:  # until it has the page
        async with client.get(f"http://{port}/json/list") as reply:
            pages = [page for page in await reply.json(content_type=None) if page["url"].startswith(address)]
        if pages:
            return str(pages[0]["webSocketDebuggerUrl"])
