"""Videos of a job: decisions about tracks give the same bytes as on the command line and appear in the review."""

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from styleid.cli import main
from styleid.errors import OptionError
from styleid.serve.store import JobFile
from styleid.serve.tokens import new_token
from styleid.serve.tracks import decided_video, stamped_video, track_risk
from styleid.serve.worker import Progress
from tests.serve.conftest import FRAMES
from tests.serve.test_jobs import downloaded, start
from tests.serve.test_review import decided, face_boxes, number_of

av = pytest.importorskip("av", reason="videos need PyAV: pip install 'styleid[video]'")
pytestmark = pytest.mark.versions
PLAIN = {"method": "none", "seed": 7}


@pytest.fixture(scope="module")
def job(client, clip, jpeg) -> str:
    """Return a job of the video and a photo, whose faces are obscured."""
    one = start(client, [("street/clip.mp4", clip.read_bytes()), ("a.jpg", jpeg)], PLAIN)
    assert client.ended(one)["state"] == "done"
    return one


def video_of(body: dict[str, Any]) -> dict[str, Any]:
    (video,) = body["videos"]
    return video


def actions(body: dict[str, Any]) -> dict[int, str]:
    return {one["track"]: one["action"] for one in video_of(body)["tracks"]}


def by_command_line(client, job: str, clip: Path, folder: Path) -> bytes:
    """Return the output of the command line for the decisions that a job exports."""
    path, out = folder / "decisions.json", folder / "out.mp4"
    path.write_bytes(client.get(f"/v1/jobs/{job}/decisions").content)
    assert main(["video", str(clip), "--out", str(out), "--decisions", str(path), "--quiet"]) in (0, 3)
    return out.read_bytes()


@pytest.mark.parametrize("settings", [PLAIN, pytest.param({"seed": 7}, marks=pytest.mark.slow)], ids=["hidden", "new"])
def test_decisions_about_tracks_give_the_command_lines_output(client, clip, tmp_path, settings) -> None:
    job = start(client, [("clip.mp4", clip.read_bytes())], settings)
    assert client.ended(job)["state"] == "done"
    first = downloaded(client, job)["videos/clip.mp4"]
    assert by_command_line(client, job, clip, tmp_path) == first
    body = client.get(f"/v1/jobs/{job}/faces").json()
    one, other = sorted(actions(body))
    number = video_of(body)["number"]
    wishes = {"tracks": [{"track": one, "do": "keep"}, {"track": other, "do": "pixelate"}], "approved": True}
    body = decided(client, job, f"/videos/{number}", wishes)
    assert actions(body) == {one: "kept", other: "obscured"}
    told = video_of(body)["tracks"][0]["decision"]
    assert told["by"] == "local"
    assert told["at"]
    members = downloaded(client, job)
    assert members["videos/clip.mp4"] != first
    assert by_command_line(client, job, clip, tmp_path) == members["videos/clip.mp4"]
    record = json.loads(members["videos/styleid-journal.jsonl"].splitlines()[-1])
    assert record["approved"]["by"] == "local"
    assert {one["track"]: one["decision"]["do"] for one in record["tracks"]} == {one: "keep", other: "pixelate"}
    decided(client, job, "/undo", method="POST")
    assert downloaded(client, job)["videos/clip.mp4"] == first


def test_tracks_are_removed_and_missed_faces_are_obscured(client, job) -> None:
    body = client.get(f"/v1/jobs/{job}/faces").json()
    one, other = sorted(actions(body))
    keys = [[0, 140, 180, 180, 230], [FRAMES - 1, 150, 180, 190, 230]]
    wishes = {"tracks": [{"track": one, "do": "remove"}], "add": [{"keys": keys, "do": "solid"}]}
    body = decided(client, job, f"/videos/{video_of(body)['number']}", wishes)
    assert actions(body) == {one: "kept", other: "obscured", other + 1: "obscured"}
    assert [one["added"] for one in video_of(body)["tracks"]] == [False, False, True]
    assert "remove" in [(one["decision"] or {}).get("do") for one in video_of(body)["tracks"]]
    decided(client, job, "/undo", method="POST")


