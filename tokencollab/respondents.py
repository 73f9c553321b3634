"""Who answers a question of a method between models: one model, or several that write together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tokencollab.collaboration import Collaboration
from tokencollab.errors import UsageError
from tokencollab.keywords import texts_of
from tokencollab.member import split_members
from tokencollab.models.resolve import unique_names
from tokencollab.policies.methods import Method, parse_method
from tokencollab.policies.responses.response_methods import ResponseMethod


@dataclass(frozen=True, slots=True)
class Respondent:
    """Who answers: one model, or several that write together by a token-level method.

    Attributes:
        name: in results.
        members: names of models of the `Collaboration`, the base first.
        method: by which they write together; None with one member.
    """

    name: str
    members: tuple[str, ...]
    method: Method | None = None

    def __post_init__(self) -> None:
        if not self.members or (len(self.members) > 1) != (self.method is not None):
            raise UsageError(f"{self.name}: several models answer together by a method, one model without")

    @classmethod
    def parse(cls, text: str) -> "Respondent":
        """``MODEL``, or ``method(BASE,MODEL,...)``, e.g. ``unite(A,B)``.

        Raises:
            UsageError: no such method, or a method with less than two models.
        """
        found = re.fullmatch(r"([a-z][a-z0-9-]*|[\w.]+:\w+)\((.*)\)", text.strip())
        if found is None:
            return cls(text, (text,))
        members = tuple(split_members(found[2]))
        if len(members) < 2 or not all(members):
            raise UsageError(f"{text}: models that answer together are written as method(BASE,MODEL,...)")
        return cls(text, members, parse_method(found[1]))

    def writing(self, method: ResponseMethod, sample: int | None) -> Method:
        """How its answer is written: greedily, or sampled."""
        own = self.method or parse_method("base")
        if sample is None or not method.temperature:
            return own
        top = (method.top_k, method.top_k)
        if self.method is not None:  # its truncation is a part of it
            return replace(own, top_t=top, temperature=method.temperature)
        return replace(own, top_k=method.top_k, top_t=top, temperature=method.temperature)

    def price(self, method: ResponseMethod) -> float:
        """The price of one step of one model of it: its own, or the mean of its members'."""
        own = dict(method.prices).get(self.name)
        return own if own is not None else sum(map(method.price_of, self.members)) / len(self.members)


def resolve_respondents(team: Collaboration, wanted: Sequence[str | Respondent] | None) -> Mapping[str, Respondent]:
    """Who answers, by name, in order; every model of ``team`` where nobody is named.

    Raises:
        UsageError: somebody's model is not there.
    """
    here = team.members
    found = [Respondent(name, (name,)) for name in here] if wanted is None else [
        one if isinstance(one, Respondent) else Respondent(one, (one,)) if one in here else Respondent.parse(one)
        for one in texts_of("respondents", wanted)
    ]  # fmt: skip
    for respondent in found:
        for member in respondent.members:
            if member not in here:
                raise UsageError(f"no model {member!r} is here; there are {', '.join(here) or 'none'}")
        if respondent.method is not None:
            team.check_method(respondent.method, respondent.members)
    names = unique_names([respondent.name for respondent in found])
    if not names:
        raise UsageError("at least one model is required")
    return {name: replace(respondent, name=name) for name, respondent in zip(names, found, strict=True)}
