"""Benchmarks: scripts with declared parameters and fixed seeds that write JSON and print a ratio.

Each is run as `python -m tests.bench.NAME`; its result lies in `tests/bench/results/NAME.json`, committed.
`python -m tests.bench.tables` writes the README's tables from those results.
"""

import os

# As the command line does, and before anything loads torch: OpenMP's threads sleep while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
