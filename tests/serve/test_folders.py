"""Named folders of the server: originals are never changed, and results are saved completely or not at all."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from styleid.cli import main
from styleid.errors import OptionError
from styleid.serve import folders
from styleid.serve.folders import Folders
from styleid.serve.options import Limits, ServeOptions
from tests.serve.test_jobs import downloaded
from tests.serve.test_review import decided, face_boxes, number_of

pytestmark = pytest.mark.versions
PLAIN = '{"method": "none", "seed": 7}'


@pytest.fixture
def wards(tmp_path, jpeg) -> Path:
    """Return a folder of originals with subfolders and a link to a file outside."""
    folder = tmp_path / "wards"
    for name in ("a.jpg", "may/b.jpg", "may/notes.txt", ".hidden/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg)
    (tmp_path / "private.jpg").write_bytes(jpeg)
    (folder / "link.jpg").symlink_to(tmp_path / "private.jpg")
    (folder / "out").symlink_to(tmp_path)
    return folder


@pytest.fixture
def desk(client_of, wards, tmp_path) -> Any:
    """Return a client of a service that may read the folder and save into another one."""
    (tmp_path / "results").mkdir()
    options = ServeOptions(folder=(f"wards={wards}",), out_folder=(f"results={tmp_path / 'results'}",))
    return client_of(options)


def state_of(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Return the contents, times and modes of all files in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            info = path.lstat()
            found[path.relative_to(folder).as_posix()] = (
                hashlib.sha256(path.read_bytes()).hexdigest(), info.st_mtime_ns, info.st_mode
            )  # fmt: skip
    return found


def make(desk, **fields: str) -> Any:
    return desk.post("/v1/jobs", files=[(name, (None, text)) for name, text in fields.items()])


def test_originals_are_read_in_place_and_never_changed(desk, wards, tmp_path) -> None:
    before = state_of(wards)
    for path in wards.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o444)
    before = state_of(wards)
    answer = make(desk, folder="wards", settings=PLAIN)
    assert answer.status_code == 201, answer.text
    assert [one["name"] for one in answer.json()["files"]] == ["a.jpg", "may/b.jpg"]
    assert answer.json()["skipped"] == ["link.jpg", "may/notes.txt"]
    job = answer.json()["id"]
    assert desk.ended(job)["state"] == "done"
    assert not any((desk.service.worker.folder(job) / "in").iterdir()), "nothing was copied"
    body = desk.get(f"/v1/jobs/{job}/faces").json()
    (face,) = face_boxes(body, "a.jpg")
    number = number_of(body, "a.jpg")
    decided(desk, job, f"/photos/{number}", {"faces": [{"box": face, "do": "pixelate"}]})
    assert desk.get(f"/v1/jobs/{job}/photos/{number}/before").status_code == 200
    saved = desk.post(f"/v1/jobs/{job}/save", json={"folder": "results"})
    assert saved.json() == {"folder": "results", "subfolder": f"styleid-{job}"}
    place = tmp_path / "results" / f"styleid-{job}"
    names = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert names == {"a.jpg", "may/b.jpg", "styleid-journal.jsonl", "styleid-report.html"}
    assert {n: (place / n).read_bytes() for n in names} == downloaded(desk, job)
    assert state_of(wards) == before
    assert desk.delete(f"/v1/jobs/{job}").status_code == 204
    assert state_of(wards) == before
    assert [path.name for path in (tmp_path / "results").iterdir()] == [f"styleid-{job}"]


def test_a_subfolder_gives_the_command_lines_output(desk, wards, tmp_path) -> None:
    job = make(desk, folder="wards", subfolder="may/", settings=PLAIN).json()["id"]
    desk.ended(job)
    out = tmp_path / "out"
    given = ["anonymize", str(wards / "may"), "--out", str(out), "--method", "none", "--seed", "7", "--quiet"]
    assert main(given) == 0
    assert downloaded(desk, job)["b.jpg"] == (out / "b.jpg").read_bytes()
    for sub, status in (("2026/may", 200), ("2026/may", 409), ("../away", 422), ("/2026/june/", 200)):
        answer = desk.post(f"/v1/jobs/{job}/save", json={"folder": "results", "subfolder": sub})
        assert answer.status_code == status, answer.text
    assert (tmp_path / "results/2026/june/b.jpg").is_file()
    assert desk.get("/v1/folders").json() == {"inputs": ["wards"], "outputs": ["results"]}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"folder": "other"}, 404),
        ({"folder": "wards", "subfolder": "none"}, 404),
        ({"folder": "wards", "subfolder": "../results"}, 422),
        ({"folder": "wards", "subfolder": "out"}, 404),
        ({"folder": "wards", "subfolder": "a.jpg"}, 404),
        ({"subfolder": "may"}, 422),
        ({}, 422),
    ],
)
def test_unusable_folders_are_refused(desk, fields, status) -> None:
    answer = make(desk, **fields, settings=PLAIN)
    assert answer.status_code == status, answer.text
    assert desk.get("/v1/jobs").json() == []
    assert str(desk.service.folders.inputs["wards"]) not in answer.text


def test_files_and_a_folder_together_are_refused(desk, jpeg) -> None:
    files = [("file", ("a.jpg", jpeg)), ("folder", (None, "wards"))]
    assert desk.post("/v1/jobs", files=files).status_code == 422


def test_folders_with_too_many_or_no_files_are_refused(client_of, wards, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    named = (f"wards={wards}", f"empty={tmp_path / 'empty'}")
    desk = client_of(ServeOptions(folder=named, limits=Limits(max_files=1)))
    assert make(desk, folder="wards").status_code == 413
    assert make(desk, folder="empty").status_code == 422


def test_an_original_that_becomes_a_link_is_not_followed(desk, wards, tmp_path) -> None:
    job = make(desk, folder="wards", settings=PLAIN).json()["id"]
    desk.ended(job)
    (wards / "a.jpg").unlink()
    (wards / "a.jpg").symlink_to(tmp_path / "private.jpg")
    assert desk.get(f"/v1/jobs/{job}/photos/1/before").status_code == 422
    assert desk.post(f"/v1/jobs/{job}/retry").status_code == 200
    assert desk.ended(job)["state"] == "failed"


def test_a_full_disk_leaves_no_partial_results(desk, wards, tmp_path, monkeypatch) -> None:
    job = make(desk, folder="wards", settings=PLAIN).json()["id"]
    desk.ended(job)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(folders.shutil, "copyfile", full)
    answer = desk.post(f"/v1/jobs/{job}/save", json={"folder": "results"})
    assert answer.status_code == 507
    assert list((tmp_path / "results").iterdir()) == []
    assert desk.post(f"/v1/jobs/{job}/save", json={"folder": "wards"}).status_code == 404


@pytest.mark.parametrize(
    ("inputs", "outputs", "what"),
    [
        (["wards"], [], "NAME=DIR"),
        (["=x"], [], "NAME=DIR"),
        (["a={here}/one", "a={here}/two"], [], "NAME=DIR"),
        (["a={here}/none"], [], "is not a folder"),
        (["a={here}/one"], ["b={here}/one"], "overlap"),
        (["a={here}/one"], ["b={here}/one/deep"], "overlap"),
        (["a={here}"], ["b={here}/two"], "overlap"),
        (["a={here}/data"], [], "overlap"),
        ([], ["b={here}"], "overlap"),
    ],
)
def test_invalid_folder_options_are_refused(tmp_path, inputs, outputs, what) -> None:
    for name in ("one/deep", "two", "data"):
        (tmp_path / name).mkdir(parents=True)
    filled = [[one.format(here=tmp_path) for one in group] for group in (inputs, outputs)]
    with pytest.raises(OptionError, match=what):
        Folders.read(*filled, tmp_path / "data")


def test_folders_of_originals_may_be_nested(tmp_path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    named = Folders.read([f"all={tmp_path / 'in'}", f"deep={tmp_path / 'in/deep'}"], [], tmp_path / "data")
    assert set(named.inputs) == {"all", "deep"}
