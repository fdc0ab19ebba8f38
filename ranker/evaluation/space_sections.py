"""Sections of a space's report that show numbers: masks, retrieval, shape and drift."""

from __future__ import annotations

from html import escape
from typing import Any

from ranker.evaluation.charts import Dot, Row, interval_plot
from ranker.evaluation.figures import dot, figure
from ranker.evaluation.space_words import SHAPE, SPACES, TRUTHS, drift_rows, mask_name, plain_number
from ranker.evaluation.words import EMPTY, span

CHANCE = 0
"""Series of what chance finds: the first, which is grey."""


def mask_section(content: dict[str, Any]) -> str:
    rows = "".join(_bar(mask_name(one["modalities"]), one, one["mask"] == 0) for one in content["masks"])
    return (
        "<h2>Which modalities videos have</h2>"
        f'<p class="lead">Of the {content["data"]["videos"]:,} videos of the space.</p>'
        f'<div class="pair"><figure data-chart="masks"><table class="bars"><tbody>{rows}</tbody></table>'
        f"<figcaption>Modalities that the video itself has.</figcaption></figure>"
        f"{_imputed(content['imputed'])}</div>"
    )


def _bar(name: str, one: dict[str, Any], alarm: bool) -> str:
    kind = "zero" if not one["videos"] else "none" if alarm else ""
    bar = f'<span class="bar" style="width:{one["share"] * 100:.2f}%"></span>' if one["videos"] else ""
    return (
        f'<tr class="{kind}"><th scope="row">{escape(name)}</th><td>{bar}</td>'
        f"<td>{one['share']:.1%}</td><td>{one['videos']:,}</td></tr>"
    )


def _imputed(imputed: dict[str, Any] | None) -> str:
    if imputed is None:
        return '<p class="muted">The space does not say which modalities were filled in from neighbours.</p>'
    rows = "".join(_bar(name, one, False) for name, one in imputed.items())
    return (
        f'<figure data-chart="imputed"><table class="bars"><tbody>{rows}</tbody></table>'
        "<figcaption>Missing modalities that were filled in from neighbours of the item graph.</figcaption>"
        "</figure>"
    )


def retrieval_section(content: dict[str, Any]) -> str:
    truths, data = content["retrieval"]["truths"], content["data"]
    asked = f"{data['queries']:,} videos drawn at random" if data["sampled"] else "all videos"
    return (
        f"<h2>Do neighbours belong together?</h2><p class='lead'>Of the nearest {content['k']} by cosine, "
        f"those that belong to the video, over as many as could be among {content['k']}. Asked: {asked}, in "
        "each space those with a vector.</p>"
        f'<div class="pair">{_retrieval_figure(truths)}{_pair_figure(content["retrieval"]["pairs"])}</div>'
        + (_retrieval_table(truths) if truths else "")
        + _absent(content["retrieval"]["absent"])
    )


def _retrieval_figure(truths: list[dict[str, Any]]) -> str:
    groups = []
    for truth in truths:
        found = {name: truth["spaces"][name] for name in SPACES if truth["spaces"][name]}
        rows = [
            Row(name, dot(one), SPACES.index(name) + 1, span(one, "{:.1%}".format))
            for name, one in found.items()
        ]
        if rows:
            chance = next(iter(found.values()))["chance"]
            groups.append(
                (TRUTHS[truth["name"]][0], [*rows, Row("chance", Dot(chance), CHANCE, f"{chance:.1%}")])
            )
    if not groups:
        return "<p>Nothing says which videos belong together, so retrieval cannot be measured.</p>"
    return figure(
        lambda width: interval_plot(groups, width, "{:.0%}".format, "Retrieval by truth, with intervals"),
        "Mark and 95% interval over videos. Grey: what drawing at random finds.",
        "retrieval",
    )


def _pair_figure(pairs: list[dict[str, Any]]) -> str:
    known = [one for one in pairs if one["recall"] is not None]
    if not known:
        return ""
    groups = []
    for one in known:
        rows = [Row("found", Dot(one["recall"]), 1, f"{one['recall']:.1%}")]
        if one["control"] is not None:
            rows.append(Row("shuffled control", Dot(one["control"]), CHANCE, f"{one['control']:.1%}"))
        groups.append((_pair_name(one), rows))
    return figure(
        lambda width: interval_plot(groups, width, "{:.0%}".format, "Retrieval across modalities"),
        "From one modality to the other: held-out videos whose other half is among the nearest tenth, both "
        "directions together. Grey: after training on shuffled pairs.",
        "pairs",
    )


def _pair_name(one: dict[str, Any]) -> str:
    videos = f" ({one['videos']:,} videos)" if one["videos"] else ""
    return str(one["pair"]).replace("-", " and ") + videos


def _retrieval_table(truths: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{TRUTHS[truth["name"]][0]}</th>'
        + "".join(_retrieval_cell(truth["spaces"][name]) for name in SPACES)
        + "</tr>"
        for truth in truths
    )
    more = '<p class="narrow muted">More spaces to the right \u2192</p>'
    return more + _table("Belong together by", rows, "found")


def _retrieval_cell(one: dict[str, Any] | None) -> str:
    if one is None:
        return f"<td>{EMPTY}</td>"
    bounds = "" if one["low"] is None else f"<small>{one['low']:.1%} to {one['high']:.1%}</small>"
    return (
        f"<td>{one['value']:.1%}{bounds}<small>chance {one['chance']:.1%}</small>"
        f"<small>n={one['videos']:,}</small></td>"
    )


def _absent(absent: dict[str, str]) -> str:
    said = "; ".join(f"{TRUTHS[name][0].lower()}: {escape(why)}" for name, why in absent.items())
    return f'<p class="muted">Not measured: {said}.</p>' if said else ""


def shape_section(content: dict[str, Any]) -> str:
    shapes = content["geometry"]
    if not any(shapes.values()):
        return "<h2>Shape of the space</h2><p>Fewer than two videos have a vector: there is no shape.</p>"
    rows = "".join(
        f'<tr><th scope="row">{name}<small>{escape(note)}</small></th>'
        + "".join(f"<td>{plain_number((shapes[s] or {}).get(key), how)}</td>" for s in SPACES)
        + "</tr>"
        for key, name, note, how in SHAPE
    )
    return f"<h2>Shape of the space</h2>{_table('Measure', rows, 'shape')}"


def drift_section(content: dict[str, Any]) -> str:
    drift = content["drift"]
    if drift["why"]:
        return f"<h2>Since the space before</h2><p>{escape(drift['why'])}</p>"
    rows = "".join(
        f'<tr><th scope="row">{name}<small>{escape(note)}</small></th><td>{escape(value)}</td></tr>'
        for name, note, value in drift_rows(drift)
    )
    return f'<h2>Since the space before</h2><table class="drift"><tbody>{rows}</tbody></table>'


def _table(corner: str, rows: str, kind: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in SPACES)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr><th scope="col">{corner}</th>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )
