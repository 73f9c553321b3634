"""Several language models with different tokenizers write one answer together, token by token."""

from tokencollab.actors.answer import Answer, FinishReason, Token
from tokencollab.actors.asking import Asking, Heard, ask
from tokencollab.actors.collaboration import Collaboration
from tokencollab.actors.prompt import Prompt
from tokencollab.actors.respondents import Respondent
from tokencollab.actors.response import Response, Usage
from tokencollab.actors.stream import AnswerStream
from tokencollab.actors.supervision import Patience
from tokencollab.engines.options import EngineOptions
from tokencollab.policies.evidence import Evidence, ExitPolicy, Verdict
from tokencollab.policies.methods import Method, list_methods, parse_method
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.errors import (
    MalformedAnswer,
    ModelFailed,
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
from tokencollab.responses.methods import ResponseMethod, list_response_methods, parse_response_method
from tokencollab.responses.panels import Panel, Role, Stage

__version__ = "0.1.0"

__all__ = [
    "END",
    "Answer",
    "AnswerStream",
    "Asking",
    "Candidate",
    "CandidateSet",
    "ChatMessage",
    "Collaboration",
    "EngineOptions",
    "Evidence",
    "ExitPolicy",
    "FinishReason",
    "Heard",
    "MalformedAnswer",
    "Method",
    "ModelFailed",
    "ModelInfo",
    "ModelRefused",
    "ModelUnavailable",
    "Panel",
    "Patience",
    "Piece",
    "PlatformFull",
    "Prompt",
    "PromptTooLong",
    "ProtocolError",
    "Respondent",
    "Response",
    "ResponseMethod",
    "Role",
    "Stage",
    "Token",
    "TokencollabError",
    "TraceError",
    "UnknownMethod",
    "UnknownModel",
    "Usage",
    "UsageError",
    "Verdict",
    "__version__",
    "ask",
    "list_methods",
    "list_response_methods",
    "parse_method",
    "parse_response_method",
]
