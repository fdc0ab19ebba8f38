"""Labels are what a search through all pairs finds, and no pair is made of all events of one video."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import CATALOGUE, DAY_MS, EVENTS, TS, VideoTable, conform
from features.labels import label
from features.videos import build_video_table

T0 = 1_767_225_600_000
Row = tuple[str, str | None, str, int, float | None]

rows_of_logs = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from([None, "r1", "r2"]),
        st.sampled_from(EVENTS),
        st.sampled_from([0, 1, 2, DAY_MS - 1, DAY_MS, DAY_MS + 1, 2 * DAY_MS]),
        st.sampled_from([None, 1.0, 30.0]),
    ),
    max_size=25,
)


def videos() -> VideoTable:
    columns = {"video_key": [0], "video_id": ["v"], "duration_s": [30.0]}
    catalogue = pl.DataFrame(columns).cast({"duration_s": pl.Float32})
    return build_video_table(conform(catalogue, CATALOGUE, "catalogue"), None, None)


def log_of(rows: list[Row]) -> pl.DataFrame:
    names = ("user_id", "request_id", "event", "ts", "watch_s")
    frame = pl.DataFrame(
        rows, schema=dict(zip(names, (pl.String, pl.String, pl.String, pl.Int64, pl.Float32), strict=True)),
        orient="row",
    )  # fmt: skip
    return frame.with_columns(
        (pl.col("ts") + T0).cast(TS), video_id=pl.lit("v"), row=pl.lit(0, pl.Int32)
    ).with_row_index("index")


def search(example: Row, rows: list[Row]) -> tuple[bool, bool, bool]:
    user, request, _, at, _ = example
    near = [r for r in rows if r[0] == user and at <= r[3] < at + DAY_MS]
    answers = [r for r in near if request is None or r[1] is None or r[1] == request]
    complete = any(r[2] == "play" and r[4] != 1.0 for r in answers)  # unknown counts
    like = any(r[2] in ("like", "share", "follow") for r in answers)
    return complete, like, any(r[2] in ("skip", "dislike") for r in answers)


@given(rows_of_logs, st.sampled_from(["impression", "play"]))
def test_labels_are_what_a_search_through_all_pairs_finds(rows: list[Row], kind: str) -> None:
    log = log_of(rows)
    asked = log.filter(pl.col("event") == kind)
    found = label(asked, log, videos(), T0 + 2 * DAY_MS)
    assert found["index"].to_list() == asked["index"].to_list()
    wanted = [search(row, rows) for row in rows if row[2] == kind]
    assert found.select("complete", "like", "skip").rows() == wanted


def test_a_bot_that_plays_one_video_all_day_needs_no_memory_for_all_its_pairs() -> None:
    plays: list[Row] = [("a", None, "play", at, 30.0) for at in range(100_000)]  # 5e9 pairs
    log = log_of(plays)
    assert label(log, log, videos(), T0)["complete"].all()
