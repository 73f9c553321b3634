"""The method `auto`: what the members of a team can do decides which method they write by.

docs/results.md is why: `consult` answers as bytewise voting does, whatever the tokenizers, for about the cost of the
base alone; the methods of pieces, which stand in where a member gives no byte marginals, are as good only where
tokenizers cut alike. None that adds up raw logits is ever chosen.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from tokencollab.policies.capabilities import SCALE, check_capabilities, lacking
from tokencollab.policies.methods import AUTO, Method
from tokencollab.protocol.messages import ModelInfo

_INSTEAD: Final = ("unite", "gac")
"""Aggregations of pieces, the better first: for members that give no byte marginals."""


def fit(
    method: Method, members: Mapping[str, ModelInfo], untrusted: Collection[str] = ()
) -> tuple[Method, tuple[str, ...]]:
    """The method that ``members`` write by, the base first, and what the user must be told of it and them.

    It is ``method`` itself but for `auto`, whose settings are kept. ``untrusted``: as of `check_capabilities`.

    Raises:
        UsageError: a member cannot do what it requires, as of `check_capabilities`.
    """
    chosen, why = _choose(method, members) if method.name == AUTO else (method, "")
    check_capabilities(chosen, {name: info.capabilities for name, info in members.items()}, untrusted)
    scale = SCALE.format(method=chosen.name) if chosen.scoring.trusts_scale and len(members) > 1 else ""
    return chosen, tuple(filter(None, (why, _plain_text(members), scale)))


def _choose(method: Method, members: Mapping[str, ModelInfo]) -> tuple[Method, str]:
    """Where nothing fits, what would be best, which `check_capabilities` refuses."""
    base, *others = members
    chosen = replace(method, name="consult")
    if not others:
        return chosen, f"{AUTO}: {base} alone"
    asked = ", ".join(others) if len(others) < 4 else f"the {len(others)} others"
    what = f"{base} writes, and where it is unsure asks {asked}"
    unable = _unable(chosen, members)
    if unable is None:
        return chosen, f"{AUTO}: consult; {what}, byte by byte, whatever the tokenizers"
    for aggregation in _INSTEAD:
        instead = replace(method, name=f"{aggregation}+{method.exit}", aggregation=aggregation)
        if _unable(instead, members) is None:
            why = f"{what}, by pieces, since {unable} gives no byte marginals"
            suffer = "; their tokenizers differ, which spoils such votes" if _differ(members) else ""
            return instead, f"{AUTO}: {instead.name}; {why}{suffer}"
    return chosen, ""


def _plain_text(members: Mapping[str, ModelInfo]) -> str:
    """What is told where a plain-text model stands beside an instruct model."""
    plain = [name for name, info in members.items() if not info.chat_template]
    if not plain or len(plain) == len(members):
        return ""
    base = next(iter(members))
    many = len(plain) > 1
    effect = (
        "the answer may go on as a text does; an instruct model makes a better base"
        if base in plain
        else f"{'their votes' if many else 'its vote'} can make the answer of {base} worse"
    )
    them, do = ("are plain-text models", "go") if many else ("is a plain-text model", "goes")
    return f"{', '.join(plain)} {them} (no chat template) and {do} on with a text instead of answering it: {effect}"


def _unable(method: Method, members: Mapping[str, ModelInfo]) -> str | None:
    return next((name for name, info in members.items() if lacking(method, info.capabilities)), None)


def _differ(members: Mapping[str, ModelInfo]) -> bool:
    return len({info.vocabulary for info in members.values()}) > 1
