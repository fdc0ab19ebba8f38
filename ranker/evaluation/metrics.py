"""Was the slate right? Ranking metrics of each user, from ranked keys and the keys that were relevant.

Ranking is over the whole catalogue, never over sampled negatives (Krichene and Rendle, KDD 2020: sampled
metrics order systems differently). Relevance is binary. Every metric takes what `judge` found and returns one
number a user, in [0, 1]; a user without a relevant video scores 0 and should not be asked about. In the
formulas, h_i is 1 where the video at rank i (from 1) is relevant, R is the number of relevant videos and k
the length of the slate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from features.contracts import NO_KEY, Int64s
from features.errors import BadInput

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BATCH: Final = 65_536
"""Users looked up at a time: bounds the memory of `find_hits`."""


@dataclass(frozen=True, slots=True)
class KeySets:
    """One set of video keys a user, end to end."""

    offsets: Int64s
    """Where each user's keys begin, int64, (u + 1,)."""
    keys: Int64s
    """Catalogue keys, int64, (m,), unique within a user."""

    @staticmethod
    def of(lists: Sequence[Int64s]) -> KeySets:
        """The sets of these lists; repeated keys of one user count once."""
        unique = [np.unique(keys) for keys in lists]
        offsets = np.concatenate([[0], np.cumsum([len(keys) for keys in unique])]).astype(np.int64)
        return KeySets(offsets, np.concatenate([np.zeros(0, np.int64), *unique]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> Int64s:
        """Keys of each user, int64, (u,)."""
        return np.diff(self.offsets)

    @property
    def users(self) -> Int64s:
        """Whose each key is, int64, (m,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.sizes)

    def only(self, keep: Bools) -> KeySets:
        """The sets with only the keys marked in `keep` (m,)."""
        sizes = np.bincount(self.users[keep], minlength=len(self))
        return KeySets(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), self.keys[keep])

    def part(self, start: int, stop: int) -> KeySets:
        """The sets of users `start` to `stop`."""
        bounds = self.offsets[start : stop + 1]
        return KeySets(bounds - bounds[0], self.keys[bounds[0] : bounds[-1]])


@dataclass(frozen=True, slots=True)
class Judged:
    """Slates beside the truth."""

    hits: Bools
    """True where the video at that rank is relevant, bool, (u, k), best rank first."""
    relevant: Int64s
    """Relevant videos of each user, in the slate or not, int64, (u,)."""


def judge(ranked: Int64s, relevant: KeySets) -> Judged:
    """Which videos of each slate are relevant.

    Args:
        ranked: catalogue keys (u, k), best first, NO_KEY where a slate is shorter.
        relevant: the relevant keys of the same u users.

    Raises:
        BadInput: the users differ in number, k is 0, or a slate shows a video twice.
    """
    if ranked.ndim != 2 or len(ranked) != len(relevant) or not ranked.shape[1]:
        raise BadInput(f"slates have shape {ranked.shape}; expected ({len(relevant)}, k) with k >= 1")
    in_order = np.sort(ranked, axis=1)
    twice = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != NO_KEY)
    if twice.any():
        raise BadInput(f"{int(twice.any(axis=1).sum())} slate(s) show a video twice; metrics would exceed 1")
    return Judged(find_hits(ranked, relevant), relevant.sizes)


def find_hits(ranked: Int64s, sets: KeySets) -> Bools:
    """True where the key is in its user's set, bool, the shape (u, k) of `ranked`; NO_KEY never is."""
    found = np.zeros(ranked.shape, np.bool_)
    for start in range(0, len(ranked), BATCH):
        stop = min(start + BATCH, len(ranked))
        found[start:stop] = _find(ranked[start:stop], sets.part(start, stop))
    return found


def _find(ranked: Int64s, sets: KeySets) -> Bools:
    names, codes = np.unique(sets.keys, return_inverse=True)
    if not len(names):
        return np.zeros(ranked.shape, np.bool_)
    pairs = np.sort(sets.users * len(names) + codes)
    at = np.minimum(np.searchsorted(names, ranked), len(names) - 1)  # (u, k)
    wanted = np.arange(len(ranked))[:, None] * len(names) + at
    place = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    found: Bools = (pairs[place] == wanted) & (names[at] == ranked) & (ranked != NO_KEY)
    return found


def recall(judged: Judged) -> Doubles:
    """Share of the relevant videos that are in the slate: sum_i h_i / R.

    Example:
        >>> judged = judge(np.array([[5, 8, 2]]), KeySets.of([np.array([2, 9])]))
        >>> recall(judged)
        array([0.5])
    """
    return _divide(judged.hits.sum(axis=1), judged.relevant)


def precision(judged: Judged) -> Doubles:
    """Share of the k places that hold a relevant video: sum_i h_i / k; an empty place counts as a miss."""
    return np.asarray(judged.hits.mean(axis=1), np.float64)


def ndcg(judged: Judged) -> Doubles:
    """Normalised discounted cumulative gain: sum_i h_i / log2(i + 1), over that sum of the best slate.

    Gain is binary, and the best slate has min(R, k) relevant videos at its top.
    Source: Järvelin and Kekäläinen, TOIS 2002, with the discount log2(i + 1) of Burges et al., ICML 2005.
    """
    discount = 1.0 / np.log2(np.arange(2, judged.hits.shape[1] + 2))  # (k,)
    best = np.concatenate([[0.0], np.cumsum(discount)])
    ideal = best[np.minimum(judged.relevant, len(discount))]
    return _divide(judged.hits @ discount, ideal)


def average_precision(judged: Judged) -> Doubles:
    """Mean over the relevant videos of the precision at their rank: sum_i h_i P(i) / R, P(i) = hits to i / i.

    Its mean over users is MAP. Relevant videos outside the slate add 0: it is divided by R, not by min(R, k).
    Source: Voorhees and Harman, TREC 2005, chapter 3.
    """
    ranks = np.arange(1, judged.hits.shape[1] + 1)
    at_hit = judged.hits * (np.cumsum(judged.hits, axis=1) / ranks)  # (u, k)
    return _divide(at_hit.sum(axis=1), judged.relevant)


def reciprocal_rank(judged: Judged) -> Doubles:
    """One over the rank of the first relevant video, 0 where there is none in the slate; its mean is MRR.

    Source: Voorhees, TREC-8 1999.
    """
    first = judged.hits.argmax(axis=1) + 1
    return _divide(np.asarray(judged.hits.any(axis=1)), first)


def hit_rate(judged: Judged) -> Doubles:
    """1 where at least one relevant video is in the slate, else 0."""
    return np.asarray(judged.hits.any(axis=1), np.float64)


METRICS: Final[dict[str, Callable[[Judged], Doubles]]] = {
    "ndcg": ndcg,
    "recall": recall,
    "precision": precision,
    "map": average_precision,
    "mrr": reciprocal_rank,
    "hit_rate": hit_rate,
}
"""Every ranking metric of a report, by the name it has there."""

LABELS: Final = {
    "ndcg": "nDCG",
    "recall": "Recall",
    "precision": "Precision",
    "map": "MAP",
    "mrr": "MRR",
    "hit_rate": "Hit rate",
}
"""How a metric is written for people; `@k` follows."""


def measure(judged: Judged) -> Doubles:
    """All of METRICS, in their order, (u, number of metrics)."""
    return np.column_stack([metric(judged) for metric in METRICS.values()])


def _divide(above: npt.NDArray[np.generic], below: npt.NDArray[np.generic]) -> Doubles:
    """above / below, 0 where below is 0."""
    out = np.zeros(len(above), np.float64)
    np.divide(above, below, out=out, where=np.asarray(below != 0))
    return out