def test_only_changed_files_are_processed_again(client, job) -> None:
    def journal(name: str) -> int:
        return len(downloaded(client, job)[name].splitlines())

    body = client.get(f"/v1/jobs/{job}/faces").json()
    photos, videos = journal("styleid-journal.jsonl"), journal("videos/street/styleid-journal.jsonl")
    (face,) = face_boxes(body, "a.jpg")
    decided(client, job, f"/photos/{number_of(body, 'a.jpg')}", {"faces": [{"box": face, "do": "keep"}]})
    assert journal("videos/street/styleid-journal.jsonl") == videos, "the video was left alone"
    photos = journal("styleid-journal.jsonl")
    before = downloaded(client, job)["videos/street/clip.mp4"]
    number, track = video_of(body)["number"], video_of(body)["tracks"][0]["track"]
    decided(client, job, f"/videos/{number}", {"tracks": [{"track": track, "do": "blur"}]})
    assert journal("styleid-journal.jsonl") == photos, "the photo was left alone"
    assert downloaded(client, job)["videos/street/clip.mp4"] != before
    approved = decided(client, job, "/approve", method="POST")
    assert video_of(approved)["wishes"]["approved"]["by"] == "local"
    assert video_of(approved)["wishes"]["tracks"][str(track)]["do"] == "blur"
    last = json.loads(downloaded(client, job)["videos/street/styleid-journal.jsonl"].splitlines()[-1])
    assert last["approved"]["by"] == "local"
    for _ in range(3):
        decided(client, job, "/undo", method="POST")


