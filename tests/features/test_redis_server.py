"""The private Redis: real, private, lasting, and ended with its owner."""

import os
import signal
import time
from pathlib import Path

import pytest
import redis

from features.errors import BadInput
from features.redis_server import find_server, open_redis, private_redis, without_password


def pid_of(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_was_written_is_there_after_a_restart_and_the_server_ends_with_the_block(tmp_path: Path) -> None:
    with private_redis(tmp_path) as url:
        pid = pid_of(url)
        with redis.Redis.from_url(url) as client:
            client.set("a", "1")
        with private_redis(tmp_path) as shared:
            assert shared == url
        assert pid_of(url) == pid
    assert not is_running(pid)
    with private_redis(tmp_path) as url, redis.Redis.from_url(url) as client:
        assert client.get("a") == b"1"


def test_a_long_directory_is_no_trouble_for_the_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    with private_redis(deep) as url:
        assert len(url) < 120


def test_a_server_that_was_killed_is_replaced(tmp_path: Path) -> None:
    with private_redis(tmp_path) as url:
        os.kill(pid_of(url), signal.SIGKILL)
        time.sleep(0.1)
    with private_redis(tmp_path) as url:
        assert pid_of(url)


def test_a_named_server_that_answers_is_used(redis_url: str, tmp_path: Path) -> None:
    with open_redis(redis_url, tmp_path) as url:
        assert url == redis_url
    assert pid_of(redis_url)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["redis://:secret@127.0.0.1:1/0", "http://:secret@x", "redis://:secret@127.0.0.1:99999"]
)
def test_a_named_server_that_does_not_answer_is_named_without_its_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not answer within 2 s") as failure, open_redis(url, tmp_path):
        pass
    assert "secret" not in str(failure.value)
    assert "unset REDIS_URL" in str(failure.value)


def test_passwords_are_hidden_and_other_urls_left_alone() -> None:
    assert without_password("redis://me:pw@host:6379/1") == "redis://***@host:6379/1"
    assert without_password("unix:///tmp/x.sock") == "unix:///tmp/x.sock"


def test_a_server_program_is_found_without_one_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert os.access(find_server(), os.X_OK)
