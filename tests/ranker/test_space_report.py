"""From tables to a page: what the report of a space says, what it refuses, and how it looks in a browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from features.contracts import Floats
from features.errors import BadInput, NotFound
from features.workspace import Workspace, open_workspace
from ranker.evaluation import space_geometry, space_survey
from ranker.evaluation.space_markdown import to_markdown
from ranker.evaluation.space_page import to_html
from ranker.evaluation.space_report import report_space
from ranker.evaluation.space_verdict import warnings_of

N, TOPICS, DIM = 90, 6, 12
KEYS = np.arange(N) * 3 + 5
NASTY = 'Title </p><script>alert("x")</script> & | more'
ALIGNED = {
    "encoder_version": "planted",
    "aligned": True,
    "recall": 0.5,
    "control": 0.1,
    "dims": {"joint": DIM},
}
PAIRS = {"visual-text": {"recall": 0.44, "control": 0.11, "videos": 60}}


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _noisy(noise: float, seed: int) -> Floats:
    """Unit rows that show the topic of each video, more or less."""
    rng = np.random.default_rng(seed)
    return _unit(np.eye(DIM)[np.arange(N) % TOPICS] + noise * rng.standard_normal((N, DIM)))


def _lists(rows: Floats, present: np.ndarray | None = None) -> pl.Series:
    lists = pl.Series(rows.tolist(), dtype=pl.List(pl.Float32))
    return lists if present is None else pl.select(pl.when(pl.Series(present)).then(lists)).to_series()


def _base(keys: np.ndarray = KEYS) -> pl.DataFrame:
    return pl.DataFrame({"video_key": keys, "video_id": [f"v{key:03d}" for key in keys]})


def _space(joint: Floats, **columns: Any) -> pl.DataFrame:
    return _base().with_columns(joint=_lists(joint), mask=pl.lit(7, pl.UInt8)).with_columns(**columns)


def _fits() -> dict[str, pl.Series]:
    """Video 10 has a title of another topic, video 20 another sound, and 30 another picture."""
    text, sound = np.full(N, 0.95, np.float32), np.full(N, 0.92, np.float32)
    text[[10, 30]], sound[[20, 30]], text[40], sound[41] = 0.02, 0.01, np.nan, 0.3
    text[20] = 0.8
    found = {"text_fit": pl.Series(text).fill_nan(None), "sound_fit": pl.Series(sound).fill_nan(None)}
    return {**found, "agreement": pl.Series(text - 0.2).fill_nan(None)}


def _fill(place: Workspace) -> None:
    """Catalogue, embeddings, near-duplicates, an item graph and two spaces, one the other turned."""
    titles = [NASTY if i % 2 else None for i in range(N)]
    tags = pl.Series([[f"topic{i % TOPICS}", "all"] for i in range(N)])
    creators = pl.Series([f"c{i // 4}" for i in range(N)])
    place.catalogue.replace(_base().with_columns(title=pl.Series(titles), tags=tags, creator_id=creators))
    vectors = {"visual": _lists(_noisy(0.2, 1)), "text": _lists(_noisy(3.0, 2), np.arange(N) % 4 > 0)}
    place.embeddings("planted").replace(_base().with_columns(**vectors))
    same = {"group_key": [5, 5], "similarity": [0.9, 0.9], "matched_by": ["both", "both"]}
    place.duplicates.replace(_base().head(2).with_columns(**{name: pl.Series(v) for name, v in same.items()}))
    ends = [(int(KEYS[i]), int(KEYS[(i + TOPICS) % N])) for i in range(N)]
    graph = pl.DataFrame(ends, schema=["video_key", "neighbour_key"], orient="row")
    place.item_graph.replace(graph.with_columns(weight=pl.lit(1.0, pl.Float32)))
    joint = _noisy(0.25, 3)
    turn = np.linalg.qr(np.random.default_rng(4).standard_normal((DIM, DIM)))[0]
    mask = pl.Series(np.where(np.arange(N) % 4 > 0, 5, 1).astype(np.uint8))
    place.space("space-old").replace(_space(joint, mask=pl.lit(1, pl.UInt8)).head(80), meta=ALIGNED)
    imputed = pl.Series(np.where(np.arange(N) % 4 > 0, 0, 4).astype(np.uint8))
    now = _space(_unit(joint @ turn), mask=mask, imputed=imputed, **_fits())
    place.space("space-new").replace(now, meta={**ALIGNED, "pairs": PAIRS})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = open_workspace(tmp_path_factory.mktemp("spaces"), create=True)
    _fill(workspace)
    (workspace.root / "thumbnails").mkdir()
    for key in KEYS[:60]:
        Image.new("RGB", (320, 240), (int(key) % 250, 90, 120)).save(workspace.thumbnail(int(key)), "webp")
    workspace.thumbnail(int(KEYS[70])).write_bytes(b"not a picture")
    return workspace


@pytest.fixture(scope="module")
def content(place: Workspace) -> dict[str, Any]:
    return report_space(place, None, place.report("space"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; the tests that use it fail where there is none, since `make test` installs one."""
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


