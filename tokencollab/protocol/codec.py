"""Messages as bytes: msgpack frames ``[version, kind, field, field, ...]``, checked field by field on arrival.

A model run by somebody else is not trusted: sizes are limited before anything is allocated, every field has a checked
type, and numbers must be finite. Nothing is ever unpickled.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, fields, replace
from itertools import pairwise
from math import isfinite
from typing import Any, Final, TypeAlias

import msgpack

from tokencollab.errors import MalformedAnswer, ProtocolError
from tokencollab.protocol import messages as m
from tokencollab.protocol.candidates import LOGPROB_SLACK, MAX_CANDIDATES, MAX_OFFSETS, Candidate, CandidateSet
from tokencollab.protocol.pieces import MAX_PIECE_BYTES, Piece
from tokencollab.protocol.spelling import TOKEN_BYTES, Spelling

VERSION: Final = 1
MAX_FRAME_BYTES: Final = 8 << 20
"""Longer frames are refused unread."""

MAX_REASON: Final = 1000
"""Characters of a refusal's reason."""

MAX_NAME: Final = 512
"""Characters of the name of a session or a model: both sides keep them."""

_MAX_ITEMS: Final = 4096  # of one list: pieces to score, messages of a conversation
MAX_MESSAGES: Final = _MAX_ITEMS
"""Of a conversation."""
_MAX_TOKENS: Final = 1 << 18  # of one text

_SMALL_FRAME: Final = 1 << 16  # whatever such a frame makes of itself is small
_SMALL_LIST: Final = 1024
_MAX_VALUES: Final = 2 * _MAX_TOKENS + 64  # of one frame
_MAX_DEPTH: Final = 5  # lists within lists

Message: TypeAlias = m.Request | m.Reply | m.Task | m.TaskToken | m.TaskEnded
_Check: TypeAlias = Callable[[Any], Any]


def encode(message: Message) -> bytes:
    """The frame of a message. Raises ProtocolError: the message is larger than a frame may be."""
    frame: bytes = msgpack.packb([VERSION, _KIND[type(message)], *_plain(message)])
    if len(frame) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a message of {len(frame)} bytes is larger than a frame may be ({MAX_FRAME_BYTES})")
    return frame


def decode(frame: bytes) -> Message:
    """The message of a frame. Raises MalformedAnswer: anything about the frame is not as the protocol says."""
    if len(frame) > MAX_FRAME_BYTES:
        raise MalformedAnswer(f"a frame of {len(frame)} bytes, at most {MAX_FRAME_BYTES} are allowed")
    try:
        content = _unpack(frame)
    except Exception as error:
        raise MalformedAnswer(f"not a msgpack frame: {type(error).__name__}") from error
    if not isinstance(content, list) or len(content) < 2:
        raise MalformedAnswer("not a frame of this protocol")
    version, kind, *values = content
    if version != VERSION:
        raise MalformedAnswer(f"protocol version {str(version)[:40]}, this side speaks {VERSION}")
    entry = _BY_KIND.get(kind) if isinstance(kind, str) else None
    if entry is None:
        raise MalformedAnswer(f"unknown kind of message {str(kind)[:40]!r}")
    cls, checks = entry
    if len(values) != len(checks) and not (cls in _LAST_IS_OPTIONAL and len(values) == len(checks) - 1):
        raise MalformedAnswer(f"{kind}: {len(values)} fields instead of {len(checks)}")
    try:
        message: Message = cls(*(check(value) for check, value in zip(checks, values, strict=False)))
    except (TypeError, ValueError) as error:
        raise MalformedAnswer(f"{kind}: {error}") from error
    return message


