"""Mutants of what mutmut leaves alone: tables and constants, fields of classes, decorators, decorated functions.

Usage: python benchmarks/mutants_definitions.py COPY [MODULE ...], with the copy that `mutants.sh` makes. Each mutant is
one change of one expression, imported in a process of its own, which runs the tests until one fails. Writes
COPY/definitions.json.
"""

import ast
import importlib.machinery
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

SECONDS = 120  # of processor time: a busy machine makes no mutant look endless
LONG = 80
CHILDREN = os.cpu_count() or 1
TESTS = ("tests/unit/policies/test_plain_data.py", "tests/unit", "tests/property")
OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.LShift: ast.RShift,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.LtE: ast.Lt,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass
class Mutant:
    """One change of one module, and what became of it."""

    module: str
    line: int
    change: str
    source: str
    status: str = "open"


# ---------------------------------------------------------------- what to change


def places(body: list[ast.stmt]) -> Iterator[ast.expr]:
    """Every expression outside of the functions that mutmut changes; no annotations, types or docstrings."""
    for node in body:
        match node:
            case ast.ClassDef():
                for decorator in node.decorator_list:
                    yield from within(decorator)
                yield from places(node.body)
            case ast.FunctionDef():
                yield from of_function(node)
            case ast.AnnAssign(value=ast.expr() as value) if "TypeAlias" not in ast.unparse(node.annotation):
                yield from within(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if name != "__all__" and not is_type(value):
                    yield from within(value)


def of_function(node: ast.FunctionDef) -> Iterator[ast.expr]:
    """Defaults that are more than a constant, and the body where a decorator keeps mutmut away."""
    for default in (*node.args.defaults, *node.args.kw_defaults):
        if default is not None and not isinstance(default, ast.Constant | ast.Name):
            yield from within(default)
    names = {d.id for d in node.decorator_list if isinstance(d, ast.Name)}
    if node.decorator_list and not names & {"staticmethod", "classmethod"}:
        for statement in node.body:
            if not isinstance(statement, ast.Expr):  # a docstring
                for child in ast.iter_child_nodes(statement):
                    if isinstance(child, ast.expr):
                        yield from within(child)


def within(node: ast.expr) -> Iterator[ast.expr]:
    """``node`` and the expressions it is made of."""
    for child in ast.walk(node):
        if isinstance(child, ast.expr) and not isinstance(getattr(child, "ctx", None), ast.Store):
            yield child


def is_type(node: ast.expr) -> bool:
    """Whether an assignment only names a type."""
    return isinstance(node, ast.Subscript | ast.BinOp) or "TypeVar" in ast.unparse(node)


def changes(node: ast.expr) -> Iterator[str]:
    """The texts that may stand in the place of ``node``. Texts for people (they have spaces) stay as they are."""
    match node:
        case ast.Constant(value):
            yield from of_constant(value)
        case ast.Call(func=ast.Name(id="frozenset"), args=[]):
            yield "frozenset((None,))"
        case ast.Tuple() | ast.List() | ast.Set() | ast.Dict():
            yield from shortened(node)
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in OPERATORS:
            yield with_field(node, "op", OPERATORS[type(op)]())
        case ast.Compare(ops=[op, *others]) if type(op) in OPERATORS:
            yield with_field(node, "ops", [OPERATORS[type(op)](), *others])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield ast.unparse(operand)
        case ast.IfExp(test=test):
            yield with_field(node, "test", ast.UnaryOp(ast.Not(), test))


def of_constant(value: object) -> Iterator[str]:
    match value:
        case bool():
            yield repr(not value)
        case int():
            yield repr(value + 1)
        case float():
            yield repr(value * 2 or 1.0)
        case str() if " " not in value:
            yield repr(f"XX{value}")
        case bytes():
            yield repr(b"XX" + value)
        case None:
            yield "0"


def shortened(node: ast.Tuple | ast.List | ast.Set | ast.Dict) -> Iterator[str]:
    """Without one item; an empty tuple with one."""
    if isinstance(node, ast.Dict):
        for gone in range(len(node.keys)):
            keys, values = list(node.keys), list(node.values)
            del keys[gone], values[gone]
            yield ast.unparse(ast.Dict(keys, values))
    elif not node.elts:
        yield "(None,)"
    else:
        for gone in range(len(node.elts)):
            yield with_field(node, "elts", [x for i, x in enumerate(node.elts) if i != gone])


def with_field(node: ast.expr, field: str, value: Any) -> str:
    return ast.unparse(type(node)(**{**dict(ast.iter_fields(node)), field: value}))


def mutants_of(path: Path, module: str) -> Iterator[Mutant]:
    """All mutants of one file."""
    data = path.read_bytes()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in places(ast.parse(data).body):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        for text in changes(node):
            changed = data[:begin] + b"(" + text.encode() + b")" + data[end:]
            yield Mutant(module, node.lineno, difference(ast.unparse(node), text), changed.decode())


def difference(old: str, new: str) -> str:
    """Both, or of long texts what is different."""
    if len(old) <= LONG:
        return f"{old}  ->  {new}"
    parts = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changed = [f"{old[a:b]!r} -> {new[c:d]!r}" for tag, a, b, c, d in parts if tag != "equal"]
    return "; ".join(part if len(part) <= LONG else part[:LONG] + "..." for part in changed)


# ---------------------------------------------------------------- trying one


def run_tests(target: Path, source: str) -> None:
    """In a process of its own: import ``source`` in the place of ``target`` and run the tests."""
    import pytest

    original = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return compile(source, path, "exec") if Path(path) == target else original(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    os._exit(int(pytest.main(["-x", "-q", *TESTS])))


def try_all(mutants: list[tuple[Path, Mutant]]) -> None:
    """Fill in what became of each, `CHILDREN` at a time."""
    running: dict[int, Mutant] = {}
    waiting = list(reversed(mutants))
    while waiting or running:
        while waiting and len(running) < CHILDREN:
            path, mutant = waiting.pop()
            if (child := os.fork()) == 0:
                run_tests(path, mutant.source)
            running[child] = mutant
        child, code = os.wait()
        mutant = running.pop(child)
        ended = os.waitstatus_to_exitcode(code)
        mutant.status = "survived" if ended == 0 else "timeout" if ended == -signal.SIGXCPU else "killed"
        done = len(mutants) - len(waiting) - len(running)
        print(f"\rdefinitions: {done} of {len(mutants)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def main(copy: Path, modules: list[str]) -> None:
    """Try every mutant and write down what became of it."""
    os.chdir(copy)
    sys.path[:0] = [os.getcwd()]
    import hypothesis  # noqa: F401 - imported once, for all processes
    import msgpack  # noqa: F401

    found = [
        (path.absolute(), mutant)
        for package in ("policies", "protocol")
        for path in sorted(Path("tokencollab", package).glob("*.py"))
        if not modules or path.stem in modules
        for mutant in mutants_of(path, path.stem)
    ]
    try_all(found)
    results = [{key: value for key, value in asdict(mutant).items() if key != "source"} for _, mutant in found]
    Path("definitions.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
