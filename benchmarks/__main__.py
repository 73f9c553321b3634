"""Runs every benchmark: `python -m benchmarks [--json]`. Tables on standard error, JSON on standard output."""

import subprocess
import sys

MODULES = tuple(f"benchmarks.{name}" for name in ("policies", "overhead", "latency", "throughput", "forwarding"))


def main() -> None:
    """One process each, so that none inherits another's threads."""
    for module in MODULES:
        subprocess.run([sys.executable, "-m", module, *sys.argv[1:]], check=True)


if __name__ == "__main__":
    main()
