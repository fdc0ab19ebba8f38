"""Where one shot of a video ends and the next begins: hard cuts, dissolves and fades; wipes are not found.

The picture is read once, in order, as miniatures, without the frames that no other needs, and judged in
stretches, so that a long film takes hardly more memory than a short one.

Source: a cut has to stand out from its neighbourhood as in Yusoff, Christmas and Kittler, "Video shot cut
detection using adaptive thresholding", BMVC 2000, here over the product of a colour and a motion-tolerant
luma difference; and it has to last, which a flash does not. For gradual transitions frames further apart are
compared (Zhang, Kankanhalli and Smoliar, "Automatic partitioning of full-motion video", Multimedia Systems
1993), and the frames between have to be mixtures of both ends (Hampapur, Jain and Weymouth, "Production model
based digital video segmentation", Multimedia Tools and Applications 1995), which those of a pan are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.media.miniatures import Miniatures, Picture, difference, is_alike, is_mixture
from ingest.media.packets import Damage, decoded, single_threaded
from ingest.media.painter import Painter
from ingest.media.pictures import Size
from ingest.media.probe import Media, best_stream
from ingest.media.pyav_rung import SKIPPING
from ingest.media.scan import Index

MINIATURE: Final = Size(32, 18)
STRETCH: Final = 2048
"""Frames judged at once."""
CONTEXT_S: Final = 3.0
"""Of a stretch, what is judged again with the next one; no transition is longer."""
CUT: Final = 0.3
"""Least difference of two frames that meet at a cut, [0, 1]."""
STANDS_OUT: Final = 3.0
"""A cut is so many times as large as its neighbourhood's mean, of CUT_NEAR_S to both sides."""
CUT_NEAR_S: Final = 0.5
LASTS_S: Final = (0.0, 0.17, 0.34)
"""So much before and after a cut the picture still differs; the longest flash is shorter."""
GRADUAL: Final = 0.3
"""Least difference of two frames between which one shot becomes another."""
SPANS_S: Final = (0.6, 1.2, 2.4)
"""Lengths of gradual transitions that are tried."""
FADED_S: Final = 1.0
"""So far from the middle of a fade its picture is whole."""
SHORTEST_S: Final = 0.3
"""Of two boundaries that are closer than this, the second is none."""

Float64s = npt.NDArray[np.float64]


def find_cuts(media: Media, index: Index) -> Float64s:
    """Where a new shot begins, s from the start of the picture, increasing; the first shot is not listed."""
    cuts: list[float] = []
    instants: list[float] = []
    black: list[bool] = []
    for minis, judged_to_s in _stretches(media, index):
        found = [cut for cut in _boundaries(minis) if cut < judged_to_s]
        while not instants and found and _only_fades(minis, -np.inf, found[0], found[0] + FADED_S):
            found = found[1:]
        while judged_to_s == np.inf and found and _only_fades(minis, found[-1], np.inf, found[-1] - FADED_S):
            found = found[:-1]
        cuts += [cut for cut in found if not cuts or cut - cuts[-1] >= SHORTEST_S]
        new = minis.instants_s > (instants[-1] if instants else -np.inf)
        instants += minis.instants_s[new].tolist()
        black += minis.is_black()[new].tolist()
    return _without_black(np.array(cuts), np.array(instants), np.array(black))


def _stretches(media: Media, index: Index) -> Iterator[tuple[Miniatures, float]]:
    """Miniatures of overlapping stretches, and up to which instant each can be judged."""
    waiting: list[tuple[float, Picture]] = []
    for row in _miniatures(media, index):
        waiting.append(row)
        if len(waiting) >= STRETCH and waiting[-1][0] - waiting[0][0] > 3 * CONTEXT_S:
            until = waiting[-1][0] - CONTEXT_S
            yield Miniatures.of(waiting), until
            waiting = [row for row in waiting if row[0] > until - CONTEXT_S]
    if waiting:
        yield Miniatures.of(waiting), np.inf


