"""A web page with tinted tokens: a conversation, a choice of methods, FastAPI and server-sent events.

    pip install fastapi uvicorn                         # the extra serve
    python -m examples.web.app [BASE COLLABORATOR]      # then open the address that it prints

The models are loaded once and shared by all readers: answers that are written at the same time share forward passes. A
question is a POST of the whole conversation to /answer; the reply is a stream of events, one per token, as JSON: its
text and who backed it. The server keeps nothing: the conversation is in the page, and page.html is all there is on that
side, without any library. Stop, or closing the page, ends the request; then FastAPI ends the generator, `aclose` ends
the session at every model and frees its memory. It listens on this machine alone, has no accounts and no limits: put a
real server in front of it before anybody else may ask.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel

from tokencollab import Collaboration, Token, TokencollabError, list_methods, parse_method
from tokencollab.protocol.text import harmless, one_line

PAGE = Path(__file__).with_name("page.html")


class Question(BaseModel):
    """The conversation with the question at its end, and the name of a method; None: the team's."""

    messages: list[dict[str, str]]
    method: str | None = None


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


def offered(team: Collaboration) -> list[dict[str, str]]:
    """The methods that ``team`` can answer by, the usual one first."""
    found = {team.method.name: "the method that this page was started with"}
    for name, text, _ in list_methods():
        one = name.replace("-N", "-20")
        with suppress(TokencollabError):
            team.check_method(parse_method(one))
            found.setdefault(one, text)
    return [{"name": name, "help": text} for name, text in found.items()]


def make_app(team: Collaboration) -> FastAPI:
    """The page and its answers. ``team`` is started already."""
    app = FastAPI()
    base = team.models[0].name
    # A model of plain text would go on with the next question by itself.
    stops = [] if all(model.chat_template for model in team.models) else ["\nQuestion:"]

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return PAGE.read_text(encoding="utf-8")

    @app.get("/methods")
    def methods() -> list[dict[str, str]]:
        return offered(team)

    async def events(question: Question) -> AsyncIterator[str]:
        conversation: Any = question.messages
        try:
            stream = team.stream(conversation, method=question.method, stop=stops)
        except TokencollabError as error:
            yield event("failed", one_line(str(error)))
            return
        try:
            async for token in stream:
                yield event("token", {"text": harmless(token.text), "backing": backing(token, base)})
            yield event("end", {"cost": stream.answer.cost, "tokens": stream.answer.tokens})
        except TokencollabError as error:
            yield event("failed", one_line(str(error)))
        finally:
            await stream.aclose()

    @app.post("/answer")
    def answer(question: Question) -> StreamingResponse:
        return StreamingResponse(
            events(question), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    return app


async def main(base: str = "arith-bytes", collaborator: str = "arith-pairs") -> None:
    """Serves until Ctrl-C."""
    import uvicorn  # noqa: PLC0415

    async with Collaboration(base, [collaborator], "bytewise") as team:
        config = uvicorn.Config(make_app(team), host="127.0.0.1", port=8000)
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
