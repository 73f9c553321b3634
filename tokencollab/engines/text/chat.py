"""The conversation as a model's prompt: its own chat template, or plain text where it has none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from tokencollab.engines.options import OWN_NAMES
from tokencollab.engines.text.pipeline import MOST_ADDED
from tokencollab.engines.text.template_process import TemplateProcess
from tokencollab.engines.text.templates import ChatTurn, first_line, needed
from tokencollab.errors import ModelRefused
from tokencollab.protocol.messages import ChatMessage

_PART: Final = 1 << 18  # characters that are tokenised at a time, until it is known that a text is not far too long
_UNKNOWN: Final = 1024  # bytes that one unknown token may stand for: of a word of 100 characters, or a run of spaces


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A rendered conversation.

    ``lead`` is the space that the model may put before the answer, outside the shared text.
    """

    ids: tuple[int, ...]
    lead: bytes


class TooLong(Exception):
    """A prompt that is longer than the context; how long it is, in words."""


class PromptRenderer:
    """Makes prompts of conversations, in any thread, without holding up others.

    A chat template is rendered in a process of its own (`template_process`). The tokenizer is one of its own too, over
    the same vocabulary: setting what special tokens are to it would wait for a text that another thread tokenises.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        context: int = 1 << 20,
        longest: int = _UNKNOWN,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """``tokenizer`` is transformers'; a token stands for ``longest`` bytes of a text at most.

        ``arguments`` are what the chat template is given beside the conversation.

        Raises:
            ModelRefused: there are several templates and none is the default, or none that takes the arguments.
        """
        self._tokenizer = tokenizer
        self._backend = _sharing_the_vocabulary(tokenizer.backend_tokenizer)
        self._context = context
        self._limit = context * longest
        self._templates: TemplateProcess | None = None
        if tokenizer.chat_template:
            try:
                template = tokenizer.get_chat_template()
            except ValueError as error:
                raise ModelRefused(f"its chat template cannot be told: {first_line(error)}") from error
            special = {name: _plain(token) for name, token in tokenizer.special_tokens_map.items()}
            self._templates = TemplateProcess(template, special | dict(arguments or {}))
            if arguments:
                self._check_names(arguments)
        elif arguments:
            raise ModelRefused(f"it has no chat template that {', '.join(arguments)} could be given to")
        else:
            _check_added(self._backend.post_processor)

    def render(self, messages: Sequence[ChatMessage]) -> RenderedPrompt:
        """Renders ``messages`` with the model's chat template, or as plain text (``Question: ... Answer:``).

        Without messages the prompt is the token that texts of this model begin with.

        Raises:
            ModelRefused: the conversation cannot be rendered so that every message is in the prompt, or tokenised.
            TooLong: the prompt has more tokens than the context.
        """
        if not messages:
            begins = self._tokenizer.eos_token_id
            begins = begins if self._tokenizer.bos_token_id is None else self._tokenizer.bos_token_id
            if begins is None:
                raise ModelRefused("its tokenizer has no token that a text begins with: give it a conversation")
            return RenderedPrompt((begins,), b"")
        size = sum(len(needed(ChatTurn(turn.role, turn.content)).encode()) for turn in messages)
        if size > self._limit:
            raise TooLong(f"{size} bytes")
        if self._templates is not None:
            text = self._templates.render(messages, self._limit)
            if isinstance(text, int):
                raise TooLong(f"{text} characters")
            ids = self._ids(text, special=False)
        else:
            text = plain_text(messages)
            ids = self._ids(text, special=True)
            # A tokenizer that closes every text with [SEP] or </s> must not close one that goes on.
            ends = {self._tokenizer.eos_token_id, self._tokenizer.sep_token_id} - {None, self._tokenizer.bos_token_id}
            while len(ids) > 1 and ids[-1] in ends:
                ids.pop()
        if not ids:
            raise ModelRefused("its tokenizer makes no tokens of this prompt")
        if len(ids) >= self._context:
            raise TooLong(f"{len(ids)} tokens")
        return RenderedPrompt(tuple(ids), b"" if text[-1:].isspace() else b" ")

    def close(self) -> None:
        """Ends the process of the template."""
        if self._templates is not None:
            self._templates.close()

    def _check_names(self, arguments: Mapping[str, Any]) -> None:
        assert self._templates is not None
        known = set(self._templates.names())
        if unknown := sorted(set(arguments) - known):
            others = sorted(known - OWN_NAMES - self._tokenizer.special_tokens_map.keys())
            has = f"it has {', '.join(others)}" if others else "it has none"
            raise ModelRefused(f"its chat template has no argument {', '.join(unknown)}; {has}")

    def _ids(self, text: str, special: bool) -> list[int]:
        """The tokens of a text.

        A token takes hundreds of bytes until all are known. So a long text is first tokenised in parts, which have few
        tokens more than the whole.
        """
        if len(text) > _PART:
            count = 0
            for start in range(0, len(text), _PART):
                count += len(self._tokens(text[start : start + _PART], False))
                if count > 2 * self._context:
                    raise TooLong(f"more than {self._context} tokens")
        return self._tokens(text, special)

    def _tokens(self, text: str, special: bool) -> list[int]:
        try:
            # Of several texts, which other threads need not wait for.
            (encoding,) = self._backend.encode_batch_fast([text], add_special_tokens=special)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also a panic of the library, which is no Exception
            raise ModelRefused(f"its tokenizer fails on this prompt ({first_line(error)})") from error
        ids: list[int] = encoding.ids
        return ids


def render(tokenizer: Any, messages: Sequence[ChatMessage]) -> RenderedPrompt:
    """One prompt. Raises as `PromptRenderer`."""
    renderer = PromptRenderer(tokenizer)
    try:
        return renderer.render(messages)
    finally:
        renderer.close()


def longest_token(pieces: Sequence[bytes | None], tokenizer: Any, unknown: bool) -> int:
    """How many bytes of a text one token stands for at most.

    ``unknown``: there are bytes that the vocabulary cannot spell; one token may stand for many, or none for any.
    """
    spelt = max((len(piece) for piece in pieces if piece is not None), default=1)
    added = max((len(token.content.encode()) for token in tokenizer.added_tokens_decoder.values()), default=1)
    return max(spelt, added, _UNKNOWN if unknown else 1)


def _check_added(processor: Any) -> None:
    """Raises ModelRefused: what the tokenizer makes of a text is not that text once, between a few tokens."""
    state = {"processors": []} if processor is None else json.loads(processor.__getstate__())
    for step in state.get("processors", [state]):
        parts = step.get("single", [])
        texts = sum("Sequence" in part for part in parts)
        ids = [step["special_tokens"][part["SpecialToken"]["id"]]["ids"] for part in parts if "SpecialToken" in part]
        if parts and texts != 1:
            raise ModelRefused(f"its tokenizer puts {texts} copies of a text into a text")
        if (added := sum(map(len, ids))) > MOST_ADDED:
            raise ModelRefused(f"its tokenizer puts {added} tokens around a text, more than {MOST_ADDED}")


def _plain(token: Any) -> Any:
    return [str(one) for one in token] if isinstance(token, list | tuple) else str(token)


def _sharing_the_vocabulary(backend: Any) -> Any:
    """A tokenizer like ``backend``, without truncation and padding. The vocabulary is not copied."""
    from tokenizers import Tokenizer  # noqa: PLC0415  (kept out of `import tokencollab`)

    own = Tokenizer(backend.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        setattr(own, part, getattr(backend, part))
    added = [token for _, token in sorted(backend.get_added_tokens_decoder().items())]
    for special, tokens in groupby(added, lambda token: token.special):
        (own.add_special_tokens if special else own.add_tokens)(list(tokens))
    assert own.get_added_tokens_decoder() == backend.get_added_tokens_decoder()
    return own


def plain_text(messages: Sequence[ChatMessage]) -> str:
    """The conversation as plain text, ending where the answer begins."""
    lines = []
    for turn in messages:
        match turn.role:
            case "system":
                lines.append(turn.content + "\n")
            case "user":
                lines.append(f"Question: {turn.content}")
            case "assistant":
                lines.append(f"Answer: {turn.content}\n")
    return "\n".join([*lines, "Answer:"])
