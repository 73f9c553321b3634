"""A batch as a job of a Ray cluster.

    export RAY_AUTH_MODE=token; ray get-auth-token --generate > /dev/null
    ray start --head --dashboard-host 127.0.0.1 --disable-usage-stats
    ray job submit --address http://127.0.0.1:8265 --working-dir . -- python -m examples.batch_job "$PWD/answers.jsonl"

Each model is an actor that Ray places, one process each; this program is the driver, which holds the texts and
decides. All problems are asked at once, so that the models answer them in shared forward passes. The job runs in a
copy of the working directory that Ray removes afterwards: what it writes needs a whole path. For files of prompts,
resuming after a crash and answers on the disk one by one there is `tokencollab batch` (docs/batch.md), submitted in
the same way; a program of your own like this one is for what that does not do, such as grading each answer at once, as
here.
"""

import asyncio
import json
import sys
from pathlib import Path

from tokencollab import Collaboration

PROBLEMS = {"20+24*2+0-25*13": -257, "1+2*3+4-5*6": -19, "7+8*9+10-11*12": -43}


async def main(out: str, base: str = "arith-bytes", collaborator: str = "arith-pairs") -> None:
    """Answers every problem and writes one line each."""
    async with Collaboration(base, [collaborator], "bytewise", runtime="ray") as team:
        answers = await asyncio.gather(*(team.generate(problem) for problem in PROBLEMS))
    lines = [
        {"problem": problem, "answer": answer.text, "right": answer.text.endswith(f"answer {result}")}
        for (problem, result), answer in zip(PROBLEMS.items(), answers, strict=True)
    ]
    await asyncio.to_thread(Path(out).write_text, "".join(json.dumps(line) + "\n" for line in lines))
    print(f"{sum(line['right'] is True for line in lines)} of {len(lines)} right, in {out}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
