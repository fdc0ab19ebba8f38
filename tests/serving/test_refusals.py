"""Bad requests: a 4xx problem that names the field, never a 5xx, never a stack trace."""

import json

import pytest


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= said.keys()
    assert said["status"] == status
    assert said["request_id"] == answer.headers["x-request-id"]
    return said


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"k": 0}, "k"),
        ({"k": -3}, "k"),
        ({"k": 201}, "k"),
        ({"k": 10**30}, "k"),
        ({"k": "5"}, "k"),
        ({"k": 2.5}, "k"),
        ({"k": True}, "k"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "é" * 257}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"colour": "red"}, "colour"),
        ({"context": {"mood": "good"}}, "context.mood"),
        ({"context": {"country": "Utopia"}}, "context.country"),
        ({"context": {"utc_offset_min": 5000}}, "context.utc_offset_min"),
        ({"diversity": 1.5}, "diversity"),
        ({"diversity": float("nan")}, "diversity"),
        ({"history": [{"video_id": "a", "watch_s": float("inf")}]}, "history[0].watch_s"),
        ({"history": [{"event": "play"}]}, "history[0].video_id"),
        ({"history": [{"video_id": "a"}] * 101}, "history"),
        ({"history": [{"video_id": "a", "ts": "2100-01-01T00:00:00Z"}]}, "history[0].ts"),
        ({"user_id": "u1", "history": []}, "history"),
        ({"exclude": [None]}, "exclude[0]"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"context": {"device": "\udfff"}}, "context.device"),
        ({"\ud800": 1}, "body"),
    ],
)
def test_a_wrong_field_is_named(client, body, field):
    answer = client.post(
        "/v1/recommendations", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    said = problem(answer, 422)
    assert field in [error["field"] for error in said["errors"]]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"user_id": "\\ud800"}']
)
def test_a_body_that_is_no_request_is_refused(client, content):
    answer = client.post("/v1/recommendations", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    problem(answer, answer.status_code)


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/v1/users/u1/recommendations?k=0", 422, "k"),
        ("/v1/users/u1/recommendations?kk=3", 422, "kk"),
        ("/v1/users/" + "x" * 513 + "/recommendations", 422, "user_id"),
        ("/v1/videos/no-such-video", 404, "no-such-video"),
        ("/v1/videos/no-such-video/similar", 404, "no-such-video"),
        ("/v1/videos/jazz/01.mp4/similar?by=smell", 422, "by"),
        ("/v1/videos/jazz/01.mp4/similar?by=audio", 422, "audio"),
        ("/v1/nothing", 404, "/docs"),
        ("/studio/../settings.py", 404, "/docs"),
        ("/studio/secrets.txt", 404, "secrets.txt"),
        ("/reports/..%2F..%2Fworkspace.json", 404, "there is"),
        ("/reports/none", 404, "none"),
        ("/media/999999", 404, "999999"),
        ("/media/99999999999999999999999", 422, "video_key"),
        ("/thumbnails/x.webp", 422, "video_key"),
    ],
)
def test_a_wrong_path_or_query_is_named(client, path, status, word):
    assert word in problem(client.get(path), status)["detail"]


def test_a_wrong_method_is_refused_with_those_allowed(client):
    answer = client.delete("/v1/events")
    problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_a_body_above_the_bound_is_refused_whether_or_not_it_says_its_size(client):
    large = b'{"user_id": "' + b"x" * 2_000_000 + b'"}'
    assert "1048576" in problem(client.post("/v1/events", content=large), 413)["detail"]
    parts = iter([large[:900_000], large[900_000:]])
    assert "1048576" in problem(client.post("/v1/events", content=parts), 413)["detail"]


def test_every_answer_carries_the_security_headers(client):
    for path in ("/", "/docs", "/v1/users", "/v1/nothing", "/studio/app.js", "/metrics"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
