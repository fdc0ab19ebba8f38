"""Rival: Ray actors around plain decord, which reads 16 frames at their own size and scales them afterwards.

Usage: python -m tests.bench.ingest_rival_actors FOLDER [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import numpy as np
import ray
from PIL import Image
from ray.util import ActorPool


class Actor:
    """Decodes and describes one file at a time."""

    def __init__(self, threads: int) -> None:
        import torch  # before decord, which preloads other libraries of CUDA
        from decord import VideoReader

        from ingest.encoders.signal import SignalEncoder

        torch.set_num_threads(1)
        self._open, self._encoder, self._threads = VideoReader, SignalEncoder(), threads

    def describe(self, path: str) -> object:
        """Descriptor of the picture, float32, (D,)."""
        video = self._open(path, num_threads=self._threads)
        indices = [len(video) * (2 * i + 1) // 32 for i in range(16)]
        native = video.get_batch(indices).asnumpy()
        times_s = video.get_frame_timestamp(indices)[:, 0].astype(np.float64)
        small = [Image.fromarray(frame).resize((224, 224), Image.Resampling.BILINEAR) for frame in native]
        frames = np.stack([np.asarray(frame) for frame in small])
        clip = SimpleNamespace(frames=frames, timestamps_s=times_s, audio=None, sample_rate_hz=0)
        return self._encoder.describe(clip)["visual"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1, help="of each decoder; 0 lets decord choose")
    args = parser.parse_args()
    paths = sorted(str(path) for path in args.folder.iterdir())
    ray.init(include_dashboard=False, num_cpus=2, object_store_memory=100 << 20, log_to_driver=False)
    actor = ray.remote(num_cpus=1)(Actor)
    pool = ActorPool([actor.remote(args.threads) for _ in range(2)])
    done = [time.time() for _ in pool.map_unordered(lambda one, path: one.describe.remote(path), paths)]
    ray.shutdown()
    print(json.dumps({"done": done, "end": time.time(), "files": len(done)}))


if __name__ == "__main__":
    main()
