"""The state machine that carries out a response-level method."""

from collections.abc import Sequence
from typing import Any, Protocol

from tokencollab.errors import UnknownMethod
from tokencollab.policies.responses.events import ResponseCommand, ResponseEvent, Turns
from tokencollab.policies.responses.panel import PanelPolicy
from tokencollab.policies.responses.response_methods import ResponseMethod
from tokencollab.policies.responses.switch import SwitchPolicy
from tokencollab.policies.responses.switching import Rule
from tokencollab.policies.responses.transfer import Selector, TransferPolicy


class ResponsePolicy(Protocol):
    """Two pure functions over a frozen state (see `events`); the state is comparable data."""

    def start(self) -> tuple[Any, tuple[ResponseCommand, ...]]: ...

    def step(self, state: Any, event: ResponseEvent) -> tuple[Any, tuple[ResponseCommand, ...]]: ...


def make_rule(method: ResponseMethod, models: Sequence[str], chances: Sequence[float] = ()) -> Rule:
    """What decides for a method of the family sampling.

    ``chances`` are numbers in [0, 1), one per model, of random switching.

    Raises:
        UnknownMethod: a prior of a model that does not take part, or 0 for every model.
    """
    method.check_priors(models)
    stops = None
    if method.stop_probability is not None:
        stops = tuple(chance < method.stop_probability for chance in chances)
        if len(stops) != len(models):
            raise UnknownMethod("random switching needs a chance for every model")
    whole = method.scorer is not None and method.threshold is None  # best-of-N scores everything
    return Rule(
        tuple(models),
        method.samples,
        method.threshold,
        method.priors,
        early=not whole and method.scorer is None,
        defer=method.defer,
        stops=stops,
    )


def make_response_policy(
    method: ResponseMethod, models: Sequence[str], turns: Turns, *, form: str = "", chances: Sequence[float] = ()
) -> ResponsePolicy:
    """The state machine that carries out ``method`` over ``models``, in order.

    Args:
        method: with its settings.
        models: names; for transfer the large one first.
        turns: the conversation that they answer.
        form: how the final answer is wanted, for the methods that ask in words of their own.
        chances: see `make_rule`.

    Raises:
        UnknownMethod: the models do not fit the method.
    """
    if not models or len(set(models)) < len(models):
        raise UnknownMethod(f"a response-level method needs models, each named once, not {list(models)!r}")
    match method.family:
        case "sampling":
            rule = make_rule(method, models, chances)
            return SwitchPolicy(rule, turns, method.at_once, method.pick if method.scorer else None)
        case "panel":
            if method.panel is None:
                raise UnknownMethod(f"the method {method.name} needs its panel")
            return PanelPolicy(method.panel, tuple(models), turns, form)
        case "transfer":
            if method.plan == "transfer" and len(models) != 2:
                raise UnknownMethod(f"transfer needs a large and a small model, not {len(models)}")
            small = models[-1] if method.plan in ("transfer", "small reasoning") else None
            return TransferPolicy(models[0], small, turns, method.plan, Selector.parse(method.selector), form)
