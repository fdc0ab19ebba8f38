"""The report as one HTML page that needs nothing from outside, with its numbers beside it as JSON and
Markdown.

Order of the page: verdict, facts, warnings, lifts, metrics, whom it helps, when, what it shows, slates,
method. All pages are functions of the content of report.json alone, and of thumbnails. There is no script on
the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from features.tables import write_durably
from ranker.evaluation.charts import Curve, Dot, Point, Row, curve_plot, interval_plot, scatter_plot, swatch
from ranker.evaluation.examples import thumbnail_uri
from ranker.evaluation.markdown import to_markdown
from ranker.evaluation.metrics import LABELS, METRICS
from ranker.evaluation.style import CSS
from ranker.evaluation.verdict import percent

WIDE, NARROW = 520, 346
"""Widths of the two drawings of a chart, CSS pixels: half a page, and a telephone of 390 px less its margins."""

SPREAD_ROWS = (
    ("coverage", "Coverage", "share of the catalogue in at least one slate", "{:.1%}"),
    ("gini", "Gini of exposure", "0 even, 1 all on one video", "{:.3f}"),
    ("novelty_bits", "Novelty", "bits; higher is less known", "{:.2f}"),
    ("creator_concentration", "Creator concentration", "largest share of a slate by one creator", "{:.1%}"),
)
DECISIONS = {
    "launch": "Verdict: launch",
    "keep": "Verdict: keep the control",
    "undecided": "Verdict: undecided",
}
EMPTY = "–"  # noqa: RUF001 (a dash in an empty cell)


def write_report(content: dict[str, Any], out_dir: Path, thumbnail: Callable[[int], Path]) -> None:
    """Writes report.json, report.md and report.html; each appears whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_durably(out_dir / "report.json", text.encode())
    write_durably(out_dir / "report.md", to_markdown(content).encode())
    write_durably(
        out_dir / "report.html", to_html(content, lambda key: thumbnail_uri(thumbnail(key))).encode()
    )


def to_html(content: dict[str, Any], picture: Callable[[int], str | None]) -> str:
    """The page.

    Args:
        content: what report.json holds.
        picture: data URI of a video's thumbnail, or None.
    """
    sections = (
        _head(content),
        _lift_section(content),
        _metric_table(content),
        _ablation_section(content),
        _slice_section(content),
        _spread_section(content),
        _example_section(content, picture),
        _method(content),
        _inputs(content),
    )
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(content['name'])} · offline A/B</title><style>{CSS}</style></head>\n"
        f"<body><main>\n{chr(10).join(section for section in sections if section)}\n</main></body></html>\n"
    )


def _head(content: dict[str, Any]) -> str:
    data, verdict = content["data"], content["verdict"]
    facts = (
        ("Users measured", f"{data['users']:,}"),
        ("Videos they went on to like", f"{data['relevant']:,}"),
        ("Catalogue", f"{data['videos']:,} videos"),
        ("Held out", data["holdout"]["words"]),
        ("Users without history", f"{data['cold_users']:,}"),
        ("Smallest effect found", _detectable(content)),
    )
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    warnings = "".join(
        f'<li class="{warning["level"]}">{escape(warning["text"])}</li>' for warning in content["warnings"]
    )
    return (
        f"<h1>Offline A/B · {escape(content['name'])} · {escape(content['created_at'][:10])}</h1>"
        f'<section class="verdict {verdict["decision"]}"><b>{DECISIONS[verdict["decision"]]}</b>'
        f"<p>{escape(verdict['sentence'])}</p></section>"
        f'<dl class="facts">{listed}</dl>' + (f'<ul class="warnings">{warnings}</ul>' if warnings else "")
    )


def _detectable(content: dict[str, Any]) -> str:
    effect = content["data"]["detectable"]
    base = content["arms"][0]["metrics"][content["primary"]]["value"]
    if not effect:
        return "unknown"
    name = f"{LABELS[content['primary']]}@{content['k']}"
    return f"{effect / base:.1%} of {name}" if base else f"{effect:.4f} {name}"


