"""One timed run of ingest in a process of its own: what benchmarks start and clock.

Usage: python -m tests.bench.ingest_arm SOURCE WORKSPACE [--workers 2] [--set FIELD=JSON] [--never-recycle]
Prints one line of JSON: the instant of every finished video, of the end, and ingest's own counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from typing import Any, Final

from features.workspace import open_workspace

NEVER: Final = 1 << 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("workspace")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", help="of IngestSettings")
    parser.add_argument("--never-recycle", action="store_true", help="keep one decoder child for all files")
    args = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is loaded
    from ingest.decoder_child import ChildLimits
    from ingest.pipeline import IngestSettings, ingest_videos

    done: list[float] = []
    given: dict[str, Any] = {
        name: json.loads(value) for name, _, value in (s.partition("=") for s in args.set)
    }
    if args.never_recycle:
        given["limits"] = ChildLimits(recycle_after=NEVER, recycle_bytes=NEVER)
    known = {field.name for field in dataclasses.fields(IngestSettings)}
    if unknown := given.keys() - known:
        raise SystemExit(
            f"IngestSettings has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}"
        )
    counts = ingest_videos(
        open_workspace(args.workspace, create=True),
        args.source,
        IngestSettings(workers=args.workers, **given),
        progress=lambda now, _: done.append(time.time()) if now else None,
    )
    print(json.dumps({"done": done, "end": time.time(), "counts": dataclasses.asdict(counts)}))


if __name__ == "__main__":
    main()
