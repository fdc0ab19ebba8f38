"""Logs with everything wrong in them: each bad row gets its reason, each bad file one sentence."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import MAX_EVENTS_A_DAY, MAX_EVENTS_A_MINUTE, TS
from features.erasure.tombstones import refuse_users
from features.errors import BadInput
from features.importers import REFUSED, import_events
from features.intake import excess
from features.intake.appending import WITHHELD, append_events
from features.tables import Table
from features.timestamps import parse_times
from features.workspace import Workspace

MakeEvents = Callable[..., pl.DataFrame]
NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
NOW_S = int(NOW.timestamp())
SOUND: dict[str, Any] = {"user_id": "u", "video_id": "v", "ts": NOW_S}


def write_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def quarantined(workspace: Workspace) -> pl.DataFrame:
    return Table(workspace.root / "quarantine" / "interactions", REFUSED).read()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"ts": NOW_S + 301}, "ts in the future"),
        ({"received_at": NOW_S + 301}, "received_at in the future"),
        ({"ts": NOW_S, "received_at": NOW_S - 301}, "ts after received_at"),
        ({"watch_s": float("nan")}, "watch_s not finite"),
        ({"watch_s": float("inf")}, "watch_s not finite"),
        ({"rating": float("-inf")}, "rating not finite"),
        ({"propensity": float("nan")}, "propensity not finite"),
        ({"latency_ms": float("nan")}, "latency_ms not finite"),
        ({"watch_s": -0.5}, "negative watch_s"),
        ({"position": -1}, "negative position"),
        ({"utc_offset_min": 1441}, "utc_offset_min beyond a day"),
        ({"utc_offset_min": 99999}, "utc_offset_min not readable"),
        ({"user_id": "a\0b"}, "user_id holds a null character"),
        ({"video_id": "a\0b"}, "video_id holds a null character"),
        ({"user_id": "é" * 257}, "user_id too long"),
        ({"event_id": "x" * 513}, "event_id too long"),
        ({"user_id": None}, "no user_id"),
        ({"user_id": None, "event": "like", "policy": "p"}, "no user_id"),
        ({"video_id": None}, "no video_id"),
        ({"ts": "soon"}, "ts not readable"),
        ({"ts": -5}, "ts not readable"),
        ({"event": "yawn"}, "unknown event"),
        ({"excess": "perhaps"}, "excess not readable"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason_and_its_neighbours_are_used(
    workspace: Workspace, tmp_path: Path, row: dict[str, Any], why: str
) -> None:
    log = write_lines(tmp_path / "log.jsonl", SOUND | {"user_id": "a"}, SOUND | row, SOUND | {"user_id": "b"})
    done = import_events(workspace, [log], now=NOW)
    assert (done.imported, done.refused) == (2, {why: 1})
    [kept] = quarantined(workspace).rows()
    assert kept[:3] == ("log.jsonl", 1, why)
    assert "video_id" in kept[3]


@pytest.mark.parametrize("event", ["impression", "play"])
@pytest.mark.parametrize("chosen", [{"policy": "random"}, {"propensity": 0.25}])
def test_the_log_of_a_bandit_need_not_name_users(
    workspace: Workspace, tmp_path: Path, event: str, chosen: dict[str, Any]
) -> None:
    log = write_lines(tmp_path / "log.jsonl", {"video_id": "v", "event": event, "ts": NOW_S} | chosen)
    assert import_events(workspace, [log], now=NOW).imported == 1


def test_a_clock_that_is_a_little_ahead_is_set_back_to_the_receipt(
    workspace: Workspace, tmp_path: Path
) -> None:
    log = write_lines(
        tmp_path / "log.jsonl",
        SOUND | {"ts": NOW_S + 299, "received_at": NOW_S},
        SOUND | {"ts": NOW_S - 10, "received_at": NOW_S, "video_id": "w"},
        {"user_id": "u", "video_id": "timeless", "received_at": NOW_S},
    )
    assert import_events(workspace, [log], now=NOW).imported == 3
    times = workspace.interactions.read().sort("order")["ts"].dt.epoch("s").to_list()
    assert times == [NOW_S, NOW_S - 10, None]


def test_an_id_under_another_payload_is_refused_within_an_import_and_against_the_table(
    workspace: Workspace, tmp_path: Path
) -> None:
    row = SOUND | {"event_id": "e"}
    changes: list[dict[str, Any]] = [
        {"user_id": "x"},
        {"video_id": "x"},
        {"event": "like"},
        {"ts": NOW_S - 1},
    ]
    others = [row | change for change in changes]
    done = import_events(workspace, [write_lines(tmp_path / "a.jsonl", row, row, *others)], now=NOW)
    assert (done.imported, done.duplicates) == (1, 1)
    assert done.refused == {"event_id given with another payload": 4}
    again = import_events(workspace, [write_lines(tmp_path / "b.jsonl", *others, row)], now=NOW)
    assert (again.imported, again.duplicates, again.rows) == (0, 1, 5)
    assert again.refused == {"event_id given with another payload": 4}
    kept = quarantined(workspace)
    assert sorted(kept["row"].to_list()) == [0, 1, 2, 2, 3, 3, 4, 5]
    assert {json.loads(text)["event_id"] for text in kept["content"]} == {"e"}


def test_ids_of_ten_megabytes_are_cut_in_the_quarantine(workspace: Workspace, tmp_path: Path) -> None:
    huge = "x" * 10_000_000
    log = write_lines(
        tmp_path / "log.jsonl",
        SOUND,
        SOUND | {"user_id": huge},
        SOUND | {"video_id": huge, "note": {"deep": huge}, "tags": [huge] * 3},
    )
    done = import_events(workspace, [log], now=NOW)
    assert (done.imported, done.refused) == (1, {"user_id too long": 1, "video_id too long": 1})
    assert all(1000 < len(text) <= 2000 for text in quarantined(workspace)["content"])
    csv = tmp_path / "log.csv"
    csv.write_text(f"user_id,video_id\n{huge},v\nu,v\n")
    assert import_events(workspace, [csv], now=NOW, chunk_bytes=1 << 16).imported == 1
    stored = sum(p.stat().st_size for p in (workspace.root / "quarantine").rglob("*.parquet"))
    assert stored < 100_000


def test_all_bad_columns_of_a_file_are_named_at_once_with_their_rows(
    workspace: Workspace, tmp_path: Path
) -> None:
    frame = pl.DataFrame(
        {
            "user": ["u", "u"],
            "video_id": ["v", "v"],
            "ts": [[1], [2]],
            "watch_s": [{"s": 1}, None],
            "event": [1, 2],
        }
    )
    frame.write_parquet(tmp_path / "log.parquet")
    with pytest.raises(BadInput) as caught:
        import_events(workspace, [tmp_path / "log.parquet"])
    said = str(caught.value)
    assert said.startswith(
        "log.parquet lacks the required column(s) user_id; it has user, video_id, ts, watch_s"
    )
    assert "ts is List(Int64), not a time (in 2 row(s))" in said
    assert "watch_s is Struct({'s': Int64}), not Float32 (in 1 row(s))" in said
    assert not workspace.interactions.exists()
    assert not list(workspace.root.glob(".import-*"))


def test_a_file_that_breaks_off_in_the_middle_leaves_nothing_of_its_import(
    workspace: Workspace, tmp_path: Path
) -> None:
    good = tmp_path / "a.csv"
    good.write_text("user_id,video_id\nu,v\n")
    bad = tmp_path / "b.csv"
    bad.write_bytes(b"user_id,video_id\n" + b"u,v\n" * 100 + b"u,\xff\n")
    with pytest.raises(BadInput, match="is not UTF-8"):
        import_events(workspace, [good, bad], chunk_bytes=64)
    assert not workspace.interactions.exists()
    assert not (workspace.root / "quarantine").exists()
    assert not list(workspace.root.glob(".import-*"))


def test_a_quote_that_never_closes_is_named_with_its_row(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.formats.readers_text.LONGEST_ROW", 100)
    log = tmp_path / "log.csv"
    log.write_text('user_id,video_id\nu,v\n"open,v\n' + "u,v\n" * 100)
    with pytest.raises(BadInput, match=r"has a row of more than .* that begins '\"open,v.*close its quote"):
        import_events(workspace, [log], chunk_bytes=32)


def test_a_deleted_user_does_not_come_back_by_any_row(workspace: Workspace, tmp_path: Path) -> None:
    refuse_users(workspace, ["gone"])
    log = write_lines(
        tmp_path / "log.jsonl",
        SOUND,
        SOUND | {"user_id": "gone"},
        SOUND | {"user_id": "gone", "event": "yawn"},
    )
    done = import_events(workspace, [log], now=NOW)
    assert (done.imported, done.refused) == (1, {"user was deleted": 2})
    assert quarantined(workspace)["content"].to_list() == [WITHHELD] * 2


def test_a_user_who_is_deleted_during_a_drain_stays_out(
    workspace: Workspace, interactions_of: MakeEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = interactions_of(user_id=["gone", "u"], video_id=["v", "v"], ts=[1000, 2000])
    written = Table.write_parts

    def write_late(self: Table, frames: dict[str, pl.DataFrame]) -> list[tuple[str, int]]:
        out = written(self, frames)
        if self.name == "interactions":
            monkeypatch.setattr(Table, "write_parts", written)
            refuse_users(workspace, ["gone"])
            self.rewrite(pl.col("user_id") != "gone", meta={"erased": 1})
        return out

    workspace.interactions.append(interactions_of(user_id=["w"], video_id=["v"], event_key=["old"]))
    monkeypatch.setattr(Table, "write_parts", write_late)
    assert append_events(workspace, events) == 1
    assert sorted(workspace.interactions.read()["user_id"]) == ["u", "w"]
    assert "gone" not in " ".join(quarantined(workspace)["content"])


def received(n: int, every_ms: int, start_ms: int = NOW_S * 1000 - 86_400_000 // 2) -> pl.DataFrame:
    times = pl.Series([start_ms + every_ms * i for i in range(n)]).cast(TS)
    return pl.DataFrame({"user_id": ["bot"] * n, "video_id": ["v"] * n, "ts": times, "received_at": times})


def test_events_beyond_the_limit_of_a_minute_or_a_day_are_kept_and_marked(
    workspace: Workspace, tmp_path: Path
) -> None:
    minute = NOW_S * 1000 - 86_400_000 // 2
    bursts = received(MAX_EVENTS_A_MINUTE + 5, 1)
    slow = received(MAX_EVENTS_A_DAY, 8_000, minute + 60_000)
    human = received(3, 1).with_columns(user_id=pl.lit("human"))
    frame = pl.concat([bursts, slow, human])
    frame.write_parquet(tmp_path / "log.parquet")
    done = import_events(workspace, [tmp_path / "log.parquet"], now=NOW)
    assert (done.imported, done.excess) == (len(frame), 5 + MAX_EVENTS_A_MINUTE + 5)
    marked = workspace.interactions.read().filter(pl.col("excess"))
    assert set(marked["user_id"]) == {"bot"}
    assert len(marked) == done.excess
    assert import_events(workspace, [tmp_path / "log.parquet"], now=NOW).excess == 0
    late = received(2, 1, minute + 20).with_columns(video_id=pl.lit("w"))
    late.write_parquet(tmp_path / "late.parquet")
    again = import_events(workspace, [tmp_path / "late.parquet"], now=NOW)
    assert (again.imported, again.excess) == (2, 2)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=40),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40)), max_size=20),
)
def test_excess_is_what_counting_one_by_one_finds(
    new: list[tuple[str, int]], stored: list[tuple[str, int]]
) -> None:
    """Minutes of 10 ms and days of 20 ms in this test's calendar: limits of 3 and 5."""

    def frame(rows: list[tuple[str, int]]) -> pl.LazyFrame:
        times = pl.Series([t // 10 * 60_000 + t % 10 for _, t in rows], dtype=pl.Int64).cast(TS)
        users = pl.Series([user for user, _ in rows], dtype=pl.String)
        return pl.LazyFrame({"user_id": users, "received_at": times}).with_row_index("order")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(excess, "MAX_EVENTS_A_MINUTE", 3)
        patch.setattr(excess, "MAX_EVENTS_A_DAY", 5)
        arrived = excess.arrivals(frame(new))
        found = excess.excess_orders(arrived, excess.arrived_before(frame(stored), arrived))
    by_minute: dict[tuple[str, int], int] = {}
    by_day: dict[str, int] = {}
    for user, t in stored if new else []:
        by_minute[user, t // 10] = by_minute.get((user, t // 10), 0) + 1
        by_day[user] = by_day.get(user, 0) + 1
    expected = []
    for order in sorted(range(len(new)), key=lambda i: (new[i][1], i)):
        user, t = new[order]
        if by_minute.get((user, t // 10), 0) >= 3 or by_day.get(user, 0) >= 5:
            expected.append(order)
        by_minute[user, t // 10] = by_minute.get((user, t // 10), 0) + 1
        by_day[user] = by_day.get(user, 0) + 1
    assert found.tolist() == sorted(expected)


@given(st.integers(1, 4_000_000_000_000))
def test_seconds_with_a_fraction_are_the_nearest_millisecond(ms: int) -> None:
    if ms >= 100_000_000_000:  # below, a number of seconds and one of milliseconds cannot be told apart
        text = f"{ms // 1000}.{ms % 1000:03d}"
        assert parse_times(pl.Series([text])).dt.epoch("ms").to_list() == [ms]