def _lift_section(content: dict[str, Any]) -> str:
    control = content["arms"][0]["name"]
    series = _series(content)
    groups, lost = [], 0
    for metric in METRICS:
        rows = []
        for one in (lift for lift in content["lifts"] if lift["metric"] == metric):
            if one["relative"] is None:
                lost += 1
                continue
            rows.append(
                Row(one["arm"], _dot(one["relative"]), series[one["arm"]], _span(one["relative"], percent))
            )
        if rows and metric in ("ndcg", "recall", "hit_rate"):
            groups.append((f"{LABELS[metric]}@{content['k']}", rows))
    if not groups:
        forest = f"<p>{escape(control)} scores 0, so there is no ratio to it; see the differences in report.json.</p>"
    else:
        forest = _figure(
            lambda width: interval_plot(
                groups, width, _share, f"Lift of each arm over {control}, with intervals"
            ),
            f"Lift over {control}: mark and 95% interval. An interval that crosses the upright line at 0 leaves the "
            f"sign open. {'Lifts over a score of 0 are left out. ' if lost else ''}",
            "forest",
        )
    return (
        f"<h2>How much better or worse</h2><p class='lead'>Every arm against {escape(control)}, on the same "
        f"{content['data']['users']:,} users.</p>"
        f'<div class="pair">{forest}{_level_figure(content)}</div>'
    )


def _level_figure(content: dict[str, Any]) -> str:
    groups = [
        (
            f"{LABELS[metric]}@{content['k']}",
            [
                Row(
                    arm["name"],
                    _dot(arm["metrics"][metric]),
                    i,
                    _span(arm["metrics"][metric], "{:.3f}".format),
                )
                for i, arm in enumerate(content["arms"])
            ],
        )
        for metric in ("ndcg", "recall")
    ]
    return _figure(
        lambda width: interval_plot(groups, width, "{:.2g}".format, "Metrics of each arm, with intervals"),
        "Mean over users and 95% interval, by arm. Intervals of two arms may overlap although their paired "
        "difference is clear.",
        "levels",
    )