def _pages(out: Path) -> str:
    """All that was written, checked for what no report may say."""
    text = "".join((out / f"space.{kind}").read_text() for kind in ("md", "html"))
    assert "NaN" not in (out / "space.json").read_text()
    for word in (">nan", "NaN", ">None", "Infinity", "<script"):
        assert word not in text
    return text


def test_the_verdict_names_alignment_masks_drift_and_conflicts(
    content: dict[str, Any], place: Workspace
) -> None:
    assert content["verdict"] == {
        "decision": "aligned",
        "sentence": "The space is aligned: 50% of held-out pairs found among the nearest tenth, against 10% "
        "of the shuffled control; 0% of 90 videos have all three modalities; 100% of neighbours kept "
        "since the space before; 5 titles or sounds to look at.",
    }
    assert json.loads((place.report("space") / "space.json").read_text()) == content
    _pages(place.report("space"))


def test_masks_and_imputed_add_up_to_the_videos(content: dict[str, Any]) -> None:
    shares = {one["mask"]: one for one in content["masks"]}
    assert sorted(shares) == list(range(8))
    assert sum(one["videos"] for one in content["masks"]) == N
    assert (shares[5]["videos"], shares[5]["modalities"]) == (67, ["visual", "text"])
    assert content["imputed"]["text"]["videos"] == shares[1]["videos"] == 23


def test_spaces_that_show_the_topic_find_tags_and_audience_and_noise_finds_less(
    content: dict[str, Any],
) -> None:
    truths = {one["name"]: one["spaces"] for one in content["retrieval"]["truths"]}
    assert list(truths) == ["tags", "creator", "duplicates", "audience"]
    tags = truths["tags"]
    assert tags["joint"]["low"] > 0.8 > tags["text"]["high"]
    assert tags["visual"]["low"] > 0.8
    assert tags["audio"] is None
    assert tags["text"]["videos"] == 67
    assert tags["joint"]["chance"] == pytest.approx(14 / 89)
    assert truths["audience"]["joint"]["value"] > 5 * truths["audience"]["joint"]["chance"]
    assert truths["duplicates"]["joint"]["videos"] == 2
    assert content["retrieval"]["pairs"] == [{"pair": "visual-text", **PAIRS["visual-text"]}]


def test_a_turned_space_kept_its_neighbours_though_its_vectors_moved(content: dict[str, Any]) -> None:
    drift = content["drift"]
    assert (drift["before"], drift["videos"], drift["new"], drift["gone"]) == ("space-old", 80, 10, 0)
    assert drift["aligned_cosine"] == pytest.approx(1.0, abs=1e-4)
    assert drift["cosine"] < 0.5
    assert drift["overlap"]["value"] > 0.99 > drift["overlap_chance"]
    assert drift["mask_changed"] == pytest.approx(60 / 80)
    assert drift["same_encoder"] is True


def test_the_odd_title_sound_and_picture_are_listed_first_and_what_fits_is_not(
    content: dict[str, Any],
) -> None:
    texts, sounds = (content["conflicts"][name] for name in ("text", "audio"))
    assert [(one["video_key"], one["odd"]) for one in texts["videos"]] == [
        (KEYS[10], "text"),
        (KEYS[30], "text and audio, or visual alone"),
        (KEYS[20], "audio"),
    ]
    assert [one["video_key"] for one in sounds["videos"]] == [KEYS[20], KEYS[30], KEYS[41]]
    assert (texts["known"], texts["low"], sounds["known"], sounds["low"]) == (N - 1, 2, N, 3)


