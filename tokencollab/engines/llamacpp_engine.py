"""The engine for GGUF files as they are: quantised weights computed by llama.cpp, everything else as by default."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tokencollab.engines.base import WHOLE_ROWS
from tokencollab.engines.generation import unknown_ends
from tokencollab.engines.kv_cache import SessionCache, capacity_for
from tokencollab.engines.llamacpp_binding import SEATS, LlamaModel
from tokencollab.engines.logits_engine import SHORT, LogitsEngine
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.session_pool import Session, SessionPool, default_budget
from tokencollab.engines.text.vocabulary import Vocabulary, read_vocabulary
from tokencollab.errors import ModelRefused
from tokencollab.files import cache_folder
from tokencollab.protocol.messages import ModelInfo
from tokencollab.protocol.pieces import TURN_ENDS

_AT_LEAST = 16_384  # tokens of KV cache by default, for several sessions of models with short contexts
_AT_MOST = 1_000_000_000  # bytes of KV cache by default: llama.cpp takes all of it at the start
_FORMAT = 2  # of a kept tokenizer; one of another format is read anew
_HEADER = 1 << 24  # bytes of a GGUF file that tell it from others


@dataclass
class SeatCache(SessionCache):
    """A session's part of llama.cpp's KV cache: a sequence number while it has one.

    What was cropped is taken out of llama.cpp's cache with the next pass.
    """

    llama: LlamaModel | None = None
    seat: int | None = None

    def clear(self) -> None:
        self.length = 0
        if self.seat is not None and self.llama is not None:
            self.llama.forget(self.seat)
        self.seat = None

    @property
    def nbytes(self) -> int:
        return capacity_for(self.length) * self.llama.bytes_per_token if self.llama else 0

    def copy_from(self, other: SessionCache, length: int) -> None:
        assert isinstance(other, SeatCache)
        if self.llama is not None and self.seat is not None and other.seat is not None:
            self.llama.share(other.seat, self.seat, length)
            self.length = length


class LlamaCppEngine(LogitsEngine):
    """One GGUF file behind the `Engine` protocol: the forward pass and the KV cache are llama.cpp's."""

    def __init__(
        self,
        llama: LlamaModel,
        info: ModelInfo,
        tokenizer: Any,
        vocabulary: Vocabulary,
        cells: int,
        options: EngineOptions,
    ) -> None:
        pool = SessionPool(llama.bytes_per_token, cells * llama.bytes_per_token)
        cpu = torch.device("cpu")
        super().__init__(
            info,
            tokenizer,
            vocabulary,
            pool,
            prefill_chunk=options.prefill_chunk,
            template=options.template,
            device=cpu,
        )
        self._llama = llama
        self._open: dict[str, Session] = {}

    @classmethod
    def from_file(cls, name: str, path: Path, options: EngineOptions | None = None) -> "LlamaCppEngine":
        """Loads a GGUF file; errors as of `LlamaModel.load`, and `ModelRefused` where the model is incompatible."""
        options = options or EngineOptions()
        threads = options.threads or os.cpu_count() or 1
        torch.set_num_threads(threads)
        try:
            llama = LlamaModel.load(path, gpu=options.device != "cpu")
            tokenizer = load_tokenizer(path)
            ends = llama.end_ids
            vocabulary = read_vocabulary(tokenizer, ends, llama.vocabulary)
            batch = options.prefill_chunk + SEATS * SHORT
            cells = llama.start(_cells(llama, options.kv_megabytes), batch, threads)
        except ModelRefused as error:
            raise ModelRefused(f"{name} is incompatible: {error}") from error
        info = ModelInfo(
            name=name,
            architecture=llama.architecture,
            parameters=llama.parameters,
            vocabulary=sum(piece is not None for piece in vocabulary.pieces),
            context_length=min(llama.context_length, cells),
            dtype=llama.quantisation,
            engine="llamacpp",
            chat_template=bool(tokenizer.chat_template),
            capabilities=WHOLE_ROWS,
            notices=unknown_ends(ends, llama.vocabulary),
        )
        return cls(llama, info, tokenizer, vocabulary, cells, options)

    def close(self, session: str) -> None:
        if (closed := self._open.pop(session, None)) is not None:
            closed.drop()
        super().close(session)

    def _new_session(self, name: str, session: Session) -> None:
        self.close(name)
        session.cache = SeatCache(llama=self._llama)
        self._open[name] = session
        super()._new_session(name, session)

    def _admitted(self, wanted: list[Session], asked: list[Session]) -> list[Session]:
        """Those that have a seat, after seats were given out; the others wait for their turn."""
        kept = set(map(id, asked))
        idle = sorted(
            (session for session in self._open.values() if id(session) not in kept and _seat(session) is not None),
            key=lambda session: -session.used,
        )
        free = set(range(SEATS)) - {_seat(session) for session in self._open.values()}
        for session in wanted:
            assert isinstance(session.cache, SeatCache)
            if session.cache.seat is not None:
                continue
            if not free and idle:
                longest = idle.pop()
                free.add(_seat(longest) or 0)
                longest.drop()
                self._pool.dropped += 1
            if free:
                session.cache.seat = min(free)
                free.remove(session.cache.seat)
        return [session for session in wanted if _seat(session) is not None]

    def _compute(self, work: list[tuple[Session, list[int]]], every: bool = False) -> torch.Tensor:
        return self._llama.decode([(_seat(session) or 0, session.cache.length, new) for session, new in work], every)


def _seat(session: Session) -> int | None:
    return session.cache.seat if isinstance(session.cache, SeatCache) else None


def _cells(llama: LlamaModel, kv_megabytes: int | None) -> int:
    """Tokens that the KV cache holds, of all sessions together."""
    if kv_megabytes:
        return max(1, min(kv_megabytes * 1_000_000 // llama.bytes_per_token, SEATS * llama.context_length))
    budget = min(_AT_MOST, default_budget(torch.device("cpu")))
    return max(1, min(budget // llama.bytes_per_token, max(llama.context_length, _AT_LEAST)))


def _mark(backend: Any) -> None:
    """Makes the tokens that end a turn special."""
    from tokenizers import AddedToken  # noqa: PLC0415

    known = [name for name in TURN_ENDS if backend.token_to_id(name) is not None]
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in known])


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a GGUF file, as transformers reads it; tokens that end a turn are special, whatever their type.

    Reading it takes up to half a minute, so the result is kept in the user's cache.

    Raises:
        ModelRefused: transformers cannot read it.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import AutoTokenizer  # noqa: PLC0415  (seconds to import)
    from transformers.utils import logging  # noqa: PLC0415

    logging.set_verbosity_error()
    with path.open("rb") as file:
        beginning = hashlib.sha256(file.read(_HEADER))
    beginning.update(str(path.stat().st_size).encode())
    folder = cache_folder() / f"tokenizer-{_FORMAT}-{beginning.hexdigest()[:24]}"
    try:
        if folder.is_dir():
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, trust_remote_code=False)
        _mark(tokenizer.backend_tokenizer)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelRefused(f"transformers cannot read the tokenizer of {path}: {reason}") from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="tokenizer-", dir=folder.parent))
    tokenizer.save_pretrained(unfinished)
    try:
        unfinished.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(unfinished)
    return tokenizer
