"""Several language models with different tokenizers write one answer together, token by token."""

from tokencollab.actors.answer import Answer, FinishReason, Token
from tokencollab.actors.prompt import Prompt
from tokencollab.actors.supervisor import FaultPolicy, MemberHealth
from tokencollab.answer_stream import AnswerStream
from tokencollab.ask import Asking, Heard, ask
from tokencollab.collaboration import Collaboration
from tokencollab.engines.options import EngineOptions
from tokencollab.errors import (
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
from tokencollab.member import Member
from tokencollab.policies.aggregations import Aggregation, Ballot
from tokencollab.policies.evidence import Evidence, Exit, ExitPolicy, Verdict
from tokencollab.policies.methods import Method, list_methods, parse_method, register
from tokencollab.policies.parameters import parameter
from tokencollab.policies.responses.panels import Panel, Role, Stage
from tokencollab.policies.responses.response_methods import ResponseMethod, list_response_methods, parse_response_method
from tokencollab.protocol.candidates import Candidate, CandidateSet
from tokencollab.protocol.messages import Capabilities, ChatMessage, ModelInfo
from tokencollab.protocol.pieces import EOS, Piece
from tokencollab.respondents import Respondent
from tokencollab.response import Response, Usage

__version__ = "0.1.0"

__all__ = [
    "EOS",
    "Aggregation",
    "Answer",
    "AnswerStream",
    "Asking",
    "Ballot",
    "Candidate",
    "CandidateSet",
    "Capabilities",
    "ChatMessage",
    "Collaboration",
    "EngineOptions",
    "Evidence",
    "Exit",
    "ExitPolicy",
    "FaultPolicy",
    "FinishReason",
    "Heard",
    "MalformedAnswer",
    "Member",
    "MemberHealth",
    "Method",
    "ModelFailed",
    "ModelInfo",
    "ModelRefused",
    "ModelUnavailable",
    "Panel",
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
    "parameter",
    "parse_method",
    "parse_response_method",
    "register",
]
