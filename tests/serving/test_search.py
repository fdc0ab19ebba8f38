"""Search and likeness: words find by title when there is no encoder and by meaning when there is one."""

import dataclasses

import numpy as np
import pytest

from features.errors import BadInput, NotFound
from ingest.encoders.query import Part, Query
from serving import api
from serving.desk import build_shelf, open_desk, restock, words_of
from serving.problems import FieldError
from serving.search import search_videos, similar_videos


@pytest.fixture(scope="module")
def desk(world):
    return open_desk(world.workspace, world.bundle)


class Meaning:
    """An encoder that hears "toast" as the direction of one video's content."""

    def __init__(self, vector, aligned=True):
        self.vector, self.aligned = vector, aligned

    def words(self, words):
        part = Part(
            slice(0, len(self.vector)), self.vector, ("text", "visual") if self.aligned else ("text",)
        )
        return Query(("text",), self.vector, (part,), self.aligned) if words == "toast" else None


class Deaf:
    def words(self, words):
        raise BadInput("this space has no text")


def found(desk, hits):
    return [desk.videos.ids[row] for row in hits.rows]


def with_joint(desk, vector=None, encoder=None):
    """The desk with a joint space: its visual one."""
    videos = dataclasses.replace(desk.videos, joint=desk.videos.vectors["visual"])
    return dataclasses.replace(desk, bundle=dataclasses.replace(desk.bundle, videos=videos), words=encoder)


def test_the_neighbours_of_a_video_are_of_its_topic_and_not_itself(desk):
    for by in ("joint", "visual"):
        hits = similar_videos(desk, "bread/03.mp4", by, 8)
        names = found(desk, hits)
        assert "bread/03.mp4" not in names
        assert all(name.startswith("bread/") for name in names)
        assert (np.diff(hits.scores) <= 0).all()


def test_all_but_the_video_itself_come_when_so_many_are_asked_for(desk):
    assert len(similar_videos(desk, "jazz/00.mp4", "visual", 200).rows) == len(desk.videos) - 1


def test_likeness_refuses_what_it_cannot_know(desk):
    with pytest.raises(NotFound, match=r"gone\.mp4"):
        similar_videos(desk, "gone.mp4", "joint", 5)
    with pytest.raises(FieldError, match="no audio vector; it has visual"):
        similar_videos(desk, "jazz/00.mp4", "audio", 5)


def test_words_find_titles_and_tags_in_any_case(desk):
    result = search_videos(desk, "SURF number 07", 3)
    assert found(desk, result.hits)[0] == "surf/07.mp4"
    assert result.served_by == "words"
    assert "only titles and tags" in result.notes[0]
    assert {name.split("/")[0] for name in found(desk, search_videos(desk, "jazz!", 9).hits)} == {"jazz"}


def test_nothing_is_found_for_words_that_nobody_wrote(desk):
    for text in ("zzyzx", "!!!", " "):
        result = search_videos(desk, text, 5)
        assert (len(result.hits.rows), result.served_by) == (0, "nothing")


def test_meaning_finds_what_titles_do_not_say(desk):
    row = desk.row_of_id("bread/05.mp4")
    clever = with_joint(desk, encoder=Meaning(desk.videos.vectors["visual"][row]))
    result = search_videos(clever, "toast", 5)
    assert result.served_by == "meaning"
    assert found(desk, result.hits)[0] == "bread/05.mp4"
    assert result.hits.matched[0] == ("meaning",)


def test_an_encoder_that_cannot_answer_leaves_the_search_by_words(desk):
    result = search_videos(with_joint(desk, encoder=Deaf()), "bread", 5)
    assert result.served_by == "words"
    assert "this space has no text" in result.notes[0]


def test_a_word_is_letters_and_digits_in_lower_case():
    assert words_of("Été d'OR: 7 Köln!") == {"été", "d", "or", "7", "köln"}


def test_the_shelf_knows_limits_and_the_desk_notices_a_changed_catalogue(desk, world):
    assert restock(desk, world.workspace) is desk
    catalogue = world.workspace.catalogue.read().filter(
        ~world.workspace.catalogue.read()["video_id"].eq("jazz/00.mp4")
    )
    shelf = build_shelf(catalogue, desk.videos)
    row = desk.row_of_id("jazz/00.mp4")
    assert shelf.titles[row] is None
    assert shelf.titles[row + 1] == "Jazz number 01"
    assert shelf.available_from_ms[row] == 0
    assert shelf.regions == {}


def test_search_and_likeness_over_the_wire(client, world):
    answer = client.post("/v1/search", json={"text": "surf number 03", "k": 4}).json()
    assert answer["items"][0]["video_id"] == "surf/03.mp4"
    assert (answer["bundle"], answer["served_by"], answer["aligned"]) == (world.bundle, "words", None)
    alike = client.get("/v1/videos/surf/03.mp4/similar?k=4").json()
    assert all(item["video_id"].startswith("surf/") for item in alike["items"])
    video = client.get("/v1/videos/surf/03.mp4").json()
    assert (video["title"], video["modalities"], video["media"]) == ("Surf number 03", ["visual"], None)


@pytest.mark.parametrize("aligned", [True, False])
def test_the_wire_says_whether_words_were_compared_with_all_modalities(aligned, client, desk, monkeypatch):
    clever = with_joint(desk, encoder=Meaning(desk.videos.vectors["visual"][0], aligned))
    monkeypatch.setattr(api, "search_videos", lambda _, text, k: search_videos(clever, text, k))
    answer = client.post("/v1/search", json={"text": "toast", "k": 4}).json()
    assert (answer["served_by"], answer["aligned"], len(answer["items"])) == ("meaning", aligned, 4)
    assert ["by text alone" in note for note in answer["notes"]] == ([] if aligned else [True])
