"""A user deleted from a Redis Cluster of three masters: what is held of one lies on several of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from features.erasure.erase import Home, erase_user, find_everywhere
from features.erasure.in_redis import rewrite_append_only
from features.errors import Erased
from features.merging import merge_users
from features.packing import AcceptedEvent, Exposure, pack_exposure
from features.row_store.schema import RowSchema
from features.store import Store
from features.wire.connection import connect
from features.workspace import Workspace
from tests.features.redis_cluster import local_cluster

T0 = 1_767_225_600_000
VISITORS = [f"anon-{at}" for at in range(12)]
"""Enough that each master holds some."""


@pytest.fixture
def home(workspace: Workspace, tmp_path: Path) -> Iterator[Home]:
    with local_cluster(tmp_path / "cluster") as cluster:
        store, client = Store.connect(cluster.url, timeout_s=5), connect(cluster.url, 30)
        yield Home(workspace, store, client, False, lambda content, path: None)
        store.close()
        client.close()


def test_a_user_and_all_who_became_that_user_are_gone_from_every_master(home: Home) -> None:
    keys = np.arange(2, dtype=np.int64)
    for user in [*VISITORS, "user", "bystander"]:
        home.store.accept_events(user, [AcceptedEvent(f"e-{user}", 3, "v1", "play", T0)])
        slate = Exposure(f"r-{user}", user, T0, "b", "full", keys, np.zeros(2, np.float32), np.ones(2))
        home.store.log_exposure(pack_exposure(slate))
    everybody = [*VISITORS, "user", "bystander"]
    home.store.rows.load(RowSchema("user", ("a",), "v"), everybody, np.zeros((len(everybody), 1), np.float32))
    for visitor in VISITORS:
        merge_users(home.workspace, home.store, visitor, "user")
    before = find_everywhere(home, ["bystander"])
    done = erase_user(home, "user")
    n = len(VISITORS) + 1
    for place in ("record", "events waiting", "slates waiting", "feature rows"):
        assert done.removed[f"redis {place}"] == n, place
    assert find_everywhere(home, ["bystander"]) == before
    for user in (*VISITORS, "user"):
        with pytest.raises(Erased):
            home.store.accept_events(user, [AcceptedEvent("later", 3, "v1", "play", T0)])
    assert len(json.loads(done.proof.read_text())["merged_hashes"]) == len(VISITORS)


def test_no_log_of_commands_holds_the_user_once_it_is_written_anew(home: Home, tmp_path: Path) -> None:
    for user in VISITORS:
        home.store.accept_events(user, [AcceptedEvent("e", 3, "v1", "play", T0)])
        home.store.delete_user(user)
    assert rewrite_append_only(home.client) == "written anew"
    logs = [path.read_bytes() for path in (tmp_path / "cluster").rglob("*.aof*") if path.is_file()]
    assert len(logs) >= 3
    assert not any(b"anon-" in log for log in logs)