def _miniatures(media: Media, index: Index) -> Iterator[tuple[float, Picture]]:
    """(instant, tiny picture) of frames in order; instants that go backwards are left out."""
    painter = Painter(MINIATURE)
    latest = -1e-3
    with media.container() as container:
        stream = single_threaded(best_stream(container, "video"))
        if stream.codec_context.name in SKIPPING:
            stream.codec_context.skip_frame = "NONREF"
        for frame in decoded(container, stream, Damage()):
            if frame.pts is None:
                continue
            instant = float(frame.time) - float(index.track.starts_s[0])
            if instant > latest:
                latest = instant
                yield instant, painter.of(frame, upright=False)


def _boundaries(minis: Miniatures) -> list[float]:
    """Cuts and the middles of gradual transitions, increasing, none close to another."""
    cuts = _hard_cuts(minis)
    gradual = _gradual(minis, cuts)
    found: list[float] = []
    for instant in sorted([*cuts, *gradual]):
        if not found or instant - found[-1] >= SHORTEST_S:
            found.append(instant)
    return found


def _hard_cuts(minis: Miniatures) -> list[float]:
    step = difference(minis, np.arange(len(minis) - 1), np.arange(1, len(minis)))  # (n-1,)
    at = minis.instants_s[1:]
    cuts = []
    for i in np.flatnonzero(step >= CUT):
        near = np.abs(at - at[i]) <= CUT_NEAR_S
        near[i] = False
        around = float(step[near].mean()) if near.any() else 0.0
        if step[i] >= STANDS_OUT * around and _lasts(minis, int(i) + 1):
            cuts.append(float(at[i]))
    return cuts


def _lasts(minis: Miniatures, i: int) -> bool:
    """Whether the frames before frame i and those from it on are different for a while, to either side."""
    times = minis.instants_s
    before = minis.shown_at(times[i - 1] - np.array(LASTS_S))
    after = minis.shown_at(times[i] + np.array(LASTS_S))
    a, b = np.meshgrid(before, after)
    return bool((difference(minis, a.ravel(), b.ravel()) >= CUT).all())


def _gradual(minis: Miniatures, cuts: list[float]) -> list[float]:
    """Middles of dissolves and fades: the clearest first, and none where another or a cut is."""
    candidates: list[tuple[float, float, float]] = []
    for span in SPANS_S:
        middles = _middles(minis.instants_s, span)
        first, last = minis.shown_at(middles - span / 2), minis.shown_at(middles + span / 2)
        far = difference(minis, first, last)
        for k in np.flatnonzero(far >= GRADUAL):
            if not any(abs(cut - middles[k]) <= span / 2 + 0.05 for cut in cuts):
                clear = is_mixture(minis, middles[k], span)
                if clear > 0:
                    candidates.append((float(far[k]) * clear, float(middles[k]), span))
    found: list[tuple[float, float]] = []
    for _, middle, span in sorted(candidates, reverse=True):
        if all(abs(middle - other) > (span + wide) / 2 for other, wide in found):
            found.append((middle, span))
    return [middle for middle, _ in found]


def _middles(instants_s: Float64s, span: float) -> Float64s:
    """Instants of frames with half a span to both sides, a twelfth apart; of frames, for times may lie."""
    inside = (instants_s >= instants_s[0] + span / 2) & (instants_s <= instants_s[-1] - span / 2)
    middles = instants_s[inside]
    apart: Float64s = middles[np.diff(np.floor(middles * 12 / span), prepend=-np.inf) > 0]
    return apart


def _only_fades(minis: Miniatures, start_s: float, end_s: float, of_s: float) -> bool:
    """Whether between two instants a picture of the neighbouring shot comes out of black, or goes into it."""
    here = np.flatnonzero((minis.instants_s >= start_s) & (minis.instants_s < end_s))
    black = minis.is_black()[here]
    whole = minis.rgb[minis.shown_at(np.array([of_s]))[0]]
    return bool(black.any()) and all(is_alike(minis.rgb[k], whole) for k in here[~black])


def _without_black(cuts: Float64s, instants: Float64s, black: npt.NDArray[np.bool_]) -> Float64s:
    """The cuts without shots of nothing but black: each belongs to the shot before, the first to the next."""
    edges = np.searchsorted(instants, np.concatenate([[-np.inf], cuts, [np.inf]]))
    is_black = np.array([2 * int(black[a:b].sum()) > b - a for a, b in pairwise(edges)], bool)  # (shots,)
    kept: Float64s = cuts[~is_black[1:] & ~np.where(np.arange(len(cuts)) == 0, is_black[:-1], False)]
    return kept