def _unpack(frame: bytes) -> Any:
    """The plain values of a frame.

    msgpack makes room for as many items as the head of a list claims before it has seen one, and a byte can stand for
    an object of 64. So large frames, and long lists, are read value by value and counted.

    Raises Exception: it is no frame, or has more values or deeper lists than any message.
    """
    limits = {"max_map_len": 0, "max_ext_len": 0}
    if len(frame) <= _SMALL_FRAME:
        with suppress(ValueError):
            return msgpack.unpackb(frame, max_array_len=_SMALL_LIST, **limits)
    unpacker = msgpack.Unpacker(max_buffer_size=len(frame), max_array_len=0, **limits)
    unpacker.feed(frame)
    left = _MAX_VALUES

    def read(depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError("too many values")
        head = frame[unpacker.tell()]
        if not (head >> 4 == 9 or head in (0xDC, 0xDD)):
            return unpacker.unpack()
        count = unpacker.read_array_header()
        if depth == _MAX_DEPTH or count > left:
            raise ValueError("too deep or too long a list")
        return [read(depth + 1) for _ in range(count)]

    content = read(0)
    if unpacker.tell() != len(frame):
        raise ValueError("more than one value")
    return content


def _plain(message: Message) -> list[Any]:
    if isinstance(message, m.Refused):  # what a library says may be of any length
        message = replace(message, kind=message.kind[:MAX_REASON], reason=message.reason[:MAX_REASON])
    values = [_flat(getattr(message, field.name)) for field in fields(message)]
    return values[:-1] if type(message) in _LAST_IS_OPTIONAL and not values[-1] else values


def _flat(value: Any) -> Any:
    if isinstance(value, CandidateSet):
        return [value.log_normaliser, [(c.piece, c.logit, c.logprob) for c in value.candidates]]
    if isinstance(value, Spelling):
        return [value.kept, value.tokens, value.state]
    if isinstance(value, m.Sampling):
        return list(astuple(value))
    if isinstance(value, tuple) and value and isinstance(value[0], m.ChatMessage):
        return [(turn.role, turn.content) for turn in value]
    if isinstance(value, tuple) and value and isinstance(value[0], CandidateSet):
        return [_flat(one) for one in value]
    return value


# ---------------------------------------------------------------- checks of one field each


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {type(value).__name__}")
    return value


def _reason(value: Any) -> str:
    if len(_text(value)) > MAX_REASON:
        raise ValueError(f"a reason of at most {MAX_REASON} characters expected")
    return str(value)


def _name(value: Any) -> str:
    if len(_text(value)) > MAX_NAME:
        raise ValueError(f"a name of at most {MAX_NAME} characters expected")
    return str(value)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"bytes expected, not {type(value).__name__}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise ValueError("a count (0 to 2**53 - 1) expected")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"true or false expected, not {type(value).__name__}")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, float) or not isfinite(value):
        raise ValueError("a finite number expected")
    return value


def _share(value: Any) -> float:
    if not -1e-9 <= _number(value) <= 1 + 1e-6:
        raise ValueError("a probability expected")
    return float(value)


def _piece(value: Any) -> Piece:
    if value is None:
        return None
    if not 0 < len(_bytes(value)) <= MAX_PIECE_BYTES:
        raise ValueError(f"a piece must have 1 to {MAX_PIECE_BYTES} bytes")
    return bytes(value)


def _list(value: Any, limit: int = _MAX_ITEMS) -> list[Any]:
    if not isinstance(value, list) or len(value) > limit:
        raise ValueError(f"a list of at most {limit} items expected")
    return value


def _exactly(value: Any, count: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"a list of {count} items expected")
    return value


def _maybe(check: _Check) -> _Check:
    return lambda value: None if value is None else check(value)


def _each(check: _Check, limit: int = _MAX_ITEMS) -> _Check:
    return lambda value: tuple(check(item) for item in _list(value, limit))


def _candidates(value: Any) -> CandidateSet:
    normaliser, listed = _exactly(value, 2)
    found = []
    for item in _list(listed, MAX_CANDIDATES):
        piece, logit, logprob = _exactly(item, 3)
        found.append(Candidate(_piece(piece), _number(logit), _number(logprob)))
    return CandidateSet(tuple(found), _number(normaliser))


def _conversation(value: Any) -> tuple[m.ChatMessage, ...]:
    turns = []
    for item in _list(value):
        role, content = _exactly(item, 2)
        if role not in ("system", "user", "assistant"):
            raise ValueError("a role is system, user or assistant")
        turns.append(m.ChatMessage(role, _text(content)))
    return tuple(turns)


def _sampling(value: Any) -> m.Sampling:
    top_k, top_p, top_t, temperature, seed, over, by_probability = _exactly(value, 7)
    low, high = _exactly(top_t, 2)
    if over not in ("vocabulary", "top_k"):
        raise ValueError("over is vocabulary or top_k")
    return m.Sampling(
        _count(top_k),
        None if top_p is None else _number(top_p),
        (_count(low), _count(high)),
        _number(temperature),
        _count(seed),
        over,
        _flag(by_probability),
    )


def _session(value: Any) -> str:
    """It names a file."""
    if not re.fullmatch("[0-9a-f]{32}", _text(value)):
        raise ValueError("32 hexadecimal digits expected")
    return str(value)


def _token_piece(value: Any) -> Piece:
    """Empty in a token that only brings text."""
    return b"" if value == b"" else _piece(value)


def _ranks(value: Any) -> tuple[tuple[str, int | None], ...]:
    pairs = (_exactly(item, 2) for item in _list(value))
    return tuple((_name(model), _maybe(_count)(rank)) for model, rank in pairs)


def _efficacy(value: Any) -> tuple[float | None, ...]:
    return tuple(map(_maybe(_number), _exactly(value, 7)))


def _spelling(value: Any) -> Spelling:
    kept, tokens, state = _exactly(value, 3)
    if len(_bytes(tokens)) % TOKEN_BYTES:
        raise ValueError(f"a spelling of whole tokens ({TOKEN_BYTES} bytes each) expected")
    return Spelling(_count(kept), tokens, _bytes(state))


def _ascending(value: Any) -> tuple[int, ...]:
    offsets: tuple[int, ...] = _each(_count, MAX_OFFSETS)(value)
    if any(one >= other for one, other in pairwise(offsets)):
        raise ValueError("offsets that ascend expected")
    return offsets


def _logprobs(value: Any) -> tuple[float, ...]:
    numbers: tuple[float, ...] = _each(_number, _MAX_TOKENS)(value)
    if any(number > LOGPROB_SLACK for number in numbers):
        raise ValueError("log-probabilities (at most zero) expected")
    return numbers


def _shares(value: Any) -> tuple[float, ...]:
    return tuple(_share(item) for item in _exactly(value, 256))  # one per byte


_SPELLING: Final = _maybe(_spelling)
_TEXTS: Final = _each(_text)
_NAMES: Final = _each(_name)

_BY_KIND: Final[dict[str, tuple[Callable[..., Message], tuple[_Check, ...]]]] = {
    "open": (m.Open, (_name, _conversation, _bytes, _SPELLING, _each(_piece))),
    "ask": (m.NextCandidates, (_name, _count, _bytes, _count, _ascending)),
    "score": (m.ScorePieces, (_name, _count, _bytes, _each(_piece))),
    "marginals": (m.ByteMarginals, (_name, _count, _bytes, _bytes)),
    "logprobs": (m.ScoreText, (_name, _count, _bytes)),
    "alone": (m.GenerateSolo, (_name, _count, _bytes, _count, _count, _flag, _sampling, _share)),
    "close": (m.Close, (_name,)),
    "opened": (m.Opened, (_name, _count, _count)),
    "candidates": (
        m.CandidatesReply,
        (_name, _count, _candidates, _count, _SPELLING, _each(_candidates, MAX_OFFSETS - 1)),
    ),
    "scores": (m.ScoresReply, (_name, _count, _each(_number), _count, _SPELLING)),
    "masses": (m.MarginalsReply, (_name, _count, _share, _share, _shares, _count, _SPELLING)),
    "likelihoods": (m.LogprobsReply, (_name, _count, _each(_count, _MAX_TOKENS), _logprobs, _count)),
    "written": (m.SoloPiece, (_name, _count, _piece, _maybe(_candidates), _count, _SPELLING)),
    "unsure": (m.Unsure, (_name, _count, _candidates, _count, _count, _SPELLING)),
    "behind": (m.SessionLost, (_name,)),
    "full": (m.ContextExhausted, (_name, _count)),
    "closed": (m.Closed, (_name,)),
    "refused": (m.Refused, (_name, _reason, _reason)),
    "task": (
        m.Task,
        (_session, _conversation, _name, _maybe(_NAMES), _text, _count, _TEXTS, _count, _flag, _maybe(_number)),
    ),
    "token": (m.TaskToken, (_text, _token_piece, _count, _ranks, _maybe(_efficacy), _flag, _NAMES, _NAMES, _TEXTS)),
    "ended": (m.TaskEnded, (_text, _TEXTS)),
}
_KIND: Final = {cls: kind for kind, (cls, _) in _BY_KIND.items()}
_LAST_IS_OPTIONAL: Final = frozenset({m.NextCandidates, m.CandidatesReply, m.Task})  # left out where it is empty
