"""What a text loses for a model that did not choose its pieces: four ways to hold another model's words.

One model reads a text that comes in the pieces of another model's tokenizer. Before each piece it holds the text so
far in one of these ways:

    canonical   the whole text as the model's own tokenizer cuts it (no pieces of others: the best there is)
    as-came, words, all-words, every-step   see `benchmarks.spellings`; "words" is what `AnswerText` does

Two things are measured, in bits, with 95 % bootstrap intervals over the lines of the text. *Loss* is the negative
log-probability of the pieces, in the model's tokens for each piece alone, per byte, and how much that is more than
`canonical`. It also charges for cuts that the model does not expect. *Surprise* does not: the negative log of the
probability of the next character, in whatever tokens it may be written, per piece, and how much that is more than
`as-came`; where the model itself would cut the text, and elsewhere (within one of its own tokens).
``tokens`` is how many tokens went through the model per piece.

    python -m benchmarks.retokenisation FOLDER FOLDER [--texts NAME ...] [--json]
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import machine
from benchmarks.spellings import SPELLINGS
from tokencollab.engines.kv_cache import Segment, SessionCache, packed
from tokencollab.engines.loading import LoadedModel, load
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.text.tokenisation import TextTokenizer

TEXTS = {
    "English": """The harbour was quiet in the early morning. A woman in a yellow coat walked along the pier and
counted the boats.
There were eleven of them, two fewer than the day before. She wrote the number into a small notebook
and looked at the clouds.
"It will rain before noon," she said to the man who was mending a net. He shrugged and kept on
working.
Nobody in the village could remember a summer with so little fish. Some blamed the warm water,
others the new trawlers from
the north. The mayor had promised to write to the ministry, but his letters were never answered.
In the afternoon the wind turned. The boats came home one after another, low in the water and
followed by gulls.
By evening the market was full of voices again, and the price of herring fell for the first time in
weeks.
She closed her notebook, smiled, and bought three of the largest ones. Her grandmother would know
what to do with them.
""",
    "code": """def moving_average(values, window):
    if window < 1:
        raise ValueError("window must be at least 1")
    total = sum(values[:window])
    averages = [total / window]
    for index in range(window, len(values)):
        total += values[index] - values[index - window]
        averages.append(total / window)
    return averages

class TemperatureLog:
    def __init__(self, path):
        self.path = path
        self.readings = []

    def load(self):
        with open(self.path, encoding="utf-8") as file:
            for line in file:
                stamp, celsius = line.strip().split(",")
                self.readings.append((stamp, float(celsius)))

    def hottest(self, count=5):
        return sorted(self.readings, key=lambda reading: -reading[1])[:count]
""",
    "rare words": """Sweeney Todd met Anaximander of Miletus near the Schwarzwälder Kirschtorte stand in
Llanfairpwllgwyngyll.
The zwitterionic phosphatidylcholine was hydrolysed with lysophospholipase at 37.4 degrees for 95
minutes.
Ouagadougou, Antananarivo and Nuku'alofa are capitals; Szczebrzeszyn and Ystradgynlais are not.
Tchaikovsky's and Rimsky-Korsakov's quodlibets bewildered the perspicacious ethnomusicologist Ngozi
Okwuosa.
Floccinaucinihilipilification is a word; so are sesquipedalian, defenestrate, borborygmus and
kakistocracy.
The brachiosaurus, the pachycephalosaurus and the Quetzalcoatlus were drawn by Mr. Wojciechowski of
Bydgoszcz.
Take paracetamol or ibuprofen, never methylenedioxypyrovalerone, said Dr. Xochitl Papadimitriou-
Oyelaran.
The trebuchet, the arquebus and the halberd hung beside the astrolabe of Abd al-Rahman al-Sufi.
""",
    "Chinese": """清晨的港口很安静。一个穿黄色外套的女人沿着码头走,
数着停在那里的小船。一共有十一条,比前一天少了两条。
她把数字写进一个小本子,抬头看了看天上的云。
"中午以前会下雨的,"她对正在补渔网的男人说。
男人耸了耸肩,继续干活。村里没有人记得哪一年夏天的鱼这么少。
有人说是因为海水太暖,也有人怪北方来的新渔船。
""",
}
"""Written for this benchmark, so no model has them by heart."""

WAYS = ("canonical", "as-came", "words", "all-words", "every-step")

Step: TypeAlias = tuple[list[int], list[int], int]
"""The tokens so far, those of the next piece, and the byte at which the piece ends."""


def spell(tokenizer: TextTokenizer, model: LoadedModel, piece: bytes) -> list[int]:
    """The model's tokens for a piece alone."""
    own = model.vocabulary.id_of.get(piece)
    return [own] if own is not None else [token for token, _ in tokenizer.encode(piece)]


