"""Chat templates, rendered in a process of their own.

A chat template is a program that came with a model: it may run for ever, or take all memory. So this file is a program
too, which `template_process` starts. It imports nothing of tokencollab, so that it starts fast.

What was said must be in the prompt, whatever the template does: `render` looks for it.
"""

import os
import resource
import signal
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack

IDLE: Final = 60.0
"""Seconds without a request after which a process ends."""
MEMORY: Final = 512 << 20
"""Bytes that a process may take beyond what it has when it begins."""

EXTRACT: Final = "{# extract #}"
"""How a template begins that says itself that it takes no more than a part of what was said (docs/specialists.md)."""

_REASON = 200  # characters of an error
_HEAD = struct.Struct("!I")
_REASONING_ENDS = ("</think>", "</thinking>", "</thought>", "</reasoning>", "</seed:think>", "[/THINK]")

Chat: TypeAlias = list[dict[str, Any]]


class ChatTurn(NamedTuple):
    """One message of a conversation."""

    role: str
    content: str


class NotRendered(Exception):
    """The template renders no form of the conversation that has every message; the reason."""


def needed(turn: ChatTurn) -> str:
    """The part of a message that a prompt must have.

    That is all of it but surrounding white space. Of an assistant's turn the part after a reasoning block is enough:
    the templates of reasoning models take the reasoning out of earlier turns.
    """
    content = turn.content
    if turn.role == "assistant":
        ends = [at + len(tag) for tag in _REASONING_ENDS if (at := content.rfind(tag)) >= 0]
        content = content[max(ends, default=0) :]
    return content.strip()


def render(apply: Callable[[Chat], str], turns: Sequence[ChatTurn], *, checked: bool = True) -> str:
    """The prompt of a conversation, in the first form whose prompt has every message.

    Where that is not ``checked``, in the first that can be rendered.

    The forms: as it stands; system messages as a part of the user's turn beside them; neighbouring turns of one role as
    one turn. Each with contents as texts, and as lists of parts. ``apply`` renders a conversation as the template does.

    Raises:
        NotRendered: there is no such form; the reason is that of the conversation as it stands.
    """
    reason = ""
    for form in _forms(turns):
        for parts in (False, True):
            try:
                return _complete(apply, form, parts) if checked else apply(_chat(form))
            except NotRendered as error:
                reason = reason or str(error)
            except MemoryError:
                raise
            except Exception as error:
                reason = reason or f"its chat template cannot render this conversation ({first_line(error)})"
    raise NotRendered(reason)


def _forms(turns: Sequence[ChatTurn]) -> Iterable[Sequence[ChatTurn]]:
    known: list[Sequence[ChatTurn]] = []
    for form in (list(turns), _joined(turns, every=False), _joined(turns, every=True)):
        if form not in known:
            known.append(form)
            yield form


def _joined(turns: Sequence[ChatTurn], *, every: bool) -> list[ChatTurn]:
    """System messages become user turns, each one turn with the user's turns beside it.

    With ``every``, all neighbours of one role become one turn.
    """
    groups: list[tuple[str, list[str]]] = []
    previous = ""
    for turn in turns:
        role = "user" if turn.role == "system" else turn.role
        if not (groups and groups[-1][0] == role and (every or "system" in (turn.role, previous))):
            groups.append((role, []))
        groups[-1][1].append(turn.content)
        previous = turn.role
    return [ChatTurn(role, "\n\n".join(filter(str.strip, contents)) or contents[0]) for role, contents in groups]


def _complete(apply: Callable[[Chat], str], turns: Sequence[ChatTurn], parts: bool) -> str:
    """The prompt of a form.

    A message "user" stands in most prompts, said or not. So the form is rendered first with words in place of the
    contents that stand nowhere else. Both checks take a time that is linear in the text.

    Raises:
        NotRendered: a message is lost. Exception: whatever the template raises.
    """
    key = "zq-part"
    while any(key in turn.content for turn in turns):
        key += "-"

    def applied(said: Sequence[ChatTurn]) -> str:
        if not parts:
            return apply(_chat(said))
        text = apply([{"role": role, "content": [{"type": "text", "text": text, key: 1}]} for role, text in said])
        if key in text:  # the template writes the list as it stands
            raise NotRendered("its chat template takes no contents in parts")
        return text

    words = [ChatTurn(turn.role, f"Zq{index}jX" if needed(turn) else turn.content) for index, turn in enumerate(turns)]
    _check(applied(words), words)
    text = applied(turns)
    _check(text, turns)
    return text


