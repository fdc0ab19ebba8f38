"""Which videos are the same work under other bytes: pure grouping over fingerprints.

Two videos are near-duplicates when their lengths agree and

- most frames of each are found in the other, and so is the sound: matched by "both";
- the frames are found and the sound is missing, or another one (a new voice over) and the frames nearly the
  same: by "picture". Two campfires look alike, and each crackles its own way. A picture that hardly changes
  proves nothing where both have sound: there the sound has to agree too, as many songs come under one cover
  and many talks out of one room;
- neither shows anything and the sound agrees: by "sound". Where there is a picture, sound never suffices
  alone: a popular song lies under thousands of different videos.

Being alike is not handed on: a group is a centre and the videos that resemble this very centre, so that a
chain of small changes cannot join two works. Centres are chosen by how many they resemble, then by content;
the order of the rows does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from features.errors import BadInput
from ingest.likeness.candidates import alike_frames, alike_sounds
from ingest.likeness.prints import Prints
from ingest.likeness.resemblance import Resemblance, compare

CHUNK: Final = 1 << 13
"""Pairs compared together."""
KINDS: Final = ("sound", "picture", "both")

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Groups:
    """Of n videos, row by row."""

    labels: Int64s
    """Smallest row of the group, int64, (n,); -1 for a video without a near-duplicate."""
    similarity: npt.NDArray[np.float32]
    """To the most similar other member, float32, (n,), [0, 1], 1 is equal; NaN outside every group."""
    matched_by: list[str | None]
    """What is alike with that member: picture, sound or both, (n,); None outside every group."""


def group_duplicates(
    frame_hashes: Sequence[bytes | None], sound_hashes: Sequence[bytes | None], durations_s: npt.ArrayLike
) -> Groups:
    """Groups of near-duplicates among n videos.

    Args:
        frame_hashes: of each video, as `ingest.likeness.fingerprint` gives them; None where nothing is seen.
        sound_hashes: likewise; None where nothing is heard.
        durations_s: of each video, s, (n,); 0 or NaN where unknown.

    Raises:
        BadInput: the three differ in length, or some hashes are not whole words.
    """
    lengths = np.nan_to_num(np.asarray(durations_s, np.float64))
    contents, rows = _distinct(frame_hashes, sound_hashes, lengths)
    prints = Prints.of(
        [one[1] for one in contents], [one[2] for one in contents], [one[0] for one in contents]
    )
    found = _resemblances(prints)
    centre = _centres(len(contents), found)
    return _by_row(prints, rows, centre, found)


def _distinct(
    frame_hashes: Sequence[bytes | None],
    sound_hashes: Sequence[bytes | None],
    lengths_s: npt.NDArray[np.float64],
) -> tuple[list[tuple[float, bytes, bytes]], Int64s]:
    """Fingerprints that differ, in order of length and then of bytes, and which of them each video has."""
    if not len(frame_hashes) == len(sound_hashes) == len(lengths_s):
        sizes = f"{len(frame_hashes)}, {len(sound_hashes)} and {len(lengths_s)}"
        raise BadInput(f"frame hashes, sound hashes and lengths of {sizes} videos; one of each is expected")
    given = [
        (float(length), seen or b"", heard or b"")
        for length, seen, heard in zip(lengths_s, frame_hashes, sound_hashes, strict=True)
    ]
    contents = sorted(set(given))
    place = {content: at for at, content in enumerate(contents)}
    return contents, np.array([place[content] for content in given], np.int64)


def _resemblances(prints: Prints) -> Resemblance:
    """All near-duplicate pairs among the candidates, each once."""
    found = [compare(prints, np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for first, second in (alike_frames(prints), alike_sounds(prints)):
        found += [
            compare(prints, first[at : at + CHUNK], second[at : at + CHUNK])
            for at in range(0, len(first), CHUNK)
        ]
    joined = Resemblance(
        *(np.concatenate([getattr(one, f.name) for one in found]) for f in fields(Resemblance))
    )
    _, once = np.unique(joined.first << 32 | joined.second, return_index=True)
    return joined.take(once)


def _centres(n: int, found: Resemblance) -> Int64s:
    """The centre of each content's group, (n,); itself where it resembles none that is free.

    The content that resembles most others takes them all; then the next that is still free, and so on.
    """
    ends = np.concatenate([found.first, found.second])
    others = np.concatenate([found.second, found.first])[np.argsort(ends, kind="stable")]
    degree = np.bincount(ends, minlength=n)
    starts = np.concatenate([[0], np.cumsum(degree)])
    centre = np.full(n, -1, np.int64)
    for one in np.lexsort((np.arange(n), -degree)):
        if degree[one] == 0:
            break
        if centre[one] < 0:
            near = others[starts[one] : starts[one + 1]]
            centre[near[centre[near] < 0]] = one
            centre[one] = one
    return np.where(centre < 0, np.arange(n), centre)


def _by_row(prints: Prints, rows: Int64s, centre: Int64s, found: Resemblance) -> Groups:
    """The groups, from contents back to videos: those of one content are equal."""
    similarity, matched = _nearest(prints, centre, found)
    copies = np.bincount(rows, minlength=len(centre)) > 1
    copied = copies & (prints.seen | prints.heard)
    similarity[copied], matched[copied] = 1.0, _kinds(prints.seen, prints.heard)[copied]
    _, first = np.unique(centre[rows], return_index=True)
    smallest = np.zeros(len(centre), np.int64)
    smallest[centre[rows[first]]] = first
    grouped = ~np.isnan(similarity[rows])
    return Groups(
        labels=np.where(grouped, smallest[centre[rows]], -1),
        similarity=similarity[rows].astype(np.float32),
        matched_by=[
            KINDS[kind] if known else None for kind, known in zip(matched[rows], grouped, strict=True)
        ],
    )


def _nearest(prints: Prints, centre: Int64s, found: Resemblance) -> tuple[npt.NDArray[np.float64], Int64s]:
    """Similarity of each content to the most similar one of its group, NaN without one; and what matched."""
    inside = found.take(centre[found.first] == centre[found.second])
    ends = np.concatenate([inside.first, inside.second])
    value = np.tile(inside.similarity, 2)
    kind = np.tile(_kinds(inside.by_picture, inside.by_sound), 2)
    rising = np.lexsort((kind, value))  # of what is written twice, the last stays
    similarity, matched = np.full(len(centre), np.nan), np.zeros(len(centre), np.int64)
    similarity[ends[rising]], matched[ends[rising]] = value[rising], kind[rising]
    return similarity, matched


def _kinds(by_picture: npt.NDArray[np.bool_], by_sound: npt.NDArray[np.bool_]) -> Int64s:
    """Places in KINDS."""
    kinds: Int64s = np.where(by_picture, np.where(by_sound, 2, 1), 0).astype(np.int64)
    return kinds
