"""Public logs, in the true layout of their files."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.errors import BadInput
from features.formats.openbandit import policy_of
from features.importers import import_events
from features.workspace import Workspace

KUAIRAND_LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
KUAIREC_LOG = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
BANDIT_LOG = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user-item_affinity_0\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def stored(workspace: Workspace, *columns: str) -> list[tuple[Any, ...]]:
    return workspace.interactions.read().sort("order").select(columns).rows()


def kuairand(folder: Path) -> Path:
    write(
        folder / "log_standard_4_08_to_4_21_pure.csv",
        KUAIRAND_LOG
        + "17,5,20220421,400,1650485801301,1,1,1,1,1,0,1,151024,104400,0,3000,0,0,1\n"
        + "17,6,20220421,400,1650485901301,0,0,0,0,0,1,0,900,20000,0,0,0,0,4\n"
        + "18,5,20220421,2300,1650555000000,0,0,0,0,0,0,0,0,104400,0,0,0,0,0\n",
    )
    write(
        folder / "log_random_4_22_to_5_08_pure.csv",
        KUAIRAND_LOG + "17,7,20220422,100,1650561301301,1,0,0,0,0,0,0,8000,9000,0,0,0,1,1\n",
    )
    write(
        folder / "video_features_basic_pure.csv",
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,"
        "server_height,music_id,music_type,tag\n"
        '5,441,NORMAL,2020-07-08,ShortImport,1,17200.0,720,1280,989206467,4,"12,65"\n'
        "6,442,AD,,LongImport,1,,720,1280,9,4,\n",
    )
    write(folder / "user_features_pure.csv", "user_id,user_active_degree\n17,full_active\n")
    write(folder / "video_features_statistic_pure.csv", "video_id,counts,show_cnt\n5,66,75.2\n")
    return folder


def test_kuairand_gives_an_impression_a_row_and_an_event_a_thing_that_was_done(
    workspace: Workspace, tmp_path: Path
) -> None:
    done = import_events(workspace, [kuairand(tmp_path / "data")])
    assert (done.rows, done.imported, done.formats, done.refused) == (11, 11, ["kuairand"], {})
    assert stored(workspace, "user_id", "video_id", "event", "watch_s", "policy", "surface") == [
        ("17", "7", "impression", None, "random", "tab 1"),
        ("17", "7", "play", 8.0, "random", "tab 1"),
        ("17", "5", "impression", None, "standard", "tab 1"),
        ("17", "5", "play", pytest.approx(151.024), "standard", "tab 1"),
        ("17", "5", "like", None, "standard", "tab 1"),
        ("17", "5", "follow", None, "standard", "tab 1"),
        ("17", "5", "share", None, "standard", "tab 1"),
        ("17", "6", "impression", None, "standard", "tab 4"),
        ("17", "6", "skip", pytest.approx(0.9), "standard", "tab 4"),
        ("17", "6", "dislike", None, "standard", "tab 4"),
        ("18", "5", "impression", None, "standard", "tab 0"),
    ]
    rows = workspace.interactions.read().sort("order")
    assert rows["ts"].dt.epoch("ms")[2] == 1650485801301
    assert rows["utc_offset_min"].to_list() == [480] * 11
    catalogue = workspace.catalogue.read().sort("video_id")
    assert catalogue.select("video_id", "creator_id", "duration_s", "tags").rows() == [
        ("5", "441", pytest.approx(17.2), ["12", "65"]),
        ("6", "442", None, None),
    ]
    assert str(catalogue["published_at"][0]) == "2020-07-08 00:00:00+00:00"


def test_a_number_that_is_none_is_refused_and_not_taken_for_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    log = write(
        tmp_path / "log_standard.csv",
        KUAIRAND_LOG + "1,2,20220421,400,1650485801301,1,0,0,0,0,0,1,long,1,0,0,0,0,1\n",
    )
    done = import_events(workspace, [log], "kuairand")
    assert (done.imported, done.refused) == (1, {"watch_s not readable": 1})


def test_kuairec_gives_views_with_times_where_the_data_has_them(workspace: Workspace, tmp_path: Path) -> None:
    write(
        tmp_path / "big_matrix.csv",
        KUAIREC_LOG
        + "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.273397\n"
        + "0,9598,0,10984,2020-07-05 00:13:41.297,20200705,1593879221.297,0.0\n",
    )
    write(
        tmp_path / "small_matrix.csv",
        KUAIREC_LOG + "14,148,4381,6067,,,,0.7221\n14,183,11635,6100,,,nan,1.9\n",
    )
    write(tmp_path / "item_categories.csv", 'video_id,feat\n3649,[8]\n148,"[27, 9]"\n')
    write(
        tmp_path / "item_daily_features.csv",
        "video_id,date,author_id,video_type,upload_dt,upload_type,video_duration,video_tag_id,video_tag_name\n"
        "3649,20200705,3309,NORMAL,2020-03-30,ShortImport,5966.0,841,建筑\n"
        "3649,20200706,3309,NORMAL,2020-03-30,ShortImport,5966.0,841,建筑\n"
        "148,20200705,4,NORMAL,2020-03-31,ShortImport,,-1,UNKNOWN\n",
    )
    header = "video_id,manual_cover_text,caption,topic_tag,first_level_category_name\n"
    broken = "148,UNKNOWN,A na\xefve cat,[],Pets\n"
    write(tmp_path / "kuairec_caption_category.csv", header + broken, "latin-1")
    write(tmp_path / "social_network.csv", "user_id,friend_list\n3371,[2975]\n")
    done = import_events(workspace, [tmp_path])
    assert (done.imported, done.formats, done.refused) == (7, ["kuairec"], {})
    assert stored(workspace, "video_id", "event", "watch_s", "utc_offset_min") == [
        ("3649", "impression", None, 480),
        ("3649", "play", pytest.approx(13.838), 480),
        ("9598", "impression", None, 480),
        ("148", "impression", None, None),
        ("148", "play", pytest.approx(4.381), None),
        ("183", "impression", None, None),
        ("183", "play", pytest.approx(11.635), None),
    ]
    times = workspace.interactions.read().sort("order")["ts"].dt.epoch("ms").to_list()
    assert times == [1593878903438, 1593878903438, 1593879221297, None, None, None, None]
    said = {row["video_id"]: row for row in workspace.catalogue.read().iter_rows(named=True)}
    assert (said["3649"]["creator_id"], said["3649"]["tags"]) == ("3309", ["8", "建筑"])
    assert (said["148"]["title"], said["148"]["tags"]) == ("A na�ve cat", ["27", "9", "pets"])
    assert said["3649"]["duration_s"] == pytest.approx(5.966)
    assert import_events(workspace, [tmp_path]).imported == 0


def test_microlens_gives_pairs_with_times_and_titles(workspace: Workspace, tmp_path: Path) -> None:
    write(
        tmp_path / "MicroLens-50k_pairs.csv",
        "user,item,timestamp\n1,9430,1583378629552\n1,300,1584541884952\n",
    )
    write(tmp_path / "MicroLens-50k_pairs.tsv", "1\t9430 300\n")
    write(tmp_path / "MicroLens-50k_titles.csv", 'item,title\n9430,"Cats, and more"\n300,Tea\n')
    done = import_events(workspace, [tmp_path])
    assert (done.imported, done.formats) == (2, ["microlens"])
    assert stored(workspace, "user_id", "video_id", "event") == [("1", "9430", "play"), ("1", "300", "play")]
    assert workspace.interactions.read()["ts"].dt.epoch("ms").sort().to_list() == [
        1583378629552,
        1584541884952,
    ]
    assert workspace.catalogue.read().select("video_id", "title").rows() == [
        ("9430", "Cats, and more"),
        ("300", "Tea"),
    ]


def test_microlens_sequences_keep_their_order_without_times(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path / "MicroLens-100k_pairs.tsv", "1\t7 8 7\n2\t9\n")
    write(tmp_path / "MicroLens-100k_title_en.csv", "7,First\n8,Second\n")
    assert import_events(workspace, [tmp_path], chunk_bytes=4).imported == 4
    assert stored(workspace, "user_id", "video_id", "ts") == [
        ("1", "7", None),
        ("1", "8", None),
        ("1", "7", None),
        ("2", "9", None),
    ]
    assert import_events(workspace, [tmp_path]).duplicates == 4
    assert workspace.catalogue.read()["title"].to_list() == ["First", "Second"]


def test_open_bandit_keeps_place_propensity_and_policy_of_each_exposure(
    workspace: Workspace, tmp_path: Path
) -> None:
    write(
        tmp_path / "bts" / "men" / "men.csv",
        BANDIT_LOG
        + "0,2019-11-24 00:01:03.979311+00:00,2,3,0,0.045525,cef3,0.0\n"
        + "1,2019-11-24 00:01:03.979311+00:00,9,1,1,0.059345,cef3,0.0\n"
        + "2,2019-11-24 00:01:04+00:00,9,1,0,0,cef3,0.0\n",
    )
    write(
        tmp_path / "bts" / "men" / "item_context.csv",
        ",item_id,item_feature_0,item_feature_1\n0,2,-0.6,c82d\n",
    )
    done = import_events(workspace, [tmp_path / "bts" / "men"])
    assert (done.imported, done.formats) == (3, ["openbandit"])
    assert done.refused == {"propensity outside (0, 1]": 1}
    assert stored(workspace, "user_id", "video_id", "event", "position", "propensity", "policy") == [
        (None, "2", "impression", 2, 0.045525, "bts"),
        (None, "9", "impression", 0, 0.059345, "bts"),
        (None, "9", "play", 0, 0.059345, "bts"),
    ]
    requests = [row[0] for row in stored(workspace, "request_id")]
    assert requests[1] == requests[2] != requests[0]
    assert workspace.catalogue.read().select("video_id", "tags").rows() == [("2", ["c82d"])]
    assert import_events(workspace, [tmp_path / "bts" / "men"]).duplicates == 3


def test_the_policy_is_named_by_the_file_or_else_the_nearest_folder() -> None:
    assert policy_of(Path("/obd/bts_men.parquet")) == "bts"
    assert policy_of(Path("/obd/random/men/men.csv")) == "random"
    assert policy_of(Path("/bts/random/men.csv")) == "random"
    assert policy_of(Path("/logs/men.csv")) is None


def test_real_bandit_logs_are_all_imported(workspace: Workspace, shared_data: Path) -> None:
    raw = {
        policy: pl.read_parquet(shared_data / "obd" / f"{policy}_men.parquet") for policy in ("bts", "random")
    }
    done = import_events(workspace, [shared_data / "obd"])
    clicks = {policy: int(frame["click"].sum()) for policy, frame in raw.items()}
    assert (done.imported, done.refused, done.formats) == (20_000 + sum(clicks.values()), {}, ["openbandit"])
    rows = workspace.interactions.read()
    for policy, frame in raw.items():
        of_policy = rows.filter(pl.col("policy") == policy).sort("order")
        shown = of_policy.filter(pl.col("event") == "impression")
        assert shown["propensity"].to_list() == frame["propensity_score"].to_list()
        assert shown["position"].to_list() == (frame["position"] - 1).to_list()
        assert shown["video_id"].to_list() == frame["item_id"].cast(pl.String).to_list()
        assert (of_policy["event"] == "play").sum() == clicks[policy]
    assert len(workspace.catalogue.read()) == 34


def test_a_file_that_lacks_columns_of_its_format_is_refused_with_all_of_them(
    workspace: Workspace, tmp_path: Path
) -> None:
    log = write(tmp_path / "log_standard.csv", "user_id,video_id,date\n1,2,20220421\n")
    with pytest.raises(BadInput, match=r"lacks the required column\(s\) time_ms, is_click, play_time_ms of"):
        import_events(workspace, [log], "kuairand")
    with pytest.raises(BadInput, match="has no file that can be read here as microlens"):
        import_events(workspace, [tmp_path], "microlens")
    with pytest.raises(BadInput, match="is none of the files of format kuairec by its name"):
        import_events(workspace, [log], "kuairec")
    assert not workspace.interactions.exists()


def test_a_file_named_as_a_public_log_with_another_header_is_ours(
    workspace: Workspace, tmp_path: Path
) -> None:
    for name in ("log_today.csv", "ratings.csv", "big_matrix.csv", "my_pairs.csv"):
        write(tmp_path / name, f"user_id,video_id\nu,{name}\n")
    done = import_events(workspace, [tmp_path])
    assert (done.imported, done.formats) == (4, ["reelrank"])
