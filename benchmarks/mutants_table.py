"""Prints what `benchmarks/mutants.sh` found, by module, and each survivor that is not known.

Known survivors stand with their reasons in `benchmarks/mutants_known.toml`. Ends with 1 where others are left. With
``--toml`` they are printed in the form of that file, to be given a reason or, better, a test.
"""

import json
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

KNOWN = Path(__file__).with_name("mutants_known.toml")


def entries(copy: Path) -> list[tuple[str, str, str, str]]:
    """All mutants: row of the table, where, change, status."""
    found = []
    for file, kind in (("functions.json", ""), ("definitions.json", " (definitions)")):
        for entry in json.loads((copy / file).read_text()) if (copy / file).exists() else []:
            where = place(entry["function"]) if "function" in entry else f"{entry['module']} (definitions)"
            found.append((entry["module"] + kind, where, entry["change"], entry["status"]))
    return found


def place(function: str) -> str:
    """``module.Class.function`` of mutmut's ``tokencollab.package.module.xǁClassǁfunction``, or of ``.x_function``."""
    _, _, module, name = function.split(".")
    name = name.removeprefix("xǁ").replace("ǁ", ".") if name.startswith("xǁ") else name.removeprefix("x_")
    return f"{module}.{name}"


def known() -> dict[tuple[str, str], str]:
    """The reason of each known survivor, by where it is and what is changed."""
    groups: list[dict[str, Any]] = tomllib.loads(KNOWN.read_text())["known"]
    return {(where, change): group["why"] for group in groups for where, change in group["mutants"]}


def main(copy: Path, form: str = "") -> None:
    """The table, then the survivors."""
    reasons = known()
    table: dict[str, Counter[str]] = {}
    survivors = []
    for row, where, change, status in entries(copy):
        equivalent = status == "survived" and (where, change) in reasons
        table.setdefault(row, Counter())["equivalent" if equivalent else status] += 1
        if status == "survived" and not equivalent:
            survivors.append((where, change))
    table["all"] = sum(table.values(), Counter())
    print(f"| {'module':<32} | mutants | killed | timed out | equivalent | other survivors | noticed |")
    print(f"|{'-' * 34}|---|---|---|---|---|---|")
    for module, n in table.items():
        noticed = n["killed"] + n["timeout"]
        tried = noticed + n["equivalent"] + n["survived"]
        figures = (tried, n["killed"], n["timeout"], n["equivalent"], n["survived"], f"{noticed / max(tried, 1):.1%}")
        print(f"| {module:<32} | {' | '.join(map(str, figures))} |")
    for where, change in survivors:
        print(f"  [{where!r}, '''{change}''']," if form == "--toml" else f"\n{where}\n{change}")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
