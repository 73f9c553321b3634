"""The public names. `__init__.py` imports each when it is first used."""

from .actors.answer import Answer, FinishReason, Token
from .actors.prompt import Prompt
from .actors.supervisor import FaultPolicy, MemberHealth
from .answer_stream import AnswerStream
from .asking import Asking, Heard, ask
from .collaboration import Collaboration
from .engines.options import EngineOptions
from .errors import (
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
from .member import Member
from .policies.aggregations import Aggregation, Ballot
from .policies.evidence import Evidence, Exit, ExitPolicy, Verdict
from .policies.methods import Method, list_methods, parse_method, register
from .policies.parameters import parameter
from .policies.responses.panels import Panel, Role, Stage
from .policies.responses.response_methods import ResponseMethod, list_response_methods, parse_response_method
from .protocol.candidates import Candidate, CandidateSet
from .protocol.messages import Capabilities, ChatMessage, ModelInfo
from .protocol.pieces import EOS, Piece
from .respondents import Respondent
from .response import Response, Usage

__version__: str

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
