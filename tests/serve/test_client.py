"""The client against a service in a separate process."""

import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from styleid.serve.client import Client, ServiceError
from tests.serve.conftest import ROOT

pytestmark = pytest.mark.versions


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """Return the address of a service in a separate process, and a token for it."""
    data = tmp_path_factory.mktemp("desk") / "data"
    command = [sys.executable, "-m", "styleid", "serve"]
    made = subprocess.run([*command, "token", "add", "anna", "--data", str(data)], capture_output=True, text=True,
                          check=True, cwd=ROOT)  # fmt: skip
    process = subprocess.Popen(
        [*command, "--port", "0", "--data", str(data)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    address = process.stdout.readline().split(" on ")[1].split()[0]
    yield address, made.stdout.split()[0]
    with Client(address) as stranger, pytest.raises(ServiceError, match="401"):
        stranger.jobs()
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="module")
def desk(service) -> Iterator[Client]:
    """Return a client with a token."""
    with Client(*service) as client:
        yield client


@pytest.fixture
def folder(tmp_path, jpeg) -> Path:
    for name in ("a.jpg", "street/b ä.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg)
    return tmp_path / "in"


def test_single_photos(desk, folder, jpeg) -> None:
    done = desk.anonymize(folder / "a.jpg", method="none", seed=7, require_faces=True)
    assert done.data != jpeg
    assert (done.figures["faces"], done.figures["obscured"]) == (1, 1)
    assert len(desk.detect(folder / "a.jpg")["faces"]) == 1
    (folder / "c.jpg").write_bytes(b"")
    with pytest.raises(ServiceError, match="the file is empty") as caught:
        desk.anonymize(folder / "c.jpg")
    assert caught.value.status == 422
    assert len(desk.detect(folder / "a.jpg")["faces"]) == 1, "an error does not end the connection"


def test_a_job_from_upload_to_removal(desk, folder, tmp_path) -> None:
    job = desk.make_job([folder], method="none", seed=7)["id"]
    assert desk.wait(job, 0.05)["state"] == "done"
    assert [one["id"] for one in desk.jobs()] == [job]
    photos = {one["name"]: one for one in desk.faces(job)["photos"]}
    assert set(photos) == {"a.jpg", "street/b ä.jpg"}
    (face,) = photos["a.jpg"]["faces"]
    desk.decide(job, photos["a.jpg"]["number"], faces=[{"box": face["box"], "do": "keep"}], approved=True)
    assert desk.wait(job, 0.05)["state"] == "done"
    assert desk.decisions(job)["photos"]["a.jpg"]["faces"][0]["by"] == "anna"
    archive = desk.download(job, tmp_path / "out.zip")
    assert set(photos) <= set(zipfile.ZipFile(archive).namelist())
    desk.approve(job)
    desk.undo(job)
    with pytest.raises(ServiceError, match="404"):
        desk.decide_person(job, "p1", "keep")
    desk.wait(job, 0.05)
    assert desk.retry(job)["state"] in ("queued", "running", "done")
    desk.wait(job, 0.05)
    with pytest.raises(ServiceError, match="409"):
        desk.cancel(job)
    desk.delete(job)
    assert desk.jobs() == []


def test_videos_and_folders(desk, clip, tmp_path) -> None:
    job = desk.make_job([clip], method="none", seed=7)["id"]
    assert desk.wait(job, 0.05)["state"] == "done"
    (video,) = desk.faces(job)["videos"]
    keys = [[0, 140.0, 180.0, 180.0, 230.0]]
    desk.decide_video(job, video["number"], tracks=[{"track": 1, "do": "keep"}], add=[{"keys": keys}], approved=True)
    assert desk.wait(job, 0.05)["state"] == "done"
    told = desk.decisions(job)["videos"]["clip.mp4"]
    assert (told["tracks"]["tracks"][0]["do"], told["approved"]["by"]) == ("keep", "anna")
    assert desk.folders() == {"inputs": [], "outputs": []}
    with pytest.raises(ServiceError, match="404"):
        desk.save(job, "results")
    with pytest.raises(ServiceError, match="404"):
        desk.make_folder_job("wards", seed=7)
    desk.delete(job)


def test_the_example_of_the_docs_runs(service, desk, jpeg, clip, tmp_path, monkeypatch, capsys) -> None:
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", (ROOT / "docs/serve.md").read_text(), re.DOTALL)
               if "import Client" in one]  # fmt: skip
    address, token = service
    code = code.replace("http://127.0.0.1:8765", address).replace("styleid_...", token)
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("group.jpg", "photos/a.jpg"):
        Path(name).write_bytes(jpeg)
    with zipfile.ZipFile("more.zip", "w") as archive:
        archive.write(clip, "clip.mp4")
    exec(code, {})
    assert "a.jpg" in capsys.readouterr().out
    assert {"a.jpg", "videos/clip.mp4"} <= set(zipfile.ZipFile("anonymised.zip").namelist())
    assert desk.jobs() == []


def test_invalid_addresses_are_refused() -> None:
    with pytest.raises(ValueError, match="http"):
        Client("localhost:8765")
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(OSError, match="refused"):
        client.jobs()
