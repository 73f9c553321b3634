"""Many answers at once against one at a time; the base alone against transformers' `generate`; memory per session.

    python -m benchmarks.throughput [--base MODEL] [--with MODEL] [--dtype bfloat16] [--tokens N] [--rounds N] [--json]

Every round measures one session at a time, then 4, then 16 at once, so that a slow moment of the machine hits all.
Prompts differ and are part of the time. EOS is put off by `--tokens` alone: shorter answers count with what they have.

Beside it: what the same sharing brings to the linear layers alone (each model's in its own thread, as in an answer), on
as many rows as the forward passes of that measurement had. That is what the machine's matrix products leave to gain.
"""

import argparse
import asyncio
import threading
import time
from bisect import bisect_left
from pathlib import Path

from benchmarks.latency import generate_step
from benchmarks.measure import Figure, figure, report
from tokencollab import Collaboration, EngineOptions
from tokencollab.actors.runtimes.base import ModelSpec
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.engines.base import Engine
from tokencollab.engines.built_in import import_engines
from tokencollab.engines.kv_cache import capacity_for
from tokencollab.models.resolve import resolve
from tokencollab.protocol.messages import ChatMessage, NextCandidates, Open

import_engines()

import torch  # noqa: E402  (after its threads were told how to wait)

from tokencollab.engines.session_pool import Session  # noqa: E402
from tokencollab.engines.transformers_engine import TransformersEngine  # noqa: E402

SIZES = (1, 4, 16)
GRID = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # rows of which the linear layers' time is measured


def question(number: int) -> str:
    """Questions that share no beginning (but a chat template's own)."""
    return f"{number} is my favourite number. Tell me a long story about the number {number} and the sea."


class Counting(TransformersEngine):
    """Notes how many rows each forward pass has, in the layers and in the output layer."""

    passes: list[tuple[int, int]]

    def _compute(self, work: list[tuple[Session, list[int]]], every: bool = False) -> torch.Tensor:
        self.passes.append((sum(len(new) for _, new in work), len(work)))
        return super()._compute(work, every)


class Linear:
    """The linear layers of a model, without all else."""

    def __init__(self, engine: Counting, threads: int | None) -> None:
        model = engine._model
        head = model.get_output_embeddings()
        self.head = [head.weight]
        self.body = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
        self.threads = threads

    def run(self, weights: list[torch.Tensor], rows: int) -> float:
        """Seconds for ``rows`` rows through all ``weights``."""
        inputs = {w.shape[1]: torch.randn(rows, w.shape[1]).to(w.dtype) for w in weights}
        with torch.inference_mode():
            began = time.perf_counter()
            for weight in weights:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)
            return time.perf_counter() - began


