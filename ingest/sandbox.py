"""What a decoder child may not do, enforced by the kernel: no network, no other program, no change to a file.

A decoder that is taken over by the media it reads then cannot send anything anywhere, start or signal a
process, or write, move or delete. Calls are refused with EPERM rather than by death: a library that tries,
and can do without, goes on.

Source: seccomp(2) and linux/seccomp.h; the filter is classic BPF over `struct seccomp_data`, and the numbers
of the calls are those of arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_LOG_BYTES: Final = 1 << 20
"""The child may write so much to its log, and to no other file."""
MAX_OPEN_FILES: Final = 64

ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM
UNKNOWN: Final = 0x00050000 | errno.ENOSYS

# BPF_LD | BPF_W | BPF_ABS; BPF_JMP | BPF_K with BPF_JEQ, BPF_JGE, BPF_JSET; BPF_RET | BPF_K
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# offsets in `struct seccomp_data`: the call's number, its architecture, low half of its first arguments
NUMBER, ARCH, ARGUMENT = 0, 4, (16, 24, 32)

CLONE_THREAD: Final = 0x00010000
WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
OTHER_NUMBERS: Final = 0x40000000
"""On x86-64 a second set of numbers for the same calls begins here."""

Row = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Machine:
    """The numbers of calls on one architecture."""

    arch: int
    clone: int
    opens: tuple[tuple[int, int], ...]
    """(open or openat, offset of its flags)."""
    denied: tuple[int, ...]


COMMON: Final = (424, 425, 426, 427, 434, 438, 452)
"""pidfd_send_signal, io_uring_setup, _enter and _register, pidfd_open, pidfd_getfd, fchmodat2."""
HIDDEN: Final = (435, 437)
"""clone3 and openat2 keep their flags where no filter sees them; callers fall back to clone and openat."""

MACHINES: Final = {
    "x86_64": _Machine(
        0xC000003E,
        56,
        ((2, ARGUMENT[1]), (257, ARGUMENT[2])),
        (
            *(41, 42, 43, 44, 46, 49, 50, 53, 288, 307),  # socket, connect, accept, send, bind, listen, pair
            *(57, 58, 59, 322, 62, 200, 234, 129, 297),  # fork, vfork, execve(at), kill, tkill, tgkill, queue
            *(101, 310, 311, 321, 165, 272, 308),  # ptrace, process_vm_*, bpf, mount, unshare, setns
            *(76, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 133),  # truncate, rename, mkdir ... mknod
            *(258, 259, 260, 263, 264, 265, 266, 268, 316),  # the same relative to a folder
        ),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        220,
        ((56, ARGUMENT[2]),),
        (
            *(198, 203, 202, 206, 211, 200, 201, 199, 242, 269),
            *(221, 281, 129, 130, 131, 138, 240),
            *(117, 270, 271, 280, 40, 97, 268),
            *(45, 33, 34, 35, 36, 37, 38, 52, 53, 54, 55, 276),
        ),
    ),
}


def limit_resources() -> None:
    """No core dump, no file but a short log, few open files."""
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, MAX_LOG_BYTES),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        resource.setrlimit(kind, (most, most))


def confine() -> str | None:
    """Refuses this process, and all its threads to come, the calls listed above; for good.

    Returns:
        None where that holds; else why it does not: a kernel without seccomp, or an unknown machine.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return f"no filter is known for {platform.machine()}"
    rows = [struct.pack("HBBI", *row) for row in _filter(machine)]
    kept = ctypes.create_string_buffer(b"".join(rows))
    program = struct.pack("H6xP", len(rows), ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (38, 1, 0, 0, 0),
        (22, 2, program, 0, 0),
    ):  # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP, filter mode
        if libc.prctl(*call):
            return f"the kernel has no seccomp: {os.strerror(ctypes.get_errno())}"
    return None


def _filter(machine: _Machine) -> Iterator[Row]:
    """Rows of `struct sock_filter`: code, how many rows to skip where true and where false, value."""
    yield from ((LOAD, 0, 0, ARCH), (EQUAL, 1, 0, machine.arch), (RETURN, 0, 0, REFUSE))
    yield from ((LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, OTHER_NUMBERS), (RETURN, 0, 0, REFUSE))
    for number in HIDDEN:
        yield from ((EQUAL, 0, 1, number), (RETURN, 0, 0, UNKNOWN))
    for number in sorted({*machine.denied, *COMMON}):
        yield from ((EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE))
    for number, flags_at in machine.opens:
        yield from ((EQUAL, 0, 4, number), (LOAD, 0, 0, flags_at), (ANY_BIT, 0, 1, WRITES))
        yield from ((RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW))
    yield from ((EQUAL, 0, 3, machine.clone), (LOAD, 0, 0, ARGUMENT[0]), (ANY_BIT, 1, 0, CLONE_THREAD))
    yield from ((RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW))
