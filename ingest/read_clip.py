"""A file to a clip, from inside a worker: all of it in the child, or its frames on the worker's own GPU.

On a GPU the child still says what the file is and reads its sound; the video engine gives the frames, where
it can. Whatever it refuses, and whatever was in hand when a worker died, is decoded in the child.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.failures import DecodeFailure, MediaRefused
from ingest.isolation import DecoderChild
from ingest.media.decode import Clip, DecodeSettings


class ClipReader:
    """One decoder child and perhaps a video engine. One file at a time."""

    def __init__(self, child: DecoderChild, settings: DecodeSettings, engine: str | None = None) -> None:
        """Starts nothing.

        Args:
            child: decodes in isolation.
            settings: what to take of a file.
            engine: torch device whose video engine gives frames; None for none.
        """
        self._child, self._settings, self._engine = child, settings, engine
        self.child_cpu_s = 0.0
        """Processor time of the child for the last file, s."""

    def read(self, path: Path, *, isolated: bool = False) -> Clip | DecodeFailure:
        """The clip, or why there is none; its frames are a tensor where the video engine gave them.

        Args:
            path: a local file.
            isolated: the child decodes all of it.
        """
        self.child_cpu_s = 0.0
        if self._engine is None or isolated:
            return self._in_child(path, self._settings)
        heard = self._in_child(path, replace(self._settings, frames=0))
        if isinstance(heard, DecodeFailure) or not heard.found.has_video:
            return heard
        return self._on_engine(path, heard, self._engine) or self._in_child(path, self._settings)

    def _in_child(self, path: Path, settings: DecodeSettings) -> Clip | DecodeFailure:
        outcome = self._child.decode(path, settings)
        self.child_cpu_s += self._child.last_cpu_s
        return outcome

    def _on_engine(self, path: Path, heard: Clip, engine: str) -> Clip | None:
        from ingest.media.nvdec_rung import (
            read_frames,  # imports torch: a worker without a GPU does not pay for it
        )

        try:
            seen = read_frames(path, heard.found, self._settings, engine)
        except MediaRefused:
            return None
        frames: Any = seen.frames  # a tensor: encoders take either, and `on_host` brings it home
        return replace(
            heard,
            frames=frames,
            timestamps_s=seen.timestamps_s,
            poster=seen.poster,
            rung=seen.rung,
            frames_wanted=self._settings.frames,
            sampling=self._settings.sampling,
            video_s=seen.duration_s,
        )


def on_host(clip: Clip) -> Clip:
    """The clip with its frames as an array, wherever they were decoded."""
    frames: Any = clip.frames
    return replace(clip, frames=frames.cpu().numpy()) if hasattr(frames, "cpu") else clip
