"""Single photos: results and errors equal to those of the command line, and limits."""

import io
import json
from collections.abc import AsyncIterator

import anyio
import numpy as np
import pytest
from PIL import Image

from styleid.cli import main
from styleid.engine.journal import NAME
from styleid.media.formats.parse.sniff import SUFFIXES
from styleid.serve import forms
from styleid.serve.options import Limits, ServeOptions
from styleid.serve.single import MEDIA_TYPES

pytestmark = pytest.mark.versions


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 60)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("fields", [{"seed": "7"}, {"seed": "7", "method": "none", "obscure": "blur"}])
def test_the_answer_has_the_command_lines_bytes(client, jpeg, tmp_path, fields) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg)
    options = [text for name, value in fields.items() for text in ("--" + name, value)]
    assert main(["anonymize", str(tmp_path / "a.jpg"), "--out", str(tmp_path / "out"), "--quiet", *options]) == 0
    answer = client.post("/v1/anonymize", files={"file": ("a.jpg", jpeg)}, data=fields)
    assert answer.status_code == 200
    assert answer.content == (tmp_path / "out/a.jpg").read_bytes()
    assert answer.headers["content-type"] == "image/jpeg"
    (line,) = (tmp_path / "out" / NAME).read_text().splitlines()
    found = json.loads(line)["faces"]
    assert int(answer.headers["styleid-faces"]) == len(found) == 1
    assert int(answer.headers["styleid-obscured"]) == ("method" in fields)
    assert int(answer.headers["styleid-anonymised"]) == ("method" not in fields)


def test_faces_are_detected_where_the_journal_has_them(client, jpeg) -> None:
    answer = client.post("/v1/detect", files={"file": ("a.jpg", jpeg)})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["width"], found["height"]) == (256, 256)
    (face,) = found["faces"]
    x0, y0, x1, y1 = face["box"]
    assert 0 < x0 < x1 < 256
    assert 0 < y0 < y1 < 256
    assert face["score"] > 0.5
    assert np.array(face["landmarks"]).shape == (5, 2)


@pytest.mark.parametrize("path", ["/v1/anonymize", "/v1/detect"])
@pytest.mark.parametrize(
    ("file", "fields", "status", "reason"),
    [
        (b"", {}, 422, "the file is empty"),
        (b"hello", {}, 422, "it is text"),
        (b"\xff\xd8\xff\xe0broken", {}, 422, ""),
        (png(8, 8)[:50], {}, 422, ""),
        (png(2001, 1000), {}, 413, "At most 2 million pixels"),
        (bytes(1_100_000), {}, 413, "At most 1 MB"),
        (bytes(4_100_000), {}, 413, "At most 1 MB"),
        (png(8, 8), {"colour": "red"}, 422, "colour"),
        (png(8, 8), {"seed": "-1"}, 422, "seed"),
        (png(8, 8), {"privacy": "secret"}, 422, "privacy"),
        (png(8, 8), {"strength": "nan"}, 422, "strength"),
        (png(8, 8), {f"field{k}": "1" for k in range(80)}, 413, "fields"),
        (png(8, 8), {"units": "x" * 70_000}, 413, "too long"),
    ],
)  # fmt: skip
def test_unusable_uploads_are_refused_with_the_reason(client_small, path, file, fields, status, reason) -> None:
    if path == "/v1/detect" and "privacy" in fields:
        fields = {"obscure": "x"}
        reason = "obscure"
    answer = client_small.post(path, files={"file": ("a.png", file)}, data=fields)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert reason in body["detail"]
    assert "/" not in body["detail"].replace("multipart/form-data", "")


@pytest.fixture(scope="module")
def client_small(client_of):
    return client_of(ServeOptions(limits=Limits(max_photo_mb=1, max_megapixels=2)))


def test_a_photo_without_faces_is_refused_where_faces_are_required(client) -> None:
    answer = client.post("/v1/anonymize", files={"file": ("a.png", png(64, 64))}, data={"require_faces": "true"})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "no face was found, and `require_faces` is set",
    )


BOUNDARY = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n'


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"hello", "text/plain", 415),
        (b"", BOUNDARY, 400),
        (b"hello", BOUNDARY, 400),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc', BOUNDARY, 400),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nabc\r\n--b--\r\n", BOUNDARY, 400),
        (b"--b\r\n" + b"A" * 9000 + b": x\r\n\r\nabc\r\n--b--\r\n", BOUNDARY, 400),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--b--\r\n', BOUNDARY, 422),
        (b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nabc\r\n--b--\r\n', BOUNDARY, 422),
        (PART * 2 + b"--b--\r\n", BOUNDARY, 422),
    ],
)  # fmt: skip
def test_broken_forms_are_refused(client, body, kind, status) -> None:
    answer = client.post("/v1/detect", content=body, headers={"content-type": kind})
    assert answer.status_code in (status, 413 if status == 400 else status), answer.text  # 413: older parser
    assert answer.json()["status"] == answer.status_code


def test_a_silent_client_times_out(client, monkeypatch) -> None:
    monkeypatch.setattr(forms, "SILENT_S", 0.05)

    async def chunks() -> AsyncIterator[bytes]:
        yield PART
        await anyio.sleep(5)
        yield b"--b--\r\n"

    answer = client.post("/v1/detect", content=chunks(), headers={"content-type": BOUNDARY})
    assert (answer.status_code, "Nothing was sent" in answer.json()["detail"]) == (408, True)


def test_bytes_outside_the_parts_of_a_form_count(client_small) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield PART + b"--b--\r\n"
        for _ in range(30):
            yield bytes(100_000)

    answer = client_small.post("/v1/detect", content=chunks(), headers={"content-type": BOUNDARY})
    assert answer.status_code == 413


def test_every_format_has_a_media_type() -> None:
    assert set(MEDIA_TYPES) == set(SUFFIXES)


def test_file_names_lose_folders_and_keep_unicode(client) -> None:
    for given, kept in [("../../etc/passwd", "passwd"), ("C:\\photos\\ä b.png", "%C3%A4%20b.png"), ('a"b', "a%22b")]:
        answer = client.post("/v1/anonymize", files={"file": (given, png(64, 64))})
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{kept}"


def test_requests_beyond_the_queue_get_429(client_of, portal, jpeg) -> None:
    client = client_of(ServeOptions(limits=Limits(max_waiting=1)))
    statuses: list[int] = []

    async def ask() -> None:
        answer = await client.ask("POST", "/v1/detect", files={"file": ("a.jpg", jpeg)})
        statuses.append(answer.status_code)

    async def crowd() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(24):
                group.start_soon(ask)

    portal.call(crowd)
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 3


def test_metrics_count_photos_and_faces(client_of, jpeg) -> None:
    client = client_of()
    client.post("/v1/anonymize", files={"file": ("a.jpg", jpeg)}, data={"method": "none"})
    client.post("/v1/anonymize", files={"file": ("a.png", png(64, 64))}, data={"require_faces": "1"})
    lines = client.get("/metrics").text.splitlines()
    assert 'styleid_photos_total{result="written"} 1' in lines
    assert 'styleid_photos_total{result="withheld"} 1' in lines
    assert 'styleid_faces_total{action="obscured"} 1' in lines
    assert 'styleid_requests_total{method="POST",status="422"} 1' in lines
