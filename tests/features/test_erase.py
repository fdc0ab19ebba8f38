"""A deleted user is nowhere: a planted workspace and a real Redis, searched in other ways than the code's."""

import json
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.contracts import INTERACTIONS
from features.erasure import erase
from features.erasure.erase import Home, erase_user, find_everywhere
from features.erasure.in_tables import user_tables
from features.erasure.tombstones import hash_of_user, refused_users
from features.errors import BadInput, Erased, RecError
from features.importers import key_of_event_id
from features.intake.appending import REFUSED, append_events, append_rows, refused_events
from features.intake.laid_aside import LAID_ASIDE, laid_aside
from features.merges import merges
from features.merging import merge_users
from features.outbox import EXPOSURES, exposures
from features.packing import AcceptedEvent, Exposure, pack_event, pack_exposure
from features.redis_server import private_redis
from features.row_store.schema import RowSchema
from features.store import Store
from features.tables import Table
from features.wire.connection import connect
from features.wire.nodes import Client
from features.wire.store_keys import shard_of
from features.wire.streams import GROUP
from features.workspace import Workspace

T0 = 1_767_225_600_000
NAME = "erika/mustermann 7"
OTHER = "bystander"


def write_plain(content: dict[str, Any], directory: Path) -> None:
    """What a ranker's report would be: numbers, and a page of them."""
    for name in ("report.json", "report.html"):
        (directory / name).write_text(json.dumps(content))


@pytest.fixture
def home(workspace: Workspace, redis_url: str) -> Iterator[Home]:
    namespace = f"t{secrets.token_hex(4)}"
    store, client = Store.connect(redis_url, namespace, timeout_s=5), connect(redis_url, 30)
    yield Home(workspace, store, client, False, write_plain, namespace)
    store.close()
    client.close()


def event(name: str, ts_ms: int = T0) -> AcceptedEvent:
    return AcceptedEvent(name, 3, "v1", "play", ts_ms, watch_s=2.5)


def slate(user: str | None, name: str) -> bytes:
    keys = np.arange(2, dtype=np.int64)
    return pack_exposure(Exposure(name, user, T0, "b", "full", keys, np.zeros(2, np.float32), np.ones(2)))


def log_of(interactions_of: Callable[..., pl.DataFrame], users: Sequence[str | None]) -> pl.DataFrame:
    names = [f"log-{user}-{at}" for at, user in enumerate(users)]
    return interactions_of(
        user_id=list(users), video_id=["v1"] * len(users), ts=[T0 + at for at in range(len(users))],
        event_id=names, event_key=[key_of_event_id(name) for name in names],
    )  # fmt: skip


def plant(home: Home, user: str, interactions_of: Callable[..., pl.DataFrame]) -> None:
    """A user in every place that can hold one."""
    workspace, store = home.workspace, home.store
    append_events(workspace, log_of(interactions_of, [user, user, None]))
    store.accept_events(user, [event(f"drained-{user}")])
    store.log_exposure(slate(user, f"drained-{user}"))
    store.drain(workspace)
    store.accept_events(user, [event(f"waiting-{user}")])
    store.accept_events(user, [replace(event(f"waiting-{user}"), video_key=9)])  # another payload
    for shard in range(3):
        store.log_exposure(slate(user, f"waiting-{user}-{shard}"), shard)
    packed = pack_event(event("e"), user, T0).hex()
    rows = [json.dumps({"user_id": user, "video_id": ""}), packed, f"{user};v1"]
    append_rows(refused_events(workspace), refused_rows(rows))
    folder = workspace.report(f"about {len(user)}")
    folder.mkdir(parents=True)
    write_plain({"name": "r", "examples": [{"user_id": user}, {"user_id": "third"}]}, folder)
    pl.DataFrame({"user_id": [user, "third"], "f": [1.0, 2.0]}).write_parquet(
        workspace.root / f"rows-{len(user)}.parquet"
    )


def refused_rows(contents: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"file": "f.csv", "row": range(len(contents)), "reason": "no video_id", "content": contents},
        schema_overrides={"row": pl.Int64},
    )


def load_user_rows(store: Store, users: list[str]) -> None:
    schema = RowSchema("user", ("a", "b"), "v")
    store.rows.load(schema, users, np.zeros((len(users), 2), np.float32))


def everything(home: Home) -> str:
    """All that a search for a text can meet: every key and value of the namespace, every cell, every file."""
    client = home.client
    said: list[str] = []
    for key in client.scan_iter(match=f"{home.namespace}:*", count=10_000):
        kind = client.type(key)
        value: Any
        if kind == b"stream":
            value = client.xrange(key)
        elif kind == b"zset":
            value = client.zrange(key, 0, -1)
        elif kind == b"string":
            value = client.get(key)
        else:
            value = b""
        said.append(repr((key, value)))
    for path in sorted(home.workspace.root.rglob("*")):
        if path.suffix == ".parquet":
            said.append(repr(pl.read_parquet(path).rows()))
        elif path.is_file() and "redis" not in path.parts:
            said.append(path.read_bytes().decode("latin-1"))
    return "\n".join(said)


def rows_of(table: Table) -> list[Any]:
    return table.read(["user_id"])["user_id"].to_list()


def test_a_deleted_user_is_found_nowhere_and_others_everywhere(
    home: Home, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    for user in (OTHER, NAME):
        plant(home, user, interactions_of)
    load_user_rows(home.store, [NAME, OTHER])
    before = find_everywhere(home, [OTHER])
    assert NAME in everything(home)
    done = erase_user(home, NAME)
    said = everything(home)
    assert NAME not in said
    assert NAME.encode().hex() not in said
    assert not any(find_everywhere(home, [NAME]).values())
    assert find_everywhere(home, [OTHER]) == before
    assert rows_of(home.workspace.interactions).count(None) == 1  # an anonymous row stays
    expected = {
        "redis record": 1, "redis identities": 1, "redis record in a merge": 0, "redis merges": 0,
        "redis events waiting": 2, "redis slates waiting": 3, "redis feature rows": 1,
        "interactions rows": 3, "exposures rows": 2, "quarantine rows": 3, "reports": 1,
        "other files rows": 1, "merges rows": 0,
    }  # fmt: skip
    assert {place: done.removed[place] for place in expected} == expected


def test_the_proof_says_what_was_found_removed_and_left_without_the_id(
    home: Home, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    plant(home, NAME, interactions_of)
    found = find_everywhere(home, [NAME])
    done = erase_user(home, NAME)
    text = done.proof.read_text()
    said = json.loads(text)
    assert done.proof.name.endswith(f"-{hash_of_user(NAME)}.json")
    assert "mustermann" not in text
    assert said["user_hash"] == hash_of_user(NAME)
    [run] = said["runs"]
    assert run["found"] == found
    assert {place: n for place, n in said["removed"].items() if place in found} == {
        **found, "interactions old files": said["removed"]["interactions old files"],
        "exposures old files": 1, "quarantine old files": 1,
    }  # fmt: skip
    assert set(said["left"].values()) == {0}
    assert run["commits"]["interactions"] == home.workspace.interactions.snapshot().sequence
    assert not list(done.proof.parent.glob("*.open.json"))


@pytest.mark.parametrize("future", ["refuse", "accept"])
def test_what_comes_later_is_refused_or_accepted_as_was_chosen(
    home: Home, future: str, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    plant(home, NAME, interactions_of)
    erase_user(home, NAME, future=future)
    refused = future == "refuse"
    assert refused_users(home.workspace, pl.Series([NAME, OTHER])).to_list() == [refused, False]
    assert append_events(home.workspace, log_of(interactions_of, [NAME, OTHER])) == (1 if refused else 2)
    if refused:
        with pytest.raises(Erased, match="was deleted"):
            home.store.accept_events(NAME, [event("later")])
        assert not any(find_everywhere(home, [NAME]).values())
        return
    assert home.store.accept_events(NAME, [event("later")]).accepted == 1
    home.store.drain(home.workspace)
    assert rows_of(home.workspace.interactions).count(NAME) == 2


def test_a_refused_id_may_return_once_it_is_deleted_again_with_accept(home: Home) -> None:
    erase_user(home, NAME)
    erase_user(home, NAME, future="accept")
    assert home.store.accept_events(NAME, [event("e")]).accepted == 1
    with pytest.raises(BadInput, match="it is refuse or accept"):
        erase_user(home, NAME, future="maybe")


def test_who_was_merged_into_the_user_goes_too(
    home: Home, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    for user in ("anon-1", NAME, OTHER):
        plant(home, user, interactions_of)
    merge_users(home.workspace, home.store, "anon-1", NAME)
    with pytest.raises(BadInput, match="delete 'erika/mustermann 7'"):
        erase_user(home, "anon-1")
    done = erase_user(home, NAME)
    assert "anon-1" not in everything(home)
    assert merges(home.workspace) == []
    assert done.removed["merges rows"] == 1
    assert set(rows_of(home.workspace.interactions)) == {None, OTHER}
    with pytest.raises(Erased):
        home.store.accept_events("anon-1", [event("later")])
    with pytest.raises(Erased, match="was deleted"):
        merge_users(home.workspace, home.store, "new", NAME)


STEPS = (
    "erase_from_redis", "drop_rows", "drop_old_files", "abandoned", "drop_from_file", "drop_examples",
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_deletion_that_was_cut_off_completes_and_its_proof_covers_both(
    home: Home, step: str, when: str, interactions_of: Callable[..., pl.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for user in ("anon-1", NAME):
        plant(home, user, interactions_of)
    merge_users(home.workspace, home.store, "anon-1", NAME)
    found = find_everywhere(home, [NAME, "anon-1"])
    whole = getattr(erase, step)

    def killed(*args: Any) -> None:
        if when == "after":
            whole(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(erase, step, killed)
        with pytest.raises(KeyboardInterrupt):
            erase_user(home, NAME)
    if (when, step) == ("before", STEPS[0]):
        assert home.store.accept_events(NAME, [event("between")]).accepted == 1  # it goes with the rest
    else:
        with pytest.raises(Erased):
            home.store.accept_events(NAME, [event("between")])
    done = erase_user(home, NAME)
    said = json.loads(done.proof.read_text())
    assert len(said["runs"]) == 2
    assert said["runs"][0]["found"] == found
    assert said["merged_hashes"] == [hash_of_user("anon-1")]
    text = everything(home)
    assert NAME not in text
    assert "anon-1" not in text


def test_what_is_left_is_named_and_no_proof_is_given(
    home: Home, interactions_of: Callable[..., pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    append_events(home.workspace, log_of(interactions_of, [NAME, NAME, OTHER]))
    with monkeypatch.context() as patch:
        patch.setattr(erase, "drop_rows", lambda place: (1, 0, 0))
        with pytest.raises(RecError, match=r"is left \(interactions rows 2\), written meanwhile"):
            erase_user(home, NAME)
    assert [path.name for path in (home.workspace.root / "erasures").iterdir()] == [
        f"{hash_of_user(NAME)}.open.json"
    ]
    assert erase_user(home, NAME).removed["interactions rows"] == 2


def test_files_of_older_commits_and_of_no_commit_go_and_others_stay(
    home: Home, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    table = home.workspace.interactions
    append_events(home.workspace, log_of(interactions_of, [NAME, OTHER]))
    kept = log_of(interactions_of, [OTHER, OTHER])
    [(mine, _)] = table.write_parts({"date=2026-01-01": log_of(interactions_of, [NAME])})  # never committed
    [(theirs, _)] = table.write_parts({"date=2026-01-02": kept})
    table.rewrite(pl.col("user_id") != NAME)  # the old file stays on disk, the newest commit is clean
    assert find_everywhere(home, [NAME])["interactions old files"] == 2
    done = erase_user(home, NAME)
    assert done.removed["interactions old files"] == 2
    assert not (table.path / mine).exists()
    assert (table.path / theirs).exists()
    assert table.read().height == table.snapshot().rows == 1


def test_what_a_killed_import_laid_aside_goes_and_an_import_at_work_stays(home: Home) -> None:
    dead = home.workspace.root / f"{LAID_ASIDE}dead"
    dead.mkdir()
    (dead / "lock").touch()  # nobody holds it
    pl.DataFrame({"user_id": [NAME]}).write_parquet(dead / "good-0.parquet")
    assert find_everywhere(home, [NAME])["abandoned imports"] == 1
    with laid_aside(home.workspace.root.parent) as elsewhere:
        at_work = elsewhere.rename(home.workspace.root / f"{LAID_ASIDE}alive")
        done = erase_user(home, NAME)
        assert (at_work / "lock").exists()
        shutil.rmtree(at_work)
    assert not dead.exists()
    assert done.removed["abandoned imports"] == 1
    assert NAME not in everything(home)


def test_a_reader_of_the_newest_commit_meets_whole_tables_only(
    home: Home, interactions_of: Callable[..., pl.DataFrame]
) -> None:
    users = [f"u{i % 5}" for i in range(50)]
    append_events(home.workspace, log_of(interactions_of, users))
    table, stop = home.workspace.interactions, threading.Event()
    met: list[int] = []

    def read() -> None:
        while not stop.is_set():
            try:
                met.append(table.read().height)
            except (FileNotFoundError, pl.exceptions.PolarsError):
                continue  # its commit was superseded meanwhile: it reads the next

    reader = threading.Thread(target=read)
    reader.start()
    for user in ("u0", "u1", "u2"):
        erase_user(home, user)
    stop.set()
    reader.join()
    assert set(met) <= {50, 40, 30, 20}
    assert table.read().height == 20


def test_a_writer_that_began_before_the_deletion_brings_nothing_of_the_user(
    home: Home, interactions_of: Callable[..., pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    append_events(home.workspace, log_of(interactions_of, [OTHER]))
    ready, go, whole = threading.Event(), threading.Event(), Table.add_files

    def late(self: Table, *args: Any, **more: Any) -> Any:
        if threading.current_thread().name == "writer":
            ready.set()
            assert go.wait(20)
        return whole(self, *args, **more)

    monkeypatch.setattr(Table, "add_files", late)
    rows = log_of(interactions_of, [NAME, "third"])
    writer = threading.Thread(target=append_events, args=(home.workspace, rows), name="writer")
    writer.start()
    assert ready.wait(20)
    erase_user(home, NAME)  # the writer has its files ready, and no commit
    go.set()
    writer.join()
    assert sorted(rows_of(home.workspace.interactions)) == [OTHER, "third"]
    assert NAME not in everything(home)


def test_an_entry_that_a_drain_has_taken_is_struck(home: Home) -> None:
    home.store.accept_events(NAME, [event("e")])
    stream = f"{home.namespace}:{{u{shard_of(NAME)}}}:o"
    home.client.xgroup_create(stream, GROUP, "0")
    home.client.xreadgroup(GROUP, "another", {stream: ">"})
    erase_user(home, NAME)
    assert home.client.xlen(stream) == 0
    assert home.client.xpending(stream, GROUP)["pending"] == 0


def test_the_private_server_writes_its_log_anew(workspace: Workspace, tmp_path: Path) -> None:
    folder = workspace.root / "redis"
    with private_redis(folder) as url:
        store, client = Store.connect(url, timeout_s=5), connect(url, 30)
        store.accept_events(NAME, [event("e")])
        assert NAME.encode() in logs(client, folder)
        done = erase_user(Home(workspace, store, client, True, write_plain), NAME)
        assert NAME.encode() not in logs(client, folder)
        store.close()
        client.close()
    assert json.loads(done.proof.read_text())["runs"][0]["append_only_file"] == "written anew"


def logs(client: Client, folder: Path) -> bytes:
    client.config_set("appendfsync", "always")
    client.incr("flush")
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_an_unknown_user_and_an_id_that_cannot_be(home: Home) -> None:
    done = erase_user(home, "nobody")
    assert not any(done.removed.values())
    for wrong in ("", "x" * 513):
        with pytest.raises(BadInput, match="user_id has"):
            erase_user(home, wrong)


def test_every_table_with_a_user_is_searched(workspace: Workspace) -> None:
    named = {place.table.path.name for place in user_tables(workspace, ["u"])}
    assert "user_id" in {c.name for c in INTERACTIONS} & {c.name for c in EXPOSURES}
    assert {workspace.interactions.path.name, exposures(workspace).path.name} <= named
    assert "content" in {c.name for c in REFUSED}
