"""Hostile requests end in an error without private data, leave no files, and do not affect other requests."""

import io
import json
import os
import re
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.serve import hostile
from tests.serve.conftest import ROOT
from tests.serve.hostile import requests
from tests.serve.hostile.archives import zipped
from tests.serve.hostile.pictures import iso

SEED = 31
FEW, MANY = 4 * len(hostile.KINDS), 506
_TELLING = re.compile(rb"Traceback|\.py\b|site-packages|/usr/|/home/|sqlite|Errno|0x[0-9a-f]{8}", re.IGNORECASE)
_PLAIN = (b"Invalid HTTP request received.", b"Unsupported HTTP version")
"""What uvicorn itself answers to what is no HTTP."""


class Desk:
    """A service in a separate process, with small limits and its own temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.data, self.temporary, self.log = folder / "data", folder / "tmp", folder / "log"
        self.temporary.mkdir()
        limits = {"max-photo-mb": requests.MAX_PHOTO_MB, "max-upload-mb": requests.MAX_UPLOAD_MB,
                  "max-files": requests.MAX_FILES, "max-megapixels": requests.MAX_MEGAPIXELS}  # fmt: skip
        given = [text for name, value in limits.items() for text in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "styleid", "serve", "--port", "0", "--data", str(self.data), *given]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT,
                env=os.environ | {"TMPDIR": str(self.temporary)},
            )  # fmt: skip
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split(" on ")[1].split()[0]
        self.client = httpx.Client(base_url=self.address, timeout=60)
        assert self.client.get("/healthz").status_code == 200

    def send(self, case: requests.Case) -> tuple[int, bytes, bytes]:
        """Send raw bytes; return the status of the response (0 without one), its head and its body."""
        host, port = self.address.removeprefix("http://").split(":")
        answer = b""
        with socket.create_connection((host, int(port)), timeout=60) as one:
            with suppress(ConnectionResetError, BrokenPipeError):  # the service refused before the end of the request
                one.sendall(case.raw)
            if case.breaks_off:
                return 0, b"", b""
            with suppress(ConnectionResetError):
                while chunk := one.recv(1 << 16):
                    answer += chunk
        head, _, body = answer.partition(b"\r\n\r\n")
        return (int(head.split()[1]) if head else 0), head, body

    def left(self) -> set[str]:
        """Return the files on the disk, except for the database and the lock."""
        own = ("lock", "desk.sqlite3", "desk.sqlite3-wal", "desk.sqlite3-shm", "jobs", "tmp")
        found = {path.relative_to(self.data).as_posix() for path in self.data.rglob("*")} - set(own)
        return found | {path.name for path in self.temporary.iterdir()}

    def memory_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def end(self) -> str:
        self.client.close()
        self.process.terminate()
        self.process.communicate(timeout=60)
        return self.log.read_text()


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Desk]:
    one = Desk(tmp_path_factory.mktemp("desk"))
    yield one
    log = one.end()
    assert "Traceback" not in log, log[-3000:]


def wait_until_empty(desk: Desk) -> set[str]:
    """Return the files that are left after the service has noticed a closed connection."""
    left = {"?"}
    for _ in range(200):
        with suppress(FileNotFoundError):  # the file is being removed
            if not (left := desk.left()):
                break
        desk.client.get("/healthz")
    return left


def check(desk: Desk, case: requests.Case) -> None:
    status, head, body = desk.send(case)
    if case.statuses:
        assert status in case.statuses, (case.what, status, body[:500])
    if status >= 400 and not any(told in body for told in _PLAIN):
        assert b"application/problem+json" in head, (case.what, head)
        assert json.loads(body)["status"] == status
        assert len(body) < 5000, case.what
        found = _TELLING.search(body.replace(b"text/plain", b""))
        assert found is None, (case.what, body[:500])
        assert str(desk.data).encode() not in body
    for hidden in case.absent:
        assert hidden not in body, case.what
    assert not wait_until_empty(desk), case.what


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_hostile_requests_are_refused_and_leave_nothing(desk, jpeg, count) -> None:
    fair = {"files": {"file": ("a.jpg", jpeg)}, "data": {"method": "none", "seed": "7"}}
    expected = desk.client.post("/v1/anonymize", **fair)
    assert expected.status_code == 200
    before = 0.0
    for number, case in enumerate(hostile.cases(SEED, count)):
        check(desk, case)
        if number == count // 2:
            before = desk.memory_mib() if sys.platform == "linux" else 0.0
    assert desk.client.get("/v1/jobs").json() == []
    assert desk.client.post("/v1/anonymize", **fair).content == expected.content
    if before:
        assert desk.memory_mib() < before * 1.25 + 20


def test_unusual_names_are_accepted(desk, jpeg) -> None:
    names = ["ä ö ü.jpg", "写真/顔.jpg", "😀.jpg", "a'b & c;$(x).jpg", "%2e%2e%2fa.jpg", "-rf.jpg", "con.jpg"]
    archive = zipped(*((name, jpeg) for name in names))
    made = desk.client.post("/v1/jobs", files=[("file", ("a.zip", archive))], data={"settings": '{"method": "none"}'})
    assert made.status_code == 201, made.text
    job = made.json()["id"]
    while (body := desk.client.get(f"/v1/jobs/{job}").json())["state"] != "done":
        assert body["state"] in ("queued", "running"), body
    with zipfile.ZipFile(io.BytesIO(desk.client.get(f"/v1/jobs/{job}/download").content)) as archive:
        assert set(names) <= set(archive.namelist())
    assert desk.client.delete(f"/v1/jobs/{job}").status_code == 204
    assert desk.left() == set()


def test_a_photo_with_too_many_pixels_is_withheld(desk, jpeg) -> None:
    """The upload cannot read the photo's header, so the job withholds the photo."""
    files = [("file", ("a.jpg", jpeg)), ("file", ("b.heic", iso(b"heic", b"hvc1", 30_000, 30_000)))]
    job = desk.client.post("/v1/jobs", files=files, data={"settings": '{"method": "none"}'}).json()["id"]
    while (body := desk.client.get(f"/v1/jobs/{job}").json())["state"] not in ("done", "failed"):
        pass
    assert body["state"] == "done", body
    assert [one["input"] for one in body["withheld"]] == ["b.heic"]
    assert desk.client.delete(f"/v1/jobs/{job}").status_code == 204
