"""Prints what `benchmarks/mutants.sh` found, by module, and each survivor with its change."""

import json
import sys
from collections import Counter
from pathlib import Path


def main(copy: Path) -> None:
    """The table, then the survivors."""
    table: dict[str, Counter[str]] = {}
    survivors: list[str] = []
    for file, kind in (("functions.json", ""), ("definitions.json", " (definitions)")):
        for entry in json.loads((copy / file).read_text()) if (copy / file).exists() else []:
            table.setdefault(entry["module"] + kind, Counter())[entry["status"]] += 1
            if entry["status"] == "survived":
                where = entry["name"] if "name" in entry else f"{entry['module']}, line {entry['line']}"
                survivors.append(f"\n{where}\n{entry['change']}")
    table["all"] = sum(table.values(), Counter())
    print(f"| {'module':<32} | mutants | killed | timed out | survived | noticed |")
    print(f"|{'-' * 34}|---|---|---|---|---|")
    for module, n in table.items():
        tried = n["killed"] + n["timeout"] + n["survived"]
        share = (n["killed"] + n["timeout"]) / max(tried, 1)
        print(f"| {module:<32} | {tried} | {n['killed']} | {n['timeout']} | {n['survived']} | {share:.1%} |")
    print(*survivors, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
