"""Collects nothing below this folder: benchmarks are run by hand, and one of them loads decord with all CUDA
libraries, after which matrix products of other modules crash."""

collect_ignore_glob = ["*.py"]
