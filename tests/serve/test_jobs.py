"""Jobs: results equal to those of the command line, progress, retries, limits and removal."""

import io
import json
import time
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from styleid.cli import main
from styleid.engine.journal import NAME
from styleid.serve import uploads, worker
from styleid.serve.options import Limits, ServeOptions
from styleid.serve.service import Service
from tests.serve.conftest import ROOT

NONE = {"method": "none", "seed": 7}


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", how) as archive:
        warnings.simplefilter("ignore")  # two members have the same name on purpose
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def start(client, files, settings=NONE) -> str:
    answer = client.post("/v1/jobs", files=[("file", one) for one in files], data={"settings": json.dumps(settings)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def downloaded(client, job) -> dict[str, bytes]:
    answer = client.get(f"/v1/jobs/{job}/download")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def left_over(client) -> list[Path]:
    return list(client.service.worker.folder("x").parent.iterdir())


@pytest.mark.versions
def test_a_job_writes_the_same_bytes_as_the_command_line(client, jpeg, tmp_path) -> None:
    names = ("street/a.jpg", "b.jpg", "street/deep/c.jpg")
    for name in names:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg)
    arguments = [str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--seed", "7", "--quiet"]
    assert main(["anonymize", *arguments]) == 0
    archive = zipped(("street/deep/c.jpg", jpeg), ("street/notes.txt", b"hello"), ("__MACOSX/c.jpg", b"x"))
    files = [("street/a.jpg", jpeg), ("b.jpg", jpeg), ("more.zip", archive)]
    job = start(client, files, {"seed": 7})
    body = client.ended(job)
    assert (body["state"], body["done"], body["total"], body["withheld"]) == ("done", 3, 3, [])
    assert body["skipped"] == ["street/notes.txt"]
    assert body["faces"] == {"anonymised": 3}
    members = downloaded(client, job)
    assert set(members) == {*names, NAME, "styleid-report.html"}
    assert {name: members[name] for name in names} == {n: (tmp_path / "out" / n).read_bytes() for n in names}
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert job not in {path.name for path in left_over(client)}
    assert client.get(f"/v1/jobs/{job}").status_code == 404


def test_unusable_photos_are_named_and_withheld(client, jpeg) -> None:
    job = start(client, [("a.jpg", jpeg), ("empty.jpg", b""), ("text.png", b"hello"), ("noname", jpeg)])
    body = client.ended(job)
    assert body["state"] == "done"
    told = {one["input"]: one["error"] for one in body["withheld"]}
    assert set(told) == {"empty.jpg", "text.png"}
    assert "empty" in told["empty.jpg"]
    assert {"a.jpg", "noname", NAME} <= set(downloaded(client, job))


def test_no_upload_replaces_the_journal(client, jpeg) -> None:
    names = [NAME, "styleid-report.html", "notes.txt"]
    job = start(client, [("a.jpg", jpeg), *((name, jpeg) for name in names)])
    assert client.ended(job)["skipped"] == names
    assert [json.loads(line)["input"] for line in downloaded(client, job)[NAME].splitlines()] == ["a.jpg"]


def test_a_downloaded_job_is_kept_while_it_is_reviewed(client, jpeg) -> None:
    job = start(client, [("a.jpg", jpeg)])
    kept = client.ended(job)["expires"]
    downloaded(client, job)
    assert client.get(f"/v1/jobs/{job}").json()["expires"] < time.time() + 700
    assert client.post(f"/v1/jobs/{job}/approve").status_code == 200
    assert client.ended(job)["expires"] >= kept


def test_two_photos_with_the_same_name_are_both_processed(client, jpeg) -> None:
    job = start(client, [("a.jpg", jpeg), ("a.jpg", jpeg)])
    assert client.ended(job)["state"] == "done"
    assert {"a.jpg", "a (2).jpg"} <= set(downloaded(client, job))


def test_a_job_is_followed_by_events(client, jpeg) -> None:
    job = start(client, [(f"{k}.jpg", jpeg) for k in range(6)])
    answer = client.get(f"/v1/jobs/{job}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert told[-1]["state"] == "done"
    assert told[-1]["done"] == told[-1]["total"] == 6
    counts = [one["done"] for one in told]
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("../a.jpg", 422),
        ("a/../../b.jpg", 422),
        ("/etc/a.jpg", 422),
        ("C:/a.jpg", 422),
        ("..\\a.jpg", 422),
        ("x" * 240 + ".jpg", 422),
        ("/".join("d" * 30) + "/a.jpg", 422),
        ("", 422),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_names_that_could_lead_out_of_the_folder_are_refused(client, jpeg, name, status, packed) -> None:
    if packed and not name:
        name = "."
    file = ("a.zip", zipped((name, jpeg))) if packed else (name, jpeg)
    answer = client.post("/v1/jobs", files=[("file", file)], data={"settings": json.dumps(NONE)})
    assert answer.status_code == status, answer.text
    assert {path.name for path in left_over(client)} == {job["id"] for job in client.get("/v1/jobs").json()}


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def encrypted(data: bytes) -> bytes:
    """Set the encryption flag in a ZIP with one member."""
    raw = bytearray(zipped(("a.jpg", data)))
    raw[6] |= 1
    raw[raw.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def lying(data: bytes) -> bytes:
    """Set the size of a ZIP's only member to one byte in its headers."""
    raw = bytearray(zipped(("a.jpg", data)))
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = (1).to_bytes(4, "little")
    return bytes(raw)


HOSTILE = {
    "many members": (zipped(*((f"{k}.jpg", b"") for k in range(10_000))), 413),
    "a bomb": (zipped(("a.jpg", bytes(30_000_000))), 413),
    "a bomb of parts": (zipped(*((f"{k}.jpg", bytes(3_000_000)) for k in range(10))), 413),
    "a nested bomb": (zipped(("b.zip", zipped(("a.jpg", bytes(30_000_000))))), 422),
    "a link": (zipped((link("a.jpg"), b"/etc/passwd")), 422),
    "encrypted": (encrypted(b"x" * 100), 422),
    "lying": (lying(b"x" * 5000), 422),
    "no archive": (b"hello", 422),
    "nothing": (b"", 422),
    "cut": (zipped(("a.jpg", b"x" * 5000), how=zipfile.ZIP_STORED)[:200], 422),
    "damaged": (zipped(("a.jpg", b"x" * 5000)).replace(b"PK\x03\x04", b"PK\x03\x05"), 422),
    "no photo": (zipped(("a.txt", b"x")), 422),
    "one name twice": (zipped(("a.jpg", b"x"), ("a.jpg", b"y")), 422),
    "a file and a folder": (zipped(("a.jpg", b"x"), ("a.jpg/b.jpg", b"y")), 422),
}


@pytest.fixture(scope="module")
def small(client_of):
    limits = Limits(max_upload_mb=10, max_files=20, max_jobs=5, max_megapixels=1)
    return client_of(ServeOptions(limits=limits))


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(small, what) -> None:
    data, status = HOSTILE[what]
    answer = small.post("/v1/jobs", files=[("file", ("a.zip", data))])
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (left_over(small), small.get("/v1/jobs").json()) == ([], [])


def big_photo() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (1200, 1000)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("files", "fields", "status"),
    [
        ([("a.jpg", bytes(10_500_000))], {}, 413),
        ([("a.jpg", bytes(12_500_000))], {}, 413),
        ([(f"{k}.jpg", b"") for k in range(21)], {}, 413),
        ([("a.png", big_photo())], {}, 413),
        ([], {"settings": "{}"}, 415),
        ([("a.txt.zip", zipped())], {}, 422),
        ([(".hidden.jpg", b"x")], {}, 422),
        ([("a.jpg", b"x")], {"settings": "{"}, 422),
        ([("a.jpg", b"x")], {"settings": "[]"}, 422),
        ([("a.jpg", b"x")], {"settings": '{"units": "nothing:1"}', "more": "1"}, 422),
        ([("a.jpg", b"x")], {"settings": '{"mark": "c2pa"}'}, 422),
    ],
)
def test_uploads_beyond_limits_are_refused_and_leave_nothing(small, files, fields, status) -> None:
    answer = small.post("/v1/jobs", files=[("file", one) for one in files], data=fields)
    assert answer.status_code == status, answer.text
    assert (left_over(small), small.get("/v1/jobs").json()) == ([], [])


def test_a_full_disk_is_reported_before_and_during_an_upload(client_of, jpeg, monkeypatch) -> None:
    client = client_of(ServeOptions(limits=Limits(min_free_mb=10**9)))
    answer = client.post("/v1/jobs", files=[("file", ("a.jpg", jpeg))])
    assert (answer.status_code, left_over(client)) == (507, [])


@pytest.mark.parametrize("name", ["a.jpg", "a.zip"])
def test_a_disk_that_fills_up_during_an_upload_is_reported(client_of, monkeypatch, name) -> None:
    client, free = client_of(), iter([10**12, *[0] * 9])
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    answer = client.post("/v1/jobs", files=[("file", (name, bytes(40_000_000)))])
    assert (answer.status_code, left_over(client), client.get("/v1/jobs").json()) == (507, [], [])


def test_skipped_files_count_too(small) -> None:
    answer = small.post("/v1/jobs", files=[("file", (f"{k}.txt", b"")) for k in range(21)])
    assert (answer.status_code, left_over(small)) == (413, [])


def test_archives_count_together(small) -> None:
    half = zipped(("a.jpg", bytes(6_000_000)))
    answer = small.post("/v1/jobs", files=[("file", ("a.zip", half)), ("file", ("b.zip", half))])
    assert (answer.status_code, left_over(small)) == (413, [])


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (("a.webm", "a.webm.mp4"), 422),
        (("a.mp4", "videos/a.mp4/b.jpg"), 422),
        (("a.mp4", "videos/a.mp4.review/track-001.jpg"), 422),
        (("a.mp4", "a.mp4.review/b.mp4"), 422),
        (("a.mp4", "videos/b.jpg", "videos/a.mp4"), 201),
    ],
)
def test_results_with_the_same_path_are_refused(client, jpeg, names, status) -> None:
    files = [("file", (name, jpeg)) for name in names]
    answer = client.post("/v1/jobs", files=files, data={"settings": json.dumps(NONE)})
    assert answer.status_code == status, answer.text
    if status == 201:
        client.ended(answer.json()["id"])
        client.delete(f"/v1/jobs/{answer.json()['id']}")


def test_settings_that_the_bundle_lacks_are_refused_at_once(small) -> None:
    for settings in ({"preset": "x"}, {"units": "nothing:1"}, {"region": "full"}):
        answer = small.post("/v1/jobs", files=[("file", ("a.jpg", b"x"))], data={"settings": json.dumps(settings)})
        assert (answer.status_code, left_over(small)) == (422, []), settings


def test_an_unreadable_header_defers_the_pixel_limit_to_the_job(client_of, jpeg, monkeypatch) -> None:
    client = client_of(ServeOptions(limits=Limits(max_megapixels=1)))
    monkeypatch.setattr(uploads.Image, "open", lambda *_, **__: fail())
    job = start(client, [("a.jpg", jpeg), ("b.png", big_photo())])
    (withheld,) = client.ended(job)["withheld"]
    assert (withheld["input"], "million" in withheld["error"]) == ("b.png", True)


def fail() -> None:
    raise OSError("a format that Pillow does not know")


def test_the_number_of_jobs_per_person_is_limited(small, jpeg) -> None:
    jobs = [start(small, [("a.jpg", jpeg)]) for _ in range(5)]
    answer = small.post("/v1/jobs", files=[("file", ("a.jpg", jpeg))])
    assert answer.status_code == 429
    for job in jobs:
        small.ended(job)
        assert small.delete(f"/v1/jobs/{job}").status_code == 204
    assert left_over(small) == []


def test_a_job_is_cancelled_and_retried(client, jpeg) -> None:
    job = start(client, [(f"{k}.jpg", jpeg) for k in range(40)], {"seed": 7})
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 409
    assert client.get(f"/v1/jobs/{job}/download").status_code == 409
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 200
    assert client.ended(job)["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 409
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 200
    body = client.ended(job)
    assert (body["state"], body["faces"]) == ("done", {"anonymised": 40})
    lines = [json.loads(line)["input"] for line in downloaded(client, job)[NAME].splitlines()]
    assert sorted(lines) == sorted({f"{k}.jpg" for k in range(40)}), "no photo was done twice"


def test_a_running_job_is_deleted_completely(client, jpeg) -> None:
    job = start(client, [(f"{k}.jpg", jpeg) for k in range(40)], {"seed": 7})
    time.sleep(0.3)
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert job not in {path.name for path in left_over(client)}


def test_jobs_expire(client_of, jpeg, tmp_path) -> None:
    options = ServeOptions(data=tmp_path / "data", expire_hours=1e-6)
    client = client_of(options)
    job = start(client, [("a.jpg", jpeg)])
    client.service.worker.stop()
    client.service.worker.remove_expired()
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert left_over(client) == []


def test_a_job_expires_while_another_one_runs(client_of, jpeg, monkeypatch) -> None:
    monkeypatch.setattr(worker, "JANITOR_S", 0.05)
    client = client_of()
    old = start(client, [("a.jpg", jpeg)])
    client.ended(old)
    long = start(client, [(f"{k}.jpg", jpeg) for k in range(60)], {"seed": 7})
    client.service.store.expire(old, 0.0)
    client.service.store.expire(long, 0.0)
    while old in {path.name for path in left_over(client)}:
        assert client.get(f"/v1/jobs/{long}").json()["state"] in ("queued", "running")
    assert client.get(f"/v1/jobs/{old}").status_code == 404
    assert client.delete(f"/v1/jobs/{long}").status_code in (204, 404)


def test_a_restart_resumes_jobs_and_removes_stray_folders(client_of, jpeg, tmp_path) -> None:
    options = ServeOptions(data=tmp_path / "data")
    service = Service(options)  # it is never started, like a service that was killed
    service.close()
    client = client_of(options)
    job = start(client, [("a.jpg", jpeg)])
    client.ended(job)
    store = client.service.store
    client.service.worker.stop()
    store.move(job, "running", among=("done",))
    (client.service.worker.folder("stray")).mkdir()
    again = type(client.service.worker)(store, client.service.networks, client.service.worker.folder("x").parent)
    again.start()
    assert client.ended(job)["state"] == "done"
    again.stop()
    assert [path.name for path in left_over(client)] == [job]


@pytest.mark.slow
def test_a_video_gives_the_command_lines_output(client, jpeg, tmp_path) -> None:
    pytest.importorskip("av", reason="videos need PyAV: pip install 'styleid[video]'")
    source = ROOT / "examples/people.mp4"
    job = start(client, [("people.mp4", source.read_bytes()), ("a.jpg", jpeg)], {"seed": 5})
    body = client.ended(job, 600)
    assert (body["state"], body["withheld"], body["done"]) == ("done", [], 2)
    members = downloaded(client, job)
    assert {"a.jpg", "videos/people.mp4", "videos/people.mp4.review/tracks.json"} <= set(members)
    out = tmp_path / "people.mp4"
    assert main(["video", str(source), "--out", str(out), "--seed", "5", "--quiet"]) in (0, 3)
    assert members["videos/people.mp4"] == out.read_bytes()
