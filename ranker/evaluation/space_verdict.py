"""The sentence of a space's report, and what its reader has to be warned of."""

from __future__ import annotations

from typing import Any, Final

LOW_OVERLAP: Final = 0.5
"""Neighbours kept by fewer than this (Jaccard) since the last space: recommendations will differ."""
HUBBY: Final = 3.0
"""Skewness of 10-occurrences from which a few videos are everybody's neighbour."""
FEW: Final = 100
"""Under so many videos that ask, the percentile bootstrap covers less than it says."""
SPREAD: Final = 3.0
"""Fewer effective dimensions than this: the space tells hardly more than a few groups apart."""


def decide(content: dict[str, Any]) -> dict[str, str]:
    """`decision` (`aligned`, `unaligned` or `unknown`) and its `sentence`."""
    aligned = content["space"]["aligned"]
    kinds = {True: "aligned", False: "unaligned"}
    parts = (_alignment(content["space"]), _coverage(content), _drift(content["drift"]), _conflicts(content))
    return {"decision": kinds.get(aligned, "unknown"), "sentence": "; ".join(filter(None, parts)) + "."}


def _alignment(space: dict[str, Any]) -> str:
    if space["aligned"] is None:
        return "The space does not say whether it is aligned"
    if space["recall"] is None or space["control"] is None:
        return "The space is aligned" if space["aligned"] else "The space is not aligned"
    if not space["recall"] and not space["control"] and not space["aligned"]:
        return "The space is not aligned: too few videos have two modalities to try"
    held = (
        f"{space['recall']:.0%} of held-out pairs found among the nearest tenth, against "
        f"{space['control']:.0%} of the shuffled control"
    )
    return f"The space is {'aligned' if space['aligned'] else 'not aligned'}: {held}"


def _coverage(content: dict[str, Any]) -> str:
    videos = content["data"]["videos"]
    whole, bare = (next(one["share"] for one in content["masks"] if one["mask"] == mask) for mask in (7, 0))
    verb = "video has" if videos == 1 else "videos have"
    said = f"{whole:.0%} of {videos:,} {verb} all three modalities"
    return said + (f", {bare:.1%} have none" if bare else "")


def _drift(drift: dict[str, Any]) -> str:
    if drift["why"] or drift["overlap"] is None:
        return ""
    return f"{drift['overlap']['value']:.0%} of neighbours kept since the space before"


def _conflicts(content: dict[str, Any]) -> str:
    found = content["conflicts"]
    if found["why"]:
        return ""
    low = found["text"]["low"] + found["audio"]["low"]
    plural = "" if low == 1 else "s"
    return f"{low:,} title{plural} or sound{plural} to look at"


def warnings_of(content: dict[str, Any]) -> list[dict[str, str]]:
    """`level` (`alarm` or `note`) and `text` of each warning, alarms first."""
    found = [
        *_broken(content),
        *_beaten(content),
        *_circular(content),
        *_shape(content),
        *_turned(content["drift"]),
        *_few(content),
    ]
    return sorted(found, key=lambda one: one["level"] != "alarm")


def _broken(content: dict[str, Any]) -> list[dict[str, str]]:
    out = []
    for name, lost in content["lost"].items():
        if lost["broken"]:
            out.append(_alarm(f"{lost['broken']:,} {name} vector(s) are not finite and were left out."))
        if lost["empty"]:
            out.append(_alarm(f"{lost['empty']:,} {name} vector(s) have no length and were left out."))
    return out


def _beaten(content: dict[str, Any]) -> list[dict[str, str]]:
    """Where the joint space is clearly worse than one modality, or no better than chance."""
    out = []
    for truth in content["retrieval"]["truths"]:
        joint = truth["spaces"]["joint"]
        if joint is None or joint["low"] is None:
            continue
        if joint["low"] <= joint["chance"]:
            text = f"Joint retrieval by {truth['name']} is not clearly better than chance"
            few = joint["videos"] < FEW
            out.append(_note(f"{text} ({joint['videos']} video(s) asked).") if few else _alarm(f"{text}."))
        better = [
            name
            for name in ("visual", "audio", "text")
            if (one := truth["spaces"][name]) and one["low"] is not None and one["low"] > joint["high"]
        ]
        if better:
            names = " and ".join(better)
            out.append(_note(f"By {truth['name']}, {names} alone finds more than the joint space does."))
    return out


def _circular(content: dict[str, Any]) -> list[dict[str, str]]:
    """Where joint vectors were learnt from the item graph that they are judged by."""
    judged = {one["name"] for one in content["retrieval"]["truths"] if one["spaces"]["joint"]}
    filled = any(one["videos"] for one in (content["imputed"] or {}).values())
    if "audience" not in judged or not (filled or content["space"].get("co_watched")):
        return []
    how = "trained on co-watched videos" if content["space"].get("co_watched") else "partly filled in from it"
    return [
        _note(f"Joint retrieval by audience is flattered: the space was {how}, and the item graph judges.")
    ]


def _shape(content: dict[str, Any]) -> list[dict[str, str]]:
    joint, out = content["geometry"]["joint"], list[dict[str, str]]()
    if joint is None:
        return out
    if joint["hub_skewness"] > HUBBY:
        out.append(
            _note(
                f"The joint space has hubs: one video is among the nearest ten {joint['largest_hub']:.0f} "
                f"times as often as expected (skewness {joint['hub_skewness']:.1f})."
            )
        )
    if joint["effective_dim"] < SPREAD and joint["videos"] >= FEW:
        out.append(
            _alarm(f"The joint space has collapsed to {joint['effective_dim']:.1f} effective dimensions.")
        )
    return out


def _turned(drift: dict[str, Any]) -> list[dict[str, str]]:
    if drift["why"]:
        return []
    out = []
    if drift["same_encoder"] is False:
        out.append(
            _note(
                f"The space before was of another encoder ({drift['encoder_before']}): that neighbours "
                "change is to be expected, and the plain cosine between both says nothing."
            )
        )
    overlap = drift["overlap"]
    if overlap and overlap["value"] < LOW_OVERLAP:
        text = f"Videos kept only {overlap['value']:.0%} of their neighbours since {drift['before']}."
        out.append(_note(text) if drift["same_encoder"] is False else _alarm(text))
    return out


def _few(content: dict[str, Any]) -> list[dict[str, str]]:
    videos = content["data"]["videos"]
    if videos >= FEW:
        return []
    return [_note(f"The space holds {videos:,} video(s); under {FEW} the intervals are too narrow.")]


def _alarm(text: str) -> dict[str, str]:
    return {"level": "alarm", "text": text}


def _note(text: str) -> dict[str, str]:
    return {"level": "note", "text": text}