def test_who_is_judged_by_the_graph_it_was_filled_in_from_is_said_to_be_flattered(
    content: dict[str, Any],
) -> None:
    def flattered(**changed: Any) -> list[str]:
        said = warnings_of({**content, **changed})
        return [one["text"] for one in said if "flattered" in one["text"]]

    assert "partly filled in from it" in flattered()[0]
    nothing = {name: {"videos": 0, "share": 0.0} for name in ("visual", "audio", "text")}
    assert not flattered(imputed=nothing)
    assert not flattered(imputed=None)
    trained = {**content["space"], "co_watched": True}
    assert "trained on co-watched videos" in flattered(imputed=nothing, space=trained)[0]


def test_examples_name_their_neighbours_by_every_space_that_has_them(content: dict[str, Any]) -> None:
    assert len(content["examples"]) == 10
    for one in content["examples"]:
        row = int(np.searchsorted(KEYS, one["video_key"]))
        assert [*one["neighbours"]] == (["joint", "visual", "text"] if row % 4 else ["joint", "visual"])
        near = one["neighbours"]["joint"]
        assert len(near) == 5
        assert one["video_key"] not in [other["video_key"] for other in near]
        assert [other["cosine"] for other in near] == sorted(
            (other["cosine"] for other in near), reverse=True
        )


def test_the_same_inputs_give_the_same_report(place: Workspace, content: dict[str, Any]) -> None:
    again = report_space(place, "space-new", place.report("again"), before="space-old")
    assert {**again, "created_at": ""} == {**content, "created_at": ""}


def test_a_sample_of_a_large_space_says_what_the_whole_says(
    place: Workspace, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_survey, "EXACT", 50)
    monkeypatch.setattr(space_survey, "QUERIES", 40)
    monkeypatch.setattr(space_geometry, "EXACT", 50)
    monkeypatch.setattr(space_geometry, "SAMPLE", 45)
    said = report_space(place, None, place.report("sampled"))
    assert said["data"]["sampled"]
    assert said["data"]["queries"] == 40
    for whole, part in zip(content["retrieval"]["truths"], said["retrieval"]["truths"], strict=False):
        if whole["name"] == "tags":
            joint, sampled = whole["spaces"]["joint"], part["spaces"]["joint"]
            assert sampled["videos"] == 40
            assert sampled["chance"] == pytest.approx(joint["chance"])
            assert sampled["value"] == pytest.approx(joint["value"], abs=0.05)
    assert said["geometry"]["joint"]["effective_dim"] == content["geometry"]["joint"]["effective_dim"]


def test_titles_and_names_cannot_break_out_of_the_page_or_of_a_table(content: dict[str, Any]) -> None:
    hostile = {**content, "name": NASTY}
    page = to_html(hostile, lambda _: None)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\\|" in to_markdown(hostile).splitlines()[0]


def test_what_is_not_there_and_what_cannot_be_compared_is_refused(
    place: Workspace, workspace: Workspace
) -> None:
    out = workspace.root / "out"
    with pytest.raises(NotFound, match="no space in"):
        report_space(workspace, None, out)
    with pytest.raises(NotFound, match="it has space-old, space-new"):
        report_space(place, "space-none", out)
    with pytest.raises(NotFound, match="space-none is not in"):
        report_space(place, None, out, before="space-none")
    with pytest.raises(BadInput, match="with itself"):
        report_space(place, None, out, before="space-new")
    workspace.space("space-void").replace(_space(_noisy(1, 0)).clear(), meta=ALIGNED)
    with pytest.raises(BadInput, match="holds no video"):
        report_space(workspace, None, out)
    assert not out.exists()


def test_one_video_without_catalogue_or_embeddings_has_a_report(workspace: Workspace) -> None:
    workspace.space("space-one").replace(_space(_noisy(1, 0)).head(1), meta={})
    said = report_space(workspace, None, workspace.report("one"))
    text = _pages(workspace.report("one"))
    assert said["verdict"]["decision"] == "unknown"
    assert said["geometry"] == dict.fromkeys(("joint", "visual", "audio", "text"))
    assert [*said["retrieval"]["absent"]] == ["tags", "creator", "duplicates", "audience"]
    assert "100% of 1 video has all three modalities" in text
    assert "There is no earlier space to compare with." in text
    assert "no other video has one" in text


def test_videos_without_any_modality_have_a_report(workspace: Workspace) -> None:
    bare = _space(_noisy(1, 0), mask=pl.lit(0, pl.UInt8))
    nothing = bare.with_columns(joint=pl.lit(None, pl.List(pl.Float32)))
    workspace.space("space-nothing").replace(
        nothing, meta={**ALIGNED, "aligned": False, "recall": 0.0, "control": 0.0}
    )
    said = report_space(workspace, None, workspace.report("nothing"))
    text = _pages(workspace.report("nothing"))
    assert said["masks"][-1]["share"] == 1.0
    assert said["examples"] == []
    assert "100.0% have none" in said["verdict"]["sentence"]
    assert "too few videos have two modalities" in said["verdict"]["sentence"]
    assert "No video of this space has a joint vector." in text


