"""What a file, a decoder or a kernel may do to a decoder child, and what its worker then says."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest import isolation, wire
from ingest.decoder_child import ChildLimits
from ingest.failures import DecodeFailure
from ingest.isolation import DecoderChild
from ingest.media.decode import Clip, DecodeSettings

ClipMaker = Callable[..., Path]


def signal_when_running(child: DecoderChild, number: int, delay_s: float = 0.0) -> threading.Thread:
    """Sends the signal to the first process that the child has."""

    def send() -> None:
        while child.pid is None:
            time.sleep(0.005)
        time.sleep(delay_s)
        os.kill(child.pid, number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_a_child_that_crashes_costs_a_retry_and_nothing_else(make_clip: ClipMaker) -> None:
    with DecoderChild() as child:
        killer = signal_when_running(child, signal.SIGSEGV)
        clip = child.decode(make_clip(), DecodeSettings())
        killer.join()
        assert isinstance(clip, Clip)
        assert clip.rung == "decord", "the first rung is not tried again"
        assert child.started == 2
        assert child.decode(make_clip("next.mp4"), DecodeSettings()).rung == "pyav"


def test_a_crash_without_another_rung_names_its_signal(make_clip: ClipMaker) -> None:
    with DecoderChild() as child:
        killer = signal_when_running(child, signal.SIGSEGV)
        failure = child.decode(make_clip(), DecodeSettings(rungs=("pyav",)))
        killer.join()
    assert isinstance(failure, DecodeFailure)
    assert (failure.reason, failure.retryable) == ("crash", True)
    assert "SIGSEGV" in failure.message


def test_a_child_that_stands_still_is_replaced_at_its_deadline(make_clip: ClipMaker) -> None:
    with DecoderChild(ChildLimits(probe_s=0.5)) as child:
        assert isinstance(child.decode(make_clip(), DecodeSettings()), Clip)
        os.kill(child.pid, signal.SIGSTOP)
        started = time.monotonic()
        failure = child.decode(make_clip("b.mp4"), DecodeSettings(rungs=("pyav",)))
        assert isinstance(failure, DecodeFailure)
        assert (failure.reason, failure.message) == ("timeout", "the probe took longer than 0.5 s")
        assert time.monotonic() - started < 5
        assert child.pid is None
        assert isinstance(child.decode(make_clip("c.mp4"), DecodeSettings()), Clip)


def test_a_program_that_sends_nonsense_is_not_believed(make_clip: ClipMaker) -> None:
    huge = {"fields": {"kind": "clip"}, "arrays": [["frames", "uint8", [1 << 40]]]}
    header = json.dumps(huge).encode()
    for content in (b"hello, I am no decoder", wire.LENGTH.pack(len(header)) + header, b""):
        code = f"import sys; sys.stdout.buffer.write({content!r})"
        with DecoderChild(command=[sys.executable, "-c", code]) as child:
            failure = child.decode(make_clip(), DecodeSettings(rungs=("pyav",)))
            assert isinstance(failure, DecodeFailure)
            assert failure.reason == "crash"


def test_a_child_inherits_no_secret(make_clip: ClipMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with DecoderChild() as child:
        child.decode(make_clip(), DecodeSettings())
        environment = Path(f"/proc/{child.pid}/environ").read_bytes()
        handles = [os.readlink(f"/proc/{child.pid}/fd/{n}") for n in os.listdir(f"/proc/{child.pid}/fd")]
    assert b"SECRET" not in environment
    own_log = tempfile.gettempdir()
    assert all(h.startswith(("pipe:", own_log, "/dev/null")) for h in handles), handles


def test_memory_is_limited_and_the_next_file_still_decodes(make_clip: ClipMaker, tmp_path: Path) -> None:
    big, small = tmp_path / "big.png", make_clip("small.mp4")
    Image.new("RGB", (6000, 4000)).save(big)
    how = DecodeSettings(rungs=("pyav",))
    with DecoderChild() as child:
        child.decode(small, how)
        held = int(Path(f"/proc/{child.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    with DecoderChild(ChildLimits(memory_bytes=held + (40 << 20))) as child:
        failure = child.decode(big, how)
        assert isinstance(failure, DecodeFailure)
        assert failure.reason in ("limit", "crash"), failure
        assert isinstance(child.decode(small, how), Clip)


def test_a_child_is_replaced_after_so_many_files_or_so_much_memory(make_clip: ClipMaker) -> None:
    path = make_clip()
    for limits in (ChildLimits(recycle_after=1), ChildLimits(recycle_bytes=1)):
        with DecoderChild(limits) as child:
            for _ in range(2):
                assert isinstance(child.decode(path, DecodeSettings()), Clip)
                assert child.pid is None
            assert child.started == 2


def test_a_child_ends_with_its_worker(make_clip: ClipMaker) -> None:
    child = DecoderChild()
    child.decode(make_clip(), DecodeSettings())
    process = child._child.process
    process.stdin.close()  # what the kernel does when a worker is killed
    assert process.wait(10) == 0
    child.close()


def test_a_child_that_spins_for_ever_is_ended_at_its_deadline(make_clip: ClipMaker) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from ingest import decoder_child as child;"
        "child.decode_clip = lambda *job: [None for _ in iter(int, 1)];"
        "child.serve_jobs()"
    )
    root = str(Path(__file__).resolve().parents[2])
    with DecoderChild(ChildLimits(probe_s=1.0), command=[sys.executable, "-c", code, root]) as child:
        failure = child.decode(make_clip(), DecodeSettings(rungs=("pyav",)))
        assert isinstance(failure, DecodeFailure)
        assert (failure.reason, failure.retryable, child.timeouts, child.pid) == ("timeout", True, 1, None)
        assert child.last_cpu_s > 0.02, "it worked for nothing"


def test_a_child_counts_what_befell_it(make_clip: ClipMaker) -> None:
    path = make_clip(frames=200)
    with DecoderChild(ChildLimits(recycle_after=2)) as child:
        assert isinstance(child.decode(path, DecodeSettings()), Clip)
        assert 0.0 < child.last_cpu_s < 5.0
        assert isinstance(child.decode(path, DecodeSettings()), Clip)
        assert (child.started, child.recycled, child.crashes, child.timeouts) == (1, 1, 0, 0)
        killer = signal_when_running(child, signal.SIGSEGV)
        assert isinstance(child.decode(path, DecodeSettings()), Clip)
        killer.join()
        assert (child.started, child.recycled, child.crashes, child.timeouts) == (3, 1, 1, 0)


def test_a_failure_names_the_decoder_that_was_asked_last(make_clip: ClipMaker) -> None:
    path = make_clip(frames=20)
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start : content.index(b"moov", start) - 4] = bytes(content.index(b"moov", start) - 4 - start)
    path.write_bytes(content)
    with DecoderChild() as child:
        failure = child.decode(path, DecodeSettings())
        assert isinstance(failure, DecodeFailure)
        assert (failure.stage, failure.reason, failure.rung) == ("decode", "corrupt", "decord")
        assert child.decode(path.with_name("gone.mp4"), DecodeSettings()).rung is None


def test_a_child_is_confined_by_the_kernel_in_all_its_threads(make_clip: ClipMaker) -> None:
    with DecoderChild() as child:
        assert isinstance(child.decode(make_clip(), DecodeSettings()), Clip)
        for task in Path(f"/proc/{child.pid}/task").iterdir():
            status = (task / "status").read_text()
            assert "Seccomp:\t2" in status
            assert "NoNewPrivs:\t1" in status
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        assert re.search(r"Max open files +64 +64 ", limits)
        assert re.search(r"Max core file size +0 +0 ", limits)


FORBIDDEN = {
    "a socket": "socket.socket()",
    "a local socket": "socket.socket(socket.AF_UNIX)",
    "a pair of sockets": "socket.socketpair()",
    "a process": "os.fork()",
    "a program": "os.execv('/bin/true', ['true'])",
    "a signal": "os.kill(os.getppid(), 0)",
    "a new file": "open(sys.argv[2] + '/new', 'w')",
    "a change": "open(sys.argv[2] + '/old', 'r+')",
    "a removal": "os.unlink(sys.argv[2] + '/old')",
    "a move": "os.rename(sys.argv[2] + '/old', sys.argv[2] + '/new')",
    "a folder": "os.mkdir(sys.argv[2] + '/new')",
    "a mode": "os.chmod(sys.argv[2] + '/old', 0)",
}


def test_what_a_decoder_has_no_use_for_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    tries = "".join(f"refused({name!r}, lambda: {call})\n" for name, call in FORBIDDEN.items())
    code = (
        "import os, socket, sys, threading\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from ingest.sandbox import confine\n"
        "def refused(name, call):\n"
        "    try: call()\n"
        "    except PermissionError: return\n"
        "    sys.exit('not refused: ' + name)\n"
        "why = confine()\n"
        "if why: sys.exit(why)\n"
        f"{tries}"
        "seen = []\n"
        "thread = threading.Thread(target=lambda: seen.append(open(sys.argv[2] + '/old').read()))\n"
        "thread.start(); thread.join()\n"
        "assert seen == ['old']\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", code, root, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_child_without_a_sandbox_says_so_once(
    make_clip: ClipMaker, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from ingest import decoder_child as child;"
        "child.confine = lambda: 'the kernel is too old';"
        "child.serve_jobs()"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).resolve().parents[2])]
    isolation._say_unconfined.cache_clear()
    for _ in range(2):
        with DecoderChild(command=command) as child:
            assert isinstance(child.decode(make_clip(), DecodeSettings()), Clip)
    assert [r.getMessage() for r in caplog.records if "sandbox" in r.getMessage()] == [
        "decoder child runs without a sandbox: the kernel is too old"
    ]


def test_a_file_that_is_not_there_is_worth_another_try(tmp_path: Path) -> None:
    with DecoderChild() as child:
        for path in (tmp_path / "gone.mp4", tmp_path):
            failure = child.decode(path, DecodeSettings())
            assert isinstance(failure, DecodeFailure)
            assert (failure.stage, failure.reason, failure.retryable) == ("probe", "unreadable", True)


def test_a_message_comes_through_the_wire_as_it_was() -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.zeros((0, 4), np.uint8)}
    stream = io.BytesIO(b"".join(wire.pack({"kind": "clip", "name": "ü"}, arrays)))
    message = wire.unpack(stream.read)
    assert message.fields == {"kind": "clip", "name": "ü"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(message.arrays[name], array)
        assert message.arrays[name].dtype == array.dtype
