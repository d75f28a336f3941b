"""Review: decisions give the same bytes as on the command line, and only changed photos are processed again."""

import json
from typing import Any

import cv2
import numpy as np
import pytest

from styleid.cli import main
from styleid.engine.journal import NAME
from styleid.serve import review
from styleid.serve.tokens import new_token
from tests.serve.test_jobs import downloaded, start

pytestmark = pytest.mark.versions
PLAIN = {"method": "none", "seed": 7}


@pytest.fixture(scope="module")
def two_faces(astronaut) -> bytes:
    """Return a PNG with the same face twice, side by side."""
    half = np.ascontiguousarray(astronaut[:256, 96:352, ::-1])
    return cv2.imencode(".png", np.concatenate([half, half[:, ::-1]], 1))[1].tobytes()


def face_boxes(body: dict[str, Any], name: str) -> list[list[float]]:
    (photo,) = [one for one in body["photos"] if one["name"] == name]
    return [face["box"] for face in sorted(photo["faces"], key=lambda face: face["box"][0])]


def number_of(body: dict[str, Any], name: str) -> int:
    return next(one["number"] for one in body["photos"] if one["name"] == name)


def decided(client, job: str, path: str, body: dict[str, Any] | None = None, method: str = "PATCH") -> dict[str, Any]:
    answer = client.request(method, f"/v1/jobs/{job}{path}", **({} if body is None else {"json": body}))
    assert answer.status_code == 200, answer.text
    assert client.ended(job)["state"] == "done"
    return client.get(f"/v1/jobs/{job}/faces").json()


def actions(body: dict[str, Any], name: str) -> list[str]:
    (photo,) = [one for one in body["photos"] if one["name"] == name]
    return [face["action"] for face in sorted(photo["faces"], key=lambda face: face["box"][0])]


@pytest.mark.parametrize("settings", [PLAIN, {"seed": 7}])
def test_decisions_give_the_command_lines_output(client, two_faces, jpeg, tmp_path, settings) -> None:
    job = start(client, [("a.png", two_faces), ("b.jpg", jpeg), ("c.jpg", jpeg)], settings)
    client.ended(job)
    body = client.get(f"/v1/jobs/{job}/faces").json()
    first = downloaded(client, job)
    left, right = face_boxes(body, "a.png")
    wishes = {
        "faces": [{"box": left, "do": "keep"}, {"box": right, "do": "blur"}],
        "add": [{"box": [220, 200, 260, 240], "do": "pixelate"}],
        "approved": True,
    }
    body = decided(client, job, f"/photos/{number_of(body, 'a.png')}", wishes)
    assert actions(body, "a.png") == ["kept", "obscured", "obscured"]
    members = downloaded(client, job)
    assert [name for name in first if members[name] != first[name]] == ["a.png", NAME, "styleid-report.html"]
    lines = [json.loads(line) for line in members[NAME].splitlines()]
    assert [line["input"] for line in lines].count("b.jpg") == 1, "what is not decided about is not done again"
    decision = lines[-1]["faces"][0]["decision"]
    assert (decision["do"], decision["by"]) in (("keep", "local"), ("blur", "local"))
    assert lines[-1]["approved"]["by"] == "local"
    for name, data in (("a.png", two_faces), ("b.jpg", jpeg), ("c.jpg", jpeg)):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    exported = client.get(f"/v1/jobs/{job}/decisions")
    assert exported.status_code == 200
    (tmp_path / "d.json").write_bytes(exported.content)
    given = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--decisions", str(tmp_path / "d.json"), "--quiet"]
    assert main(["anonymize", *given]) == 0
    for name in ("a.png", "b.jpg", "c.jpg"):
        assert members[name] == (tmp_path / "out" / name).read_bytes(), name


def test_each_decision_can_be_undone(client, two_faces) -> None:
    job = start(client, [("a.png", two_faces)], PLAIN)
    client.ended(job)
    body = client.get(f"/v1/jobs/{job}/faces").json()
    assert body["can_undo"] is False
    before = downloaded(client, job)["a.png"]
    box = face_boxes(body, "a.png")[0]
    body = decided(client, job, "/photos/1", {"remove": [box]})
    assert actions(body, "a.png") == ["dismissed", "obscured"]
    removed = downloaded(client, job)["a.png"]
    assert removed != before
    body = decided(client, job, "/approve", method="POST")
    assert body["photos"][0]["wishes"]["approved"]["by"] == "local"
    body = decided(client, job, "/undo", method="POST")
    assert "approved" not in body["photos"][0]["wishes"]
    assert downloaded(client, job)["a.png"] == removed
    body = decided(client, job, "/undo", method="POST")
    assert downloaded(client, job)["a.png"] == before
    assert body["can_undo"] is False
    assert client.post(f"/v1/jobs/{job}/undo").status_code == 409


def test_a_person_is_kept_in_all_photos(client, two_faces, jpeg) -> None:
    job = start(client, [("a.png", two_faces), ("b.jpg", jpeg), ("c.jpg", jpeg)], {"seed": 7})
    client.ended(job)
    body = client.get(f"/v1/jobs/{job}/faces").json()
    (owner,) = {face["person"] for one in body["photos"] if one["name"] in "b.jpg c.jpg" for face in one["faces"]}
    body = decided(client, job, f"/people/{owner}", {"do": "keep"})
    assert actions(body, "b.jpg") == actions(body, "c.jpg") == ["kept"]
    assert body["people"][owner]["by"] == "local"
    assert downloaded(client, job)["b.jpg"] != b""
    body = decided(client, job, f"/people/{owner}", {"do": None})
    assert actions(body, "b.jpg") == ["anonymised"]
    assert client.request("PATCH", f"/v1/jobs/{job}/people/p99", json={"do": "keep"}).status_code == 404


