"""Many answers at once against one at a time; the base alone against transformers' `generate`; memory per session.

    python -m benchmarks.throughput [--base MODEL] [--with MODEL] [--dtype bfloat16] [--tokens N] [--rounds N] [--json]

Every round measures one session at a time, then 4, then 16 at once, so that a slow moment of the machine hits all.
Prompts differ and are part of the time. END is put off by `--tokens` alone: shorter answers count with what they have.
"""

import argparse
import asyncio
import time
from pathlib import Path

from benchmarks.latency import generate_step
from benchmarks.measure import Figure, figure, report
from tokencollab import Collaboration, EngineOptions
from tokencollab.actors.local import LocalRuntime
from tokencollab.actors.runtime import ModelSpec
from tokencollab.engines import store
from tokencollab.engines.base import Engine
from tokencollab.engines.kv import capacity_for
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.protocol.messages import AskCandidates, ChatMessage, Open

SIZES = (1, 4, 16)


def question(number: int) -> str:
    """Questions that share no beginning."""
    return f"{number} is my favourite number. Tell me a long story about the number {number} and the sea."


async def rate(team: Collaboration, sessions: int, tokens: int) -> float:
    """Tokens per second of ``sessions`` answers at once."""
    began = time.perf_counter()
    answers = await asyncio.gather(*(team.generate(question(i), max_tokens=tokens) for i in range(sessions)))
    return sum(answer.tokens for answer in answers) / (time.perf_counter() - began)


async def many(models: list[str], method: str, options: EngineOptions, tokens: int, rounds: int) -> list[Figure]:
    """Tokens per second, and how many times one session's."""
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    async with Collaboration(models[0], models[1:], method, options=options) as team:
        await rate(team, 2, 4)
        for _ in range(rounds):
            for size in SIZES:
                rates[size].append(await rate(team, size, tokens))
    name = "single model" if len(models) == 1 else f"{len(models)} models, {method}"
    figures = [figure(f"{name}: {size} at once", "tokens/s", rates[size]) for size in SIZES]
    for size in SIZES[1:]:
        gains = [many / one for many, one in zip(rates[size], rates[1], strict=True)]
        figures.append(figure(f"{name}: {size} at once / one at a time", "x", gains))
    return figures


async def alone(model: str, tokens: int, rounds: int) -> list[Figure]:
    """Speed of the base alone inside its actor, over that of transformers' greedy `generate` (float32)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = store.resolve(model).folder
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
    files = store.resolve(model)
    engine = TransformersEngine.from_folder(files.name, Path(files.folder), options)
    engine.open(Open("s", (ChatMessage("user", question(1)),)))
    while engine.answer([AskCandidates("s", 0, b"", 10)])[0] is None:
        pass
    config = engine._model.config.get_text_config()
    width = 2 if engine.info.dtype in {"bfloat16", "float16"} else 4
    heads = config.num_key_value_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    expected = capacity_for(engine.pool["s"].length) * 2 * config.num_hidden_layers * heads * width
    return [
        figure(f"KV cache of {engine.pool['s'].length} tokens ({engine.info.dtype})", "MB", [engine.pool.nbytes / 1e6]),
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
    files = store.resolve(spec.name)
    return TransformersEngine.from_folder(files.name, Path(files.folder), EngineOptions(dtype=dtype, threads=2))  # type: ignore[arg-type]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--with", dest="other", default="gemma-3-270m")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    options = EngineOptions(dtype=arguments.dtype)
    tokens, rounds = arguments.tokens, arguments.rounds
    figures = asyncio.run(many([arguments.base], "base", options, tokens, rounds))
    figures += asyncio.run(many([arguments.base, arguments.other], "duetnet", options, tokens, rounds))
    figures += asyncio.run(alone(arguments.base, tokens, rounds))
    figures += memory(arguments.base, options)
    figures += [asyncio.run(differing(arguments.base, dtype, tokens)) for dtype in ("float32", "bfloat16")]
    report("throughput", figures, arguments.json, models=[arguments.base, arguments.other], dtype=arguments.dtype)


if __name__ == "__main__":
    main()
