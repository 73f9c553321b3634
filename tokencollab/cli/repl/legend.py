"""What the figures and words on the screen mean: two lines each (`/help NAME`), as docs/specification.md has them."""

from collections.abc import Mapping
from typing import Final

FIGURES: Final[Mapping[str, tuple[str, str]]] = {
    "T0": (
        "the base's self-efficacy: how well it may go on without the others, from 0 to 1",
        "T0 = ST * RT, and 0 before omega steps. Where T0 > theta the base leaves the others.",
    ),
    "theta": (
        "the threshold of T0: above it the base goes on alone",
        "/set theta 0.5 has it leave earlier; at 1 or more it never leaves.",
    ),
    "ST": (
        "the base's confidence, from single steps",
        "ST = s / (s + f). It is unset (-) before omega steps.",
    ),
    "RT": (
        "the base's reliability, from windows of omega steps",
        "RT = s_w / (s_w + f_w). It begins at 0.5.",
    ),
    "s": (
        "successes of the base in single steps, from 1 on",
        "Each collaborator that ranked the chosen piece no better than the base did adds 1.",
    ),
    "f": (
        "failures of the base in single steps, from 1 on",
        "Each collaborator that ranked the chosen piece better than the base did adds rho.",
    ),
    "s_w": (
        "windows in which the base kept up with the others, from 1 on",
        "A window adds 1 where the base's share of successes is above the others' mean less eps.",
    ),
    "f_w": (
        "windows in which the base fell behind, from 1 on",
        "A window that does not add 1 to s_w adds rho to f_w.",
    ),
    "omega": ("the length of a window, in steps", "T0 is 0 before the first window ends. /set omega 10 changes it."),
    "rho": ("how much a failure counts against a success", "It is above 1. /set rho 2 changes it."),
    "eps": ("how far behind the others a window may be", "/set eps 0.1 is stricter."),
    "step": (
        "one decision: one piece of the answer",
        "/why N shows step N; under bytewise voting a piece is as many bytes as were decided together.",
    ),
    "cost": (
        "the candidate sets that were produced for the answer",
        "A step of all models costs one per model, a step alone costs one.",
    ),
    "full": ("what the cost would be with every model at every step", "The cost beside it is what was spent."),
    "ms": (
        "milliseconds per token of this answer so far",
        "The first token waits for the models to read the question.",
    ),
    "candidates": (
        "the pieces that a model may append next, the best first",
        "Of those sent the first top_k vote, cut at the mass top_p if there is one.",
    ),
    "rank": (
        "the place of a piece among a model's candidates, from 0",
        "cut: the model listed it, and the truncation left it out.",
    ),
    "logit": ("a model's own number for a piece, before the softmax", "Its scale differs from model to model."),
    "prob": ("the probability that a model gives to a piece", "It is the full softmax at temperature 1."),
    "score": (
        "what the aggregation makes of all models' candidates for a piece",
        "The piece with the best score is chosen, or one is drawn (/temperature).",
    ),
}
"""By the name that is on the screen; the first line says what it is."""

_BY_LOWER: Final = {name.lower(): name for name in FIGURES}


def meaning(name: str) -> tuple[str, str] | None:
    """Two lines on a figure, whatever the case of its ``name``; None where there is none."""
    found = _BY_LOWER.get(name.lower().removesuffix("."))
    return None if found is None else (f"{found}: {FIGURES[found][0]}", FIGURES[found][1])
