"""Tokens that each model forwards per committed piece, over long answers in several languages.

    python -m benchmarks.forwarding [--base MODEL] [--with MODEL] [--tokens N] [--method NAME] [--read-only] [--json]

First, without any forward pass, the worst that can be: each model reads texts that are all in the other's pieces.
Then whole answers, of the pair both ways and of each model with its copy. A team's answers are written at once, and EOS
does not stop them: it is taken out of what the models list.

Floor: each of the model's own tokens of the finished text must be forwarded once, and something for every piece, since
the model is asked after each.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from benchmarks.measure import Figure, figure, report
from benchmarks.retokenisation import TEXTS
from tokencollab import Collaboration, EngineOptions
from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.engines.base import Engine, EngineReply, EngineRequest
from tokencollab.engines.built_in import import_engines
from tokencollab.models.resolve import resolve
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import CandidatesReply

import_engines()

from tokencollab.engines.text.alignment import AnswerText  # noqa: E402  (after `import_engines`)
from tokencollab.engines.transformers_engine import TransformersEngine  # noqa: E402

QUESTIONS = {
    "English": "Tell me a long story about a lighthouse and the sea.",
    "German": "Erzähle mir eine lange Geschichte über einen Leuchtturm und das Meer.",
    "Russian": "Расскажи мне длинную историю о маяке и море.",
    "Chinese": "给我讲一个关于灯塔和大海的长故事。",
    "code": "Write a Python module with a class for matrices and all usual operations, with tests.",
}


class Endless(TransformersEngine):
    """An engine that never lists EOS."""

    def next_candidates(self, requests: Sequence[EngineRequest]) -> list[EngineReply | None]:
        """As the engine itself, without EOS."""
        return [self._going_on(answered) for answered in super().next_candidates(requests)]

    def _going_on(self, answered: EngineReply | None) -> EngineReply | None:
        if answered is None or not isinstance(reply := answered.reply, CandidatesReply):
            return answered
        kept = tuple(c for c in reply.candidates.candidates if c.piece is not None)
        listed = replace(reply, candidates=CandidateSet(kept, reply.candidates.log_normaliser))
        return EngineReply(listed, answered.greedy if answered.greedy is not None else kept[0].piece)


def read(reader: TransformersEngine, writer: TransformersEngine) -> list[Figure]:
    """Forwarded per piece, floor, and their ratio, for texts in pieces of ``writer``'s own tokens."""
    figures = []
    for language, text in TEXTS.items():
        data = text.encode()
        cuts = [end for _, end in writer._text_tokenizer.encode(data)]
        held = AnswerText(reader._vocabulary, reader._text_tokenizer)
        forwarded = 0
        for start, end in pairwise([0, *cuts]):
            held.stable = len(held.ids)
            held.bring_in_line(start, data[start:end])
            # Where only the end was taken off, the last token is computed again.
            forwarded += max(0 if held.pending else 1, len(held.ids) - held.stable)
        own = max(1.0, len(reader._text_tokenizer.encode(data)) / len(cuts))
        what = f"{language}, {len(cuts)}: {short(reader.info.name)} reads {short(writer.info.name)}"
        figures += three(what, forwarded / len(cuts), own)
    return figures


def three(what: str, forwarded: float, floor: float) -> list[Figure]:
    """The figures of one answer."""
    return [
        figure(f"{what}, forwarded", "a piece", [forwarded]),
        figure(f"{what}, floor", "a piece", [floor]),
        figure(f"{what}, forwarded / floor", "x", [forwarded / floor]),
    ]


async def count(models: Sequence[str], method: str, tokens: int) -> list[Figure]:
    """Forwarded per piece, own tokens of the text per piece, and their ratio, of each model in each language."""
    engines: dict[str, Endless] = {}

    def load(spec: ModelSpec) -> Engine:
        # A copy of the base has a name of its own, with a number behind.
        files = resolve(next(model for model in models if spec.name.startswith(model)))
        engine = Endless.from_folder(spec.name, Path(files.folder), EngineOptions(threads=1))
        assert isinstance(engine, Endless)
        engines[spec.name] = engine
        return engine

    async with Collaboration(models[0], models[1:], method, runtime=LocalRuntime(load=load)) as team:
        answers = await asyncio.gather(*(team.generate(text, max_tokens=tokens) for text in QUESTIONS.values()))
    figures = []
    for language, answer in zip(QUESTIONS, answers, strict=True):
        text = b"".join(piece or b"" for piece in answer.pieces)
        for name, engine in engines.items():
            own = max(1.0, len(engine._text_tokenizer.encode(text)) / len(answer.pieces))
            session = next((other for other in engines if other != name), name)
            what = f"{language}, {len(answer.pieces)}: {short(name)} with {short(session)}"
            figures += three(what, answer.forwarded[name], own)
    return figures


def short(name: str) -> str:
    """A model's name in a table."""
    return name.partition("-")[0] + ("#" + name.partition("#")[2] if "#" in name else "")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--with", dest="other", default="gemma-3-270m")
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--method", default="unite")
    parser.add_argument("--read-only", action="store_true", help="only the first part")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    one, other = arguments.base, arguments.other
    engines = [
        TransformersEngine.from_folder(name, Path(resolve(name).folder), EngineOptions()) for name in (one, other)
    ]
    figures = read(engines[0], engines[1]) + read(engines[1], engines[0])
    for models in () if arguments.read_only else ((one, other), (other, one), (one, one), (other, other)):
        figures += asyncio.run(count(models, arguments.method, arguments.tokens))
    report("tokens forwarded", figures, arguments.json, method=arguments.method, tokens=arguments.tokens)


if __name__ == "__main__":
    main()
