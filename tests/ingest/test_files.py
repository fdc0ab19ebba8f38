"""Which bytes a uri leads to, that it leads to no others, and that they were whole when they were read."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.failures import DecodeFailure
from ingest.source import attempts, files
from ingest.source.files import Fetched, fetch, still_the_same
from ingest.source.locations import Access, access_to, confine, shown
from ingest.source.stamps import Stamp, stamp, stamps


@pytest.fixture(scope="module")
def library() -> Iterator[Path]:
    """`root` with a file, links in and out of it, and `secret` beside it, and `root-2` with a longer name."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name).resolve()
        (top / "root" / "sub").mkdir(parents=True)
        (top / "root" / "a.mp4").write_bytes(b"inside")
        (top / "root" / "sub" / "b.mp4").write_bytes(b"inside too")
        (top / "secret").write_bytes(b"outside")
        (top / "root-2").mkdir()
        (top / "root-2" / "secret").write_bytes(b"outside")
        for link, to in [("in", "sub"), ("up", ".."), ("leak", "../secret"), ("next", "a.mp4"), ("me", "me")]:
            (top / "root" / link).symlink_to(to)
        (top / "root" / "twice").symlink_to("in/../up/secret")
        (top / "root" / "gone").symlink_to("../nowhere")
        (top / "way-in").symlink_to("root")
        yield top


def put(path: Path, content: bytes = b"x" * 3_000_000) -> Path:
    path.write_bytes(content)
    return path


def failure(outcome: object, reason: str = "unreadable") -> str:
    """The message of a failure that has to be one."""
    assert isinstance(outcome, DecodeFailure)
    assert (outcome.stage, outcome.reason) == ("list", reason)
    return outcome.message


links = st.sampled_from(["in", "up", "leak", "next", "twice", "gone", "me", "way-in"])
names = st.sampled_from(
    ["a.mp4", "sub", "b.mp4", "root", "root-2", "secret", "...", "~", "\0", "\udcff", "\ud800"]
)
tricks = st.sampled_from(["..", "..", ".", "", "%2e%2e", "..%2f..", "%00", "c\\..\\.."])
steps = links | names | tricks
starts = st.sampled_from(["", "{root}/", "{top}/", "/", "//", "file://{root}/", "FILE://LOCALHOST{root}/"])


@given(starts, st.lists(steps, max_size=6), st.booleans())
@example("{root}/", ["leak"], False)
@example("file://{root}/", ["%2e%2e", "secret"], False)
@example("{root}/", ["in", "..", "up", "root-2", "secret"], False)
@example("{top}/", ["root-2", "secret"], False)
@example("", ["me", "..", "up", "secret"], False)
@example("{root}/", ["me", "\0"], False)
@example("file://{root}/", ["me", "%00"], False)
def test_no_writing_of_a_path_leads_out_of_the_root(
    library: Path, start: str, parts: list[str], encoded: bool
) -> None:
    path = "/".join(parts)
    written = quote(path, errors="surrogatepass") if encoded else path
    uri = start.format(root=library / "root", top=library) + written
    access = access_to(str(library / "root"))
    outcome = fetch(uri, access, library)
    if isinstance(outcome, Fetched):
        assert outcome.path.is_relative_to(library / "root")
        assert outcome.path.read_bytes().startswith(b"inside")
        assert stamp(uri, access) == outcome.stamp
    else:
        assert outcome.reason in ("forbidden", "unreadable")
        assert stamp(uri, access) == outcome


@pytest.mark.parametrize("uri", ["leak", "twice", "up/secret", "gone", "../secret", "../root-2/secret"])
def test_what_leads_out_of_the_root_is_named_with_the_root_and_the_next_step(library: Path, uri: str) -> None:
    said = failure(fetch(uri, access_to(str(library / "root")), library), "forbidden")
    assert str(library / "root" / uri) in said
    assert f"root {library / 'root'}; name a wider one with --media-root" in said
    wider = fetch(str(library / "root" / uri), access_to(str(library)), library)
    assert isinstance(wider, Fetched) or "No such file" in wider.message


def test_a_link_inside_the_root_is_read_where_it_leads_and_the_root_may_be_a_link_itself(
    library: Path,
) -> None:
    for uri in ["next", "in/../a.mp4", str(library / "way-in" / "a.mp4"), str(library / "root" / "a.mp4")]:
        fetched = fetch(uri, access_to(str(library / "way-in")), library)
        assert isinstance(fetched, Fetched)
        assert (fetched.path, fetched.is_copy) == (library / "root" / "a.mp4", False)


