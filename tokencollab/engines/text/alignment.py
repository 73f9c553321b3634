"""One model's view of the shared answer: its own tokens, kept in line with the shared bytes."""

from dataclasses import dataclass, field

from tokencollab.engines.text.spelling import Held, read_spelling, write_spelling
from tokencollab.engines.text.tokenisation import TextTokenizer
from tokencollab.engines.text.vocabulary import Vocabulary
from tokencollab.protocol.spelling import Spelling

_WHITESPACE = (b" ", b"\t", b"\r", b"\n")
_WORD_ENDS = (*_WHITESPACE, b"\xe3\x80", b"\xef\xbc")
"""How a piece begins that ends the word before it: with a space, or with a stop of a script without spaces."""
_REACH = 48
"""How far back (bytes) a word start is looked for; texts without spaces are tokenised again from there."""


@dataclass
class AnswerText:
    """The answer so far as this model's tokens.

    ``lead`` is a space that the model's own text has before the shared answer, and that is not shared: a plain-text
    model writes " Yes" after "Answer:" where a chat model writes "Yes". ``ids[i]`` ends at byte ``ends[i]`` of
    lead + shared text. Where the vocabulary cannot spell the end of the text (an unfinished character), the tokens
    stop before it.

    Attributes:
        stable: how many leading ids have not changed since the caller last set it: what a KV cache may keep.
        told: how many leading ids have not changed since the last `spelling`.
    """

    vocabulary: Vocabulary
    tokenizer: TextTokenizer
    lead: bytes = b""
    text: bytes = b""
    ids: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    stable: int = 0
    told: int = 0
    _may_lead: bytes = field(init=False)
    _foreign_from: int | None = None  # token index at which an unfinished word with foreign pieces begins
    _listed: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._may_lead = self.lead

    @property
    def pending(self) -> bytes:
        """Bytes of the text that no token covers yet."""
        return (self.lead + self.text)[self.ends[-1] if self.ends else 0 :] if self.text else b""

    @property
    def may_lead(self) -> bytes:
        """The space that the model may put before the answer's first piece."""
        return b"" if self.text else self._may_lead

    def list_pieces(self, listed: dict[bytes, int]) -> None:
        """Remembers the model's own token for each piece that it offered at the end of the text."""
        self._listed = listed

    def bring_in_line(self, start: int, data: bytes) -> None:
        """Makes the text ``text[:start] + data``, with the model's tokens for it.

        A piece that is one of the model's own tokens is appended as that token, as if the model had chosen it
        alone. Otherwise the tail is tokenised again from the last word start; and a word with such a piece is brought
        back to the model's own tokenisation once it is finished. (docs/tokenisation.md has the figures.)
        """
        held = self.text[start:]
        if held.startswith(data):  # nothing new; what is beyond ``data`` was taken back
            if len(held) > len(data):
                self._truncate(start + len(data))
            return
        if not data.startswith(held):
            self._truncate(start)
            held = b""
        self._append(data[len(held) :])
        self._listed = {}

    def spelling(self) -> Spelling:
        """What changed in the tokens since the last call, and all that decides how the text goes on."""
        listed = list(self._listed.values())
        told, self.told = self.told, len(self.ids)
        held = Held(len(self.text), self.ids, self.ends, bool(self.lead), self._foreign_from, listed)
        return write_spelling(held, told)

    def restore(self, text: bytes, spelling: Spelling | None) -> None:
        """Begins with ``text``, in the tokens of ``spelling`` if it is a spelling of this text."""
        held = read_spelling(spelling, text, self._may_lead, self.vocabulary) if spelling is not None else None
        if held is None:
            if text:
                self.bring_in_line(0, text)
            return
        self.text, self.lead = text, self._may_lead if held.lead else b""
        self.ids, self.ends = list(held.ids), list(held.ends)
        self._foreign_from = held.foreign_from
        self._listed = {self._shown(token): token for token in held.listed}

    def _shown(self, token: int) -> bytes:
        """What a listed token adds to the shared text."""
        piece = self.vocabulary.pieces[token] or b""
        if self.pending and piece.startswith(self.pending):
            return piece[len(self.pending) :]
        return piece.removeprefix(self.may_lead) or piece

    def _keep(self, count: int) -> None:
        self.stable, self.told = min(self.stable, count), min(self.told, count)

    def _truncate(self, length: int) -> None:
        self.text = self.text[:length]
        limit = len(self.lead) + length if length else 0
        while self.ends and self.ends[-1] > limit:
            self.ends.pop()
            self.ids.pop()
        self._keep(len(self.ids))
        self._listed = {}
        if self._foreign_from is not None and self._foreign_from >= len(self.ids):
            self._foreign_from = None
        if not length:
            self.lead = self._may_lead
        elif self.pending:  # the cut went through a token
            begin = self._word_start(len(self.ids))
            self._tokenise_from(begin)
            self._mark_foreign(begin)

    def _append(self, data: bytes) -> None:
        first = not self.text
        # A text that brings its own space or line break takes no other before it.
        before = self.pending if not first else b"" if data.startswith(_WHITESPACE) else self.lead
        self.text += data
        if self._foreign_from is not None and data.startswith(_WORD_ENDS):
            self._finish_word()
        token = self._listed.get(data)
        # A character that others wrote in parts is not left as byte tokens: the model would go on in bytes.
        if token is None and not 0x80 <= data[0] < 0xC0:
            token = self.vocabulary.id_of.get(before + data)
        if first and (self.vocabulary.pieces[token] == data if token is not None else data.startswith(_WHITESPACE)):
            self.lead = b""
        if token is None:
            begin = self._word_start(len(self.ids))
            self._tokenise_from(begin)
            self._mark_foreign(begin)
        else:
            self.ids.append(token)
            self.ends.append(len(self.lead) + len(self.text))

    def _mark_foreign(self, begin: int) -> None:
        if self._foreign_from is None or begin < self._foreign_from:
            self._foreign_from = begin

    def _finish_word(self) -> None:
        """Brings the finished foreign word back to the model's own tokens; the new piece is not yet there."""
        assert self._foreign_from is not None
        begin = self._foreign_from
        self._foreign_from = None
        start = self.ends[begin - 1] if begin else 0
        stop = self.ends[-1] if self.ends else 0
        self._replace(begin, self.tokenizer.encode((self.lead + self.text)[start:stop]), start)

    def _tokenise_from(self, begin: int) -> None:
        start = self.ends[begin - 1] if begin else 0
        self._replace(begin, self.tokenizer.encode((self.lead + self.text)[start:]), start)

    def _replace(self, begin: int, tokens: list[tuple[int, int]], start: int) -> None:
        # Tokens that come out as before keep their place in the KV cache.
        same = begin
        for token, end in tokens:
            if same < len(self.ids) and self.ids[same] == token and self.ends[same] == start + end:
                same += 1
            else:
                break
        self._keep(same)
        self.ids[begin:] = [token for token, _ in tokens]
        self.ends[begin:] = [start + end for _, end in tokens]

    def _word_start(self, count: int) -> int:
        """The index of the first token of the last word: tokens before it cannot change by what follows."""
        whole = self.lead + self.text
        floor = (self.ends[count - 1] if count else 0) - _REACH
        for index in range(count, 0, -1):
            end = self.ends[index - 1]
            # A word begins at its own leading space.
            if whole.startswith(_WHITESPACE, end) and not whole.startswith(_WHITESPACE, end - 1):
                return index
            # A text without spaces (Chinese) would be tokenised from its beginning at every piece: after `_REACH`
            # bytes the end of any token that is followed by a new character must do.
            if end < floor and whole[end : end + 1] and not 0x80 <= whole[end] < 0xC0:
                return index
        return 0
