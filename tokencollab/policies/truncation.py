"""Truncation: how much of a model's candidates takes part (docs/specification.md section 2)."""

from math import exp
from typing import Literal

from tokencollab.policies.ties import TIE
from tokencollab.protocol.candidates import Candidate


def truncate(
    candidates: tuple[Candidate, ...], top_k: int, top_p: float | None, over: Literal["vocabulary", "top_k"]
) -> tuple[Candidate, ...]:
    """The ``top_k`` best of ``candidates`` (best first), of those the shortest head that reaches ``top_p``.

    ``top_p`` None is top_k(k) (UniTE, DK); otherwise joint(k, p) of DuetNet eq. 2. Probabilities are the
    model's full softmax (``over="vocabulary"``; the paper does not say), or renormalised over the ``top_k``.
    At least one piece is kept, and all ``top_k`` where even they do not reach ``top_p``.
    """
    head = candidates[:top_k]
    if top_p is None:
        return head
    target = top_p
    if over == "top_k":
        mass = 0.0
        for candidate in head:
            mass += exp(candidate.logprob)
        target = top_p * mass
    target *= 1.0 - TIE  # a mass that is p but for the rounding of logarithms reaches it
    reached = 0.0
    for count, candidate in enumerate(head, start=1):
        reached += exp(candidate.logprob)
        if reached >= target:
            return head[:count]
    return head
