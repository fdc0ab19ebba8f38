"""Files of object stores and web servers: listed, stamped and copied as local ones are, and no others."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from features.errors import BadInput
from ingest.failures import DecodeFailure
from ingest.source import attempts, files
from ingest.source.files import Fetched, fetch, still_the_same
from ingest.source.listing import list_source
from ingest.source.locations import access_to
from ingest.source.stamps import Stamp, stamp

LIBRARY = access_to("s3://videos/lib")


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """A filesystem of an S3 server on loopback that ends with the module; the environment names it."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with pytest.MonkeyPatch.context() as patch:
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            assert server.stderr
            patch.setenv("AWS_ENDPOINT_URL", _address(server.stderr))
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "only-for-tests")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            fs = fsspec.filesystem("s3", use_listings_cache=False)
            fs.mkdir("videos")
            yield fs
        finally:
            server.terminate()
            server.communicate()


def _address(lines: Any) -> str:
    for line in lines:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    raise AssertionError("the S3 server did not start")


@pytest.fixture
def library(store: Any) -> Iterator[Any]:
    """The store with a few keys below `videos/lib`, gone after the test."""
    keys = ["lib/a.mp4", "lib/x/b.mp4", "lib/x/y/c.webm", "lib/odd [1] 100%_ü.mp4", "lib//slash.mp4"]
    for key in [*keys, "lib/.hidden/d.mp4", "lib/notes.txt", "lib/x/table.parquet", "library/e.mp4"]:
        store.pipe(f"videos/{key}", key.encode())
    for marker in ("lib/", "lib/x/", "lib/empty/"):
        store.call_s3("put_object", Bucket="videos", Key=marker, Body=b"")
    yield store
    store.rm("videos/lib", recursive=True)


def digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def failure(outcome: object, reason: str = "unreadable") -> str:
    """The message of a failure that has to be one."""
    assert isinstance(outcome, DecodeFailure)
    assert (outcome.stage, outcome.reason) == ("list", reason)
    return outcome.message


def test_a_folder_of_a_store_is_listed_as_a_directory_is_with_sizes_times_and_etags(library: Any) -> None:
    for source in ("s3://videos/lib", "s3://videos/lib/"):
        listing = list_source(source)
        ids = listing.frame["video_id"].to_list()
        assert ids == ["/slash.mp4", "a.mp4", "odd [1] 100%_ü.mp4", "x/b.mp4", "x/y/c.webm"]
        assert listing.root == "s3://videos/lib"
        assert listing.frame["uri"].to_list() == [f"s3://videos/lib/{name}" for name in ids]
        for uri, *known in listing.frame.select("uri", "size_bytes", "modified_ns", "etag").iter_rows():
            assert stamp(uri, access_to(listing.root)) == Stamp(*known)
            assert known[2] == hashlib.md5(uri[len("s3://videos/") :].encode()).hexdigest()


def test_a_glob_of_a_store_is_listed_below_its_fixed_part(library: Any) -> None:
    assert list_source("s3://videos/lib/*.mp4").frame["video_id"].to_list() == [
        "a.mp4",
        "odd [1] 100%_ü.mp4",
    ]
    assert list_source("s3://videos/lib/*").frame["video_id"].to_list() == ["a.mp4", "odd [1] 100%_ü.mp4"]
    deep = list_source("s3://videos/l*b/**/*.webm")
    assert (deep.root, deep.frame["video_id"].to_list()) == ("s3://videos", ["lib/x/y/c.webm"])