hosts = st.sampled_from(
    ["bucket", "BUCKET", "bucket@evil", "evil", "bucket:80", "", "u:p@bucket", "bucket\\evil"]
)
keys = st.lists(
    st.sampled_from(
        ["dir", "dir2", "..", ".", "", "a.mp4", "%2e%2e", "%252e.", "..%2f", "..\\", "?", "#", "\t"]
    ),
    max_size=5,
).map("/".join)


@given(st.sampled_from(["s3", "S3", "https"]), hosts, keys)
@example("s3", "bucket", "dir/%252e./a.mp4")
@example("https", "bucket", "dir/..%2fa.mp4")
@example("https", "BUCKET", "dir/a.mp4")
def test_no_writing_of_a_url_leads_out_of_the_root(scheme: str, host: str, key: str) -> None:
    url = f"{scheme}://{host}/{key}"
    outcome = _confined(url, access_to(f"{scheme.lower()}://bucket/dir"))
    if outcome is None:
        same_host = host == "bucket" or (scheme == "https" and host == "BUCKET")
        path = key.split("?")[0].split("#")[0] if scheme == "https" else key
        assert same_host
        assert path == "dir" or path.startswith("dir/")
        for _ in range(3):  # as often as somebody on the way may decode it
            path = unquote(path)
            assert {"..", "."}.isdisjoint(path.replace("\\", "/").split("/"))
    else:
        assert outcome == "forbidden"


def _confined(url: str, access: Access) -> str | None:
    try:
        return None if confine(url, access) == url else "moved"
    except files.MediaRefused as refusal:
        return refusal.reason


def test_a_scheme_has_to_be_allowed_and_a_remote_source_reads_no_local_file(library: Path) -> None:
    local = access_to(str(library / "root"))
    assert "--allow-scheme s3" in failure(stamp("s3://bucket/key", local), "forbidden")
    assert "--allow-scheme zip" in failure(stamp("zip://a::s3://bucket/key", local), "forbidden")
    assert _confined("s3://any/key", access_to(str(library), also=["S3"])) is None
    remote = access_to("s3://bucket/dir")
    assert "is a URL" in failure(stamp(str(library / "secret"), remote), "forbidden")
    assert "is a URL" in failure(stamp(f"file://{library}/secret", remote), "forbidden")
    assert "another machine" in failure(stamp("file://evil/secret", local), "forbidden")


words = st.text("abcXYZ019-_", min_size=3)


@given(words, words, words)
def test_no_message_holds_a_password_or_a_signature(user: str, password: str, signature: str) -> None:
    secret = f"~{password}~{signature}"
    url = f"https://{user}:{secret}@host.example/dir/a.mp4?X-Amz-Signature={secret}#{secret}"
    assert shown(f"GET {url}: 403") == "GET https://host.example/dir/a.mp4 403"
    assert shown(f"https://host.example/a.mp4#token={secret}") == "https://host.example/a.mp4"
    assert shown("s3://bucket/take #1.mp4 is not there") == "s3://bucket/take #1.mp4 is not there"
    for access in (access_to("/videos"), access_to("https://host.example/dir")):
        assert secret not in failure(stamp(url, access), "forbidden")


def test_a_local_file_is_hashed_where_it_lies(tmp_path: Path) -> None:
    path = put(tmp_path / "a.mp4", os.urandom(2_500_000))
    fetched = fetch(str(path), access_to(str(tmp_path)), tmp_path / "no-scratch")
    status = path.stat()
    content = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    assert fetched == Fetched(path, content, Stamp(status.st_size, status.st_mtime_ns), is_copy=False)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = put(tmp_path / "a.mp4", b"x" * 101)
    said = failure(fetch(str(path), access_to(str(tmp_path), max_bytes=100), tmp_path), "limit")
    assert said == "it has 101 bytes or more; 100 are allowed"
    assert isinstance(fetch(str(path), access_to(str(tmp_path), max_bytes=101), tmp_path), Fetched)


def grow(path: Path) -> None:
    with open(path, "ab") as stream:
        stream.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, 2_000_000)


def rewrite(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"y" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def replace(path: Path) -> None:
    status = path.stat()
    other = put(path.with_name("other"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (grow, "changed"),
        (shrink, "changed"),
        (rewrite, "changed"),
        (replace, "changed"),
        (os.unlink, "vanished"),
    ],
)
def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], said: str
) -> None:
    path = put(tmp_path / "a.mp4")
    whole = files._chunks

    def meddled(handle: int) -> Iterator[memoryview]:
        for at, chunk in enumerate(whole(handle)):
            yield chunk
            if at == 0:
                change(path)

    monkeypatch.setattr(files, "_chunks", meddled)
    outcome = fetch(str(path), access_to(str(tmp_path)), tmp_path)
    assert f"{said} while it was read" in failure(outcome)
    assert isinstance(outcome, DecodeFailure)
    assert outcome.retryable
    assert outcome.attempts == 1


