"""Sections of the report that show numbers: lifts, metrics, components, slices and spread."""

from __future__ import annotations

from html import escape
from typing import Any

from ranker.evaluation.charts import Curve, Point, Row, curve_plot, interval_plot, scatter_plot
from ranker.evaluation.cold import cold_section
from ranker.evaluation.figures import arm_label, dot, figure, legend, series_of
from ranker.evaluation.metrics import LABELS, METRICS
from ranker.evaluation.words import EMPTY, percent, share, signed, span, written

SPREAD_ROWS = (
    ("coverage", "Coverage", "share of the catalogue in at least one slate", "{:.1%}"),
    ("gini", "Gini of exposure", "0 even, 1 all on one video", "{:.3f}"),
    ("novelty_bits", "Novelty", "bits; higher is less known", "{:.2f}"),
    ("creator_concentration", "Creator concentration", "largest share of a slate by one creator", "{:.1%}"),
)


def lift_section(content: dict[str, Any]) -> str:
    control = content["arms"][0]["name"]
    series = series_of(content)
    groups, lost = [], 0
    for metric in METRICS:
        rows = []
        for one in (lift for lift in content["lifts"] if lift["metric"] == metric):
            if one["relative"] is None:
                lost += 1
                continue
            rows.append(
                Row(one["arm"], dot(one["relative"]), series[one["arm"]], span(one["relative"], percent))
            )
        if rows and metric in ("ndcg", "recall", "hit_rate"):
            groups.append((f"{LABELS[metric]}@{content['k']}", rows))
    if not groups:
        forest = (
            f"<p>{escape(control)} scores 0: there is no ratio to it. Differences are in report.json.</p>"
        )
    else:
        forest = figure(
            lambda width: interval_plot(
                groups, width, share, f"Lift of each arm over {control}, with intervals"
            ),
            f"Lift over {control}: mark and 95% interval. An interval that crosses the upright line at 0 "
            f"leaves the sign open. {'Lifts over a score of 0 are left out. ' if lost else ''}",
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
                    dot(arm["metrics"][metric]),
                    i,
                    span(arm["metrics"][metric], "{:.3f}".format),
                )
                for i, arm in enumerate(content["arms"])
            ],
        )
        for metric in ("ndcg", "recall")
    ]
    return figure(
        lambda width: interval_plot(groups, width, "{:.2g}".format, "Metrics of each arm, with intervals"),
        "Mean over users and 95% interval, by arm. Intervals of two arms may overlap although their paired "
        "difference is clear.",
        "levels",
    )


