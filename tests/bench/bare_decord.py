"""The reference that ingest is measured against: two processes, decord, the same encoder, and nothing else.

No isolation, no limits, no second decoder, no deadline, no table: as fast as an honest loop gets.
Usage: python -m tests.bench.bare_decord FOLDER OUT.npz     (prints when each file was done)
"""

import json
import multiprocessing
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch  # before decord, which preloads other libraries of CUDA
from decord import AudioReader, VideoReader

from ingest.encoders.signal import SignalEncoder


def describe(path):
    video = VideoReader(path, width=224, height=224, num_threads=1)
    indices = [len(video) * (2 * i + 1) // 32 for i in range(16)]
    frames = video.get_batch(indices).asnumpy()
    times_s = video.get_frame_timestamp(indices)[:, 0].astype(np.float64)
    sound = AudioReader(path, sample_rate=48000, mono=False)._array.mean(axis=0, dtype=np.float32)  # fastest
    first = max(0, len(sound) - 60 * 48000) // 2
    clip = SimpleNamespace(frames=frames, timestamps_s=times_s, sample_rate_hz=48000)
    clip.audio = sound[first : first + 60 * 48000]
    return SignalEncoder().describe(clip)


if __name__ == "__main__":
    paths = sorted(str(path) for path in Path(sys.argv[1]).iterdir())
    with multiprocessing.get_context("spawn").Pool(2, torch.set_num_threads, (1,)) as pool:
        # Instants are taken here, as ingest takes them: when a result has reached the parent.
        done, found = zip(*((time.time(), one) for one in pool.imap_unordered(describe, paths)), strict=True)
    np.savez(sys.argv[2], *(row for one in found for row in one.values()))
    print(json.dumps({"done": done, "files": len(found)}))
