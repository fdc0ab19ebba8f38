"""A stream of a PyAV container packet by packet: damage is counted and passed over, memory's end is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import av

from ingest.failures import MediaRefused

MAX_DAMAGED: Final = 2_000
"""Packets passed over before a file counts as unreadable."""


class Damage:
    """Counts what was passed over while a stream is read."""

    def __init__(self) -> None:
        self.packets = 0

    def add(self, error: Exception) -> None:
        """One more; MediaRefused where it is one too many."""
        self.packets += 1
        if self.packets > MAX_DAMAGED:
            raise MediaRefused("decode", "corrupt", f"more than {MAX_DAMAGED} damaged packets") from error


def single_threaded(stream: Any) -> Any:
    """The same stream; a worker is given one core. An open decoder has been here before."""
    if not stream.codec_context.is_open:
        stream.codec_context.thread_count = 1
    return stream


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """All packets up to the end of the file, or of what can be read of it; the last one is empty."""
    coming = container.demux(stream)
    while True:
        try:
            yield next(coming)
        except StopIteration:
            return
        except av.error.MemoryError:
            raise MemoryError("a packet asks for more memory than the decoder may use") from None
        except (av.error.FFmpegError, ValueError):
            return


def frames_of(packet: Any, damage: Damage) -> list[Any]:
    """The frames that this packet completes, in the decoder's order; none where it is damaged."""
    try:
        frames: list[Any] = packet.decode()
    except av.error.MemoryError:
        raise MemoryError("a frame asks for more memory than the decoder may use") from None
    except (av.error.FFmpegError, ValueError) as error:
        damage.add(error)
        return []
    return frames


def flushed(stream: Any) -> list[Any]:
    """The frames that the decoder still holds; it reads on only after a seek."""
    try:
        frames: list[Any] = stream.codec_context.decode(None)
    except (av.error.FFmpegError, ValueError):
        return []
    return frames


def decoded(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
    """All frames that can be decoded, in the decoder's order."""
    for packet in packets(container, stream):
        yield from frames_of(packet, damage)


def seek(container: Any, stream: Any, pts: int) -> bool:
    """Moves to the last key frame at or before a time of the stream's; False where the file cannot seek."""
    try:
        container.seek(pts, stream=stream)
    except (av.error.FFmpegError, OverflowError):
        return False
    return True
