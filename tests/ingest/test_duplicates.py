"""Grouping of fingerprints: planted copies are found, what only sounds or looks alike in part is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import BadInput
from ingest.likeness.candidates import alike_frames
from ingest.likeness.duplicates import Groups, group_duplicates
from ingest.likeness.hash_distance import picture_distance, sound_distance
from ingest.likeness.prints import Prints
from ingest.likeness.resemblance import SAME_PICTURE

FRAMES, MARKS = 16, 80
Video = tuple[bytes | None, bytes | None, float]


def picture(seed: int) -> np.ndarray:
    """Hashes of a clip of many scenes, uint64, (16, 2)."""
    return np.random.default_rng(seed).integers(0, 2**64, (FRAMES, 2), dtype=np.uint64)


def still(seed: int) -> np.ndarray:
    """Hashes of one picture, shown all the time."""
    return np.repeat(picture(seed)[:1], FRAMES, axis=0)


def sound(seed: int, marks: int = MARKS) -> np.ndarray:
    return np.random.default_rng(1000 + seed).integers(1, 2**32, marks, dtype=np.uint32)


def flipped(words: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """The words with this share of their bits turned, at random places."""
    bits = np.unpackbits(words.view(np.uint8))
    turned = np.random.default_rng(seed).random(len(bits)) < share
    return np.packbits(bits ^ turned).view(words.dtype).reshape(words.shape)


def video(seen: np.ndarray | None, heard: np.ndarray | None, length_s: float = 10.0) -> Video:
    return (None if seen is None else seen.tobytes(), None if heard is None else heard.tobytes(), length_s)


def group(*videos: Video) -> Groups:
    return group_duplicates(*(list(column) for column in zip(*videos, strict=True)))


def others(n: int, start: int = 5000) -> list[Video]:
    return [video(picture(start + i), sound(start + i)) for i in range(n)]


def test_a_copy_in_picture_and_sound_is_matched_by_both() -> None:
    found = group(
        video(picture(1), sound(1)), *others(20), video(flipped(picture(1), 0.06), flipped(sound(1), 0.15))
    )
    assert found.labels.tolist() == [0, *[-1] * 20, 0]
    assert found.matched_by == ["both", *[None] * 20, "both"]
    assert 0.7 < found.similarity[0] == found.similarity[-1] < 0.95
    assert np.isnan(found.similarity[1:-1]).all()


def test_two_takes_of_one_motif_with_sounds_of_their_own_are_no_duplicates() -> None:
    other = flipped(picture(1), 0.15)
    assert not group(video(picture(1), sound(1)), video(other, sound(2))).matched_by[0]
    assert group(video(picture(1), sound(1)), video(other, None)).matched_by[0] == "picture"


@pytest.mark.parametrize("dubbed", [None, sound(2)], ids=["silent", "dubbed"])
def test_a_copy_without_or_with_another_sound_is_matched_by_picture(dubbed: np.ndarray | None) -> None:
    found = group(video(picture(1), sound(1)), video(flipped(picture(1), 0.06), dubbed))
    assert found.matched_by == ["picture"] * 2


def test_a_song_under_many_pictures_joins_none_of_them() -> None:
    song = sound(1)
    found = group(*(video(picture(i), flipped(song, 0.05, i)) for i in range(30)), video(None, song))
    assert (found.labels == -1).all()


def test_sounds_without_a_picture_are_matched_by_sound() -> None:
    found = group(video(None, sound(1)), video(None, flipped(sound(1), 0.12)), video(None, sound(2)))
    assert found.labels.tolist() == [0, 0, -1]
    assert found.matched_by == ["sound", "sound", None]


def test_songs_under_one_cover_are_different_and_the_same_song_is_not() -> None:
    cover = still(1)
    songs = [video(flipped(cover, 0.01, i), sound(i)) for i in range(6)]
    again = video(flipped(cover, 0.01, 9), flipped(sound(3), 0.12))
    assert group(*songs, again).labels.tolist() == [-1, -1, -1, 3, -1, -1, 3]


def test_silent_stills_have_to_be_closer_than_moving_pictures() -> None:
    near, far = flipped(still(1)[:1], 0.03, 1), flipped(still(1)[:1], 0.14, 1)
    assert group(video(still(1), None), video(near.repeat(FRAMES, axis=0), None)).labels.tolist() == [0, 0]
    assert (group(video(still(1), None), video(far.repeat(FRAMES, axis=0), None)).labels == -1).all()


def test_a_cropped_copy_matches_the_inner_part_of_the_whole() -> None:
    whole = picture(1)
    cropped = np.stack([flipped(whole[:, 1].copy(), 0.05), picture(7)[:, 0]], axis=1)
    for pair in ((whole, cropped), (cropped, whole)):
        assert group(*(video(one, None) for one in pair)).matched_by == ["picture"] * 2


def test_a_common_intro_joins_nothing() -> None:
    intro = picture(99)[:4]
    videos = [video(np.concatenate([intro, picture(i)[4:]]), None) for i in range(200)]
    assert (group(*videos).labels == -1).all()


def test_an_excerpt_is_no_copy() -> None:
    assert (group(video(picture(1), None, 60.0), video(picture(1), None, 30.0)).labels == -1).all()


@pytest.mark.parametrize("length_s", [0.0, float("nan")])
def test_an_unknown_length_agrees_with_any(length_s: float) -> None:
    assert group(
        video(picture(1), None, 60.0), video(flipped(picture(1), 0.03), None, length_s)
    ).labels.tolist() == [0, 0]


def test_a_trimmed_copy_of_many_cuts_is_found_with_the_help_of_its_sound() -> None:
    changed = picture(1)
    changed[5:10] = picture(2)[5:10]
    late = flipped(sound(1)[3:], 0.15)
    assert group(video(picture(1), sound(1), 10.0), video(changed, late, 9.6)).matched_by == ["both"] * 2
    assert (group(video(picture(1), sound(1), 10.0), video(changed, sound(5), 9.6)).labels == -1).all()


def test_a_chain_of_small_changes_does_not_join_its_ends() -> None:
    """Each is like the next; only what resembles the centre itself is in a group."""
    chain, words = [], picture(1)
    for link in range(12):
        chain.append(video(words, None))
        words = flipped(words, 0.09, link)
    found = group(*chain)
    prints = Prints.of([seen for seen, _, _ in chain], [b""] * 12, [10.0] * 12)
    for label in set(found.labels.tolist()) - {-1}:
        rows = np.flatnonzero(found.labels == label)
        bits = [picture_distance(prints, np.full(len(rows), row), rows)[0].max() for row in rows]
        assert min(bits) <= SAME_PICTURE
    assert found.labels.max() >= 0, "some of them are grouped"
    assert found.labels[0] == -1 or found.labels[0] != found.labels[-1]


def test_equal_fingerprints_are_one_group_and_empty_ones_none() -> None:
    found = group(*[video(picture(1), sound(1))] * 3, *[video(None, None)] * 3)
    assert found.labels.tolist() == [0, 0, 0, -1, -1, -1]
    assert found.similarity[:3].tolist() == [1.0] * 3
    assert found.matched_by == ["both"] * 3 + [None] * 3


def test_a_thousand_copies_are_one_group() -> None:
    copies = [video(flipped(picture(1), 0.04, i), None, 10.0 + i / 1e4) for i in range(1000)]
    found = group(*copies, *others(200))
    assert (found.labels[:1000] == 0).all()
    assert (found.labels[1000:] == -1).all()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)
    videos = others(12)
    for at in random.integers(0, 12, 20):
        seen, heard, _ = videos[at]
        copy = flipped(np.frombuffer(seen, np.uint64).reshape(-1, 2), random.uniform(0, 0.2), int(at))
        videos.append((copy.tobytes(), heard if random.random() < 0.5 else None, random.uniform(9, 11)))
    order = random.permutation(len(videos))
    plain, mixed = group(*videos), group(*(videos[i] for i in order))
    back = np.argsort(order)
    together = plain.labels[:, None] == plain.labels[None]
    mixed_labels = mixed.labels[back]
    assert (together == (mixed_labels[:, None] == mixed_labels[None])).all()
    assert ((plain.labels == -1) == (mixed_labels == -1)).all()
    np.testing.assert_array_equal(plain.similarity, mixed.similarity[back])
    assert plain.matched_by == [mixed.matched_by[i] for i in back]


def test_a_label_is_the_smallest_row_of_its_group() -> None:
    found = group(*others(3), *others(3), video(picture(1), None))
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2, -1]


def test_picture_distance_agrees_with_the_plain_formula() -> None:
    a, b = picture(1)[:9], flipped(picture(1), 0.2)[2:]
    bits = np.bitwise_count(a[:, None, 0] ^ b[None, :, 0])
    prints = Prints.of([a.tobytes(), b.tobytes()], [b"", b""], [1.0, 1.0])
    mean, share = picture_distance(prints, np.array([0]), np.array([1]))
    assert mean[0] == pytest.approx((bits.min(axis=1).mean() + bits.min(axis=0).mean()) / 2)
    assert share[0] == min((bits.min(axis=1) <= 16).mean(), (bits.min(axis=0) <= 16).mean())


@pytest.mark.parametrize("shift", [-8, -3, 0, 5, 8])
def test_sound_distance_finds_the_shift(shift: int) -> None:
    whole = sound(1, 200)
    a, b = whole[10:150], flipped(whole[10 + shift : 150 + shift], 0.1)
    prints = Prints.of([b"", b""], [a.tobytes(), b.tobytes()], [18.0, 18.0])
    assert sound_distance(prints, np.array([0]), np.array([1]))[0] == pytest.approx(0.1, abs=0.02)


def test_candidates_are_few_among_strangers_however_many_frames_they_share() -> None:
    n = 3000
    intro = picture(99)[:2]
    seen = [np.concatenate([intro, picture(i)[2:]]).tobytes() for i in range(n)]
    first, second = alike_frames(Prints.of(seen, [b""] * n, [10.0 + i / n for i in range(n)]))
    assert (first < second).all()
    assert len(first) < 100 * n  # all pairs would be 1500 n, and of a catalogue of any size n / 2 times n


@pytest.mark.parametrize(
    ("seen", "heard", "lengths"),
    [
        ([b"123"], [None], [1.0]),
        ([None], [b"12"], [1.0]),
        ([None], [None, None], [1.0]),
        ([None], [None], []),
    ],
)
def test_what_is_no_fingerprint_is_refused(seen: list, heard: list, lengths: list) -> None:
    with pytest.raises(BadInput):
        group_duplicates(seen, heard, lengths)


def test_no_videos_are_no_groups() -> None:
    found = group_duplicates([], [], [])
    assert len(found.labels) == len(found.similarity) == len(found.matched_by) == 0