@pytest.mark.parametrize(
    ("wishes", "status"),
    [
        ({"faces": [{"box": [1, 2, 3], "do": "keep"}]}, 422),
        ({"faces": [{"box": [1, 2, 3, 4], "do": "hug"}]}, 422),
        ({"faces": [{"box": [5, 5, 1, 1], "do": "keep"}]}, 422),
        ({"faces": [{"box": [1, 2, 30, 40], "do": "keep", "target": 2}]}, 422),
        ({"add": [{"box": [1, 2, 30, 40], "do": "keep"}]}, 422),
        ({"colour": 1}, 422),
        ([], 422),
    ],
)
def test_invalid_decisions_are_refused_and_not_stored(client, reviewed, wishes, status) -> None:
    answer = client.request("PATCH", f"/v1/jobs/{reviewed}/photos/1", json=wishes)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert client.get(f"/v1/jobs/{reviewed}/faces").json()["can_undo"] is False


@pytest.fixture(scope="module")
def reviewed(client, two_faces) -> str:
    job = start(client, [("a.png", two_faces)], PLAIN)
    client.ended(job)
    return job


def test_a_decision_without_a_face_withholds_its_photo(client, two_faces) -> None:
    job = start(client, [("a.png", two_faces)], PLAIN)
    client.ended(job)
    body = decided(client, job, "/photos/1", {"faces": [{"box": [0, 0, 20, 20], "do": "keep"}]})
    assert body["photos"][0]["error"]
    assert "a.png" not in downloaded(client, job)


def test_photos_without_a_face_come_before_those_that_do_not_stand_out(client, two_faces) -> None:
    empty = cv2.imencode(".png", np.full((64, 64, 3), 120, np.uint8))[1].tobytes()
    job = start(client, [("a.png", two_faces), ("b.png", empty)], PLAIN)
    client.ended(job)
    body = client.get(f"/v1/jobs/{job}/faces").json()
    assert [(photo["name"], photo["risk"]) for photo in body["photos"]] == [("b.png", 0.3), ("a.png", 0.0)]


def test_photos_are_shown_before_and_after(client, reviewed, two_faces) -> None:
    for side in ("before", "after"):
        answer = client.get(f"/v1/jobs/{reviewed}/photos/1/{side}", params={"px": 256})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert (answer.headers["styleid-width"], answer.headers["styleid-height"]) == ("512", "256")
        shown = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None
        assert shown.shape[:2] == (128, 256)
    for path in ("photos/2/before", "photos/1/beside", "photos/0/after", "photos/1/before?px=9"):
        assert client.get(f"/v1/jobs/{reviewed}/{path}").status_code in (404, 422)


def test_nobody_reviews_the_photos_of_others(client_of, two_faces) -> None:
    client = client_of()
    job = start(client, [("a.png", two_faces)], PLAIN)
    client.ended(job)
    token = new_token(client.service.store, "ben")
    headers = {"authorization": f"Bearer {token}"}
    for method, path in [("GET", "faces"), ("GET", "photos/1/before"), ("GET", "decisions"), ("POST", "approve"),
                         ("POST", "undo")]:  # fmt: skip
        assert client.request(method, f"/v1/jobs/{job}/{path}", headers=headers).status_code == 404
    for path in ("photos/1", "people/p1"):
        answer = client.request("PATCH", f"/v1/jobs/{job}/{path}", headers=headers, json={"do": "keep"})
        assert answer.status_code in (404, 422)


FACE = {"box": [0, 0, 100, 100], "action": "anonymised", "tries": 1, "score": 0.9,
        "gate": {"distance": 1.3, "threshold": 1.0}}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "level", "reasons"),
    [
        ({}, 0.0, []),
        ({"action": "obscured", "reason": "too alike"}, 1.0, ["obscured"]),
        ({"action": "obscured"}, 0.0, []),
        ({"gate": {"distance": 1.05, "threshold": 1.0}}, 0.8, ["near"]),
        ({"score": 0.4}, 0.6, ["unsure"]),
        ({"score": 0.0, "decision": {"added": True}}, 0.0, []),
        ({"tries": 4}, 0.5, ["tries"]),
        ({"box": [0, 0, 20, 100], "tries": 3}, 0.5, ["tries", "small"]),
    ],
)
def test_risks_of_faces_and_their_reasons(changes, level, reasons) -> None:
    assert review.risk(FACE | changes) == (level, reasons)


def test_unchanged_decisions_keep_their_user_and_time() -> None:
    old = review.stamped({"faces": [{"box": [0, 0, 9, 9], "do": "keep"}], "remove": [[5, 5, 9, 9]]}, {}, "anna")
    new = review.stamped(
        {"faces": [{"box": [0, 0, 9, 9], "do": "keep"}, {"box": [1, 1, 9, 9], "do": "blur"}], "remove": [[5, 5, 9, 9]]},
        old,
        "ben",
    )
    assert [one["by"] for one in new["faces"]] == ["anna", "ben"]
    assert new["remove"][0]["by"] == "anna"


def test_the_page_loads_nothing_from_other_hosts(client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for text in [
        page.text,
        *(client.get(f"/static/{name}").text for name in ("app.js", "job.js", "photo.js", "style.css")),
    ]:
        assert "http://" not in text
        assert "https://" not in text
    assert client.get("/static/app.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/static/../app.py").status_code == 404
