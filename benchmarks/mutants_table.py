"""Prints what `benchmarks/mutants.sh` found, by module, and each survivor with its change."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

KILLED = {1, 3}  # pytest: a test failed, or the mutant broke pytest itself
TIMED_OUT = {-24, 24, -14, 14, 36, 152, 255}  # an endless loop is noticed too


def status(code: int | None) -> str:
    """What an exit code of mutmut means."""
    if code is None:
        return "open"
    return "killed" if code in KILLED else "timeout" if code in TIMED_OUT else "survived"


def main(copy: Path) -> None:
    """The table, then the survivors."""
    table: dict[str, Counter[str]] = {}
    survivors: list[str] = []
    for path in sorted((copy / "mutants").rglob("*.meta")):
        module = path.name.removesuffix(".py.meta")
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
            found = status(code)
            table.setdefault(module, Counter())[found] += 1
            if found == "survived":
                survivors.append(name)
    outside = copy / "definitions.json"
    others = json.loads(outside.read_text()) if outside.exists() else []
    for entry in others:
        table.setdefault(f"{entry['module']} (definitions)", Counter())[entry["status"]] += 1
    table = {module: counts for module, counts in table.items() if counts.total() > counts["open"]}
    table["all"] = sum(table.values(), Counter())
    print(f"| {'module':<34} | mutants | killed | timed out | survived | open | noticed |")
    print(f"|{'-' * 36}|---|---|---|---|---|---|")
    for module, n in table.items():
        share = (n["killed"] + n["timeout"]) / max(n.total() - n["open"], 1)
        numbers = " | ".join(str(n[key]) for key in ("killed", "timeout", "survived", "open"))
        print(f"| {module:<34} | {n.total()} | {numbers} | {share:.1%} |")
    for name in survivors:
        shown = subprocess.run(
            [sys.executable, "-m", "mutmut", "show", name], cwd=copy, capture_output=True, text=True, check=False
        ).stdout
        changed = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("---", "+++")]
        print(f"\n{name}", *changed, sep="\n")
    for entry in others:
        if entry["status"] == "survived":
            print(f"\n{entry['module']}, line {entry['line']}: {entry['change']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
