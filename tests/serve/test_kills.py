"""Decisions survive a service that is killed at any moment."""

import json
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
PHOTOS = 6


def spawn(data: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "styleid", "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    return process, process.stdout.readline().split(" on ")[1].split()[0]


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def settled(client: httpx.Client, job: str) -> None:
    while client.get(f"/v1/jobs/{job}").json()["state"] != "done":
        time.sleep(0.02)


@pytest.mark.slow
def test_a_decision_that_was_answered_is_never_lost(jpeg, tmp_path) -> None:
    """The service is killed while decisions are made and done; each that was answered is there after the restart."""
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
def test_nothing_is_lost_or_written_twice_whenever_the_service_is_killed(seed) -> None:
    """Uploads, first runs, decisions and deletions, compared with a service that nobody kills."""
    arguments = ["--kills", "6", "--photos", "4", "--seed", str(seed)]
    command = [sys.executable, str(ROOT / "benchmarks/serve_kills.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["kills"].values()) >= 6
