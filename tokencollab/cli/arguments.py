"""Arguments that several commands share, and their types."""

import argparse
import sys
from collections.abc import Callable
from math import inf
from typing import Any, NoReturn

from tokencollab.protocol.values import half_character


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _number(low: float, kind: type[int] | type[float], what: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        # Whole numbers up to here are the same in JSON, in floating point and on the way to a model.
        if value is None or not low <= value < (1 << 53 if kind is int else inf):
            shown = f"{text[:40]}..." if len(text) > 40 else text
            raise argparse.ArgumentTypeError(f"{shown!r} is not {what}")
        return value

    return parse


def _text(needed: str | None = None) -> Callable[[str], str]:
    """Text that can be said in UTF-8, which goes to models and into files; ``needed``: what to do where it is empty."""

    def parse(text: str) -> str:
        if needed is not None and not text:
            raise argparse.ArgumentTypeError(needed)
        if half_character(text) is not None:
            raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8 text")
        return text

    return parse


def file_name(text: str) -> str:
    """Any name of a file or folder, UTF-8 or not."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty: name a file or folder")
    return text


utf8 = _text()
model_text = _text("the name is empty: name a model")


def model(text: str) -> str:
    """A model, with options of its own after @."""
    from tokencollab.errors import UsageError  # noqa: PLC0415 - for those who name one
    from tokencollab.member import Member  # noqa: PLC0415

    try:
        Member.parse(model_text(text))
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


seconds = _number(0.001, float, "a number of seconds above 0")
cpus = _number(0.01, float, "a number of CPUs above 0")
positive = _number(1, int, "a whole number from 1 to 2**53 - 1")
natural = _number(0, int, "a whole number from 0 to 2**53 - 1")
real = _number(-sys.float_info.max, float, "a number")


def _weight(text: str) -> tuple[str, float]:
    model, _, value = text.rpartition("=")
    if not model:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form MODEL=WEIGHT")
    return model, float(_number(0, float, "a number from 0 on")(value))


def add_models(parser: argparse.ArgumentParser, method: bool = True, base: bool = True) -> None:
    """Which models, by which ``method``, and how they compute; read by `cli.runs`.

    ``base``: whether one must be named.
    """
    add = parser.add_argument
    default = "" if base else " (default: the pair that is installed)"
    add(
        "--base",
        type=model,
        required=base,
        metavar="MODEL",
        help=f"known name, hub id, folder of safetensors, or .gguf file{default}; MODEL@dtype=bfloat16,threads=2 with "
        "options of its own (engine, device, dtype, threads, kv_megabytes, weight, name)",
    )
    add(
        "--with",
        dest="collaborators",
        type=model,
        action="append",
        default=[],
        metavar="MODEL",
        help="a collaborator (repeatable)",
    )
    if method:
        add("--method", metavar="NAME", help="default: duetnet, or base without --with")
    add_engines(parser, platform=method)


def add_engines(parser: argparse.ArgumentParser, platform: bool = False) -> None:
    """Where and how the models compute. ``platform``: whether they may be those of a platform."""
    add_engine(parser)
    add_runtime(parser, platform)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """How models compute."""
    add = parser.add_argument
    add(
        "--engine",
        default="transformers",
        metavar="NAME",
        help="what computes the models that it accepts: transformers (default), llamacpp (.gguf files as they are; pip "
        "install 'tokencollab[gguf]'), or an engine of your own",
    )
    add("--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto", help="of the weights")
    add("--threads", type=positive, metavar="N", help="CPU threads per model (default: cores / models)")
    add("--kv-megabytes", type=positive, metavar="N", help="memory per model for KV caches")


def add_runtime(parser: argparse.ArgumentParser, platform: bool = True) -> None:
    """Where models run, and what happens when one fails. ``platform``: whether they may be those of a platform."""
    add = parser.add_argument
    if platform:
        add(
            "--platform",
            metavar="NAMESPACE",
            help="use the models of a platform, by their names there (see `tokencollab platform`); with --base alone "
            "all that it has",
        )
    add(
        "--runtime",
        choices=["local", "ray"],
        help="threads of this process, or Ray actors (default: local, but ray in a job of `ray job submit`)",
    )
    add(
        "--deadline",
        type=seconds,
        metavar="S",
        help="seconds that a model always has for an answer; it has more where it is slow by nature (default 30)",
    )
    add("--wait-for-base", action="store_true", help="wait for a base that was lost, instead of going on without it")


def add_answer(parser: argparse.ArgumentParser) -> None:
    """How an answer begins and ends."""
    add = parser.add_argument
    add("--system", type=utf8, metavar="TEXT", help="system message")
    add("--max-tokens", type=positive, default=256, metavar="N", help="pieces at most (default 256)")
    add(
        "--stop",
        type=utf8,
        action="append",
        default=[],
        metavar="TEXT",
        help="end the answer before this text (repeatable)",
    )
    add("--seed", type=natural, default=0, metavar="N", help="of every random choice (default 0)")


def add_metrics(parser: argparse.ArgumentParser) -> None:
    """Figures while it runs."""
    help_text = "serve figures for Prometheus on this port of this machine, 0 for any"
    parser.add_argument("--metrics", type=natural, metavar="PORT", help=help_text)


def add_method(parser: argparse.ArgumentParser) -> None:
    """The settings of a method, one option each; names as in `parse_method`."""
    group = parser.add_argument_group("method", "a preset, and its parameters one by one (see `tokencollab methods`)")
    add = group.add_argument
    add("--aggregation", metavar="NAME", help="how candidates become one piece")
    add("--exit", metavar="NAME", help="when the base goes on alone, e.g. never, fixed-20, self-efficacy")
    add("--top-k", type=positive, metavar="K", help="candidates per model")
    add("--top-p", type=real, metavar="P", help="cut candidates at this probability mass")
    add("--over", choices=["vocabulary", "top_k"], help="what --top-p is a share of")
    add("--top-t", metavar="T", help="sample among the T best; 1-2 draws T per step; 1 is greedy")
    add("--temperature", type=real, metavar="X", help="of the sampling with --top-t")
    add("--weight", type=_weight, action="append", metavar="MODEL=W", help="a model's weight (repeatable)")
    add("--reference", choices=["raw", "floor"], help="where a model's logits are counted from (duetnet, dk)")
    add("--omega", type=positive, metavar="N", help="window of the exit policy, in steps")
    add("--theta", type=real, metavar="X", help="threshold of the exit policy")
    add("--rho", type=real, metavar="X", help="penalty of a miss")
    add("--eps", type=real, metavar="X", help="tolerance of the window comparison")
    add("--ties", choices=["success", "failure"], help="what equal ranks count as")
    add("--patience", type=positive, metavar="N", help="steps of the exit per-collaborator")
    add(
        "--consult-below",
        type=real,
        metavar="X",
        help="the base's probability below which the exit consult asks others",
    )
    add(
        "--carry",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="carry weights inside a word (bytewise)",
    )
    add("--commit", type=real, metavar="X", help="when a model moves its boundary (bytewise)")


_METHOD_SETTINGS = [
    "aggregation",
    "exit",
    "top_k",
    "top_p",
    "over",
    "top_t",
    "temperature",
    "reference",
    "omega",
    "theta",
    "rho",
    "eps",
    "ties",
    "patience",
    "consult_below",
    "carry",
    "commit",
]


def method_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings given on the command line, as arguments of `parse_method`."""
    settings = {name: getattr(arguments, name, None) for name in _METHOD_SETTINGS}
    settings["weights"] = dict(arguments.weight) if getattr(arguments, "weight", None) else None
    return {name: value for name, value in settings.items() if value is not None}
