"""Panels as data: who speaks when, who hears whom, and how the end is decided; and those of the literature."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, TypeAlias, get_args

from tokencollab.errors import UnknownMethod

Purpose: TypeAlias = Literal["talk", "recruit", "evaluate", "judge"]
Hears: TypeAlias = Literal["nobody", "last", "all"]
Order: TypeAlias = Literal["together", "in turn"]
Ending: TypeAlias = Literal["vote", "judge"]


@dataclass(frozen=True, slots=True)
class Role:
    """Who speaks: a name, what it is told of itself, and which model plays it (an index, modulo their number)."""

    name: str
    brief: str = ""
    model: int = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a round.

    Attributes:
        speakers: names of roles; ``*`` are the recruited experts.
        task: what they are asked to do. A talk is answered with an answer.
        order: ``together``, or ``in turn``, each hearing those before it (unless it hears nobody).
        hears: ``nobody``, the ``last`` stage that was talk, or ``all`` talk and evaluation.
        purpose: ``talk`` gives answers; ``recruit`` names experts, one a line ("name: what they know"); ``evaluate``
            says ACCEPT, or what must be better; ``judge`` gives the answer, or says CONTINUE for another round.
    """

    speakers: tuple[str, ...]
    task: str
    order: Order = "together"
    hears: Hears = "all"
    purpose: Purpose = "talk"


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Attributes:
        name: its name.
        roles: everybody; those recruited take the place of the roles named ``expert...``.
        stages: what one round consists of.
        rounds: rounds at most.
        ending: ``judge``: the last judge's answer; ``vote``: each talker's last answer counts once.
        once: how many of the first stages belong to the first round only.
    """

    name: str
    roles: tuple[Role, ...]
    stages: tuple[Stage, ...]
    rounds: int = 1
    ending: Ending = "vote"
    once: int = 0

    def __post_init__(self) -> None:
        names = [role.name for role in self.roles]
        if not names or len(set(names)) < len(names) or not all(names):
            raise UnknownMethod(f"a panel needs roles, each with a name of its own, not {names!r}")
        if not self.stages or not 1 <= self.rounds <= 100 or not 0 <= self.once < len(self.stages):
            raise UnknownMethod("a panel needs stages, 1 to 100 rounds, and at least one stage in every round")
        for stage in self.stages:
            strangers = [name for name in stage.speakers if name != "*" and name not in names]
            if strangers or not stage.speakers:
                raise UnknownMethod(f"a stage of the panel is spoken by {strangers or 'nobody'}; roles are {names!r}")
            for field, allowed in (("order", Order), ("hears", Hears), ("purpose", Purpose)):
                if getattr(stage, field) not in get_args(allowed):
                    raise UnknownMethod(f"{field} of a stage must be one of {', '.join(get_args(allowed))}")
        if self.ending not in get_args(Ending):
            raise UnknownMethod(f"the ending of a panel must be one of {', '.join(get_args(Ending))}")
        if self.ending == "judge" and not any(stage.purpose == "judge" for stage in self.stages):
            raise UnknownMethod("a panel that ends with a judge needs a stage of the purpose judge")

    @property
    def experts(self) -> tuple[str, ...]:
        """The places that a recruiter fills."""
        return tuple(role.name for role in self.roles if role.name.startswith("expert"))

    @property
    def budget(self) -> int:
        one = [sum(len(self.experts) if name == "*" else 1 for name in stage.speakers) for stage in self.stages]
        return sum(one) * self.rounds - sum(one[: self.once]) * (self.rounds - 1)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> "Panel":
        """The inverse of `to_json`; what has a default may be absent.

        Raises:
            UnknownMethod: not a panel; one line says why.
        """
        try:
            fields = dict(_mapping(data))
            roles = tuple(Role(**_mapping(role)) for role in fields.pop("roles"))
            stages = [dict(_mapping(stage)) for stage in fields.pop("stages")]
            for stage in stages:
                stage["speakers"] = tuple(stage["speakers"])
            panel = cls(roles=roles, stages=tuple(Stage(**stage) for stage in stages), **fields)
        except (KeyError, TypeError, ValueError) as error:
            raise UnknownMethod(f"not a panel: {error}") from None
        _check_types(panel)
        return panel


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"an object expected, not {value!r}")
    return value


def _check_types(panel: Panel) -> None:
    texts = [panel.name, *(role.name for role in panel.roles), *(role.brief for role in panel.roles)]
    texts += [stage.task for stage in panel.stages] + [name for stage in panel.stages for name in stage.speakers]
    if not all(isinstance(text, str) for text in texts):
        raise UnknownMethod("not a panel: names, briefs and tasks must be texts")
    if not all(type(number) is int for number in (panel.rounds, panel.once, *(role.model for role in panel.roles))):
        raise UnknownMethod("not a panel: rounds, once and the models of roles must be whole numbers")
    whole = [panel.rounds, panel.once, *(role.model for role in panel.roles)]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in whole):
        raise UnknownMethod("not a panel: rounds, once and a role's model must be whole numbers from 0 on")


# ---------------------------------------------------------------- of the literature

_ANSWER: Final = "Think step by step, then give your answer."


def mad(models: int, rounds: int) -> Panel:
    """Multi-agent debate (Liang et al., EMNLP 2024): one proposes, one objects, a judge ends it."""
    roles = (
        Role("affirmative", "You take part in a debate. You defend what you believe is right.", 0),
        Role("negative", "You take part in a debate. You look for what is wrong in what the other side says.", 1),
        Role("judge", "You judge a debate. You do not take sides.", 2 if models > 2 else 0),
    )
    stages = (
        Stage(("affirmative",), _ANSWER),
        Stage(("negative",), "Say where you disagree and why, then give your own answer."),
        Stage(
            ("judge",),
            "If it is clear which answer is right, say so and give it. If not, say CONTINUE and nothing else.",
            purpose="judge",
        ),
    )
    return Panel("mad", roles, stages, rounds, "judge")


def moa(models: int, rounds: int) -> Panel:
    """Mixture of agents (Wang et al., ICLR 2025): layers of proposers, each reading the layer before; an aggregator."""
    proposers = tuple(Role(f"proposer {index + 1}", model=index) for index in range(models))
    roles = (*proposers, Role("aggregator", model=0))
    names = tuple(role.name for role in proposers)
    stages = (
        Stage(names, _ANSWER, hears="nobody"),
        *(
            Stage(names, "Read these answers critically: some may be wrong. Then write a better one.", hears="last")
            for _ in range(rounds - 1)
        ),
        Stage(
            ("aggregator",),
            "Read these answers critically: some may be wrong. Combine them into one answer, and give it.",
            hears="last",
            purpose="judge",
        ),
    )
    return Panel("moa", roles, stages, 1, "judge")


def chateval(models: int, rounds: int) -> Panel:
    """ChatEval (Chan et al., ICLR 2024): referees with different characters discuss one by one, then vote."""
    characters = (
        ("general public", "You are a member of the public, and judge by common sense."),
        ("critic", "You are a critic. You check every claim and look for mistakes."),
        ("mathematician", "You are a mathematician. You calculate and reason with care."),
    )
    roles = tuple(Role(name, brief, index) for index, (name, brief) in enumerate(characters))
    stage = Stage(tuple(role.name for role in roles), "Discuss the question, then give your answer.", "in turn")
    return Panel("chateval", roles, (stage,), rounds)


def agentverse(models: int, rounds: int) -> Panel:
    """AgentVerse (Chen et al., ICLR 2024): recruit experts, decide together, evaluate, and again if need be."""
    experts = tuple(
        Role(f"expert {index + 1}", "You are an expert on the question.", index) for index in range(max(2, models))
    )
    roles = (Role("recruiter"), *experts, Role("evaluator"))
    stages = (
        Stage(
            ("recruiter",),
            f"Which {len(experts)} experts should work on this question? Name one a line, as "
            '"name: what this expert knows and does". Do not answer the question.',
            purpose="recruit",
        ),
        Stage(("*",), "Work on the question with the others, then give your answer.", "in turn"),
        Stage(
            ("evaluator",),
            "Is the experts' answer right and complete? If so, say ACCEPT. If not, say what must be better.",
            hears="last",
            purpose="evaluate",
        ),
    )
    return Panel("agentverse", roles, stages, rounds)


def simultaneous(panel: Panel) -> Panel:
    """The panel with everybody of a stage speaking at once."""
    return replace(panel, stages=tuple(replace(stage, order="together") for stage in panel.stages))


def read_experts(text: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """What a recruiter wrote, as (name, brief) for as many ``names`` as there are lines with a colon."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        name, colon, brief = line.strip().lstrip("-*•#0123456789.) \t").partition(":")
        name, brief = name.strip(" *_`"), brief.strip(" *_`")
        if colon and brief and 0 < len(name) <= 60:
            found.append((name, brief[:400]))
    return found[: len(names)]
