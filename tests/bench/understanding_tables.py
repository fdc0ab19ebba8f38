"""The README's tables of what the embeddings are worth."""

from __future__ import annotations

from typing import Any


def planted_search(result: dict[str, Any]) -> str:
    """Words and sounds to topics, and what contradicts."""
    means, generator = result["figures"]["means"], result["parameters"]["generator"]
    rows = [
        ("words find videos whose words are hidden, P@10", "text_precision"),
        ("sounds find videos whose sound is hidden, P@10", "sound_precision"),
        ("wrong sounds and titles found, AUC", "conflicts_auc"),
    ]
    lines = [
        f"Worlds of 2,000 clips (generator `{generator}`), seeds {_seeds(result)}; means.",
        "",
        "| | aligned | trained on shuffled pairs | at random |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {said} | {means[key]:.3f} | {means[f'{key}_shuffled']:.3f} | {means[f'{key}_random']:.3f} |"
        for said, key in rows
    ]
    return "\n".join(lines)


def planted_missing(result: dict[str, Any]) -> str:
    """What recommendation loses with its modalities."""
    figures = result["figures"]
    names = {
        "full": "everything present",
        "missing": "half without sound, a quarter without title",
        "shuffled": "the same, content of other videos",
        "popular": "popular",
        "random": "random",
    }
    lines = [
        f"The same worlds, {result['parameters']['epochs']} epochs; recall@20, mean over seeds.",
        "",
        "| | all videos | videos nobody has met, by content alone |",
        "|---|---|---|",
    ]
    for arm, said in names.items():
        cold = figures["cold"].get(arm)
        lines.append(f"| {said} | {figures['recall'][arm]:.3f} | {'' if cold is None else f'{cold:.3f}'} |")
    return "\n".join(lines)


def tiktok_content(result: dict[str, Any]) -> str:
    """Whether content helps on a real catalogue."""
    watched, unmet = (result["figures"][name]["recall"] for name in ("watched", "unmet"))
    kind = result["figures"]["fusion"]
    lines = [
        "| TikTok micro-video, validation, Recall@20 | with | without | difference, 95 % interval |",
        "|---|---|---|---|",
    ]
    rows = (
        ("picture and sound, all videos", watched[kind], watched["none"], watched["lift"]),
        ("videos that nobody has met; without: another video's content", unmet["content"], unmet["shuffled"],
         unmet["lift"]),
    )  # fmt: skip
    for said, with_it, without, lift in rows:
        gain = lift["absolute"]
        lines.append(
            f"| {said} | {with_it['value']:.4f} | {without['value']:.4f} "
            f"| {gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}] |"
        )
    seeds, draws = (", ".join(map(str, result["parameters"][name])) for name in ("seeds", "draws"))
    return "\n".join([*lines, "", f"Seeds {seeds}; videos stripped of their history in draws {draws}."])


def encoders(esc10: dict[str, Any], same: dict[str, Any], speed: dict[str, Any]) -> str:
    """What the weight-free encoder is worth on real media, and what encoders cost."""
    folds, signal = esc10["figures"]["by_fold"], speed["figures"]["signal"]
    clip, clap = speed["figures"]["clip"], speed["figures"]["clap"]
    low, high = folds["interval"]
    lines = [
        "| `signal` on real media | |",
        "|---|---|",
        f"| ESC-10, folds 1 and 2, nearest neighbour | {folds['accuracy']:.3f} ({low:.2f} to {high:.2f}) |",
        f"| picture: nearest piece is of the same film, {same['figures']['visual']['films']} real films "
        f"| {same['figures']['visual']['any']:.3f} |",
        f"| picture and sound together, {same['figures']['both']['films']} films that have both "
        f"| {same['figures']['both']['any']:.3f} |",
        f"| processor time for 10 s of sound | {esc10['figures']['cpu_ms_for_10_s']:.1f} ms |",
        f"| 16 frames of 224 x 224 | {16_000 / signal['frames_per_s']:.1f} ms |",
        "",
        "| encoders of models on one core, ViT-B/32 and HTSAT shapes | a second | of the bare forward pass |",
        "|---|---|---|",
        f"| CLIP, frames | {clip['frames']['per_s']:.1f} | {clip['frames']['share']:.2f} |",
        f"| CLIP, texts | {clip['texts']['per_s']:.1f} | {clip['texts']['share']:.2f} |",
        f"| CLAP, sounds of 10 s | {clap['sounds_of_10_s']['per_s']:.1f} "
        f"| {clap['sounds_of_10_s']['share']:.2f} |",
    ]
    return "\n".join(lines)


def _seeds(result: dict[str, Any]) -> str:
    return ", ".join(map(str, result["parameters"]["seeds"]))