def _chat(turns: Sequence[ChatTurn]) -> Chat:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _check(text: str, turns: Sequence[ChatTurn]) -> None:
    """Whether every message is in ``text``.

    The turns of user and assistant keep their order, and so do system messages; where these stand between the turns is
    the template's matter.
    """
    ends = {"system": 0, "turn": 0}
    for index, turn in enumerate(turns, 1):
        order = "system" if turn.role == "system" else "turn"
        for wanted in dict.fromkeys((turn.content.strip(), needed(turn))):
            at = text.find(wanted, ends[order])
            if at >= 0:
                ends[order] = at + len(wanted)
                break
        else:
            raise NotRendered(f"its chat template leaves out or changes message {index} ({turn.role})")


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:_REASON] if lines else type(error).__name__


# ---------------------------------------------------------------- the process


def write(stream: socket.socket, message: object) -> None:
    """Sends a message."""
    data = msgpack.packb(message, unicode_errors="surrogatepass")
    stream.sendall(_HEAD.pack(len(data)) + data)


def read(stream: socket.socket, limit: int) -> Any:
    """The next message.

    Raises:
        EOFError: the other end has closed, or sends more than ``limit`` bytes.
    """
    (length,) = _HEAD.unpack(_exactly(stream, _HEAD.size))
    if length > limit:
        raise EOFError
    return msgpack.unpackb(_exactly(stream, length), unicode_errors="surrogatepass")


def _exactly(stream: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = stream.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return data


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """The prompt of a conversation; without one, the names that the template uses and does not define."""
    from jinja2.meta import find_undeclared_variables  # noqa: PLC0415
    from transformers.utils.chat_template_utils import (  # noqa: PLC0415  (half a second)
        _compile_jinja_template,
        render_jinja_template,
    )

    if "turns" not in request:
        environment = _compile_jinja_template(request["template"]).environment
        return {"names": sorted(find_undeclared_variables(environment.parse(request["template"])))}

    def apply(chat: Chat) -> str:
        rendered, _ = render_jinja_template(
            [chat], chat_template=request["template"], add_generation_prompt=True, **request["arguments"]
        )
        return str(rendered[0])

    turns = [ChatTurn(*turn) for turn in request["turns"]]
    text = render(apply, turns, checked=not request["template"].startswith(EXTRACT))
    return {"text": text} if len(text) <= request["limit"] else {"long": len(text)}


def _serve(stream: socket.socket) -> None:
    """Answers requests until the other end closes, within the limits of memory and, for each, of time."""
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:  # Linux
        pages = int(file.read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    write(stream, os.getpid())
    stream.settimeout(IDLE)
    while True:
        request = read(stream, 1 << 31)
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + request["seconds"] + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try:
            answer = _answer(request)
        except NotRendered as error:
            answer = {"refused": str(error)}
        except MemoryError:
            answer = {"refused": "its chat template takes too much memory"}
        except Exception as error:
            answer = {"refused": f"its chat template cannot be read ({first_line(error)})"}
        write(stream, answer)


def main() -> None:
    """Makes a process for every socket that comes over standard input, until that is closed."""
    control = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks for their exit codes
    import transformers.utils.chat_template_utils  # noqa: F401, PLC0415  (once for all of them)

    while True:
        data, sockets, _, _ = socket.recv_fds(control, 1, 1)
        if not data:
            return
        if not os.fork():
            control.close()
            try:
                _serve(socket.socket(fileno=sockets[0]))
            finally:
                os._exit(0)
        os.close(sockets[0])


if __name__ == "__main__":
    main()