def test_one_decisions_file_contains_photos_and_videos(client, job, clip, jpeg, tmp_path) -> None:
    members = downloaded(client, job)
    assert by_command_line(client, job, clip, tmp_path) == members["videos/street/clip.mp4"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(jpeg)
    given = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--decisions", str(tmp_path / "decisions.json")]
    assert main(["anonymize", *given, "--quiet"]) == 0
    assert (tmp_path / "out/a.jpg").read_bytes() == members["a.jpg"]


def test_a_video_is_played_and_its_tracks_are_shown(client, job, clip) -> None:
    body = client.get(f"/v1/jobs/{job}/faces").json()
    video = video_of(body)
    path = f"/v1/jobs/{job}/videos/{video['number']}"
    before, after = client.get(f"{path}/before"), client.get(f"{path}/after")
    assert before.content == clip.read_bytes()
    assert after.content == downloaded(client, job)["videos/street/clip.mp4"]
    assert after.headers["content-type"] == video["media_type"] == "video/mp4"
    part = client.get(f"{path}/after", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, after.content[10:20])
    assert client.get(f"{path}/after", headers={"range": "bytes=99999999-"}).status_code == 416
    assert "media-src 'self'" in after.headers["content-security-policy"]
    for side in ("before", "after"):
        answer = client.get(f"{path}/tracks/{video['tracks'][0]['track']}/{side}")
        assert answer.headers["content-type"] == "image/jpeg"
        width, height = Image.open(io.BytesIO(answer.content)).size
        assert width == FRAMES * height
    for missing in (f"{path}/tracks/99/after", f"/v1/jobs/{job}/videos/99/after", f"{path}/sideways",
                    f"{path}/tracks/{'9' * 400}/after", f"{path}/tracks/-1/before"):  # fmt: skip
        assert client.get(missing).status_code in (404, 422)


@pytest.mark.parametrize(
    ("wishes", "status"),
    [
        ({"tracks": [{"track": 99, "do": "blur"}]}, 422),
        ({"people": [{"person": 99, "do": "blur"}]}, 422),
        ({"tracks": [{"track": 1, "do": "hide"}]}, 422),
        ({"tracks": [{"track": 1, "do": "keep", "target": 2}]}, 422),
        ({"add": [{"keys": [[0, 10, 10, 5, 20]]}]}, 422),
        ({"add": [{"keys": [[99, 10, 10, 15, 20]]}]}, 422),
        ({"faces": []}, 422),
    ],
)
def test_invalid_decisions_are_refused(client, job, wishes, status) -> None:
    number = video_of(client.get(f"/v1/jobs/{job}/faces").json())["number"]
    answer = client.request("PATCH", f"/v1/jobs/{job}/videos/{number}", json=wishes)
    assert answer.status_code == status, answer.text
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "done"


def test_an_invalid_video_is_withheld(client, jpeg) -> None:
    job = start(client, [("bad.mp4", jpeg[:100]), ("a.jpg", jpeg)], PLAIN)
    body = client.ended(job)
    assert [one["input"] for one in body["withheld"]] == ["bad.mp4"]
    video = video_of(client.get(f"/v1/jobs/{job}/faces").json())
    assert video["error"]
    answer = client.request("PATCH", f"/v1/jobs/{job}/videos/{video['number']}", json={"approved": True})
    assert answer.status_code == 409
    assert client.get(f"/v1/jobs/{job}/videos/{video['number']}/after").status_code == 404
    assert "bad.mp4" not in client.get(f"/v1/jobs/{job}/decisions").json()["videos"]


def test_videos_of_others_are_not_found(client_of, clip) -> None:
    first = client_of()
    tokens = {name: {"authorization": f"Bearer {new_token(first.service.store, name)}"} for name in ("anna", "ben")}
    answer = first.post("/v1/jobs", files=[("file", ("c.mp4", clip.read_bytes()))], headers=tokens["anna"],
                        data={"settings": json.dumps(PLAIN)})  # fmt: skip
    job = answer.json()["id"]
    for path in ("videos/1/after", "videos/1/before", "videos/1/tracks/1/before"):
        assert first.get(f"/v1/jobs/{job}/{path}", headers=tokens["ben"]).status_code == 404
        assert first.get(f"/v1/jobs/{job}/{path}").status_code == 401


@pytest.mark.parametrize(
    ("told", "trust", "reasons"),
    [
        ({}, [1.0], []),
        ({"obscured_at": [{"reason": "turned away"}]}, [1.0], ["partly"]),
        ({"obscured_at": [{"reason": ""}]}, [1.0], []),
        ({"gate": {"distance_min": 1.15, "threshold": 1.1}}, [1.0], ["near"]),
        ({}, [1.0, 1.0, 0.25, 0.1], ["filled"]),
        ({}, [0.6, 0.5, 1.0], ["unsure"]),
        ({"side_px": [8.0, 20.0]}, [], ["small"]),
    ],
)
def test_risks_of_tracks_and_their_reasons(told, trust, reasons) -> None:
    base = {"obscured_at": [], "action": "anonymised", "side_px": [50.0, 60.0], "gate": {}}
    level, found = track_risk(base | told, trust)
    assert found == reasons
    assert (level > 0) == bool(reasons)


def test_jobs_with_videos_have_no_estimated_time() -> None:
    assert Progress(done=2, total=4, since=time.monotonic()).eta_s() is not None
    assert Progress(done=2, total=4, since=time.monotonic(), uneven=True).eta_s() is None


def test_unchanged_decisions_keep_their_user_and_time() -> None:
    first = stamped_video({"tracks": [{"track": 1, "do": "keep", "target": 0}], "add": [{"keys": []}]}, {}, "anna")
    again = stamped_video(
        {"tracks": [{"track": 1, "do": "keep", "target": 0}, {"track": 2, "do": "blur", "target": 0}],
         "people": [{"person": 1, "do": "replace", "target": 2}], "add": [{"keys": []}], "approved": True},
        first,
        "ben",
    )  # fmt: skip
    assert again["tracks"]["1"] == first["tracks"]["1"]
    assert again["add"] == first["add"]
    assert (again["tracks"]["2"]["by"], again["people"]["1"]["target"], again["approved"]["by"]) == ("ben", 2, "ben")


def test_videos_without_decisions_have_no_tracks() -> None:
    file = JobFile(1, "a.mp4", "video", 3, "0" * 64)
    assert decided_video({}, file, None).tracks is None
    assert decided_video({"approved": {"by": "anna"}}, file, {"tracks": []}).journal_entries()["approved"] == {
        "by": "anna"
    }
    with pytest.raises(OptionError, match="no track 3"):
        decided_video({"tracks": {"3": {"do": "keep"}}}, file, {"tracks": []})
