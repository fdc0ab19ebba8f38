"""Quarantine rows that name a user, in every form that rows are set aside in, and those that seem to only."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.erasure.named_in import marks_of, named_in
from features.packing import AcceptedEvent, pack_event, unpack_event

texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@given(texts, texts)
def test_a_json_row_names_its_user_and_nobody_else(user: str, other: str) -> None:
    content = json.dumps({"user_id": user, "video_id": other}, ensure_ascii=False)
    assert named_in(content, [user])
    assert any(mark in content for mark in marks_of([user]))
    trimmed = re.sub(r"^(\d+)\.0+$", r"\1", user.strip())  # what readers of public logs make of it
    assert named_in(content, [other]) == (other in (user, trimmed))


@given(texts)
def test_a_packed_record_names_its_user(user: str) -> None:
    event = AcceptedEvent("e1", 3, "v1", "play", 1_767_225_600_000, watch_s=2.5)
    packed = pack_event(event, user, 1_767_225_600_500)
    assert named_in(packed.hex(), [user])
    assert named_in(repr(unpack_event(packed)), [user])
    assert not named_in(packed.hex(), [user + "x"])
    assert any(mark in packed.hex() for mark in marks_of([user]))


@pytest.mark.parametrize(
    ("content", "user"),
    [
        ('{"userId": 17, "movieId": 4}', "17"),
        ('{"user_id": "a\\"b", "video_id": "v"}', 'a"b'),
        ('{"user_id": "u7", "note": "' + "x" * 2000, "u7"),  # cut, so no JSON
        ("u7;v9;play", "u7"),
        ("{'user_id': 'u7', 'watch_s': nan}", "u7"),
    ],
)
def test_a_row_that_names_the_user_is_found(content: str, user: str) -> None:
    assert named_in(content, [user])
    assert any(mark in content for mark in marks_of([user]))
    assert named_in(content, ["somebody", user])


@pytest.mark.parametrize(
    ("content", "user"),
    [
        ('{"user_id": "u70", "video_id": "u7"}', "u7"),
        ("u70;v9;play", "u7"),
        ("x-u7;v9", "u7"),
        ('{"userId": 170, "rating": 17}', "17"),
        ("", "u7"),
    ],
)
def test_a_longer_id_and_another_column_are_somebody_else(content: str, user: str) -> None:
    assert not named_in(content, [user])


@pytest.mark.parametrize(
    ("content", "user_id"),
    [
        ('{"userId": "12.0", "movieId": "x"}', "12"),
        ('{"user_id": 12.0}', "12"),
        ("{'user_id': 12.0}", "12"),
        ('{"userId": " 12 "}', "12"),
        ('{"user_id": true}', "true"),
    ],
)
def test_an_id_is_named_in_the_spelling_that_the_file_gave_it(content: str, user_id: str) -> None:
    assert named_in(content, [user_id])
    assert any(mark in content for mark in marks_of([user_id]))
    assert not named_in(content, ["1", "2", "0"])
