"""The way to Redis: what a URL may say, what a call may take, and what each failure tells."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis import exceptions

from features.errors import BadInput, StoreTimeout, StoreUnavailable, VersionMismatch
from features.redis_server import open_redis
from features.wire.connection import connect, mapped
from features.wire.lazy_cluster import LazyCluster
from tests.features.redis_cluster import free_ports, tcp_server


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield int(server.getsockname()[1])


def test_a_client_of_one_node_sends_nothing_before_its_first_call() -> None:
    with contextlib.closing(connect("redis://127.0.0.1:1", 0.1)) as client:
        assert isinstance(client, redis.Redis)


def test_a_client_of_a_cluster_sends_nothing_before_its_first_call_and_tries_again_after_a_failure() -> None:
    port = free_ports(1)[0]
    client = connect(f"redis+cluster://127.0.0.1:{port}", 0.2)
    assert isinstance(client, LazyCluster)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="read"), mapped("read", 200):
            client.get("a")
    client.close()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://127.0.0.1:6379", "redis://host:6379"),
        ("redis://127.0.0.1:port", "redis://host:6379"),
        ("redis+cluster://", "no host:port"),
        ("redis+cluster://a:1,,b:2", "no host:port"),
        ("redis+cluster://a:1,b:high", "redis://host:6379"),
        ("redis+cluster://a:1/3", "database 0 only"),
        ("redis+cluster://a:1?socket_timeout=soon", "redis://host:6379"),
    ],
)
def test_a_url_that_cannot_be_read_says_what_to_write(url: str, word: str) -> None:
    with pytest.raises(BadInput, match=word):
        connect(url, 0.1)


def test_login_hosts_and_options_of_a_cluster_reach_its_client() -> None:
    client = connect("rediss+cluster://me:p%40ss@a:7000,[::1]:7001,c?ssl_check_hostname=false", 0.1)
    assert isinstance(client, LazyCluster)
    given = client._given
    assert given["url"] == "rediss://me:p%40ss@a:7000?ssl_check_hostname=false"
    assert redis.connection.parse_url(given["url"])["password"] == "p@ss"
    assert [(node.host, node.port) for node in given["startup_nodes"]] == [("::1", 7001), ("c", 6379)]


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_silent_server_is_given_up_without_a_second_try(scheme: str) -> None:
    with silent_server() as port, contextlib.closing(connect(f"{scheme}://127.0.0.1:{port}", 0.1)) as client:
        with pytest.raises(StoreUnavailable), mapped("read", 100):
            client.get("a")
        given = client._given["retry"] if isinstance(client, LazyCluster) else client.get_retry()
        assert given.get_retries() == 0


def test_a_late_answer_is_a_timeout_that_names_the_operation_and_its_budget() -> None:
    with (
        silent_server() as port,
        contextlib.closing(connect(f"redis://127.0.0.1:{port}", 0.1)) as client,
        pytest.raises(StoreTimeout, match=r"read_user exceeded 100\.0 ms"),
        mapped("read_user", 100),
    ):
        client.get("a")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), "wait until it answers PING"),
        (exceptions.AuthenticationError("Authentication required."), "correct user and password"),
        (exceptions.NoPermissionError("no permissions to run 'get'"), "ACL SETUSER"),
        (
            exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
            "raise maxmemory",
        ),
        (
            exceptions.ResponseError("Error running script: @user_script: OOM command not allowed"),
            "raise maxmemory",
        ),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "name the primary"),
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file"), "see to its disk"),
        (exceptions.ClusterDownError("The cluster is down"), "CLUSTER INFO"),
        (exceptions.MovedError("3999 127.0.0.1:6381"), r"redis\+cluster://"),
        (
            exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"),
            r"redis\+cluster://",
        ),
        (exceptions.RedisClusterException("Cluster mode is not enabled on this node"), "no Redis Cluster"),
        (exceptions.ConnectionError("Error 111 connecting"), "no Redis answers"),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), "refused by Redis: WRONGTYPE"),
    ],
)
def test_what_redis_refuses_is_said_with_what_to_do(error: Exception, says: str) -> None:
    with pytest.raises(StoreUnavailable, match=says) as told, mapped("accept_events", 250):
        raise error
    assert told.value.__cause__ is error
    assert str(told.value).startswith("accept_events: ")
    assert told.value.retryable


def test_a_record_of_another_layout_is_a_mismatch() -> None:
    with pytest.raises(VersionMismatch, match="load the store again"), mapped("accept_events", 250):
        raise exceptions.ResponseError("MISMATCH record has layout 1")


def test_an_error_that_is_not_of_redis_passes_unchanged() -> None:
    with pytest.raises(ZeroDivisionError), mapped("read", 1):
        raise ZeroDivisionError


def test_a_real_server_names_its_own_refusals(redis_url: str) -> None:
    with contextlib.closing(connect(redis_url, 2)) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailable, match="raise maxmemory"), mapped("write", 2000):
                client.set("test_connection", "1")
            with pytest.raises(StoreUnavailable, match="raise maxmemory"), mapped("write", 2000):
                client.eval("return redis.call('SET', KEYS[1], '1')", 1, "test_connection")
        finally:
            client.config_set("maxmemory", before)


def test_a_single_server_named_as_a_cluster_says_so(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with tcp_server(tmp_path / "server", port):
        url = f"redis+cluster://127.0.0.1:{port}"
        with (
            contextlib.closing(connect(url, 2)) as client,
            pytest.raises(StoreUnavailable, match="name it by redis://"),
            mapped("read", 2000),
        ):
            client.get("a")
        with pytest.raises(BadInput, match="does not answer"), open_redis(url, tmp_path):
            pass