def _metric_table(content: dict[str, Any]) -> str:
    head = "".join(f'<th scope="col">{_arm_label(i, arm)}</th>' for i, arm in enumerate(content["arms"]))
    lifts = {(one["arm"], one["metric"]): one for one in content["lifts"]}
    rows = "".join(
        f'<tr><th scope="row">{LABELS[metric]}@{content["k"]}</th>'
        + "".join(_metric_cell(arm, metric, lifts) for arm in content["arms"])
        + "</tr>"
        for metric in METRICS
    )
    return (
        '<h2>All metrics</h2><p class="lead">Mean over users, its 95% interval, and the lift over the control. Bold '
        "lifts hold for all arms together; a difference in red is a clear loss.</p>"
        f'<div class="scroll"><table><thead><tr><th scope="col">Metric</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _metric_cell(arm: dict[str, Any], metric: str, lifts: dict[tuple[str, str], dict[str, Any]]) -> str:
    mean, one = arm["metrics"][metric], lifts.get((arm["name"], metric))
    bounds = "" if mean["low"] is None else f"<small>{mean['low']:.4f} to {mean['high']:.4f}</small>"
    if one is None:
        return f"<td>{mean['value']:.4f}{bounds}<small>control</small></td>"
    size = percent(one["relative"]["value"]) if one["relative"] else _signed(one["absolute"]["value"])
    kind = ("clear" if one["absolute"]["value"] > 0 else "bad") if one["clear"] else ""
    return f'<td>{mean["value"]:.4f}{bounds}<small class="{kind}">{size}</small></td>'


def _ablation_section(content: dict[str, Any]) -> str:
    if not content["ablations"]:
        return ""
    rows = []
    for one in content["ablations"]:
        shown = one["relative"] or one["absolute"]
        write = percent if one["relative"] else _signed
        name = f"{one['component']} (in {one['full']})"
        rows.append(Row(name, _dot(shown), 1, _span(shown, write), alarm=one["hurts"]))
    figure = _figure(
        lambda width: interval_plot([("", rows)], width, _share, "What each component adds, with intervals"),
        "Right of 0 the component helps; one that clearly hurts is red.",
        "ablation",
    )
    return (
        f"<h2>What each component adds</h2><p class='lead'>{LABELS[content['primary']]}@{content['k']} of a bundle "
        f"against the same bundle without the component.</p>{figure}"
    )


def _slice_section(content: dict[str, Any]) -> str:
    history, days = content["by_history"], content["by_day"]
    name = f"{LABELS[content['primary']]}@{content['k']}"
    kept = [i for i, users in enumerate(history["users"]) if users]
    figures = _figure(
        lambda width: curve_plot(
            [history["slices"][i] for i in kept],
            [_users(history["users"][i]) for i in kept],
            [Curve(s, [_dot(history["arms"][arm][i]) for i in kept]) for arm, s in _series(content).items()],
            width,
            "{:.2g}".format,
            f"{name} by length of history",
        ),
        f"{name} by number of events before the cut: how cold users fare.",
        "history",
    )
    if days:
        figures += _figure(
            lambda width: curve_plot(
                [day[5:] for day in days["days"]],
                [_users(n) for n in days["users"]],
                [Curve(s, [_dot(one) for one in days["arms"][arm]]) for arm, s in _series(content).items()],
                width,
                "{:.2g}".format,
                f"{name} by day",
            ),
            f"{name} against what was liked on each UTC day after the cut ({days['days'][0][:4]}). Slates are those of "
            "the cut, so a fall shows how fast they age.",
            "days",
        )
    return (
        f'<h2>For whom, and when</h2>{_legend(content)}<div class="pair">{figures}</div>{_cold_line(content)}'
    )


def _cold_line(content: dict[str, Any]) -> str:
    cold = content["cold_videos"]
    if not cold:
        return ""
    said = ", ".join(
        f"{escape(arm)} {_span(one, '{:.3f}'.format)}" for arm, one in cold["arms"].items() if one is not None
    )
    return (
        f"<p>New videos: {cold['relevant']:,} of the liked videos had been met by nobody before the cut. Recall@"
        f"{content['k']} of them, over {cold['users']:,} user(s): {said}.</p>"
    )


def _spread_section(content: dict[str, Any]) -> str:
    arms, name = content["arms"], f"{LABELS[content['primary']]}@{content['k']}"
    space = next((s for s in ("joint", "visual", "audio", "text") if _diverse(arms, s)), None)
    figure = ""
    if space is not None:
        points = [
            Point(arm["name"], i, arm["spread"]["diversity"][space], _dot(arm["metrics"][content["primary"]]))
            for i, arm in enumerate(arms)
            if arm["spread"]["diversity"][space] is not None
        ]
        figure = _figure(
            lambda width: scatter_plot(
                points,
                width,
                f"Diversity of a slate ({space})",
                name,
                "{:.2g}".format,
                "Diversity against accuracy of each arm",
            ),
            "Accuracy against diversity (mean of 1 − cosine over the pairs of a slate): "  # noqa: RUF001
            "better arms lie higher, more varied ones further right.",
            "scatter",
        )
    return f'<h2>What the slates show</h2><div class="pair">{figure}{_spread_table(arms)}</div>'


def _spread_table(arms: list[dict[str, Any]]) -> str:
    rows = [
        (label, note, [_written(arm["spread"][key], how) for arm in arms])
        for key, label, note, how in SPREAD_ROWS
    ]
    for space in ("joint", "visual", "audio", "text"):
        if _diverse(arms, space):
            cells = [_written(arm["spread"]["diversity"][space], "{:.3f}") for arm in arms]
            rows.append((f"Diversity, {space}", "mean of 1 − cosine in a slate", cells))  # noqa: RUF001
    head = "".join(f'<th scope="col">{_arm_label(i, arm)}</th>' for i, arm in enumerate(arms))
    body = "".join(
        f'<tr><th scope="row">{label}<br><span class="muted">{note}</span></th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for label, note, cells in rows
        if any(cell != EMPTY for cell in cells)
    )
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">Spread</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _diverse(arms: list[dict[str, Any]], space: str) -> bool:
    return any(arm["spread"]["diversity"].get(space) is not None for arm in arms)


def _example_section(content: dict[str, Any], picture: Callable[[int], str | None]) -> str:
    if not content["examples"]:
        return ""
    pictures: dict[int, str | None] = {}

    def cached(key: int) -> str | None:
        if key not in pictures:
            pictures[key] = picture(key)
        return pictures[key]

    users = "".join(_example(one, content, cached) for one in content["examples"])
    return (
        "<h2>Slates side by side</h2><p class='lead'>Users drawn at random, not chosen. Top of each slate; a tick "
        f"marks a video that the user liked after the cut.</p>{users}"
    )


def _example(one: dict[str, Any], content: dict[str, Any], picture: Callable[[int], str | None]) -> str:
    watched = "".join(f"<li>{_video(video, picture, video['event'])}</li>" for video in one["watched"])
    before = (
        f'<p class="muted">Latest before the cut</p><ul class="row">{watched}</ul>'
        if watched
        else ('<p class="muted">No history before the cut</p>')
    )
    series = _series(content)
    columns = "".join(
        f'<div><h4 class="arm">{swatch(series[slate["arm"]])}{escape(slate["arm"])}</h4><ol>'
        + "".join(f"<li>{_video(video, picture, '')}</li>" for video in slate["videos"])
        + "</ol></div>"
        for slate in one["slates"]
    )
    liked = f'<span class="muted">liked {one["liked"]} new video(s) after the cut</span>'
    return (
        f'<section class="user"><h3>User {escape(one["user_id"])} · {liked}</h3>{before}'
        f'<div class="arms">{columns}</div></section>'
    )


def _video(video: dict[str, Any], picture: Callable[[int], str | None], note: str) -> str:
    name = escape(video["title"] or video["video_id"])
    uri = picture(video["video_key"])
    image = (
        f'<img src="{uri}" alt="" width="72" height="54">' if uri else '<span class="blank">no picture</span>'
    )
    said = (
        '<span class="hit">✓ liked later</span>'
        if video.get("hit")
        else f"<em>{escape(note)}</em>"
        if note
        else ""
    )
    return f'<div class="video">{image}<div><span class="name">{name}</span>{said}</div></div>'


def _method(content: dict[str, Any]) -> str:
    data, k = content["data"], content["k"]
    entries = (
        (
            "Protocol",
            f"Held out: {data['holdout']['words']}. Arms know only what came before. Each user with at least "
            "one new liked video in the held-out part gets one slate at the cut, ranked from the whole catalogue less "
            "what they had seen (play, like, share, dislike); negatives are never sampled. Liked means: like, share, "
            "follow, or a play of at least half of the video (5 s where its length is unknown; any play where watched "
            "time is unknown).",
        ),
        ("Control", f"{content['arms'][0]['name']}, the first arm given."),
        (
            "Intervals",
            f"95% percentile bootstrap over users ({content['resamples']:,} resamples, seed "
            f"{content['seed']}), the same draws for all arms, so lifts are paired. Slices: Student's t.",
        ),
        (
            "Verdict",
            "An arm is clearly better or worse when the interval of its paired difference, at 95% for all "
            "challengers together (Bonferroni), leaves out 0. The smallest effect found is what this many users show "
            "with power 80%, for the hardest pair of arms.",
        ),
        *((f"{LABELS[name]}@{k}", _first_line(METRICS[name].__doc__)) for name in METRICS),
        (
            "What this cannot say",
            "Users could only like what they were shown: an arm that finds good videos which the "
            "logging policy hid gets no credit, and popular videos get too much. An online test decides what is left "
            "open here.",
        ),
    )
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries)
    return f'<h2>Method</h2><dl class="method">{listed}</dl>'


