"""What collaboration costs per token: in process and on Ray, against the models' own steps in the same run.

Floor: both engines step at the same time in two threads, each on its own text, nobody waits for the other. Then the
same two models write an answer together. Rounds of both alternate, so that a slow moment of the machine hits both.

    python -m benchmarks.latency [--base MODEL] [--with MODEL] [--tokens N] [--rounds N] [--json]
"""

import argparse
import asyncio
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.measure import Figure, figure, report
from tokencollab import Collaboration, EngineOptions
from tokencollab.actors.runtimes.threads import LocalRuntime
from tokencollab.engines.base import Engine
from tokencollab.engines.transformers_engine import TransformersEngine
from tokencollab.models.resolve import resolve
from tokencollab.protocol.messages import CandidatesReply, ChatMessage, NextCandidates, Open

QUESTION = "Why is the sky blue? Explain it step by step, with all details that matter."


def steps(engine: Engine, question: str, go_on: Callable[[int], bool]) -> list[float]:
    """Seconds of each decode step of one engine, greedy, prompt not counted, while ``go_on(steps so far)``."""
    engine.open(Open("bench", (ChatMessage("user", question),)))
    offset, data = 0, b""
    seconds: list[float] = []
    while go_on(len(seconds) - 1):
        began = time.perf_counter()
        (answered,) = engine.next_candidates([NextCandidates("bench", offset, data, 10)])
        if answered is None:
            continue
        seconds.append(time.perf_counter() - began)
        assert isinstance(answered.reply, CandidatesReply)
        offset += len(data)
        # EOS is passed over: the text goes on with the best piece that is not EOS.
        data = next(c.piece for c in answered.reply.candidates.candidates if c.piece)
    engine.close("bench")
    return seconds[1:]


def side_by_side(engines: list[Engine], tokens: int) -> list[list[float]]:
    """The engines' steps while all of them step at the same time, uncoordinated, until the slowest has ``tokens``."""
    found: list[list[float]] = [[] for _ in engines]
    done = [False for _ in engines]

    def run(index: int) -> None:
        import torch

        torch.set_num_threads(1)  # counts for this thread

        def go_on(count: int) -> bool:
            done[index] = done[index] or count >= tokens
            return not all(done)

        found[index] = steps(engines[index], QUESTION, go_on)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(engines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


async def together(team: Collaboration, question: str, tokens: int) -> list[float]:
    """Seconds between the commits of an answer, prompt not counted."""
    stamps = [time.perf_counter() async for _ in team.stream(question, max_tokens=tokens + 1)]
    return [after - before for before, after in pairwise(stamps)]


async def overhead(models: tuple[str, str], tokens: int, rounds: int) -> list[Figure]:
    """Floor against collaboration, in process and on Ray."""
    options = EngineOptions(threads=1)
    found = [resolve(model) for model in models]
    engines: dict[str, Engine] = {}
    for index, files in enumerate(found):
        engines[str(index)] = TransformersEngine.from_folder(files.name, Path(files.folder), options)
    names = [engine.info.name for engine in engines.values()]
    alone: list[list[float]] = [[] for _ in models]
    floors: list[list[float]] = [[] for _ in models]
    local: list[float] = []
    ray: list[float] = []
    extra_local: list[float] = []
    extra_ray: list[float] = []
    runtime = LocalRuntime(load=lambda spec: engines[spec.name])
    async with (
        Collaboration("0", [str(i) for i in range(1, len(models))], "duetnet", runtime=runtime) as here,
        Collaboration(models[0], models[1:], "duetnet", runtime="ray", options=options) as there,
    ):
        await together(here, QUESTION, 8)
        await together(there, QUESTION, 8)
        for _ in range(rounds):
            for index, engine in enumerate(engines.values()):
                alone[index] += steps(engine, QUESTION, lambda count: count < tokens // 2)
            round_floor = await asyncio.to_thread(side_by_side, list(engines.values()), tokens)
            slower = max(median(samples) for samples in round_floor)
            for index, samples in enumerate(round_floor):
                floors[index] += samples
            for team, times, extra in ((here, local, extra_local), (there, ray, extra_ray)):
                seconds = await together(team, QUESTION, tokens)
                times.extend(seconds)
                extra.append(median(seconds) - slower)

    def ms(name: str, seconds: list[float]) -> Figure:
        return figure(name, "ms", [value * 1000 for value in seconds])

    return [
        *(ms(f"{name}: own step, machine to itself", s) for name, s in zip(names, alone, strict=True)),
        *(ms(f"{name}: own step, both at once", s) for name, s in zip(names, floors, strict=True)),
        ms("together, in process, per token", local),
        ms("together, on Ray, per token", ray),
        ms("overhead over the slower, in process", extra_local),
        ms("overhead over the slower, on Ray", extra_ray),
    ]


async def growth(model: str, other: str, lengths: tuple[int, int], tokens: int, rounds: int) -> list[Figure]:
    """Time per token after a long text against a short one: ours, together, and transformers' `generate`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    folder = resolve(model).folder
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = tokenizer.decode(tokenizer("The sky is blue because of the air. " * 400).input_ids)
    questions = [tokenizer.decode(tokenizer(words).input_ids[:length]) for length in lengths]
    ratios: dict[str, list[float]] = {"generate": [], "alone": [], "together": []}
    options = EngineOptions(threads=1)
    async with (
        Collaboration(model, [], "base", options=options) as single,
        Collaboration(model, [other], "duetnet", options=options) as pair,
    ):
        for _ in range(rounds):
            both: dict[str, list[float]] = {name: [] for name in ratios}
            for question in questions:
                ids = tokenizer.apply_chat_template(
                    [{"role": "user", "content": question}],
                    add_generation_prompt=True,
                    return_tensors="pt",
                    return_dict=False,
                )
                both["generate"].append(await asyncio.to_thread(generate_step, theirs, ids, tokens))
                both["alone"].append(median(await together(single, question, tokens)))
                both["together"].append(median(await together(pair, question, tokens)))
            for name, (short, long) in both.items():
                ratios[name].append(long / short)
    short, long = lengths
    return [
        figure(f"transformers generate: time per token at {long} / at {short}", "x", ratios["generate"]),
        figure(f"tokencollab, base alone: at {long} / at {short}", "x", ratios["alone"]),
        figure(f"tokencollab, two models: at {long} / at {short}", "x", ratios["together"]),
    ]


def generate_step(model: object, ids: object, tokens: int) -> float:
    """Median seconds per token of transformers' greedy `generate` with its cache, prompt not counted."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    torch.set_num_threads(1)
    stamps: list[float] = []

    class Clock(StoppingCriteria):  # type: ignore[misc]
        def __call__(self, input_ids: torch.Tensor, scores: object, **kwargs: object) -> torch.Tensor:
            stamps.append(time.perf_counter())
            return torch.zeros(input_ids.shape[0], dtype=torch.bool)

    model.generate(  # type: ignore[attr-defined]
        ids,
        do_sample=False,
        max_new_tokens=tokens + 1,
        min_new_tokens=tokens + 1,
        stopping_criteria=StoppingCriteriaList([Clock()]),
    )
    return median(after - before for before, after in pairwise(stamps))


def main() -> None:
    """Runs both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="smollm2-135m-instruct")
    parser.add_argument("--with", dest="other", default="gemma-3-270m")
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", type=int, default=2000, help="text length for the growth of time per token")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    models = (arguments.base, arguments.other)
    figures = asyncio.run(overhead(models, arguments.tokens, arguments.rounds))
    rounds = max(3, arguments.rounds // 2)
    figures += asyncio.run(growth(*models, (16, arguments.long), arguments.tokens // 2, rounds))
    report("latency per token", figures, arguments.json, models=models, method="duetnet", tokens=arguments.tokens)


if __name__ == "__main__":
    main()