def steps(way: str, model: LoadedModel, tokenizer: TextTokenizer, pieces: Sequence[bytes]) -> Iterator[Step]:
    """What the model has read before each piece, and reads of it."""
    if way == "canonical":
        context: list[int] = []
        for token, end in tokenizer.encode(b"".join(pieces)):
            yield context, [token], end
            context = [*context, token]
        return
    held = SPELLINGS[way](model.vocabulary, tokenizer)
    for piece in pieces:
        yield list(held.ids), spell(tokenizer, model, piece), len(held.text) + len(piece)
        held.bring_in_line(len(held.text), piece)


LN2 = math.log(2)


@dataclass(frozen=True, slots=True)
class Scored:
    """A piece that ends at byte ``end``: its loss, and how surprised the model was by its first character."""

    end: int
    loss: float
    surprise: float
    own: bool  # the model itself would cut the whole text before it


class Reader:
    """Forward passes of one session, with what is already computed kept."""

    def __init__(self, model: LoadedModel) -> None:
        """Nothing is read yet."""
        self._model = model
        self._cache = SessionCache()
        self._row: list[int] = []

    def read(self, row: list[int], first: int) -> torch.Tensor:
        """Log-probabilities (natural) after the tokens of ``row`` from number ``first`` on."""
        same = min(common(self._row, row), first)
        self._cache.crop(same)
        with packed([Segment(self._cache, len(row) - same)]):
            logits = self._model.model(
                input_ids=torch.tensor([row[same:]]), position_ids=torch.arange(same, len(row))[None], use_cache=False
            ).logits[0, first - same :]
        self._cache.length = len(row)
        self._row = row
        return torch.log_softmax(logits.float(), -1)

    def mass(self, row: list[int], after: torch.Tensor, text: bytes, least: float = 0.02) -> float:
        """The probability that what follows ``row`` begins with ``text``, whatever the tokens.

        ``after`` are the log-probabilities after ``row``; ways with less than ``least`` of the mass are left out.
        """
        vocabulary = self._model.vocabulary
        whole = list(vocabulary.starting_with(text))
        if text in vocabulary.id_of:
            whole.append(vocabulary.id_of[text])
        found = float(after[torch.tensor(whole, dtype=torch.long)].exp().sum().item()) if whole else 0.0
        for length in range(1, len(text)):
            token = vocabulary.id_of.get(text[:length])
            part = 0.0 if token is None else math.exp(after[token].item())
            if token is not None and part > max(least * found, 1e-9):
                longer = [*row, token]
                found += part * self.mass(longer, self.read(longer, len(row))[0], text[length:], least)
        return found


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many elements from the first on are equal."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


@torch.inference_mode()
def losses(
    model: LoadedModel, prompt: list[int], script: Sequence[Step], text: bytes, own: set[int] | None
) -> tuple[list[Scored], int]:
    """Loss and surprise of each piece, and how many tokens an engine would have computed.

    Pieces that follow each other without a change to what stands before share a forward pass. Without the model's
    ``own`` cuts no surprise is computed.
    """
    reader = Reader(model)
    found: list[Scored] = []
    held: list[int] = []
    forwarded, index, begin = 0, 0, 0
    while index < len(script):
        row = [*prompt, *script[index][0]]
        spans = []
        while index < len(script) and script[index][0] == row[len(prompt) :]:
            spans.append((len(row), len(row) + len(script[index][1]), script[index][2]))
            row += script[index][1]
            index += 1
        base = spans[0][0]
        forwarded += len(row) - min(common(held, row), base - 1)
        held = row
        logprobs = reader.read(row, base - 1)
        for start, stop, end in spans:
            loss = -sum(logprobs[at - base, row[at]].item() for at in range(start, stop))
            if own is None:
                found.append(Scored(end, loss / LN2, 0.0, True))
                continue
            limit = next((at for at in range(begin + 1, len(text)) if not 0x80 <= text[at] < 0xC0), len(text))
            surprise = -math.log(reader.mass(row[:start], logprobs[start - base], text[begin:limit]) + 1e-12)
            found.append(Scored(end, loss / LN2, surprise / LN2, begin in own))
            begin = end
    return found, forwarded