def test_an_unaligned_space_lists_no_conflict_and_says_why(workspace: Workspace) -> None:
    workspace.space("space-blocks").replace(
        _space(_noisy(1, 0), **_fits()), meta={**ALIGNED, "aligned": False}
    )
    said = report_space(workspace, None, workspace.report("blocks"))
    assert said["verdict"]["decision"] == "unaligned"
    assert "not aligned" in said["conflicts"]["why"]
    assert said["conflicts"]["text"]["videos"] == []
    assert said["conflicts"]["why"] in _pages(workspace.report("blocks"))


def test_an_older_space_without_measures_of_fit_says_so(workspace: Workspace) -> None:
    workspace.space("space-legacy").replace(_space(_noisy(1, 0)), meta=ALIGNED)
    said = report_space(workspace, None, workspace.report("legacy"))
    assert "has a measure of fit: it was built before" in said["conflicts"]["why"]
    assert said["imputed"] is None


def test_a_space_before_of_another_encoder_and_length_is_compared_by_its_neighbours(
    workspace: Workspace,
) -> None:
    joint = _noisy(0.3, 0)
    longer = np.concatenate([joint, np.zeros((N, 4), np.float32)], axis=1)
    workspace.space("space-a").replace(_space(longer), meta={**ALIGNED, "encoder_version": "other"})
    workspace.space("space-b").replace(_space(joint), meta=ALIGNED)
    said = report_space(workspace, None, workspace.report("encoders"))
    assert said["drift"]["same_encoder"] is False
    assert said["drift"]["cosine"] is None
    assert said["drift"]["aligned_cosine"] == pytest.approx(1.0, abs=1e-4)
    assert said["drift"]["overlap"]["value"] > 0.99
    assert any("another encoder (other)" in warning["text"] for warning in said["warnings"])
    _pages(workspace.report("encoders"))


def test_a_space_before_without_a_common_video_is_said_to_have_none(workspace: Workspace) -> None:
    workspace.space("space-a").replace(
        _space(_noisy(1, 0)).with_columns(video_key=pl.Series(KEYS + 1)), meta=ALIGNED
    )
    workspace.space("space-b").replace(_space(_noisy(1, 1)), meta=ALIGNED)
    said = report_space(workspace, None, workspace.report("apart"))
    assert said["drift"]["why"] == "No video of this space is in the space before (space-a)."
    assert said["drift"]["gone"] == N
    assert said["drift"]["why"] in _pages(workspace.report("apart"))


def test_neighbours_that_all_changed_vectors_with_nan_and_a_joint_worse_than_a_part_are_warned_of(
    workspace: Workspace,
) -> None:
    _fill(workspace)
    noise = _unit(np.random.default_rng(8).standard_normal((N, DIM)))
    noise[4, 2], noise[5] = np.nan, 0.0
    workspace.space("space-noise").replace(_space(noise), meta=ALIGNED)
    said = report_space(workspace, None, workspace.report("noise"))
    texts = [warning["text"] for warning in said["warnings"]]
    assert "1 joint vector(s) are not finite and were left out." in texts
    assert "1 joint vector(s) have no length and were left out." in texts
    assert "By tags, visual alone finds more than the joint space does." in texts
    assert any("of their neighbours since space-new" in text for text in texts)
    assert said["warnings"][0]["level"] == "alarm"
    _pages(workspace.report("noise"))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_shows_charts_pictures_and_lists_and_fits_its_window(
    place: Workspace, content: dict[str, Any], browser: Browser, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((place.report("space") / "space.html").as_uri())
    assert page.locator(".verdict p").inner_text() == content["verdict"]["sentence"]
    for kind in ("masks", "imputed", "retrieval", "pairs"):
        box = page.locator(f'figure[data-chart="{kind}"]').bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    bar = page.locator('figure[data-chart="masks"] .bar').first.bounding_box()
    assert bar is not None
    assert bar["width"] > 20
    assert page.locator(".example").count() == 10
    assert page.locator(".example img").count() > 0
    assert page.evaluate("[...document.images].every(one => one.naturalWidth > 0)")
    assert page.locator('[data-list="text"] li').count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert said == []
    page.close()
