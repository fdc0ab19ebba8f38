"""What a tag's score is worth, learnt from videos that have tags.

A curve a tag, drawn towards the curve of all tags together, which also serves tags that nobody has
used. All that is reported was predicted for videos (and, for unused tags, for tags) that the curve had not
seen, from scores of heads that had not seen these videos either where such are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.contracts import Floats, VideoTable
from features.errors import BadInput
from ingest.encoders.calibration import (
    FLAT,
    Bools,
    Curve,
    Doubles,
    auc_of,
    calibration_error,
    fit_curve,
    reliability,
)
from ingest.encoders.heads import Heads
from ingest.encoders.tags import SEEN, Fold, Places, TagFit, Tagger, TagReport, see

MAX_PAIRS: Final = 100_000
"""Pairs of video and tag from which the curve of all tags is learnt; it has two parameters."""


@dataclass(frozen=True, slots=True)
class TagSettings:
    """How tags are learnt."""

    min_uses: int = 10
    """Videos with picture or sound that must carry a tag before it is judged by its own examples."""
    folds: int = 5
    sample: int = 20_000
    """Tagged videos that are learnt from at most."""
    threshold: float = 0.5
    """Probability from which a tag counts as told."""
    pull: float = 5.0
    """How strongly a tag's curve is drawn towards that of all tags, in examples."""
    seed: int = 7


@dataclass(frozen=True, slots=True)
class _Examples:
    """Tagged videos and how the vocabulary scores on them."""

    z: Doubles
    """Standardised scores, (n, t)."""
    applies: Bools
    """(n, t)."""
    mean: Doubles
    """(t,)."""
    spread: Doubles
    """(t,)."""
    folds: Places
    """(n,)."""


def fit_tagger(
    videos: VideoTable,
    heads: Heads,
    vocabulary: Sequence[str],
    words: Floats,
    held_out: Sequence[Fold] = (),
    settings: TagSettings | None = None,
) -> Tagger:
    """A tagger of this vocabulary, calibrated on the catalogue's own tags.

    Args:
        videos: with the tags to learn from.
        heads: of a space in which words can be compared with pictures or sounds.
        vocabulary: tags, in lower case as those of the videos.
        words: the tags as vectors of words, unit rows (v, d_in); a zero row for one without a known word.
        held_out: folds of videos with heads that have not seen them; none where no heads were trained.
        settings: how.

    Raises:
        BadInput: the space does not compare words with them, or there is nothing to learn from.
    """
    settings = settings or TagSettings()
    check_can_tag(videos, heads)
    known: Bools = np.asarray(words.any(axis=1))
    if not known.any():
        raise BadInput(
            f"none of the {len(vocabulary)} tags has a word that this catalogue knows; give others"
        )
    tags = [tag for tag, has in zip(vocabulary, known, strict=True) if has]
    unknown = tuple(tag for tag, has in zip(vocabulary, known, strict=True) if not has)
    asked = heads.by_modality["text"].apply(words[known])
    folds = held_out or [Fold(np.arange(len(videos)), heads)]
    examples = _examples(videos, folds, tags, words[known], settings)
    uses = examples.applies.sum(axis=0)
    judged = np.flatnonzero(uses >= settings.min_uses)
    if not len(judged):
        raise BadInput(
            f"no tag of the vocabulary is on {settings.min_uses} videos with picture or sound, so no score "
            "can be calibrated; give more videos tags, or use tags that they have"
        )
    aucs = {int(j): auc_of(examples.z[:, j], examples.applies[:, j]) for j in judged}
    fits = tuple(TagFit(tag, int(uses[j]), aucs.get(j)) for j, tag in enumerate(tags))
    useful = np.array([j for j in judged if fits[j].kept], np.int64)
    if not len(useful):
        raise BadInput("no tag's score can be told from chance on the tagged videos; tag more videos")
    told = np.array([j for j, fit in enumerate(fits) if fit.kept], np.int64)
    curves = _curves(examples, useful, told, np.ones(len(examples.z), bool), settings)
    slopes = np.array([curve.slope for curve in curves]) / examples.spread[told]
    intercepts = np.array([curve.intercept for curve in curves]) - slopes * examples.mean[told]
    return Tagger(
        heads,
        tuple(tags[j] for j in told),
        asked[told],
        slopes.astype(np.float32),
        intercepts.astype(np.float32),
        np.array([curve.ceiling for curve in curves], np.float32),
        fits,
        unknown,
        _report(examples, useful, settings),
    )


