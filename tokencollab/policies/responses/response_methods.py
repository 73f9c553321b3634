"""Response-level methods: each with its parameters, by name, and the machine that carries one out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Literal, TypeAlias

from tokencollab.errors import UnknownMethod
from tokencollab.policies.parameters import (
    Declaration,
    Declarations,
    Numbers,
    Parameter,
    given_settings,
    parameter,
    parameters_of,
    read_json,
    settable_of,
    unknown_setting,
)
from tokencollab.policies.responses.panels import Order, Panel, agentverse, chateval, mad, moa, simultaneous
from tokencollab.policies.responses.transfer import Plan, Selector
from tokencollab.policies.responses.vote import Pick

Family: TypeAlias = Literal["sampling", "panel", "transfer"]

_MOST_SAMPLES: Final = 10_000
_SWITCH: Final = "ModelSwitch (Chen et al., arXiv 2504.00762)"
_TRANSFER: Final = "Dong et al., arXiv 2604.04929"


@dataclass(frozen=True)
class ResponseMethod(Declaration):
    """How several models answer one question, each with whole answers.

    Parameters that a method does not have can be read all the same: they are as if it did without.

    Attributes:
        family: ``sampling`` (ModelSwitch and its like), ``panel``, ``transfer``.
        models: how many it needs, at least and at most.
        plan: of the family transfer.
    """

    family: ClassVar[Family]
    models: ClassVar[tuple[int, int | None]] = (1, None)
    plan: ClassVar[Plan] = "transfer"

    temperature: float = parameter(0.7, help="of samples; 0 is greedy", low=0)
    top_k: int = parameter(40, help="candidates that samples are drawn from", low=1, high=1000)
    prices: Numbers = parameter((), help="price of one token; 1 where none is given", low=0, high=1e150, option="price")

    def __getattr__(self, name: str) -> Any:
        declared = None if name.startswith("_") else RESPONSES.known.get(name)
        if declared is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return declared.neutral

    @property
    def reward_folder(self) -> str | None:
        return _reward_folder(self.scorer)

    def price_of(self, model: str) -> float:
        return dict(self.prices).get(model, 1.0)

    def check_priors(self, models: Sequence[str]) -> None:
        """Refuses priors that leave ``models`` without a vote.

        Raises:
            UnknownMethod: a prior of a model that does not take part, or 0 for every model.
        """
        priors = dict(self.priors)
        for model in priors:
            if model not in models:
                raise UnknownMethod(f"a prior is given for {model!r}; the models are {', '.join(models)}")
        if not any(priors.get(model, 1) for model in models):
            raise UnknownMethod(f"at least one prior must be above 0 (of {', '.join(models)})")

    def to_json(self) -> dict[str, Any]:
        settings = {name: declared.to_json(getattr(self, name)) for name, declared in _stored().items()}
        return {"name": self.name, "family": self.family, "plan": self.plan, **settings}

    @classmethod
    def from_json(cls, data: object) -> "ResponseMethod":
        """The inverse of `to_json`; settings with a default may be absent.

        Raises:
            UnknownMethod: not settings of such a method; one line says why.
        """
        if not isinstance(data, Mapping):
            raise UnknownMethod(f"a method's settings must be an object, not {data!r}")
        known, names = _stored(), ("name", "family", "plan")
        if unknown := sorted(str(key) for key in data if key not in known and key not in names):
            raise unknown_setting(unknown[0], "", (*names, *known))
        found = RESPONSES.get(data.get("name"))
        if data.get("family") != found.family or data.get("plan", found.plan) != found.plan:
            raise UnknownMethod(f"the method {found.name} is of the family {found.family} with the plan {found.plan}")
        return found(**read_json(data, known, parameters_of(found)))

    def laid_out(self, models: int) -> "ResponseMethod":
        return self

    def with_settings(self, **settings: Any) -> "ResponseMethod":
        """This method with other ``settings``, as those of `parse_response_method`.

        Raises:
            UnknownMethod: a bad value, or a setting that the method does not use.
        """
        return replace(self, **_read(type(self), settings))


def _stored() -> dict[str, Parameter]:
    return {name: declared for name, declared in RESPONSES.known.items() if declared.stored}


def _reward_folder(scorer: str | None) -> str | None:
    name, _, folder = (scorer or "").partition(":")
    return folder or None if name == "reward" else None


@dataclass(frozen=True)
class SampledMethod(ResponseMethod):
    family = "sampling"

    samples: int = parameter(8, help="samples of each model", low=1, high=_MOST_SAMPLES, neutral=1, replayed=True)
    at_once: int | None = parameter(
        None, help="samples of a model drawn at a time (default: all)", low=1, high=_MOST_SAMPLES
    )


@dataclass(frozen=True)
class VotedMethod(SampledMethod):
    priors: Numbers = parameter(
        (), help="weight of a model's vote; 1 where none is given", low=0, high=1e150, option="prior", replayed=True
    )


@dataclass(frozen=True)
class ScoredMethod(SampledMethod):
    """Samples may have scores. A ``scorer`` that is given in Python as a function is called ``callable``."""

    scorer: str | None = parameter(None, help="what scores samples: likelihood or reward:FOLDER", neutral=None)
    pick: Pick = parameter("best", help="by scores: the best sample, or the best sum per answer")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scorer not in (None, "likelihood", "callable") and _reward_folder(self.scorer) is None:
            raise UnknownMethod(f"unknown scorer {self.scorer!r}; there are likelihood and reward:FOLDER")

    def check_given(self, given: Collection[str]) -> None:
        if "pick" in given and self.scorer is None:
            raise UnknownMethod("pick says how scores decide; give a scorer as well")


@dataclass(frozen=True)
class ModelSwitch(ScoredMethod, VotedMethod):
    name = "modelswitch"
    help = "samples of one model after another, until one agrees with itself; else a weighted vote"
    paper = _SWITCH

    threshold: float | None = parameter(
        1.0, help="share of samples that must agree", above=0, high=1, neutral=None, replayed=True
    )
    defer: bool = parameter(
        False, help="draw the rest of a model that cannot agree any more only if it comes to the vote", replayed=True
    )


@dataclass(frozen=True)
class SelfConsistency(SampledMethod):
    name = "self-consistency"
    help = "samples of one model, the commonest answer"
    paper = "Self-consistency (Wang et al., ICLR 2023)"
    models = (1, 1)


@dataclass(frozen=True)
class RandomSwitch(VotedMethod):
    name = "random-switch"
    help = "ModelSwitch that stops after a model by chance, whether its samples agree or not"
    paper = _SWITCH

    stop_probability: float | None = parameter(
        0.5, help="of stopping after a model", low=0, high=1, neutral=None, replayed=True
    )


@dataclass(frozen=True)
class BestOfN(ScoredMethod):
    name = "best-of-n"
    help = "samples of every model, the one with the best score"
    paper = "Best-of-N (Stiennon et al., NeurIPS 2020)"

    scorer: str | None = "likelihood"


@dataclass(frozen=True)
class PanelMethod(ResponseMethod):
    family = "panel"

    panel: Panel | None = parameter(None, help="a panel of your own: roles and stages as a JSON file", settable=False)


@dataclass(frozen=True)
class KnownPanel(PanelMethod):
    rounds: int = parameter(2, help="rounds of a panel, or layers of moa", low=1, high=100, stored=False)

    @staticmethod
    def build(models: int, rounds: int) -> Panel:
        raise NotImplementedError

    def laid_out(self, models: int) -> ResponseMethod:
        panel = self.build(models, self.rounds)
        return replace(self, panel=simultaneous(panel) if self.order == "together" else panel)


@dataclass(frozen=True)
class OrderedPanel(KnownPanel):
    order: Order = parameter("in turn", help="how the members of a panel speak", stored=False)


@dataclass(frozen=True)
class Mad(KnownPanel):
    name = "mad"
    help = "two debate, a judge decides"
    paper = "Multi-agent debate (Liang et al., EMNLP 2024)"
    build = staticmethod(mad)


@dataclass(frozen=True)
class Moa(KnownPanel):
    name = "moa"
    help = "layers of proposers that read each other, an aggregator"
    paper = "Mixture of agents (Wang et al., ICLR 2025)"
    build = staticmethod(moa)


@dataclass(frozen=True)
class ChatEval(OrderedPanel):
    name = "chateval"
    help = "referees with characters discuss one by one (or --order together), then vote"
    paper = "ChatEval (Chan et al., ICLR 2024)"
    build = staticmethod(chateval)


@dataclass(frozen=True)
class AgentVerse(OrderedPanel):
    name = "agentverse"
    help = "recruit experts, decide together, evaluate, again if need be"
    paper = "AgentVerse (Chen et al., ICLR 2024)"
    build = staticmethod(agentverse)

    rounds: int = field(default=3, compare=False)


@dataclass(frozen=True)
class OwnPanel(PanelMethod):
    name = "panel"
    help = "a panel of your own: its roles and stages as data"
    paper = "tokencollab, docs/responses.md"

    panel: Panel | None = parameter(None, help="a panel of your own: roles and stages as a JSON file")

    def laid_out(self, models: int) -> ResponseMethod:
        if self.panel is None:
            raise UnknownMethod("the method panel needs a panel: its roles and stages as data")
        return self


@dataclass(frozen=True)
class Reasoning(ResponseMethod):
    """A large and a small model, both greedy."""

    family = "transfer"
    paper = _TRANSFER
    models = (1, 2)
    no_effect = frozenset({"temperature", "top_k"})


@dataclass(frozen=True)
class Brief(Reasoning):
    short_tokens: int = parameter(32, help="tokens of a short answer at most", low=1, high=1 << 20)


@dataclass(frozen=True)
class Transfer(Brief):
    name = "transfer"
    help = "short answers; where they differ, the small model's reasoning before the large one's short answer"
    models = (2, 2)

    selector: str = parameter("all", help="all, tail(k) or surprise(k): what reasoning is passed on")

    def __post_init__(self) -> None:
        super().__post_init__()
        Selector.parse(self.selector)


@dataclass(frozen=True)
class LargeShort(Brief):
    name = "transfer-large-short"
    help = "baseline: the large model alone, a short answer"
    plan = "large short"


@dataclass(frozen=True)
class LargeReasoning(Reasoning):
    name = "transfer-large-reasoning"
    help = "baseline: the large model alone, with its own reasoning"
    plan = "large reasoning"


@dataclass(frozen=True)
class SmallReasoning(Reasoning):
    name = "transfer-small"
    help = "baseline: the small model (the last) alone, with its reasoning"
    plan = "small reasoning"


RESPONSES: Final = Declarations(
    "method",
    ResponseMethod,
    (
        ModelSwitch, SelfConsistency, RandomSwitch, BestOfN, Mad, Moa, ChatEval, AgentVerse, OwnPanel,
        Transfer, LargeShort, LargeReasoning, SmallReasoning,
    ),
)  # fmt: skip


def list_response_methods() -> list[tuple[str, str, str]]:
    """Every method: its name, one line on what it does, and the paper it is from."""
    return [(name, cls.help, cls.paper) for name, cls in RESPONSES.all().items()]


def is_response_method(name: str) -> bool:
    return RESPONSES.find(name) is not None


def draws_samples(name: str) -> bool:
    """Whether the method draws a number of samples of each model."""
    return is_response_method(name) and RESPONSES.get(name).family == "sampling"


def response_settings(name: str | None = None) -> dict[str, Parameter]:
    """The parameters of the method ``name``, or of all, that are set by their own names."""
    return settable_of(*([RESPONSES.get(name)] if name else RESPONSES.all().values()))


def parse_response_method(name: str, *, models: int | None = None, **settings: Any) -> ResponseMethod:
    """The method ``name`` with ``settings``, its parameters. None means: its default.

    ``models`` is how many models there are: panels are laid out for them. ``rounds`` are the rounds of a panel, or the
    layers of ``moa``; ``order`` is ``in turn`` or ``together``.

    Raises:
        UnknownMethod: no such method, a bad value, a setting that the method does not use, or too many or too few
            models; one line that says what there is or why not.
    """
    found = RESPONSES.find(name)
    if found is None:
        raise UnknownMethod(f"unknown method {name!r} between models; there are {', '.join(RESPONSES.all())}")
    least, most = found.models
    if models is not None and (models < least or (most is not None and models > most)):
        need = str(least) if least == most else f"{least} to {most}" if most else f"{least} or more"
        raise UnknownMethod(f"{name} needs {need} {'model' if most == 1 else 'models'}, not {models}")
    given = _read(found, given_settings(settings))
    method = found(**given)
    method.check_given(given)
    return method.laid_out(models or 1)


def _read(cls: type[ResponseMethod], given: Mapping[str, Any]) -> dict[str, Any]:
    known = settable_of(cls)
    for key in given:
        if key not in known:
            if users := RESPONSES.users(key):
                raise UnknownMethod(f"{key} has no effect with the method {cls.name}; it belongs to {', '.join(users)}")
            raise unknown_setting(key, f" of {cls.name}", known)
    return {key: known[key].read(value) for key, value in given.items()}
