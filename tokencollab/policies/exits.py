"""Exit policies without figures of their own, and what builds any exit (methods.md section 5)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from tokencollab.policies.evidence import Evidence, ExitPolicy, Verdict
from tokencollab.policies.settings import Method

STAY = Verdict()


@dataclass(frozen=True, slots=True)
class Never:
    """All models take part to the end: UniTE, DuetNet and every other full collaboration."""

    needs_decisive: ClassVar[bool] = False
    watch: ClassVar[int | None] = None

    def start(self, base: str) -> None:
        """There is nothing to remember."""

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Stay."""
        return None, STAY


@dataclass(frozen=True, slots=True)
class Fixed:
    """Collaboration on the first ``tokens`` tokens only: UPara-N and DPara-N of the ConfiPara paper."""

    tokens: int
    needs_decisive: ClassVar[bool] = False
    watch: ClassVar[int | None] = None

    def start(self, base: str) -> None:
        """There is nothing to remember: the step number is in the evidence."""

    def observe(self, state: None, evidence: Evidence) -> tuple[None, Verdict]:
        """Leave after step ``tokens``; later, where the base was lost at that step."""
        return None, Verdict(alone=evidence.step >= self.tokens)


def build_exit(method: Method) -> ExitPolicy[Any]:
    """The exit policy that ``method`` asks for."""
    match method.exit:
        case "never":
            return Never()
        case "fixed":
            return Fixed(method.exit_after or 0)
        case _:
            raise NotImplementedError(method.exit)
