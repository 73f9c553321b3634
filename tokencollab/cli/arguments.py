"""Arguments that several commands share, and their types."""

import argparse
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Literal, NoReturn

from tokencollab.errors import UnknownMethod, UsageError
from tokencollab.files import typed_path
from tokencollab.policies.aggregations import AGGREGATIONS
from tokencollab.policies.exits import EXITS
from tokencollab.policies.methods import method_settings
from tokencollab.policies.parameters import Numbers, Parameter, Span
from tokencollab.protocol.text import one_line
from tokencollab.protocol.values import half_character


class _Help(argparse.HelpFormatter):
    """Examples stand as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """Options in groups, examples at the end, an error in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"formatter_class": _Help})
        self.options = self._option_string_actions  # by name
        self._groups: dict[str, argparse._ArgumentGroup] = {}

    def group(self, title: str) -> argparse._ArgumentGroup:
        """The group of options with this title; groups stand in the order in which they were first asked for."""
        if title not in self._groups:
            self._groups[title] = self.add_argument_group(title)
        return self._groups[title]

    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        self.exit(2, f"{one_line(f'{self.prog}: {message} (see {self.prog} --help)')}\n")


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
    """A name that a file or a folder can have."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty: name a file or folder")
    try:
        typed_path(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


utf8 = _text()
stop = _text("empty stop string: give the text before which answers end")
model_text = _text("the name is empty: name a model")


def model(text: str) -> str:
    from tokencollab.member import Member  # noqa: PLC0415 - for those who name one

    try:
        Member.parse(model_text(text))
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


seconds = _number(0.001, float, "a number of seconds above 0")
waiting = _number(0, float, "a number of seconds from 0")
cpus = _number(0.01, float, "a number of CPUs above 0")
positive = _number(1, int, "a whole number from 1 to 2**53 - 1")
natural = _number(0, int, "a whole number from 0 to 2**53 - 1")


def add_models(parser: Parser, method: bool = True, base: Literal["needed", "platform", "pair"] = "needed") -> None:
    """Which models, by which ``method``, and how they compute; read by `cli.runs`.

    ``base``: whether one must be named, or what it is by default: that of the platform, or of the installed pair.
    """
    add = parser.group("members").add_argument
    default = {"needed": "", "platform": " (default: that of the --platform)", "pair": " (default: the installed pair)"}
    add(
        "--base",
        type=model,
        required=base == "needed",
        metavar="MODEL",
        help=f"known name, hub id, folder of safetensors, or .gguf file{default[base]}; MODEL@dtype=bfloat16,threads=2 "
        "with options of its own (engine, device, dtype, threads, kv_megabytes, weight, trusted, name, "
        "template.ARGUMENT)",
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
        help_text = "default: auto, what suits the models; base without --with (see `tokencollab methods`)"
        parser.group("method").add_argument("--method", metavar="NAME", help=help_text)
    add_engines(parser, platform=method)


def add_engines(parser: Parser, platform: bool = False) -> None:
    """Where and how the models compute. ``platform``: whether they may be those of a platform."""
    help_text = "a file with members, method and settings, or its name among `tokencollab teams list` (docs/teams.md)"
    parser.group("members").add_argument("--team", metavar="TEAM", help=help_text)
    add_engine(parser)
    add_runtime(parser, platform)


def add_engine(parser: Parser) -> None:
    add = parser.group("members").add_argument
    add(
        "--engine",
        default="transformers",
        metavar="NAME",
        help="what computes the models that it accepts: transformers (default), llamacpp (.gguf files as they are, "
        "with the extra gguf) or one of your own",
    )
    add("--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto", help="data type of the weights")
    add("--threads", type=positive, metavar="N", help="CPU threads per model (default: cores / models)")
    add("--kv-megabytes", type=positive, metavar="N", help="memory per model for KV caches")


def add_runtime(parser: Parser, platform: bool = True) -> None:
    """Where models run, and what happens when one fails. ``platform``: whether they may be those of a platform."""
    add = parser.group("members").add_argument
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
    add = parser.group("reliability").add_argument
    add(
        "--deadline",
        type=seconds,
        metavar="S",
        help="seconds that a model always has for an answer; it has more where it is slow by nature (default 30)",
    )
    add(
        "--lag",
        type=waiting,
        metavar="S",
        help="seconds per piece, on average over an answer, by which a collaborator may be later than the base; beyond "
        "that the answer goes on without it (default 5)",
    )
    add("--wait-for-base", action="store_true", help="wait for a base that was lost, instead of going on without it")


def add_answer(parser: Parser) -> None:
    add = parser.group("answer").add_argument
    add("--system", type=utf8, metavar="TEXT", help="system message")
    add("--max-tokens", type=positive, default=256, metavar="N", help="pieces at most (default 256)")
    add(
        "--stop",
        type=stop,
        action="append",
        default=[],
        metavar="TEXT",
        help="end the answer before this text (repeatable)",
    )
    add("--seed", type=natural, default=0, metavar="N", help="seed of every random choice (default 0)")


def add_max_seconds(parser: Parser) -> None:
    help_text = "end the answer after so many seconds, with what is written (finish_reason timeout)"
    parser.group("answer").add_argument("--max-seconds", type=seconds, metavar="S", help=help_text)


def add_output(parser: Parser, traced: str = "every step's candidates and decision (JSON lines)") -> None:
    """Where the answer goes beside the terminal."""
    parser.group("output").add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.group("output").add_argument("--trace", type=file_name, metavar="FILE", help=f"write {traced}")


def add_metrics(parser: Parser) -> None:
    help_text = "serve figures for Prometheus on this port of this machine, 0 for any"
    parser.group("output").add_argument("--metrics", type=natural, metavar="PORT", help=help_text)


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """For commands that read a method from a file; `cli.own` has imported it before the arguments are read."""
    parser.add_argument(
        "--plugin",
        action="append",
        metavar="MODULE:CLASS",
        help="an aggregation or an exit of your own that the file names: it is imported on your word (repeatable)",
    )


def add_method(parser: Parser) -> None:
    """The settings of a method, one option each; names as in `parse_method`."""
    group = parser.group("method")
    group.add_argument(
        "--aggregation", metavar="NAME", help="how candidates become one piece; MODULE:CLASS for one of your own"
    )
    group.add_argument(
        "--exit", metavar="NAME", help="when the base goes on alone, e.g. never, fixed-20, self-efficacy, MODULE:CLASS"
    )
    for declared in method_settings().values():
        add_parameter(group, declared, AGGREGATIONS.note(declared.name) or EXITS.note(declared.name))


def add_parameter(group: argparse._ArgumentGroup, declared: Parameter, note: str) -> None:
    """The option of a parameter; see `Registry.note`."""

    def read(text: str) -> Any:
        try:
            return declared.from_text(text)
        except UnknownMethod as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    options: dict[str, Any] = {"dest": declared.name, "help": declared.help + (f" ({note})" if note else "")}
    if declared.kind is bool:
        options |= {"action": argparse.BooleanOptionalAction, "default": None}
    elif declared.choices:
        options["choices"] = declared.choices
    elif declared.kind == Numbers:
        options |= {"type": read, "action": "append", "metavar": "MODEL=NUMBER"}
    else:
        options |= {"type": read, "metavar": {int: "N", float: "X", Span: "N"}.get(declared.kind, "TEXT")}
    try:
        group.add_argument(declared.flag, **options)
    except argparse.ArgumentError:
        raise UsageError(f"the parameter {declared.name} is an option of tokencollab already; rename it") from None


def collect_settings(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The settings of these names that are given on the command line, as arguments of `parse_method`."""
    found = {name: value for name in names if (value := getattr(arguments, name, None)) is not None}
    return {name: dict(value) if isinstance(value, list) else value for name, value in found.items()}
