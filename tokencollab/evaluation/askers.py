"""An `Asker` puts a question to models by one method, and gives a text, the answer read from it, and what it cost.

Token-level methods and single models (`token_level`) and methods that draw whole answers and choose among them
(`response_level`) are all askers, so they run side by side over the same models. `naming` makes them from names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tokencollab.actors.answer import FinishReason
from tokencollab.collaboration import Collaboration
from tokencollab.errors import RunStopped, TokencollabError, UsageError, named
from tokencollab.evaluation.items import Item


@dataclass(frozen=True, slots=True)
class Question:
    """An item as it is put to models."""

    item: Item
    prompt: str
    seed: int
    max_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What an asker brings for one question.

    ``answer`` is canonical, None where none could be read. ``cost``, ``aligned``, ``exit_step``, ``forwarded`` and the
    times are those of `Answer`, summed over the answers drawn where there are several. ``t0`` is the base's
    self-efficacy after each step together, where the exit policy has it. ``lost`` names models that failed,
    ``left`` those that have no room for the item or refuse it, with the reason: the answer is that of the others.
    ``response`` is what a response-level method adds: how it decided, on how many answers of whom.
    """

    text: str
    answer: str | None
    cost: float
    tokens: int
    aligned: int = 0
    exit_step: int | None = None
    finish_reason: FinishReason = "end"
    seconds: float = 0.0
    first_token_seconds: float | None = None
    ms_per_token: float | None = None
    forwarded: Mapping[str, float] = field(default_factory=dict)
    t0: tuple[float, ...] = ()
    lost: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    response: Mapping[str, Any] | None = None


class Asker(Protocol):
    """One method over given models.

    ``collaboration`` is equal for two askers that differ in nothing but who leaves when; ``full`` says that nobody
    does. Loss and saving of an asker are measured against the full one of the same collaboration.
    """

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what it answers, as JSON."""
        ...

    @property
    def collaboration(self) -> object | None: ...

    @property
    def full(self) -> bool: ...

    async def ask(self, team: Collaboration, question: Question) -> GivenAnswer:
        """Puts the question.

        Raises:
            TokencollabError: it could not be answered.
        """
        ...


@dataclass(frozen=True, slots=True)
class OwnAsker:
    """A method of the caller's, named by ``module:name``: what a function of that name makes of the members' names.

    ``inner`` has `ask`; the other attributes of an `Asker` are optional.
    """

    name: str
    members: tuple[str, ...]
    inner: Any

    @classmethod
    def made(cls, name: str, make: object, members: tuple[str, ...]) -> "OwnAsker":
        """Calls ``make(members)``.

        Raises:
            UsageError: it fails, or gives no asker.
        """
        try:
            inner = make(members) if callable(make) else None
        except Exception as error:  # it is somebody's code
            raise UsageError(f"the method {name} fails: {named(error)}") from error
        if not callable(getattr(inner, "ask", None)):
            raise UsageError(
                f"the method {name} must be a class derived from tokencollab.Aggregation, or a function that takes the "
                "names of the models and returns an object with `async def ask(team, question)`"
            )
        return cls(name, members, inner)

    @property
    def settings(self) -> dict[str, Any]:
        return {"own": dict(getattr(self.inner, "settings", {})), "members": list(self.members)}

    @property
    def collaboration(self) -> object | None:
        return getattr(self.inner, "collaboration", None)

    @property
    def full(self) -> bool:
        return bool(getattr(self.inner, "full", False))

    async def ask(self, team: Collaboration, question: Question) -> GivenAnswer:
        try:
            given = await self.inner.ask(team, question)
        except TokencollabError:
            raise
        except Exception as error:
            raise RunStopped(f"the method {self.name} fails at {question.item.id}: {named(error)}") from error
        if not isinstance(given, GivenAnswer):
            raise RunStopped(f"the method {self.name} returned a {type(given).__name__}, not a GivenAnswer")
        return given