def check_can_tag(videos: VideoTable, heads: Heads) -> None:
    """BadInput where words cannot be compared with pictures or sounds, or no video has a tag."""
    if "text" not in heads.comparable or not set(SEEN) & set(heads.comparable):
        raise BadInput(
            "words are not aligned with pictures or sounds in this space, so no tag can be read from them; "
            "ingest more titled videos, or use an encoder that has one space for both"
        )
    if not any(videos.tags):
        raise BadInput("no video of the catalogue has a tag, so no score can be calibrated; tag some videos")


def _examples(
    videos: VideoTable, folds: Sequence[Fold], tags: Sequence[str], words: Floats, settings: TagSettings
) -> _Examples:
    draw = np.random.default_rng(settings.seed)
    usable = ((videos.mask & 3) > 0) & np.array([bool(own) for own in videos.tags])
    places, scores = [], []
    for fold in folds:
        rows = fold.rows[usable[fold.rows]]
        rows = np.sort(draw.permutation(rows)[: settings.sample // len(folds)])
        places.append(rows)
        scores.append(see(videos, fold.heads, rows) @ fold.heads.by_modality["text"].apply(words).T)
    found = np.concatenate(scores).astype(np.float64)  # (n, t)
    applies = _applies(videos, np.concatenate(places), tags)
    mean, spread = (found.mean(axis=0), found.std(axis=0)) if len(found) else np.zeros((2, len(tags)))
    spread = np.maximum(spread, 1e-6)
    parts = draw.permutation(len(found)) % settings.folds
    return _Examples((found - mean) / spread, applies, mean, spread, parts)


def _applies(videos: VideoTable, rows: Places, tags: Sequence[str]) -> Bools:
    """Which video carries which tag, (r, t)."""
    place = {tag: j for j, tag in enumerate(tags)}
    found = np.zeros((len(rows), len(tags)), bool)
    for at, row in enumerate(rows.tolist()):
        found[at, [place[tag] for tag in videos.tags[row] if tag in place]] = True
    return found


def _curves(
    examples: _Examples, useful: Places, wanted: Places, rows: Bools, settings: TagSettings
) -> list[Curve]:
    """The curve of each wanted tag from some rows: its own where it is useful, else that of all of these."""
    together = _together(examples, useful, rows, settings.seed)
    own = set(useful.tolist())
    return [
        fit_curve(examples.z[rows, j], examples.applies[rows, j], together, settings.pull)
        if j in own
        else together
        for j in wanted.tolist()
    ]


def _together(examples: _Examples, tags: Places, rows: Bools, seed: int) -> Curve:
    """One curve for all these tags."""
    chosen = np.ix_(rows, tags)
    z, applies = examples.z[chosen].ravel(), examples.applies[chosen].ravel()
    some = np.random.default_rng(seed).permutation(len(z))[:MAX_PAIRS]
    return fit_curve(z[some], applies[some], FLAT)


def _report(examples: _Examples, useful: Places, settings: TagSettings) -> TagReport:
    """Cross-fitted: each video is predicted by curves of the other folds."""
    predicted, applies = np.zeros((len(examples.z), len(useful))), examples.applies[:, useful]
    for fold in range(settings.folds):
        held = examples.folds == fold
        for at, curve in enumerate(_curves(examples, useful, useful, ~held, settings)):
            predicted[held, at] = curve(examples.z[held, useful[at]])
    bins, told = reliability(predicted.ravel(), applies.ravel()), predicted >= settings.threshold
    right = int((told & applies).sum())
    return TagReport(
        videos=len(predicted),
        error=calibration_error(bins),
        bins=bins,
        told=int(told.sum()),
        precision=right / int(told.sum()) if told.any() else float("nan"),
        recall=right / max(1, int(applies.sum())),
        unused_error=_unused_error(examples, useful, settings),
    )


def _unused_error(examples: _Examples, useful: Places, settings: TagSettings) -> float:
    """Error of the curve of all tags for tags and videos that it has not seen."""
    if len(useful) < settings.folds:
        return float("nan")
    groups = np.random.default_rng(settings.seed).permutation(len(useful)) % settings.folds
    predicted = np.zeros((len(examples.z), len(useful)))
    for group in range(settings.folds):
        for fold in range(settings.folds):
            held = examples.folds == fold
            curve = _together(examples, useful[groups != group], ~held, settings.seed)
            asked = np.ix_(held, useful[groups == group])
            predicted[np.ix_(held, groups == group)] = curve(examples.z[asked])
    return calibration_error(reliability(predicted.ravel(), examples.applies[:, useful].ravel()))
