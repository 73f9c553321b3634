"""A web page with tinted tokens: FastAPI and server-sent events.

    pip install 'tokencollab[serve]'
    python -m examples.web.app [BASE COLLABORATOR]      # then open the address that it prints

The models are loaded once and shared by all readers: answers that are written at the same time share forward passes. A
question is a GET of /answer?q=..., whose reply is a stream of events, one per token, as JSON: its text and who backed
it. The browser's EventSource reads it; page.html is all there is on that side, without any library. When a reader
closes the page, FastAPI ends the generator, `aclose` ends the session at every model and frees its memory. It listens
on this machine alone, has no accounts and no limits: put a real server in front of it before anybody else may ask.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, StreamingResponse

from tokencollab import Collaboration, Token, TokencollabError

PAGE = Path(__file__).with_name("page.html")


def backing(token: Token, base: str) -> str:
    """Who backed a token: alone, agreed, base or against."""
    if token.alone:
        return "alone"
    if token.ranks.get(base) != 0:
        return "against"
    return "agreed" if all(rank == 0 for rank in token.ranks.values()) else "base"


def event(name: str, data: object) -> str:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def make_app(team: Collaboration) -> FastAPI:
    """The page and its answers. ``team`` is started already."""
    app = FastAPI()
    base = team.models[0].name

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return PAGE.read_text(encoding="utf-8")

    async def events(question: str) -> AsyncIterator[str]:
        try:
            stream = team.stream(question)
        except TokencollabError as error:
            yield event("failed", str(error))
            return
        try:
            async for token in stream:
                yield event("token", {"text": token.text, "backing": backing(token, base)})
            yield event("end", {"cost": stream.answer.cost, "tokens": stream.answer.tokens})
        except TokencollabError as error:
            yield event("failed", str(error))
        finally:
            await stream.aclose()

    @app.get("/answer")
    def answer(q: str) -> StreamingResponse:
        return StreamingResponse(events(q), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return app


async def main(base: str = "arith-bytes", collaborator: str = "arith-pairs") -> None:
    """Serves until Ctrl-C."""
    import uvicorn  # noqa: PLC0415

    async with Collaboration(base, [collaborator], "bytewise") as team:
        config = uvicorn.Config(make_app(team), host="127.0.0.1", port=8000)
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
