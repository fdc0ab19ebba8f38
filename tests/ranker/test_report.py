"""From arms to a page: what the report says, what it refuses, and how it looks in a browser."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from features.errors import BadInput
from features.pipeline import FeatureSet
from features.workspace import Workspace, open_workspace
from ranker.evaluation.arms import parse_arm
from ranker.evaluation.charts import (
    Curve,
    Dot,
    Point,
    Row,
    curve_plot,
    interval_plot,
    nice_ticks,
    scatter_plot,
)
from ranker.evaluation.markdown import to_markdown
from ranker.evaluation.pipeline import evaluate
from ranker.evaluation.report import to_html
from ranker.pipeline import TrainSettings, train
from ranker.splits import Holdout

QUICK = TrainSettings(epochs=2, dim=16, threads=1, candidates=40)
ARMS = ("base=popular", "full=current", "blind=current-visual", "new=recent", "dice=random")
NASTY = 'Title </p><script>alert("x")</script> & | more'


@pytest.fixture(scope="module")
def features(world: Callable[..., FeatureSet]) -> FeatureSet:
    made = world(cold=4)
    titles = pl.when(pl.col("video_key") % 2 == 0).then(pl.lit(NASTY)).otherwise(None)
    return replace(made, catalogue=made.catalogue.with_columns(title=titles))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, features: FeatureSet) -> Workspace:
    workspace = open_workspace(tmp_path_factory.mktemp("evaluated"), create=True)
    cut = Holdout("time", until_ms=int(np.quantile(features.log.ts_ms, 0.7)))
    workspace.publish(train(features, workspace, QUICK, cut))
    (workspace.root / "thumbnails").mkdir()
    for key in (0, 1, 2, 3):
        Image.new("RGB", (320, 240), (40 * key, 90, 120)).save(workspace.thumbnail(key), "webp")
    workspace.thumbnail(4).write_bytes(b"not a picture")
    return workspace


@pytest.fixture(scope="module")
def content(place: Workspace, features: FeatureSet) -> dict[str, Any]:
    arms = [parse_arm(text) for text in ARMS]
    return evaluate(place, features, arms, 10, out_dir=place.report("first"), name="first")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; the tests that use it fail where there is none, since `make test` installs one."""
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


def _with_holdout(place: Workspace, holdout: Holdout) -> str:
    """A copy of the published bundle that says it was trained with another holdout."""
    name = f"copy-of-{holdout.kind}"
    shutil.copytree(place.model(place.current_bundle()), place.model(name))
    path = place.model(name) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": name, "holdout": holdout.as_json()}))
    return name


def test_a_trained_bundle_is_launched_over_popularity_on_a_world_of_tastes(content: dict[str, Any]) -> None:
    means = {arm["name"]: arm["metrics"]["ndcg"]["value"] for arm in content["arms"]}
    assert content["verdict"]["decision"] == "launch"
    assert content["verdict"]["arm"] in ("full", "blind")
    assert means["full"] > 2 * max(means["base"], means["dice"], means["new"])
    assert content["data"]["cold_videos"] >= 4