def metric_table(content: dict[str, Any]) -> str:
    head = "".join(f'<th scope="col">{arm_label(i, arm)}</th>' for i, arm in enumerate(content["arms"]))
    lifts = {(one["arm"], one["metric"]): one for one in content["lifts"]}
    rows = "".join(
        f'<tr><th scope="row">{LABELS[metric]}@{content["k"]}</th>'
        + "".join(_metric_cell(arm, metric, lifts) for arm in content["arms"])
        + "</tr>"
        for metric in METRICS
    )
    return (
        "<h2>All metrics</h2>"
        '<p class="lead">Mean over users, its 95% interval, and the lift over the control. Bold lifts hold '
        "for all arms together; one in red is a clear loss.</p>"
        + _more(content["arms"])
        + f'<div class="scroll"><table><thead><tr><th scope="col">Metric</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _metric_cell(arm: dict[str, Any], metric: str, lifts: dict[tuple[str, str], dict[str, Any]]) -> str:
    mean, one = arm["metrics"][metric], lifts.get((arm["name"], metric))
    bounds = "" if mean["low"] is None else f"<small>{mean['low']:.4f} to {mean['high']:.4f}</small>"
    if one is None:
        return f"<td>{mean['value']:.4f}{bounds}<small>control</small></td>"
    size = percent(one["relative"]["value"]) if one["relative"] else signed(one["absolute"]["value"])
    kind = ("clear" if one["absolute"]["value"] > 0 else "bad") if one["clear"] else ""
    return f'<td>{mean["value"]:.4f}{bounds}<small class="{kind}">{size}</small></td>'


def ablation_section(content: dict[str, Any]) -> str:
    if not content["ablations"]:
        return ""
    rows = []
    for one in content["ablations"]:
        shown = one["relative"] or one["absolute"]
        write = percent if one["relative"] else signed
        name = f"{one['component']} (in {one['full']})"
        rows.append(Row(name, dot(shown), 1, span(shown, write), alarm=one["hurts"]))
    drawn = figure(
        lambda width: interval_plot([("", rows)], width, share, "What each component adds, with intervals"),
        "Right of 0 the component helps; one that clearly hurts is red.",
        "ablation",
    )
    return (
        f"<h2>What each component adds</h2><p class='lead'>{LABELS[content['primary']]}@{content['k']} of "
        f"a bundle against the same bundle without the component.</p>{drawn}"
    )


def slice_section(content: dict[str, Any]) -> str:
    history, days = content["by_history"], content["by_day"]
    name = f"{LABELS[content['primary']]}@{content['k']}"
    kept = [i for i, users in enumerate(history["users"]) if users]
    figures = figure(
        lambda width: curve_plot(
            [history["slices"][i] for i in kept],
            [_users(history["users"][i]) for i in kept],
            [Curve(s, [dot(history["arms"][arm][i]) for i in kept]) for arm, s in series_of(content).items()],
            width,
            "{:.2g}".format,
            f"{name} by length of history",
        ),
        f"{name} by number of events before the cut: how cold users fare.",
        "history",
    )
    if days:
        figures += figure(
            lambda width: curve_plot(
                [day[5:] for day in days["days"]],
                [_users(n) for n in days["users"]],
                [Curve(s, [dot(one) for one in days["arms"][arm]]) for arm, s in series_of(content).items()],
                width,
                "{:.2g}".format,
                f"{name} by day",
            ),
            f"{name} against what was liked on each UTC day after the cut ({days['days'][0][:4]}). Slates "
            "are those of the cut, so a fall shows how fast they age.",
            "days",
        )
    drawn = f'{legend(content)}<div class="pair">{figures}</div>'
    return f"<h2>For whom, and when</h2>{drawn}{cold_section(content)}"


def spread_section(content: dict[str, Any]) -> str:
    arms, name = content["arms"], f"{LABELS[content['primary']]}@{content['k']}"
    space = next((s for s in ("joint", "visual", "audio", "text") if _diverse(arms, s)), None)
    drawn = ""
    if space is not None:
        points = [
            Point(arm["name"], i, arm["spread"]["diversity"][space], dot(arm["metrics"][content["primary"]]))
            for i, arm in enumerate(arms)
            if arm["spread"]["diversity"][space] is not None
        ]
        drawn = figure(
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
    return f"<h2>What the slates show</h2>{drawn}{_spread_table(arms)}"


def _spread_table(arms: list[dict[str, Any]]) -> str:
    rows = [
        (label, note, [written(arm["spread"][key], how) for arm in arms])
        for key, label, note, how in SPREAD_ROWS
    ]
    for space in ("joint", "visual", "audio", "text"):
        if _diverse(arms, space):
            cells = [written(arm["spread"]["diversity"][space], "{:.3f}") for arm in arms]
            rows.append((f"Diversity, {space}", "mean of 1 − cosine in a slate", cells))  # noqa: RUF001
    head = "".join(f'<th scope="col">{arm_label(i, arm)}</th>' for i, arm in enumerate(arms))
    body = "".join(
        f'<tr><th scope="row">{label}<small>{note}</small></th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for label, note, cells in rows
        if any(cell != EMPTY for cell in cells)
    )
    return (
        f'{_more(arms)}<div class="scroll"><table><thead><tr><th scope="col">Spread</th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _diverse(arms: list[dict[str, Any]], space: str) -> bool:
    return any(arm["spread"]["diversity"].get(space) is not None for arm in arms)


def _users(n: int) -> str:
    return f"n={n:,}"


def _more(arms: list[dict[str, Any]]) -> str:
    """On a telephone, says that a table of many arms goes on to the right."""
    return '<p class="narrow muted">More arms to the right \u2192</p>' if len(arms) > 2 else ""
