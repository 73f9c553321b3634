"""A GGUF file in llama.cpp against the same weights in transformers, one thread each, in the same run.

Decode steps of all engines alternate in blocks, so that a slow moment of the machine hits all. Beside the speed: how
far apart the answers are (the file is quantised, transformers computes with what it means in float32).

    python -m benchmarks.engines FILE.gguf [--folder CONVERTED] [--tokens N] [--rounds N] [--json]
"""

import argparse
import math
import time
from pathlib import Path

from benchmarks.latency import QUESTION, steps
from benchmarks.measure import Figure, figure, report
from tokencollab.engines.base import Engine
from tokencollab.engines.llamacpp_engine import LlamaCppEngine
from tokencollab.engines.options import EngineOptions
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.models.resolve import resolve
from tokencollab.protocol.candidates import CandidateSet
from tokencollab.protocol.messages import CandidatesReply, ChatMessage, NextCandidates, Open

_ROUND_TEXT = "Sunlight is made of all colours, and air scatters the short waves most. "


def listed(engine: Engine, session: str, text: bytes, start: int, k: int = 10) -> CandidateSet:
    """The engine's candidates after ``text``."""
    while True:
        (answered,) = engine.next_candidates([NextCandidates(session, start, text[start:], k)])
        if answered is not None:
            assert isinstance(answered.reply, CandidatesReply)
            return answered.reply.candidates


def batch(engine: Engine, sessions: int, rounds: int) -> list[float]:
    """Seconds per token of ``sessions`` that step together."""
    names = [f"b{index}" for index in range(sessions)]
    for index, name in enumerate(names):
        engine.open(Open(name, (ChatMessage("user", f"{index}. {QUESTION}"),)))
        listed(engine, name, b"", 0)
    offsets, pieces = [0] * sessions, [b" the"] * sessions
    seconds = []
    for _ in range(rounds):
        asks = [NextCandidates(*ask, 10) for ask in zip(names, offsets, pieces, strict=True)]
        began = time.perf_counter()
        answers = engine.next_candidates(asks)
        seconds.append((time.perf_counter() - began) / sessions)
        for index, answered in enumerate(answers):
            assert answered is not None
            assert isinstance(answered.reply, CandidatesReply)
            offsets[index] += len(pieces[index])
            pieces[index] = next(c.piece for c in answered.reply.candidates.candidates if c.piece)
    for name in names:
        engine.close(name)
    return seconds[1:]


def prefill(engine: Engine, round_: int) -> float:
    """Seconds per token of a prompt of some hundred tokens that no session has computed yet."""
    reply = engine.open(Open("p", (ChatMessage("user", f"{round_}: " + _ROUND_TEXT * 20),)))
    began = time.perf_counter()
    listed(engine, "p", b"", 0)
    seconds = time.perf_counter() - began
    engine.close("p")
    return seconds / getattr(reply, "prompt_tokens", 1)


def apart(engines: list[Engine], tokens: int) -> tuple[list[float], float]:
    """Along the first engine's greedy text: differences in log-probability of its best piece, and argmax agreement."""
    for engine in engines:
        engine.open(Open("apart", (ChatMessage("user", QUESTION),)))
    text, start, same = b"", 0, 0
    differences = []
    for _ in range(tokens):
        first, second = (listed(engine, "apart", text, start) for engine in engines)
        same += first.best.piece == second.best.piece
        other = {c.piece: c.logprob for c in second.candidates}.get(first.best.piece, -math.inf)
        differences.append(abs(first.best.logprob - other))
        start = len(text)
        text += next(c.piece for c in first.candidates if c.piece)
    for engine in engines:
        engine.close("apart")
    return differences, same / tokens


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--folder", type=Path, help="the file converted by transformers (default: by the store)")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(resolve(str(arguments.gguf)).folder)
    engines: dict[str, Engine] = {
        "llama.cpp": LlamaCppEngine.from_file("llama.cpp", arguments.gguf, EngineOptions(threads=1, device="cpu")),
        "float32": TransformersEngine.from_folder("float32", folder, EngineOptions(threads=1, dtype="float32")),
        "bfloat16": TransformersEngine.from_folder("bfloat16", folder, EngineOptions(threads=1, dtype="bfloat16")),
    }
    samples: dict[tuple[str, str], list[float]] = {}
    for round_ in range(arguments.rounds):
        for name, engine in engines.items():
            samples.setdefault(("decode, ms per token", name), []).extend(steps(engine, QUESTION, arguments.tokens))
            samples.setdefault(("prompt, ms per token", name), []).append(prefill(engine, round_))
            samples.setdefault(("16 sessions, ms per token", name), []).extend(batch(engine, 16, 4))
    figures: list[Figure] = []
    for what in sorted({what for what, _ in samples}):
        figures += [figure(f"{what}: {name}", "ms", [s * 1000 for s in samples[what, name]]) for name in engines]
    differences, agreement = apart([engines["float32"], engines["llama.cpp"]], 4 * arguments.tokens)
    finite = [difference for difference in differences if math.isfinite(difference)]
    figures.append(figure("|log p| apart, best piece of float32", "", finite))
    figures.append(figure("same best piece as float32", "", [agreement]))
    report(f"engines on {arguments.gguf.name}", figures, arguments.json, quantisation=engines["llama.cpp"].info.dtype)


if __name__ == "__main__":
    main()
