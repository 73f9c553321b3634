"""The errors of tokencollab, one tree. Each message says what is wrong and what to do next.

    TokencollabError
    ├── UsageError            the caller asked for something that cannot be (exit code 2)
    │   ├── UnknownModel      no such model name, hub id, folder or file
    │   ├── UnknownMethod     no such method, or parameters that do not go together
    │   ├── PromptTooLong     the prompt leaves no room in a model's context
    │   ├── ModelRefused      this model cannot take part (its tokenizer changes text, ...)
    │   └── TraceError        a trace that cannot be replayed
    ├── ModelUnavailable      a model could not be fetched or loaded
    ├── PlatformFull          a model has as many sessions as it may have; try again later
    └── ProtocolError         a peer broke the contract
        └── MalformedAnswer   a model's answer is not what the protocol allows

What fails in the ordinary course of an answer (a timeout, a crash) is not here: it is an event.
"""


class TokencollabError(Exception):
    """Anything this library raises on purpose."""


class UsageError(TokencollabError):
    """The request cannot be carried out as it was put; nothing was started."""


class UnknownModel(UsageError):
    """No model has this name."""


class UnknownMethod(UsageError):
    """No such method, or a combination of parameters that means nothing."""


class PromptTooLong(UsageError):
    """The prompt leaves no room for an answer in a model's context."""


class ModelRefused(UsageError):
    """The model exists but cannot take part, for the reason given."""


class TraceError(UsageError):
    """A trace is damaged; the message has the line number and the reason."""


class ModelUnavailable(TokencollabError):
    """A known model could not be fetched or loaded here."""


class PlatformFull(TokencollabError):
    """A model has as many sessions as it may have."""


class ProtocolError(TokencollabError):
    """A peer broke the protocol's contract."""


class MalformedAnswer(ProtocolError):
    """A model's answer fails the checks on arrival and must not be used."""
