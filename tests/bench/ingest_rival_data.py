"""Rival: Ray Data's `read_videos`, which decodes every frame, and 16 of them through the same encoder.

`thinned` is its fastest use: scaled in the decoder, one frame a second kept, one read task a file so that all
of a file is one block, and the 16 kept frames nearest to the midpoints. `plain` is its use as documented:
every frame at its own size becomes a row, and the 16 midpoints are picked, scaled and grouped by path.
Usage: python -m tests.bench.ingest_rival_data FOLDER --variant thinned --clip-frames 1800
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
import ray
import torch
from PIL import Image

FRAMES: Final = 16
SIDE: Final = 224
"""Pixels."""
OBJECT_STORE_BYTES: Final = 4 << 30

Array = np.ndarray[Any, Any]


def midpoints(clip_frames: int) -> Array:
    """Indices of the frames in the middle of 16 equal parts, int64, (16,)."""
    return clip_frames * (2 * np.arange(FRAMES) + 1) // (2 * FRAMES)


def describe_thinned(batch: dict[str, Array], clip_frames: int) -> dict[str, Any]:
    """All rows of a file, or of some files, to one row a file: its path and its descriptor."""
    found: dict[str, Any] = {}
    for path in dict.fromkeys(batch["path"]):
        mine = np.flatnonzero(batch["path"] == path)
        off = np.abs(batch["frame_index"][mine][None, :] - midpoints(clip_frames)[:, None])  # (16, n)
        nearest = mine[off.argmin(axis=1)]
        found[path] = describe(batch["frame"][nearest], batch["frame_index"][nearest])
    return {"path": list(found), "visual": list(found.values())}


def pick_midpoints(batch: dict[str, Array], clip_frames: int) -> dict[str, Any]:
    """Of every frame of a batch, those at midpoints, scaled."""
    at = np.flatnonzero(np.isin(batch["frame_index"], midpoints(clip_frames)))
    frames = np.zeros((len(at), SIDE, SIDE, 3), np.uint8)
    for place, row in enumerate(at):
        image = Image.fromarray(batch["frame"][row])
        frames[place] = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return {"path": batch["path"][at], "frame_index": batch["frame_index"][at], "frame": frames}


def describe_group(group: dict[str, Array]) -> dict[str, Any]:
    """The picked rows of one path to one row."""
    order = np.argsort(group["frame_index"])
    visual = describe(group["frame"][order], group["frame_index"][order])
    return {"path": group["path"][:1], "visual": [visual]}


def describe(frames: Array, index: Array) -> Any:
    """Descriptor of the picture by the encoder that ingest uses, float32, (D,)."""
    from ingest.encoders.signal import SignalEncoder

    torch.set_num_threads(1)
    solid = np.ascontiguousarray(frames)
    clip = SimpleNamespace(frames=solid, timestamps_s=index / 30.0, audio=None, sample_rate_hz=0)
    return SignalEncoder().describe(clip)["visual"]


def dataset(paths: list[str], variant: str, clip_frames: int) -> Any:
    """The lazy dataset of one row a file."""
    how: dict[str, Any] = {"include_paths": True, "override_num_blocks": len(paths)}
    told: dict[str, Any] = {"fn_kwargs": {"clip_frames": clip_frames}, "batch_size": None}
    # Plain functions, for Ray fuses them with the read: no frame is copied to another process.
    # They name torch, so that a worker loads it with them: decord, loaded by the read, breaks a later torch.
    if variant == "thinned":
        return ray.data.read_videos(paths, fps=1, resize=(SIDE, SIDE), **how).map_batches(
            describe_thinned, **told
        )
    picked = ray.data.read_videos(paths, **how).map_batches(pick_midpoints, **told)
    return picked.groupby("path").map_groups(describe_group, batch_format="numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variant", choices=("thinned", "plain"), default="thinned")
    parser.add_argument("--clip-frames", type=int, required=True, help="frames of every clip")
    args = parser.parse_args()
    paths = sorted(str(path) for path in args.folder.iterdir())
    ray.init(include_dashboard=False, num_cpus=2, object_store_memory=OBJECT_STORE_BYTES, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    done, found = [], []
    for row in dataset(paths, args.variant, args.clip_frames).iter_rows():
        found.append(row["path"])
        done.append(time.time())
    if sorted(found) != paths:
        raise SystemExit(f"{len(found)} of {len(paths)} files came back")
    ray.shutdown()
    print(json.dumps({"done": done, "end": time.time(), "files": len(found)}))


if __name__ == "__main__":
    main()
