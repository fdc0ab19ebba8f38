"""Collects nothing below this folder unless REELRANK_GPU=1."""

import os

collect_ignore_glob = [] if os.environ.get("REELRANK_GPU") == "1" else ["*.py"]
