"""Decisions and videos survive a service that is killed at any moment."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from styleid.engine.journal import NAME
from tests.serve.conftest import ROOT

pytestmark = pytest.mark.slow
KILLS = 40
VIDEO_KILLS = 5
"""During the first run, and as many while a decision is done."""
PHOTOS = 6


def spawn(data: Path, **variables: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "styleid", "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | variables)
    assert process.stdout is not None
    return process, process.stdout.readline().split(" on ")[1].split()[0]


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def settled(client: httpx.Client, job: str) -> None:
    while client.get(f"/v1/jobs/{job}").json()["state"] != "done":
        time.sleep(0.02)


@pytest.mark.slow
def test_no_decision_with_a_response_is_lost(jpeg, tmp_path) -> None:
    """Every decision with a response is stored after the service was killed."""
    process, address = spawn(tmp_path / "data")
    with httpx.Client(base_url=address, timeout=60) as client:
        files = [("file", (f"{k}.jpg", jpeg)) for k in range(PHOTOS)]
        settings = {"settings": '{"seed": 7, "method": "none"}'}
        job = client.post("/v1/jobs", files=files, data=settings).json()["id"]
        settled(client, job)
    said: dict[int, list[float]] = {}
    for kill in range(KILLS):
        with httpx.Client(base_url=address, timeout=60) as client:
            number, box = kill % PHOTOS + 1, [10.0 + kill, 200.0, 40.0 + kill, 230.0]
            answer = client.request("PATCH", f"/v1/jobs/{job}/photos/{number}", json={"add": [{"box": box}]})
            assert answer.status_code == 200, answer.text
            said[number] = box
            time.sleep(0.013 * (kill % 7))
        end(process)
        process, address = spawn(tmp_path / "data")
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            settled(client, job)
            photos = client.get(f"/v1/jobs/{job}/faces").json()["photos"]
            assert {one["number"]: one["wishes"]["add"][0]["box"] for one in photos} == said
            decided = client.get(f"/v1/jobs/{job}/decisions").json()["photos"]
            assert sorted(one["add"][0]["box"] for one in decided.values()) == sorted(said.values())
    finally:
        end(process)
    (journal,) = (tmp_path / "data").rglob(NAME)
    lines = [json.loads(line) for line in journal.read_text().splitlines() if line.endswith("}")]
    marks = [(line["input"], line.get("decisions", "")) for line in lines]
    assert len(marks) == len(set(marks)), "no photo was done twice for the same decisions"


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_lose_nothing_and_repeat_nothing(seed) -> None:
    """Kill the service during uploads, first runs, decisions and deletions, and compare it with an undisturbed one."""
    arguments = ["--kills", "6", "--photos", "4", "--seed", str(seed)]
    command = [sys.executable, str(ROOT / "benchmarks/serve_kills.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["kills"].values()) >= 6


def test_an_interrupted_video_ends_like_an_undisturbed_one(clip, tmp_path) -> None:
    """After ten kills, the job's folder has the same files with the same bytes, and the journal equal lines."""
    whole, paces, _ = video_job(clip, tmp_path / "whole", [0.0, 0.0], 0)
    broken, _, hits = video_job(clip, tmp_path / "broken", paces, VIDEO_KILLS)
    for step in range(2):
        assert broken[step].keys() == whole[step].keys()
        assert [name for name in whole[step] if broken[step][name] != whole[step][name]] == []
    assert min(hits) > 0, "no kill came while the video was done"
    assert not list((tmp_path / "system").iterdir()), "temporary files lie outside the service's folder"


def video_job(
    clip: Path, data: Path, paces: list[float], kills: int
) -> tuple[list[dict[str, object]], list[float], list[int]]:
    """Run a job of one video and then a decision about it, and kill the service during both.

    Returns:
        For the first run and for the decision: the content of the job's folder at the end, the seconds, and the number
        of kills before the end.
    """
    (system := data.parent / "system").mkdir(exist_ok=True)
    variables = {"TMPDIR": str(system)}
    process, address = spawn(data, **variables)
    left, taken, hits = [], [], []
    with httpx.Client(base_url=address, timeout=60) as client:
        settings = {"settings": '{"seed": 7, "method": "none"}'}
        answer = client.post("/v1/jobs", files=[("file", (clip.name, clip.read_bytes()))], data=settings)
        job = answer.json()["id"]
    for step, pace in zip(("first run", "decision"), paces, strict=True):
        begun = time.monotonic()
        if step == "decision":
            wish = {"tracks": [{"track": 1, "do": "solid"}]}
            answer = httpx.patch(f"{address}/v1/jobs/{job}/videos/1", json=wish, timeout=60)
            assert answer.status_code == 200, answer.text
        hits.append(0)
        for kill in range(kills):
            time.sleep(pace * (kill + 0.5) / kills)
            hits[-1] += httpx.get(f"{address}/v1/jobs/{job}", timeout=60).json()["state"] != "done"
            end(process)
            process, address = spawn(data, **variables)
        with httpx.Client(base_url=address, timeout=60) as client:
            settled(client, job)
        taken.append(time.monotonic() - begun)
        left.append(held(data / "jobs" / job))
        assert not list((data / "tmp").iterdir())
    end(process)
    return left, taken, hits


def held(folder: Path) -> dict[str, object]:
    """Return the content of each file of a job's folder, without times; of pages only the names."""
    contents: dict[str, object] = {}
    for path in folder.rglob("*"):
        if path.name == NAME:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            contents["journal"] = [(one["input"], "decisions" in one, one["sha256"]) for one in lines]
        elif path.suffix == ".json":
            contents[path.relative_to(folder).as_posix()] = without_times(json.loads(path.read_bytes()))
        elif path.is_file():
            content = path.read_bytes()
            contents[path.relative_to(folder).as_posix()] = len(content) > 0 if path.suffix == ".html" else content
    return contents


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_times(one) for name, one in value.items() if name != "at"}
    return [without_times(one) for one in value] if isinstance(value, list) else value
