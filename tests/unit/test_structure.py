"""The structure of the package: one name for one thing, no import circles, folders and modules that can be read."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

import tokencollab

ROOT = Path(tokencollab.__path__[0])
MODULES = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.py"))]
LONGEST = 450
MOST_MODULES = 12


def types_of(module: Path) -> Iterator[str]:
    """The classes and type aliases that a module defines."""
    for node in ast.parse((ROOT / module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            yield ast.unparse(node.target)


def test_a_type_name_stands_for_one_thing() -> None:
    found = defaultdict(list)
    for module in MODULES:
        for name in () if module == Path("sync.py") else types_of(module):  # its types have the names of their models
            if not name.startswith("_"):
                found[name].append(str(module))
    assert len(found) > 200
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


def test_a_module_name_is_in_two_packages_at_most() -> None:
    found = defaultdict(list)
    for module in MODULES:
        if module.name != "__init__.py":
            found[module.stem].append(str(module))
    assert {name: modules for name, modules in found.items() if len(modules) > 2} == {}


def test_no_module_is_too_long() -> None:
    lengths = {str(module): len((ROOT / module).read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {module: length for module, length in lengths.items() if length > LONGEST} == {}


def test_a_folder_with_many_modules_has_a_reason_in_the_documentation() -> None:
    page = ROOT.parent / "docs" / "architecture.md"
    reasons = page.read_text(encoding="utf-8").partition("more than a dozen modules")[2].split("\n## ")[0]
    counts: dict[Path, int] = defaultdict(int)
    for module in MODULES:
        counts[module.parent] += module.name != "__init__.py"
    large = {str(Path("tokencollab") / folder) for folder, count in counts.items() if count > MOST_MODULES}
    assert {folder for folder in large if f"`{folder}/`" not in reasons} == set()


def test_there_is_no_import_circle() -> None:
    graph = grimp.build_graph("tokencollab", exclude_type_checking_imports=False)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError(f"an import circle: {' -> '.join(error.args[1])}") from None
