"""Benchmarks: ratios measured side by side in one run. `make bench` runs them all."""

import os

# As tokencollab itself does before it imports torch (actors/runtimes/threads.py):
# both sides of a comparison run under it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