def test_a_manifest_in_a_store_names_files_beside_it(library: Any) -> None:
    rows = pl.DataFrame(
        {"video_id": ["v", "w"], "uri": ["x/b.mp4", "s3://videos/lib/a.mp4"], "title": ["T", None]}
    )
    library.pipe("videos/lib/list.csv", rows.write_csv().encode())
    listing = list_source("s3://videos/lib/list.csv")
    assert listing.root == "s3://videos/lib"
    assert listing.frame["uri"].to_list() == ["s3://videos/lib/x/b.mp4", "s3://videos/lib/a.mp4"]
    assert listing.frame["title"].to_list() == ["T", None]
    assert listing.frame["size_bytes"].null_count() == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://videos/nowhere", "source s3://videos/nowhere is not there; name a directory"),
        ("s3://no-such-bucket/lib", "source s3://no-such-bucket/lib is not there"),
        ("s3://videos/lib/a.mp4", "is a file but no manifest"),
        ("s3://videos/lib/*.avi", "glob s3://videos/lib/.*avi holds no media file"),
        ("s3://videos/lib/empty", "folder s3://videos/lib/empty holds no media file"),
        ("gs://bucket/lib", "gs:// needs a package that is not installed: .*gcsfs"),
    ],
)
def test_a_remote_source_that_cannot_be_used_is_refused_in_one_sentence(
    library: Any, source: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        list_source(source)
    assert "\n" not in str(refused.value)


def test_a_remote_file_is_copied_and_hashed(library: Any, tmp_path: Path) -> None:
    content = os.urandom(files.REMOTE_CHUNK + 1_000_001)
    library.pipe("videos/lib/big.mp4", content)
    fetched = fetch("s3://videos/lib/big.mp4", LIBRARY, tmp_path)
    assert isinstance(fetched, Fetched)
    assert (fetched.content_hash, fetched.is_copy) == (digest(content), True)
    assert fetched.path.read_bytes() == content
    assert (fetched.path.parent, fetched.path.suffix) == (tmp_path, ".mp4")
    assert fetched.stamp == stamp("s3://videos/lib/big.mp4", LIBRARY)
    assert still_the_same(fetched)


def test_a_remote_file_over_the_limit_is_not_copied(library: Any, tmp_path: Path) -> None:
    library.pipe("videos/lib/big.mp4", b"x" * 101)
    small = access_to(LIBRARY.root, max_bytes=100)
    assert "100 are allowed" in failure(fetch("s3://videos/lib/big.mp4", small, tmp_path), "limit")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "reason", "said"),
    [
        ("s3://videos/lib/none.mp4", "unreadable", "s3://videos/lib/none.mp4 is not there"),
        ("s3://videos/lib/x", "unreadable", "folder"),
        (
            "s3://videos/library/e.mp4",
            "forbidden",
            "outside the source's root s3://videos/lib; .*--media-root",
        ),
        ("s3://videos/lib/../library/e.mp4", "forbidden", "steps up"),
        ("s3://other/lib/a.mp4", "forbidden", "outside"),
        ("https://videos/lib/a.mp4", "forbidden", "--allow-scheme https"),
    ],
)
def test_what_is_missing_or_outside_is_refused_at_once(
    library: Any, tmp_path: Path, uri: str, reason: str, said: str
) -> None:
    for outcome in (fetch(uri, LIBRARY, tmp_path), stamp(uri, LIBRARY)):
        assert re.search(said, failure(outcome, reason))
        assert isinstance(outcome, DecodeFailure)
        assert outcome.attempts == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", [True, False])
def test_an_object_that_is_written_or_removed_while_it_is_copied_is_left_for_the_next_run(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    library.pipe("videos/lib/big.mp4", b"x" * (files.REMOTE_CHUNK + 1))
    write = files._write

    def meddled(handle: int, chunk: bytes) -> None:
        write(handle, chunk)
        if changed:
            library.pipe("videos/lib/big.mp4", b"y" * (files.REMOTE_CHUNK + 1))
        else:
            library.rm("videos/lib/big.mp4")

    monkeypatch.setattr(files, "_write", meddled)
    outcome = fetch("s3://videos/lib/big.mp4", LIBRARY, tmp_path)
    assert ("changed while it was read" if changed else "is not there") in failure(outcome)
    assert isinstance(outcome, DecodeFailure)
    assert (outcome.retryable, outcome.attempts) == (True, 1)
    assert not list(tmp_path.iterdir())


class Flaky(MemoryFileSystem):
    """A store in memory that fails as often as it is told to."""

    protocol = "flaky"
    failing: ClassVar[int] = 0
    error: ClassVar[Exception] = OSError()
    asked: ClassVar[int] = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.replace("flaky://", "memory://")))

    def _open(self, path: str, *how: Any, **more: Any) -> Any:
        Flaky.asked += 1
        if Flaky.asked <= Flaky.failing:
            raise Flaky.error
        return super()._open(path, *how, **more)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Flaky]]:
    monkeypatch.setattr(attempts, "BACKOFF_S", 0.0)
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr(Flaky, "failing", 0)
    Flaky().pipe("/lib/a.mp4", b"content")
    Flaky.asked = 0
    yield Flaky
    Flaky().rm("/lib", recursive=True)


@pytest.mark.parametrize(
    ("error", "failing", "asked"),
    [
        (ConnectionResetError("reset by peer"), 2, 3),
        (TimeoutError("no answer"), 9, 3),
        (RuntimeError("503 for https://key:only-for-tests@host/a?sig=only-for-tests"), 9, 3),
        (PermissionError("denied"), 9, 1),
        (FileNotFoundError("gone"), 9, 1),
    ],
)
def test_a_network_that_fails_is_asked_three_times_and_leaves_nothing(
    flaky: type[Flaky], tmp_path: Path, error: Exception, failing: int, asked: int
) -> None:
    flaky.error, flaky.failing = error, failing
    outcome = fetch("flaky://lib/a.mp4", access_to("flaky://lib"), tmp_path)
    assert flaky.asked == asked
    if failing < asked:
        assert isinstance(outcome, Fetched)
        assert outcome.content_hash == digest(b"content")
    else:
        assert "only-for-tests" not in failure(outcome)
        assert isinstance(outcome, DecodeFailure)
        assert (outcome.attempts, outcome.retryable) == (asked, True)
        assert not list(tmp_path.iterdir())


