"""The command line: argument parsing only. What the commands do is in `commands`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NoReturn

from tokencollab import __version__
from tokencollab.protocol.errors import TokencollabError, UsageError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _number(low: float, kind: type[int] | type[float], what: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not isfinite(value) or value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return parse


_positive = _number(1, int, "a whole number from 1 on")
_natural = _number(0, int, "a whole number from 0 on")
_real = _number(float("-inf"), float, "a number")


def _weight(text: str) -> tuple[str, float]:
    model, _, value = text.rpartition("=")
    if not model:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form MODEL=WEIGHT")
    return model, float(_number(0, float, "a number from 0 on")(value))


def _method_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings of a method, one option each; names as in `parse_method`."""
    group = parser.add_argument_group("method", "a preset, and its parameters one by one (see `tokencollab methods`)")
    add = group.add_argument
    add("--aggregation", metavar="NAME", help="how candidates become one piece")
    add("--exit", metavar="NAME", help="when the base goes on alone, e.g. never, fixed-20, self-efficacy")
    add("--top-k", type=_positive, metavar="K", help="candidates per model")
    add("--top-p", type=_real, metavar="P", help="cut candidates at this probability mass")
    add("--over", choices=["vocabulary", "top_k"], help="what --top-p is a share of")
    add("--top-t", metavar="T", help="sample among the T best; 1-2 draws T per step; 1 is greedy")
    add("--temperature", type=_real, metavar="X", help="of the sampling with --top-t")
    add("--weight", type=_weight, action="append", metavar="MODEL=W", help="a model's weight (repeatable)")
    add("--reference", choices=["raw", "floor"], help="where a model's logits are counted from (duetnet, dk)")
    add("--owner-finishes", action="store_true", default=None, help="who began a word finishes it")
    add("--omega", type=_positive, metavar="N", help="window of the exit policy, in steps")
    add("--theta", type=_real, metavar="X", help="threshold of the exit policy")
    add("--rho", type=_real, metavar="X", help="penalty of a miss")
    add("--eps", type=_real, metavar="X", help="tolerance of the window comparison")
    add("--ties", choices=["success", "failure"], help="what equal ranks count as")
    add("--quantile", type=_real, metavar="Q", help="of the exit credible")
    add("--patience", type=_positive, metavar="N", help="steps of the exit per-collaborator")
    add("--rejoin-below", type=_real, metavar="X", help="mean probability at which the exit rejoin returns")
    add("--rejoin-window", type=_positive, metavar="N", help="over how many pieces")
    add(
        "--carry",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="carry weights inside a word (bytewise)",
    )
    add("--commit", type=_real, metavar="X", help="when a model moves its boundary (bytewise)")
    add("--exact", action="store_true", default=None, help="exact byte marginals (bytewise)")


_METHOD_SETTINGS = [
    "aggregation",
    "exit",
    "top_k",
    "top_p",
    "over",
    "top_t",
    "temperature",
    "reference",
    "owner_finishes",
    "omega",
    "theta",
    "rho",
    "eps",
    "ties",
    "quantile",
    "patience",
    "rejoin_below",
    "rejoin_window",
    "carry",
    "commit",
    "exact",
]


def _method_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings given on the command line, as arguments of `parse_method`."""
    settings = {name: getattr(arguments, name, None) for name in _METHOD_SETTINGS}
    settings["weights"] = dict(arguments.weight) if getattr(arguments, "weight", None) else None
    return {name: value for name, value in settings.items() if value is not None}


def _generate(commands: Any) -> None:
    parser = commands.add_parser(
        "generate",
        help="let models write one answer together",
        description="Let models write one answer together.",
    )
    add = parser.add_argument
    add("prompt", nargs="?", help="the question; from standard input if absent or -")
    add(
        "--base",
        required=True,
        metavar="MODEL",
        help="known name, hub id, folder of safetensors, or .gguf file",
    )
    add(
        "--with",
        dest="collaborators",
        action="append",
        default=[],
        metavar="MODEL",
        help="a collaborator (repeatable)",
    )
    add("--method", metavar="NAME", help="default: duetnet, or base without --with")
    add("--system", metavar="TEXT", help="system message")
    add("--max-tokens", type=_positive, default=256, metavar="N", help="pieces at most (default 256)")
    add(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="end the answer before this text (repeatable)",
    )
    add("--seed", type=_natural, default=0, metavar="N", help="of every random choice (default 0)")
    add("--runtime", choices=["local", "ray"], default="local", help="threads of this process, or Ray actors")
    add(
        "--engine",
        choices=["transformers", "llamacpp"],
        default="transformers",
        help="what computes .gguf files (llamacpp: pip install 'tokencollab[gguf]')",
    )
    add("--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto", help="of the weights")
    add("--threads", type=_positive, metavar="N", help="CPU threads per model (default: cores / models)")
    add("--kv-megabytes", type=_positive, metavar="N", help="memory per model for KV caches")
    add("--json", action="store_true", help="one JSON object on standard output")
    add("--trace", metavar="FILE", help="write every step's candidates and decision (JSON lines)")
    _method_arguments(parser)
    parser.set_defaults(run="generate")


def _models(commands: Any) -> None:
    parser = commands.add_parser("models", help="list, pull or remove models", description="The models known by name.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=_Parser)
    actions.add_parser("list", help="known models and which are installed").add_argument("--json", action="store_true")
    for action, text in (("pull", "fetch a model"), ("remove", "delete a model's files")):
        actions.add_parser(action, help=text).add_argument("name")
    parser.set_defaults(run="models")


def _methods(commands: Any) -> None:
    parser = commands.add_parser("methods", help="list the methods", description="The methods, with their papers.")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run="methods")


def _replay(commands: Any) -> None:
    parser = commands.add_parser(
        "replay",
        help="recompute every decision of a trace, without models",
        description="Recompute every decision of a trace, without models, with its own or another method.",
    )
    parser.add_argument("trace", metavar="TRACE")
    parser.add_argument("--method", metavar="NAME", help="default: the trace's own")
    parser.add_argument("--past-exit", action="store_true", help="go on after the exit")
    parser.add_argument("--json", action="store_true", help="one JSON object per step")
    _method_arguments(parser)
    parser.set_defaults(run="replay")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="tokencollab",
        description="Several language models with different tokenizers write one answer together, token by token.",
    )
    parser.add_argument("--version", action="version", version=f"tokencollab {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for command in (_generate, _models, _methods, _replay):
        command(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line. Exit codes: 0 done, 1 failed on the way, 2 bad input, 130 interrupted."""
    arguments = build_parser().parse_args(argv)
    arguments.settings = _method_settings(arguments)
    from tokencollab import commands  # noqa: PLC0415  (after the arguments are known to be good)

    try:
        code = getattr(commands, arguments.run)(arguments)
    except UsageError as error:
        code = _fail(error, 2)
    except TokencollabError as error:
        code = _fail(error, 2 if type(error).__name__ == "ModelUnavailable" else 1)
    except KeyboardInterrupt:
        print("tokencollab: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    sys.exit(code)


def _fail(error: Exception, code: int) -> int:
    print(f"tokencollab: {' '.join(str(error).split())}", file=sys.stderr)
    return code
