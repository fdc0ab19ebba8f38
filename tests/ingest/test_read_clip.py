"""Frames from a video engine, the rest from the child; all of it from the child where the engine may not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ClipMaker = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
TORCHCODEC = importlib.util.find_spec("torchcodec") is not None

# In a process of its own: torchcodec must not share one with decord, which other tests may have loaded.
CODE = """
import json, sys
from pathlib import Path
import torch
from ingest.media.decode import DecodeSettings
from ingest.describe import Described, Describer, Task
from ingest.devices import decoding_fault
from ingest.encoders.signal import SignalEncoder
from ingest.source.locations import access_to

if fault := decoding_fault("cpu"):
    sys.exit(print(json.dumps({"fault": fault})))
folder, *names = sys.argv[1:]
access = access_to(folder)
said = {}
for engine in (None, "cpu"):
    encoder = SignalEncoder().start()
    with Describer(encoder, DecodeSettings(frames=6), access, engine=engine) as describer:
        for isolated in (False, True):
            for number, name in enumerate(names):
                describer.open(Task(number, f"{folder}/{name}"))
            for name, one in zip(names, describer.describe(range(len(names)), isolated=isolated)):
                assert isinstance(one, Described), one
                said[f"{engine} {isolated} {name}"] = {
                    "rung": one.rung,
                    "visual": one.descriptors["visual"].tolist(),
                    "heard": "audio" in one.descriptors,
                    "times": one.media["frame_times_s"],
                    "quality": one.extras.quality,
                }
print(json.dumps(said))
"""


@pytest.mark.skipif(not TORCHCODEC, reason="torchcodec is not installed; the extra `gpu` brings it")
def test_an_engine_gives_what_the_child_gives_and_is_left_out_where_it_may_not_decode(
    make_clip: ClipMaker,
) -> None:
    plain, trimmed = make_clip("plain.mp4", frames=40, tone_hz=440.0), make_clip("trimmed.mp4", hide_s=0.6)
    command = [sys.executable, "-c", CODE, str(plain.parent), plain.name, trimmed.name]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    said = json.loads(run.stdout)
    if "fault" in said:
        pytest.skip(said["fault"])
    for name, rung in (("plain.mp4", "torchcodec"), ("trimmed.mp4", None)):
        alone = said[f"None False {name}"]
        assert said[f"cpu True {name}"] == alone, "isolated, the engine is not asked"
        on_engine = said[f"cpu False {name}"]
        assert on_engine["rung"] == (rung or alone["rung"])
        assert on_engine["heard"] == alone["heard"]
        assert on_engine["times"] == pytest.approx(alone["times"], abs=2e-3)
        one, other = np.array(on_engine["visual"]), np.array(alone["visual"])
        assert one @ other > 0.999 * np.linalg.norm(one) * np.linalg.norm(other), "two scalers, one picture"
        assert on_engine["quality"]["frames_got"] == alone["quality"]["frames_got"] == 6
