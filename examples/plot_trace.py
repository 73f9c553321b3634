"""Replay a trace and plot it.

    tokencollab generate "20+24*2+0-25*13" --base arith-bytes --with arith-pairs --method confipara-u --trace run.jsonl
    python -m examples.plot_trace run.jsonl run.png [METHOD]

A trace has every model's candidates at every step, so any method's decisions can be computed again without a model,
and without METHOD those of the method that wrote it. Above, the probability that each model gave to the piece that was
chosen; below, ST, RT and T0 of the exit policy as they moved, with the threshold theta and the step at which the base
left. Steps in which METHOD would have chosen another piece are marked: what would follow there is not in the trace, so
its figures from there on are those of the recorded text.
"""

import sys
from math import exp
from pathlib import Path

from tokencollab import parse_method
from tokencollab.policies.recording import method_of
from tokencollab.policies.replay import replay
from tokencollab.protocol.trace import parse_trace


def main(trace_file: str, picture: str, method_name: str | None = None) -> None:
    """Reads the trace and writes the picture."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    with Path(trace_file).open(encoding="utf-8") as file:
        trace = parse_trace(file)
    method = method_of(trace) if method_name is None else parse_method(method_name)
    made = list(replay(trace, method, past_exit=True))
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(9, 5), layout="constrained")
    for model in trace.models:
        pairs = [(step.step, dict(step.candidates).get(model), step.chosen) for step in trace.steps]
        points = [
            (number, next((exp(c.logprob) for c in sent.candidates if c.piece == chosen), 0.0))
            for number, sent, chosen in pairs
            if sent is not None
        ]
        above.plot(*zip(*points, strict=True), ".-", label=model)
    other = [step.step for step in made if step.decided and step.chosen != step.recorded]
    if other:
        above.plot(other, [1.05] * len(other), "v", color="black", label=f"{method.name} chooses another")
    above.set(ylabel="probability of the piece", ylim=(-0.05, 1.1), title=f"{method.name} over {Path(trace_file).name}")
    above.legend(fontsize="small")
    for name in ("st", "rt", "t0"):
        curve = [(step.step, getattr(step.efficacy, name)) for step in made if step.efficacy is not None]
        if curve:
            below.plot(*zip(*curve, strict=True), label=name.upper())
    below.axhline(method.theta, linestyle=":", color="black", label="theta")
    if left := next((step.step for step in made if step.exited), None):
        below.axvline(left, linestyle="--", color="gray", label=f"exit after step {left}")
    below.set(xlabel="step", ylim=(0, 1))
    below.legend(fontsize="small")
    figure.savefig(picture, dpi=120)
    plt.close(figure)
    print(f"{len(made)} steps, {len(other)} of them other; {picture}")


if __name__ == "__main__":
    main(*sys.argv[1:])
