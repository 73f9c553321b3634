"""Runs every benchmark: `python -m benchmarks [--json]`. Tables on standard error, JSON on standard output."""

import subprocess
import sys

MODULES = ("benchmarks.policies", "benchmarks.overhead", "benchmarks.latency", "benchmarks.throughput")


def main() -> None:
    """One process each, so that none inherits another's threads."""
    for module in MODULES:
        subprocess.run([sys.executable, "-m", module, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