@pytest.mark.parametrize("change", [grow, shrink, rewrite, os.unlink])
def test_a_change_after_the_reading_can_be_told(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = put(tmp_path / "a.mp4")
    fetched = fetch(str(path), access_to(str(tmp_path)), tmp_path)
    assert isinstance(fetched, Fetched)
    assert still_the_same(fetched)
    change(path)
    assert not still_the_same(fetched)


def test_pipes_sockets_devices_and_directories_are_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name in ("pipe", "folder", "socket", "link"):
            access = access_to(str(tmp_path))
            for outcome in (stamp(name, access), fetch(name, access, tmp_path)):
                assert failure(outcome) == "it is not a regular file or may not be read"
    assert "not a regular file" in failure(fetch("/dev/zero", access_to("/dev"), tmp_path))


@pytest.mark.parametrize(
    ("error", "failing", "asked"),
    [
        (errno.EIO, 2, 3),
        (errno.ESTALE, 2, 3),
        (errno.EIO, 9, 3),
        (errno.EACCES, 9, 1),
        (errno.ENOENT, 9, 1),
        (errno.ENAMETOOLONG, 9, 1),
    ],
)
def test_a_disk_that_fails_is_asked_three_times_and_a_missing_or_forbidden_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, failing: int, asked: int
) -> None:
    path = put(tmp_path / "a.mp4")
    opened, calls = os.open, []

    def flaky(name: str, *how: int) -> int:
        calls.append(name)
        if len(calls) <= failing:
            raise OSError(error, os.strerror(error), name)
        return opened(name, *how)

    monkeypatch.setattr(attempts, "BACKOFF_S", 0.0)
    monkeypatch.setattr(os, "open", flaky)
    outcome = fetch(str(path), access_to(str(tmp_path)), tmp_path)
    assert len(calls) == asked
    if failing < asked:
        assert isinstance(outcome, Fetched)
    else:
        assert os.strerror(error) in failure(outcome)
        assert isinstance(outcome, DecodeFailure)
        assert (outcome.attempts, outcome.retryable) == (asked, True)


def test_many_stamps_are_those_of_each_file_in_the_order_asked_for(library: Path) -> None:
    access = access_to(str(library / "root"))
    root = library / "root"
    uris = [
        str(root / name) for name in ("a.mp4", "leak", "in/b.mp4", "none", "sub", "sub/b.mp4", "up/secret")
    ]
    uris += ["a.mp4", "s3://b/k", str(library / "secret"), ""]
    assert stamps(uris, access) == [stamp(uri, access) for uri in uris]
    assert [isinstance(one, Stamp) for one in stamps(uris, access)] == [
        *(True, False, True, False, False, True, False),
        *(True, False, False, False),
    ]


ASK_AS_NOBODY = """
import os, sys
from pathlib import Path
from ingest.source.files import fetch
from ingest.source.locations import access_to
from ingest.source.stamps import stamp

if os.geteuid() == 0:  # permissions do not bind root
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
root, *names = sys.argv[1:]
for name in names:
    failure = fetch(name, access_to(root), Path(root))
    print(failure.message, failure.attempts)
print(stamp(names[-1], access_to(root)).message)
"""


def test_a_file_that_may_not_be_read_is_refused_at_once() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "closed").mkdir()
        put(root / "closed" / "a.mp4")
        put(root / "closed.mp4").chmod(0)
        (root / "closed").chmod(0)
        root.chmod(0o755)
        said = lines_of(ASK_AS_NOBODY, name, "closed.mp4", "closed/a.mp4")
        (root / "closed").chmod(0o755)
    denied = "it cannot be read: Permission denied"
    assert said == [f"{denied} 1", f"{denied} 1", denied]


def lines_of(script: str, *arguments: str) -> list[str]:
    """What a script prints in a process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    home = str(Path(files.__file__).parents[1])
    run = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_access_goes_to_other_processes_as_it_is() -> None:
    access = access_to("s3://bucket/dir", also=["HTTPS"], max_bytes=7)
    assert pickle.loads(pickle.dumps(access)) == access
    assert access == Access("s3://bucket/dir", frozenset({"file", "s3", "https"}), 7)