def test_a_file_of_a_store_without_etags_that_is_written_while_it_is_copied_is_left_for_the_next_run(
    flaky: type[Flaky], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files._write

    def meddled(handle: int, chunk: bytes) -> None:
        write(handle, chunk)
        Flaky().pipe("/lib/a.mp4", b"CONTENT")

    monkeypatch.setattr(files, "_write", meddled)
    outcome = fetch("flaky://lib/a.mp4", access_to("flaky://lib"), tmp_path)
    assert "it changed while it was read" in failure(outcome)
    assert not list(tmp_path.iterdir())


def test_a_full_or_missing_scratch_directory_is_a_failure_of_the_file(
    flaky: type[Flaky], tmp_path: Path
) -> None:
    outcome = fetch("flaky://lib/a.mp4", access_to("flaky://lib"), tmp_path / "missing")
    assert "no copy can be made: No such file" in failure(outcome)
    if Path("/dev/full").exists():
        with open("/dev/full", "wb") as full, pytest.raises(files.MediaRefused, match="No space left"):
            files._write(full.fileno(), b"x")


class Web(BaseHTTPRequestHandler):
    """Files with ETags, and the answers of servers that have none."""

    files: ClassVar[dict[str, bytes]] = {"/lib/a.mp4": b"content of a", "/private/b.mp4": b"not for all"}
    moved: ClassVar[dict[str, str]] = {"/lib/near.mp4": "/lib/a.mp4", "/lib/far.mp4": "/private/b.mp4"}
    status: ClassVar[dict[str, int]] = {"/lib/closed.mp4": 403, "/lib/broken.mp4": 503}
    seen: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.answer(b"")

    def do_GET(self) -> None:
        self.answer(None)

    def answer(self, body: bytes | None) -> None:
        path = self.path.partition("?")[0]
        Web.seen.append(path)
        content = Web.files.get(path, b"")
        found = 200 if path in Web.files else 302 if path in Web.moved else Web.status.get(path, 404)
        self.send_response(found)
        if path in Web.moved:
            self.send_header("Location", Web.moved[path])
        if path in Web.files:
            self.send_header("ETag", f'"{digest(content)}"')
            self.send_header("Last-Modified", "Sat, 03 Jan 2026 04:05:06 GMT")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content if body is None else body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a web server on loopback that ends with the test."""
    monkeypatch.setattr(attempts, "BACKOFF_S", 0.0)
    Web.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_of_a_web_server_is_copied_and_its_etag_known(web: str, tmp_path: Path) -> None:
    access = access_to(f"{web}/lib")
    for name in ("a.mp4?token=only-for-tests", "near.mp4"):
        fetched = fetch(f"{web}/lib/{name}", access, tmp_path)
        assert isinstance(fetched, Fetched)
        assert fetched.path.read_bytes() == b"content of a"
        assert fetched.path.suffix == ".mp4"
        assert fetched.stamp == Stamp(12, 1_767_413_106 * 10**9, digest(b"content of a"))


def test_a_redirect_leads_no_further_than_the_root(web: str, tmp_path: Path) -> None:
    said = failure(fetch(f"{web}/lib/far.mp4", access_to(f"{web}/lib"), tmp_path), "forbidden")
    assert f"{web}/private/b.mp4 lies outside" in said
    assert "/private/b.mp4" not in Web.seen
    assert isinstance(fetch(f"{web}/lib/far.mp4", access_to(web), tmp_path), Fetched)


@pytest.mark.parametrize(
    ("name", "said", "tries"),
    [("none.mp4", "is not there", 1), ("closed.mp4", "may not be read", 1), ("broken.mp4", "503", 3)],
)
def test_the_answers_of_a_web_server_are_told_apart(
    web: str, tmp_path: Path, name: str, said: str, tries: int
) -> None:
    outcome = fetch(f"{web}/lib/{name}?token=only-for-tests", access_to(f"{web}/lib"), tmp_path)
    assert said in failure(outcome)
    assert "only-for-tests" not in failure(outcome)
    assert isinstance(outcome, DecodeFailure)
    assert outcome.attempts == tries
