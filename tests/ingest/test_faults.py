"""What the world puts into files: damage, odd formats, lies. A clip or a reason comes back, never a crash."""

from __future__ import annotations

import os
import random
import struct
import wave
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ingest.failures import DecodeFailure, MediaRefused
from ingest.isolation import DecodedOrFailure, DecoderChild
from ingest.media.decode import SAMPLINGS, Clip, DecodeSettings, decode_clip
from ingest.media.probe import Limits, Probe, probe

ClipMaker = Callable[..., Path]
RATE = 25
RUNG_ORDERS = (("decord", "pyav"), ("pyav",))


@pytest.fixture(scope="module")
def child() -> DecoderChild:
    with DecoderChild() as running:
        yield running


def assert_sound(outcome: DecodedOrFailure) -> None:
    """A clip that keeps its word, or a reason for this file that is not the decoder's end."""
    if isinstance(outcome, DecodeFailure):
        assert outcome.reason in ("corrupt", "empty", "limit"), outcome
        assert outcome.message
        return
    assert outcome.frames is not None or outcome.audio is not None
    if outcome.frames is not None:
        assert outcome.frames.shape == (len(outcome.timestamps_s), 224, 224, 3)
        assert (np.diff(outcome.timestamps_s) > 0).all()
    if outcome.audio is not None:
        assert np.isfinite(outcome.audio).all()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped anywhere or in the header, a part lost, doubled or zeroed."""
    changed = bytearray(content)
    kind = rng.choice(("anywhere", "header", "lost", "doubled", "zeroed"))
    at, length = rng.randrange(len(changed)), rng.randrange(1, 5_000)
    if kind in ("anywhere", "header"):
        end = len(changed) if kind == "anywhere" else min(len(changed), 2_000)
        for _ in range(rng.choice((1, 10, 100))):
            changed[rng.randrange(end)] = rng.randrange(256)
    elif kind == "lost":
        del changed[at : at + length]
    elif kind == "doubled":
        changed[at:at] = changed[at : at + length]
    else:
        changed[at : at + length] = bytes(len(changed[at : at + length]))
    return bytes(changed)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "flv", "ts"])
def test_whatever_happens_to_its_bytes_a_file_gives_a_clip_or_a_reason(
    make_clip: ClipMaker, tmp_path: Path, child: DecoderChild, suffix: str
) -> None:
    content = make_clip(f"whole.{suffix}", frames=60, tone_hz=440.0).read_bytes()
    rng = random.Random(suffix)
    crashes = child.crashes + child.timeouts
    for _ in range(16):
        path = tmp_path / f"mutated.{suffix}"
        path.write_bytes(mutated(content, rng))
        settings = DecodeSettings(
            frames=4, sampling=rng.choice(SAMPLINGS), rungs=rng.choice(RUNG_ORDERS), max_audio_s=1.0
        )
        assert_sound(child.decode(path, settings))
    assert child.crashes + child.timeouts == crashes


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_gives_what_is_left_of_it_or_a_reason(
    make_clip: ClipMaker, child: DecoderChild, suffix: str, share: float
) -> None:
    path = make_clip(f"cut.{suffix}", frames=100, tone_hz=440.0)
    os.truncate(path, int(path.stat().st_size * share))
    outcome = child.decode(path, DecodeSettings(frames=4))
    assert_sound(outcome)
    if suffix == "mkv" and share >= 0.5:
        assert isinstance(outcome, Clip), "Matroska keeps its index at the start of each cluster"


def test_flipped_packets_cost_frames_and_not_the_file(
    make_clip: ClipMaker, tmp_path: Path, child: DecoderChild
) -> None:
    path = make_clip(frames=100, key_every=10)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 1_000
    end = content.index(b"moov", start)
    rng = random.Random(0)
    for _ in range(300):
        content[rng.randrange(start, end)] = rng.randrange(256)
    path.write_bytes(content)
    for rungs in RUNG_ORDERS:
        clip = child.decode(path, DecodeSettings(rungs=rungs))
        assert isinstance(clip, Clip), clip
        assert_sound(clip)


@pytest.mark.parametrize("name", ["clip.txt", "clip.mp3", "clip.jpg", "clip", "clip.m3u8"])
def test_a_wrong_extension_does_not_matter(make_clip: ClipMaker, child: DecoderChild, name: str) -> None:
    path = make_clip()
    clip = child.decode(path.rename(path.with_name(name)), DecodeSettings(frames=3))
    assert isinstance(clip, Clip), clip
    assert len(clip.frames) == 3


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", 'it\'s "quoted".mp4', "-dash.mp4", "日本 ü é.mp4", "new\nline.mp4", "file:x.mp4"],
)
def test_any_name_is_only_a_name(make_clip: ClipMaker, child: DecoderChild, name: str) -> None:
    path = make_clip()
    odd = path.rename(path.with_name(name))
    for rungs in RUNG_ORDERS:
        clip = child.decode(odd, DecodeSettings(frames=3, rungs=rungs))
        assert isinstance(clip, Clip), clip
        assert clip.rung == rungs[0]


@pytest.mark.parametrize(
    ("codec", "suffix", "pixels"),
    [
        ("libx265", "mp4", "yuv420p10le"),
        ("libx264", "mp4", "yuv422p10le"),
        ("libvpx-vp9", "webm", "yuv420p"),
        ("libsvtav1", "mp4", "yuv420p"),
        ("mpeg4", "avi", "yuv420p"),
        ("mjpeg", "avi", "yuvj420p"),
        ("gif", "gif", "rgb8"),
        ("prores_ks", "mov", "yuv422p10le"),
        ("ffv1", "mkv", "gray"),
        ("png", "mov", "rgba"),
    ],
)
def test_every_usual_codec_is_read(
    tmp_path: Path, child: DecoderChild, codec: str, suffix: str, pixels: str
) -> None:
    path = tmp_path / f"clip.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
        for i in range(30):
            grey = np.full((64, 96, 3), 8 * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for sampling in SAMPLINGS:
        clip = child.decode(path, DecodeSettings(frames=3, sampling=sampling))
        assert isinstance(clip, Clip), clip
        shown = clip.timestamps_s * RATE * 8
        assert np.abs(clip.frames.mean((1, 2, 3)) - shown).max() < 12, "each frame is that of its time"
        assert sampling != "exact" or len(clip.frames) == 3


def test_a_picture_of_one_pixel_is_a_picture(tmp_path: Path, child: DecoderChild) -> None:
    Image.new("RGB", (1, 1), (10, 200, 30)).save(tmp_path / "dot.png")
    clip = child.decode(tmp_path / "dot.png", DecodeSettings())
    assert isinstance(clip, Clip), clip
    assert clip.frames.shape == (1, 224, 224, 3)
    assert np.abs(clip.frames.reshape(-1, 3).astype(int) - (10, 200, 30)).max() <= 3


def write_wav(path: Path, rate: int, channels: int, seconds: float = 1.0, hz: float = 440.0) -> Path:
    tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat((tone * 32767).round().astype("<i2"), channels).tobytes())
    return path


@pytest.mark.parametrize(
    ("rate", "channels"), [(8_000, 1), (11_025, 2), (192_000, 2), (48_000, 8), (44_100, 3)]
)
def test_odd_rates_and_many_channels_are_mixed_to_mono(
    tmp_path: Path, child: DecoderChild, rate: int, channels: int
) -> None:
    clip = child.decode(write_wav(tmp_path / "a.wav", rate, channels), DecodeSettings())
    assert isinstance(clip, Clip), clip
    assert (clip.sample_rate_hz, len(clip.audio)) == (rate, rate)
    assert np.abs(clip.audio).max() == pytest.approx(0.5, abs=0.01)
    assert clip.audio_s == pytest.approx(1.0, abs=0.01)


def test_sound_and_picture_of_different_length_are_both_measured(
    tmp_path: Path, make_clip: ClipMaker, child: DecoderChild
) -> None:
    sound = write_wav(tmp_path / "long.wav", 16_000, 1, seconds=5.0)
    path = tmp_path / "both.mkv"
    with (
        av.open(str(make_clip(frames=50))) as pictures,
        av.open(str(sound)) as sounds,
        av.open(str(path), "w") as out,
    ):
        streams = [out.add_stream_from_template(c.streams[0]) for c in (pictures, sounds)]
        for container, stream in zip((pictures, sounds), streams, strict=True):
            for packet in container.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
    clip = child.decode(path, DecodeSettings())
    assert isinstance(clip, Clip), clip
    assert clip.video_s == pytest.approx(2.0, abs=0.05)
    assert clip.audio_s == pytest.approx(5.0, abs=0.05)
    assert len(clip.audio) == 5 * 16_000
    middle = child.decode(path, DecodeSettings(max_audio_s=1.0))
    assert len(middle.audio) == 16_000
    assert middle.audio_s == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize("harm", ["vanishes", "shrinks"])
def test_a_file_that_is_lost_between_probe_and_decode_gives_a_reason_or_what_was_read(
    make_clip: ClipMaker, harm: str
) -> None:
    path = make_clip(frames=200, key_every=20)

    def lose(found: Probe) -> None:
        if harm == "vanishes":
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size // 3)

    assert_sound(outcome_in_process(path, DecodeSettings(rungs=("pyav",)), lose))


def outcome_in_process(
    path: Path, settings: DecodeSettings, on_probe: Callable[[Probe], None]
) -> DecodedOrFailure:
    try:
        return decode_clip(path, settings, on_probe=on_probe)
    except MediaRefused as refusal:
        return DecodeFailure(refusal.stage, refusal.reason, str(refusal))


def test_a_header_that_asks_for_too_much_costs_no_memory(tmp_path: Path) -> None:
    png = tmp_path / "huge.png"
    Image.new("RGB", (4, 4)).save(png)
    content = bytearray(png.read_bytes())
    content[16:24] = struct.pack(">II", 20_000, 20_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    png.write_bytes(content)
    with DecoderChild() as child:
        failure = child.decode(png, DecodeSettings())
        assert isinstance(failure, DecodeFailure)
        assert failure.reason in ("corrupt", "limit")
        assert child.resident_bytes < 200 << 20, "the picture would have 1.2 GB"


def test_a_header_that_claims_a_year_is_refused(make_clip: ClipMaker) -> None:
    path = make_clip("year.mkv")
    content = bytearray(path.read_bytes())
    at = content.index(b"\x44\x89\x88") + 3  # Duration of Matroska's Info: a double, ms
    content[at : at + 8] = struct.pack(">d", 3.15e10)
    path.write_bytes(content)
    with pytest.raises(MediaRefused, match="31500000 s; 21600 s are allowed") as refusal:
        probe(path, Limits())
    assert refusal.value.reason == "limit"


def test_a_movie_that_keeps_its_media_in_another_file_does_not_get_it(
    make_clip: ClipMaker, tmp_path: Path, child: DecoderChild
) -> None:
    """An alias in the data reference (QuickTime file format, 'dref') names the file that holds the frames."""
    path = make_clip("own.mov")
    secret = path.rename(tmp_path / "secret.mov")
    content = secret.read_bytes()
    hollow = content[:1_000].ljust(content.index(b"moov") - 4, b"\0") + content[content.index(b"moov") - 4 :]
    path.write_bytes(with_alias(hollow, secret.name))
    with av.open(str(path), options={"enable_drefs": "1"}) as container:
        assert len(list(container.decode(video=0))) == 50, "FFmpeg follows it where it is told to"
    for rungs in RUNG_ORDERS:
        failure = child.decode(path, DecodeSettings(frames=3, rungs=rungs))
        assert isinstance(failure, DecodeFailure)
        assert failure.reason == "corrupt"


def with_alias(content: bytes, name: str) -> bytes:
    """A movie, its header last, whose first data reference is an alias to a file beside it."""
    plain = name.encode()
    body = bytes(4 + 10 + 28 + 12) + bytes([len(plain)]) + plain.ljust(63, b"\0") + bytes(16)
    body += struct.pack(">HH", 1, 1) + bytes(16)
    body += struct.pack(">HH", 2, len(plain)) + plain + bytes(len(plain) % 2) + struct.pack(">HH", 0xFFFF, 0)
    alias = struct.pack(">I4s", 8 + len(body), b"alis") + body
    at = content.index(b"dref") + 12
    old = struct.unpack(">I", content[at : at + 4])[0]
    changed = bytearray(content[:at] + alias + content[at + old :])
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = content.index(kind) - 4
        size = struct.unpack(">I", content[start : start + 4])[0]
        changed[start : start + 4] = struct.pack(">I", size + len(alias) - old)
    return bytes(changed)
