"""Other ways to hold another model's pieces than `AnswerText`'s own, to be measured against it.

as came     each piece in the model's tokens for that piece alone, left so
words       `AnswerText` itself: the same, but a word with a piece that is none of the model's tokens is cut as
            its own once it is finished, and a character written in parts once it is whole
all words   every word is cut as its own once it is finished, whatever it was written in
every step  the whole text cut anew after every piece
"""

from typing import Final

from tokencollab.engines.text.alignment import AnswerText


class AsCame(AnswerText):
    """Pieces are left as they came."""

    def _word_start(self, count: int) -> int:
        return count

    def _mark_foreign(self, begin: int) -> None:
        pass


class AllWords(AnswerText):
    """Every finished word is cut anew, as if all pieces were foreign."""

    def _append(self, data: bytes) -> None:
        self._mark_foreign(self._word_start(len(self.ids)))
        super()._append(data)


class EveryStep(AnswerText):
    """The text is cut anew after every piece: what a program does that hands text to `tokenizer.encode`."""

    def _append(self, data: bytes) -> None:
        super()._append(data)
        self._tokenise_from(0)

    def _mark_foreign(self, begin: int) -> None:
        pass


SPELLINGS: Final[dict[str, type[AnswerText]]] = {
    "words": AnswerText,
    "as-came": AsCame,
    "all-words": AllWords,
    "every-step": EveryStep,
}