def by_line(values: Sequence[tuple[int, float]], text: bytes) -> list[float]:
    """Sums per line of values, each at the byte where its piece ends."""
    ends = [at + 1 for at, byte in enumerate(text) if byte == 10]
    sums = [0.0] * len(ends)
    for end, value in values:
        sums[next(line for line, stop in enumerate(ends) if end <= stop)] += value
    return sums


def compared(mine: Sequence[float], others: Sequence[float], sizes: Sequence[float]) -> dict[str, float]:
    """The value per unit, how much more it is than the other's, and the 95 % bootstrap interval of that over lines."""
    chance = random.Random(0)  # noqa: S311
    lines = [line for line, size in enumerate(sizes) if size]
    means = []
    for _ in range(2000):
        drawn = chance.choices(lines, k=len(lines))
        means.append(sum(mine[line] - others[line] for line in drawn) / sum(sizes[line] for line in drawn))
    means.sort()
    total = sum(sizes)
    return {"value": sum(mine) / total, "more": (sum(mine) - sum(others)) / total, "low": means[50], "high": means[-51]}


def measure(reader: LoadedModel, writer: LoadedModel, texts: Sequence[str]) -> list[dict[str, Any]]:
    """All texts in the pieces of ``writer``, read by ``reader`` in all ways."""
    own, others = (TextTokenizer(model.tokenizer, model.vocabulary) for model in (reader, writer))
    prompt = reader.tokenizer("Text:\n").input_ids
    rows: list[dict[str, Any]] = []
    for name in texts:
        text = TEXTS[name].encode()
        starts = [0, *(end for _, end in others.encode(text))]
        pieces = [text[a:b] for a, b in pairwise(starts)]
        sizes = [len(line) + 1 for line in text.split(b"\n")[:-1]]
        cuts = {0, *(end for _, end in own.encode(text))}
        best: list[float] = []
        plain: dict[bool, list[float]] = {}
        for way in WAYS:
            script = list(steps(way, reader, own, pieces))
            found, forwarded = losses(reader, prompt, script, text, cuts if way != "canonical" else None)
            loss = by_line([(piece.end, piece.loss) for piece in found], text)
            best = best or loss
            row: dict[str, Any] = {"reader": reader.info.name, "pieces of": writer.info.name, "text": name, "way": way}
            row |= {"lines": len(sizes), "bytes": len(text), "pieces": len(pieces)}
            row |= {"tokens": (forwarded - len(prompt)) / len(pieces), "loss": compared(loss, best, sizes)}
            for shared in (True, False) if way != "canonical" else ():  # its pieces are others
                chosen = [piece for piece in found if piece.own is shared]
                if not chosen:
                    continue
                surprise = by_line([(piece.end, piece.surprise) for piece in chosen], text)
                counts = by_line([(piece.end, 1.0) for piece in chosen], text)
                before = plain.setdefault(shared, surprise)
                row["at own cuts" if shared else "elsewhere"] = compared(surprise, before, counts) | {"n": len(chosen)}
            rows.append(row)
    return rows


def shown(part: dict[str, float] | None) -> str:
    """A value, what it is more than its reference, the interval, and n where it differs per row."""
    if part is None:
        return ""
    more = f" {part['more']:+.2f} [{part['low']:+.2f}, {part['high']:+.2f}]" if part["low"] or part["high"] else ""
    return f"{part['value']:.2f}{more}" + (f" n={part['n']}" if "n" in part else "")


def main() -> None:
    """Reads two models and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs=2, type=Path)
    parser.add_argument("--texts", nargs="+", choices=list(TEXTS), default=list(TEXTS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    first, second = (load(folder.name, folder, EngineOptions(threads=1)) for folder in arguments.folders)
    rows = measure(first, second, arguments.texts) + measure(second, first, arguments.texts)
    table = Table(title=f"Another model's pieces ({machine()})", title_justify="left", box=None)
    headings = ("reader", "text", "way", "loss", "surprise at own cuts", "elsewhere", "tokens")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in headings[:3] else "right")
    for row in rows:
        figures = [shown(row.get(part)) for part in ("loss", "at own cuts", "elsewhere")]
        table.add_row(row["reader"], row["text"], row["way"], *figures, f"{row['tokens']:.2f}")
    Console(stderr=True, width=160).print(table)
    if arguments.json:
        json.dump({"machine": machine(), "rows": rows}, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main()
