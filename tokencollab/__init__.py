"""Several language models with different tokenizers write one answer together, token by token."""

from tokencollab.actors.answer import Answer, FinishReason, Token
from tokencollab.actors.collaboration import Collaboration
from tokencollab.actors.prompt import Prompt
from tokencollab.actors.runtime import ModelFailed
from tokencollab.actors.stream import AnswerStream
from tokencollab.actors.supervision import Patience
from tokencollab.engines.options import EngineOptions
from tokencollab.policies.methods import Method, list_methods, parse_method
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.errors import (
    MalformedAnswer,
    ModelRefused,
    ModelUnavailable,
    PlatformFull,
    PromptTooLong,
    ProtocolError,
    TokencollabError,
    TraceError,
    UnknownMethod,
    UnknownModel,
    UsageError,
)
from tokencollab.protocol.messages import ChatMessage, ModelInfo
from tokencollab.protocol.pieces import END, Piece

__version__ = "0.1.0"

__all__ = [
    "END",
    "Answer",
    "AnswerStream",
    "Candidate",
    "CandidateSet",
    "ChatMessage",
    "Collaboration",
    "EngineOptions",
    "FinishReason",
    "MalformedAnswer",
    "Method",
    "ModelFailed",
    "ModelInfo",
    "ModelRefused",
    "ModelUnavailable",
    "Patience",
    "Piece",
    "PlatformFull",
    "Prompt",
    "PromptTooLong",
    "ProtocolError",
    "Token",
    "TokencollabError",
    "TraceError",
    "UnknownMethod",
    "UnknownModel",
    "UsageError",
    "__version__",
    "list_methods",
    "parse_method",
]