def test_the_json_beside_the_page_holds_the_same_numbers_and_no_nan(
    place: Workspace, content: dict[str, Any]
) -> None:
    text = (place.report("first") / "report.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(content))
    assert "NaN" not in text
    assert ">nan" not in (place.report("first") / "report.html").read_text().lower()


def test_lifts_are_those_of_the_means_and_slices_add_up_to_all_users(content: dict[str, Any]) -> None:
    means = {arm["name"]: arm["metrics"] for arm in content["arms"]}
    for one in content["lifts"]:
        gap = means[one["arm"]][one["metric"]]["value"] - means["base"][one["metric"]]["value"]
        assert one["absolute"]["value"] == pytest.approx(gap)
    assert sum(content["by_history"]["users"]) == content["data"]["users"]
    assert len(content["by_day"]["days"]) >= 2
    assert [one["component"] for one in content["ablations"]] == ["visual"]


def test_the_same_inputs_give_the_same_report_and_another_seed_another_hash(
    place: Workspace, features: FeatureSet, content: dict[str, Any]
) -> None:
    arms = [parse_arm(text) for text in ARMS]
    again = evaluate(place, features, arms, 10, out_dir=place.report("again"), name="first")
    assert {**again, "created_at": ""} == {**content, "created_at": ""}
    other = evaluate(place, features, arms, 10, out_dir=place.report("other"), name="first", seed=8)
    assert other["inputs"]["hash"] != content["inputs"]["hash"]


def test_progress_counts_slates_up_to_the_end(place: Workspace, features: FeatureSet) -> None:
    told: list[tuple[int, int]] = []
    arms = [parse_arm(text) for text in ("full=current", "dice=random")]
    said = evaluate(
        place,
        features,
        arms,
        3,
        out_dir=place.report("told"),
        name="told",
        progress=lambda *at: told.append(at),
    )
    assert told == sorted(told)
    assert told[-1] == (2 * said["data"]["users"], 2 * said["data"]["users"])


def test_a_bundle_that_held_nothing_out_and_bundles_of_two_cuts_are_refused(
    place: Workspace, features: FeatureSet, tmp_path: Path
) -> None:
    everything = _with_holdout(place, Holdout())
    arms = [parse_arm(f"all={everything}"), parse_arm("base=popular")]
    with pytest.raises(BadInput, match="trained on everything"):
        evaluate(place, features, arms, out_dir=tmp_path / "none", name="none")
    later = _with_holdout(place, Holdout("leave_last", n=1))
    arms = [parse_arm("full=current"), parse_arm(f"last={later}")]
    with pytest.raises(BadInput, match="held out different parts"):
        evaluate(place, features, arms, out_dir=tmp_path / "none", name="none")
    with pytest.raises(BadInput, match="k is 0"):
        evaluate(
            place, features, [*arms[:1], parse_arm("b=random")], 0, out_dir=tmp_path / "none", name="none"
        )
    assert not (tmp_path / "none").exists()


def test_data_without_times_and_vectors_has_a_report_without_days_and_diversity(
    world: Callable[..., FeatureSet], workspace: Workspace
) -> None:
    plain = world(users=60, videos=30, times=False, vectors=False)
    workspace.publish(train(plain, workspace, QUICK, Holdout("leave_last", n=2)))
    arms = [parse_arm("base=popular"), parse_arm("full=current")]
    said = evaluate(workspace, plain, arms, 5, out_dir=workspace.report("plain"), name="plain")
    page = (workspace.report("plain") / "report.html").read_text()
    assert said["by_day"] is None
    assert any("no times" in warning["text"] for warning in said["warnings"])
    assert 'data-chart="history"' in page
    assert 'data-chart="days"' not in page
    assert 'data-chart="scatter"' not in page


def test_titles_cannot_break_out_of_the_page_or_of_a_table(content: dict[str, Any]) -> None:
    hostile = {**content, "name": NASTY}
    page = to_html(hostile, lambda _: None)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\\|" in to_markdown(hostile).splitlines()[0]


def test_a_component_that_hurts_is_red(content: dict[str, Any]) -> None:
    hurt = {**content["ablations"][0], "hurts": True}
    assert "#b3261e" in to_html({**content, "ablations": [hurt]}, lambda _: None).split("adds</h2>")[1]


def test_charts_bear_constant_missing_and_very_large_numbers() -> None:
    flat = interval_plot([("", [Row("a", Dot(0.0), 0, "0")])], 346, str, "flat")
    steep = interval_plot([("x", [Row("a", Dot(40.0, -0.99, 90.0), 1, "")])], 520, str, "steep")
    curve = curve_plot(["0"], ["n=1"], [Curve(0, [None]), Curve(1, [Dot(0.0)])], 346, str, "curve")
    dots = scatter_plot([Point("long " * 20, 9, 0.0, Dot(0.0))], 346, "x", "y", str, "dots")
    for drawn in (flat, steep, curve, dots):
        assert "nan" not in drawn
        assert "inf" not in drawn
    assert nice_ticks(0, 1, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_shows_every_plot_and_fits_its_window(
    place: Workspace, content: dict[str, Any], browser: Browser, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((place.report("first") / "report.html").as_uri())
    assert page.locator(".verdict p").inner_text() == content["verdict"]["sentence"]
    for kind in ("forest", "levels", "ablation", "history", "days", "scatter"):
        drawn = page.locator(f'figure[data-chart="{kind}"] svg:visible')
        assert drawn.count() == 1
        box = drawn.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".user").count() == 3
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert said == []
    page.close()