def grids(models: list[Linear]) -> list[tuple[dict[int, float], dict[int, float]]]:
    """Seconds of each model's layers and output layer by rows, while the others' do the same in their threads."""
    found: list[tuple[dict[int, float], dict[int, float]]] = [({}, {}) for _ in models]

    def measure(index: int) -> None:
        torch.set_num_threads(models[index].threads or 1)
        for rows in GRID:
            for weights, times in zip((models[index].body, models[index].head), found[index], strict=True):
                times[rows] = min(models[index].run(weights, rows) for _ in range(2))

    threads = [threading.Thread(target=measure, args=(index,)) for index in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def between(times: dict[int, float], rows: int) -> float:
    """The time for ``rows``, on the line between its neighbours in the grid."""
    upper = max(1, min(bisect_left(GRID, rows), len(GRID) - 1))
    low, high = GRID[upper - 1], GRID[upper]
    return times[low] + (times[high] - times[low]) * (rows - low) / (high - low)


async def rate(team: Collaboration, sessions: int, tokens: int) -> float:
    """Tokens per second of ``sessions`` answers at once."""
    began = time.perf_counter()
    answers = await asyncio.gather(*(team.generate(question(i), max_tokens=tokens) for i in range(sessions)))
    return sum(answer.tokens for answer in answers) / (time.perf_counter() - began)


async def many(models: list[str], method: str, options: EngineOptions, tokens: int, rounds: int) -> list[Figure]:
    """Tokens per second, how many times one session's, and how many times that the linear layers alone would be."""
    loaded: list[tuple[Counting, Linear]] = []

    def load(spec: ModelSpec) -> Engine:
        files = resolve(spec.name)
        engine = Counting.from_folder(files.name, Path(files.folder), spec.options)
        assert isinstance(engine, Counting)
        engine.passes = []
        loaded.append((engine, Linear(engine, spec.options.threads)))
        return engine

    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    decode: dict[int, list[float]] = {size: [] for size in SIZES}
    whole: dict[int, list[float]] = {size: [] for size in SIZES}
    runtime = LocalRuntime(load=load)
    async with Collaboration(models[0], models[1:], method, options=options, runtime=runtime) as team:
        await rate(team, 2, 4)
        for _ in range(rounds):
            passes: dict[int, list[list[tuple[int, int]]]] = {}
            for size in SIZES:
                for engine, _ in loaded:
                    engine.passes.clear()
                rates[size].append(await rate(team, size, tokens))
                passes[size] = [list(engine.passes) for engine, _ in loaded]
            times = await asyncio.to_thread(grids, [linear for _, linear in loaded])
            for size in SIZES:
                decode[size].append(size / max(body[size] + head[size] for body, head in times))
                whole[size].append(
                    size
                    / max(
                        sum(between(body, rows) + between(head, last) for rows, last in of_model)
                        for (body, head), of_model in zip(times, passes[size], strict=True)
                    )
                )
    name = "single model" if len(models) == 1 else f"{len(models)} models, {method}"
    figures = [figure(f"{name}: {size} at once", "tokens/s", rates[size]) for size in SIZES]
    for size in SIZES[1:]:
        for what, found in (
            ("", rates),
            (", linear layers alone, the same passes", whole),
            (", linear layers alone, decoding", decode),
        ):
            gains = [many / one for many, one in zip(found[size], found[1], strict=True)]
            figures.append(figure(f"{name}: {size} at once / one{what}", "x", gains))
    fastest = {size: max(rates[size]) for size in SIZES}
    figures += [figure(f"{name}: fastest round, {size} at once", "tokens/s", [fastest[size]]) for size in SIZES]
    for size in SIZES[1:]:
        what = f"{name}: fastest rounds, {size} at once / one"
        figures += [figure(what, "x", [fastest[size] / fastest[1]])]
    return figures


async def alone(model: str, tokens: int, rounds: int) -> list[Figure]:
    """Speed of the base alone inside its actor, over that of transformers' greedy `generate` (float32)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve(model).folder
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": question(1)}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    mine, generate, ratios = [], [], []
    async with Collaboration(model, options=EngineOptions(dtype="float32", threads=1)) as team:
        await team.generate(question(1), max_tokens=8)
        for _ in range(rounds * 3):
            generate.append(await asyncio.to_thread(generate_step, theirs, ids, tokens) * 1000)
            answer = await team.generate(question(1), max_tokens=tokens)
            assert answer.ms_per_token is not None
            mine.append(answer.ms_per_token)
            ratios.append(generate[-1] / mine[-1])
    return [
        figure("transformers generate, per token", "ms", generate),
        figure("base alone, per token", "ms", mine),
        figure("speed of the base alone / of generate", "x", ratios),
    ]


def memory(model: str, options: EngineOptions) -> list[Figure]:
    """KV cache of one session, measured and by the arithmetic of the architecture."""
    files = resolve(model)
    engine = TransformersEngine.from_folder(files.name, Path(files.folder), options)
    engine.open(Open("s", (ChatMessage("user", question(1)),)))
    while engine.next_candidates([NextCandidates("s", 0, b"", 10)])[0] is None:
        pass
    config = engine._model.config.get_text_config()
    width = 2 if engine.info.dtype in {"bfloat16", "float16"} else 4
    heads = config.num_key_value_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    expected = capacity_for(engine.pool["s"].length) * 2 * config.num_hidden_layers * heads * width
    what = f"KV cache of a session of {engine.pool['s'].length} tokens ({engine.info.name}, {engine.info.dtype})"
    return [
        figure(what, "MB", [engine.pool.nbytes / 1e6]),
        figure("the same by arithmetic, in blocks of 128 tokens", "MB", [expected / 1e6]),
    ]


async def differing(model: str, dtype: str, tokens: int) -> Figure:
    """The share of 16 answers whose text alone and in a batch of 16 is not the same (greedy)."""
    runtime = LocalRuntime(load=lambda spec: load(spec, dtype))
    async with Collaboration(model, runtime=runtime) as team:
        together = await asyncio.gather(*(team.generate(question(i), max_tokens=tokens) for i in range(16)))
        single = [await team.generate(question(i), max_tokens=tokens) for i in range(16)]
    share = sum(a.pieces != b.pieces for a, b in zip(together, single, strict=True)) / 16
    return figure(f"{dtype}: answers that differ in a batch of 16 ({tokens} tokens)", "of 1", [share])


def load(spec: ModelSpec, dtype: str) -> Engine:
    """An engine of a given dtype."""
    files = resolve(spec.name)
    return TransformersEngine.from_folder(files.name, Path(files.folder), EngineOptions(dtype=dtype, threads=2))  # type: ignore[arg-type]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--with", dest="other", default="gemma-3-270m")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    options = EngineOptions(dtype=arguments.dtype)
    tokens, rounds = arguments.tokens, arguments.rounds
    figures = asyncio.run(many([arguments.base], "base", options, tokens, rounds))
    figures += asyncio.run(many([arguments.base, arguments.other], "duetnet", options, tokens, rounds))
    figures += asyncio.run(alone(arguments.base, tokens, rounds))
    for model in (arguments.base, arguments.other):
        figures += memory(model, options)
    figures += [asyncio.run(differing(arguments.base, dtype, tokens)) for dtype in ("float32", "bfloat16")]
    report("throughput", figures, arguments.json, models=[arguments.base, arguments.other], dtype=arguments.dtype)


if __name__ == "__main__":
    main()