def _inputs(content: dict[str, Any]) -> str:
    inputs = content["inputs"]
    rows = [
        ("Hash of inputs", inputs["hash"]),
        ("Bundles", ", ".join(inputs["bundles"]) or "none"),
        ("Encoder", inputs["encoder_version"] or "none"),
        ("Space", inputs["space_version"] or "none"),
        ("Features", inputs["feature_version"]),
        ("Interactions", f"{inputs['interactions']:,}"),
        ("Seed", str(content["seed"])),
        ("Made at", content["created_at"]),
        *((f"Arm {arm['name']}", arm["spec"]) for arm in content["arms"]),
    ]
    body = "".join(
        f'<tr><th scope="row">{escape(n)}</th><td><code>{escape(v)}</code></td></tr>' for n, v in rows
    )
    return f'<h2>Inputs</h2><table class="inputs"><tbody>{body}</tbody></table>'


def _figure(draw: Callable[[int], str], caption: str, kind: str) -> str:
    return (
        f'<figure data-chart="{kind}"><div class="wide">{draw(WIDE)}</div><div class="narrow">{draw(NARROW)}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _legend(content: dict[str, Any]) -> str:
    items = "".join(f"<li>{_arm_label(i, arm)}</li>" for i, arm in enumerate(content["arms"]))
    return f'<ul class="legend">{items}</ul>'


def _arm_label(i: int, arm: dict[str, Any]) -> str:
    return f'<span class="arm">{swatch(i)}{escape(arm["name"])}</span>'


def _series(content: dict[str, Any]) -> dict[str, int]:
    return {arm["name"]: i for i, arm in enumerate(content["arms"])}


def _dot(estimate: dict[str, Any] | None) -> Any:
    return None if estimate is None else Dot(estimate["value"], estimate["low"], estimate["high"])


def _span(estimate: dict[str, Any], write: Callable[[float], str]) -> str:
    if estimate["low"] is None:
        return write(estimate["value"])
    return f"{write(estimate['value'])} [{write(estimate['low'])}, {write(estimate['high'])}]"


def _share(value: float) -> str:
    return (
        "0" if not value else f"{value:+.3g}" if abs(value) < 0.01 else f"{value:+.0%}".replace("-", "\u2212")
    )


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "\u2212")


def _written(value: float | None, how: str) -> str:
    return EMPTY if value is None else how.format(value)


def _users(n: int) -> str:
    return f"n={n:,}"


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
