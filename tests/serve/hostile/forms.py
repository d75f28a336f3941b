"""Hostile forms, settings and HTTP."""

from __future__ import annotations

import json
import random

from tests.serve.hostile.archives import zipped
from tests.serve.hostile.pictures import saved
from tests.serve.hostile.requests import (
    BOUNDARY,
    DETECT,
    FORM,
    JOBS,
    MAX_FILES,
    MAX_PHOTO_MB,
    MAX_UPLOAD_MB,
    REFUSED,
    SINGLE,
    Case,
    chunked,
    form,
    part,
    request,
    upload,
)


def large_file(rng: random.Random) -> Case:
    """A file or a form above the limit, with an announced length or in chunks without one."""
    path, most = rng.choice([(SINGLE, MAX_PHOTO_MB), (DETECT, MAX_PHOTO_MB), (JOBS, MAX_UPLOAD_MB)])
    size = most * 1_000_000 + rng.choice([1, 200_000, 2_000_000])
    body = part("file", "a.jpg", bytes(size)) + b"--ab12cd34--\r\n"
    if rng.random() < 0.5:
        return Case("too large a file", request("POST", path, body, **FORM))
    if rng.random() < 0.3:  # bytes after the end of the form
        body = part("file", "a.jpg", b"x") + b"--ab12cd34--\r\n" + bytes((most + 2) * 1_000_000)
    return Case("too large a file in chunks", chunked("POST", path, body, **FORM))


def many_parts(rng: random.Random) -> Case:
    """More files or fields than allowed, also of kinds that are skipped."""
    suffix = rng.choice(["jpg", "txt", "zip"])
    files = [part("file", f"{k}.{suffix}", b"") for k in range(rng.choice([MAX_FILES + 1, 3000]))]
    fields = [part(f"f{k}", None, b"1") for k in range(rng.choice([65, 5000]))]
    which = rng.choice([files, fields])
    return Case("many parts", form(JOBS, *which))


def broken_form(rng: random.Random) -> Case:
    """A form that is truncated, has a missing or wrong boundary, or parts without names."""
    whole = part("file", "a.jpg", b"abc")
    path = rng.choice([JOBS, SINGLE, DETECT])
    made = rng.choice([
        lambda: form(path, whole, end=b""),
        lambda: form(path, whole[: rng.randrange(1, len(whole))], end=b""),
        lambda: form(path, b"", end=b""),
        lambda: form(path, whole, content_type="multipart/form-data"),
        lambda: form(path, whole, content_type="multipart/form-data; boundary=" + "x" * 5000),
        lambda: form(path, whole, content_type="multipart/form-data; boundary=other"),
        lambda: form(path, whole, content_type=rng.choice(["text/plain", "application/json", "image/jpeg", "x", "é"])),
        lambda: request("POST", path, whole),
        lambda: form(path, b"--ab12cd34\r\n\r\nabc\r\n"),
        lambda: form(path, b"--ab12cd34\r\nContent-Disposition: form-data\r\n\r\nabc\r\n"),
        lambda: form(path, b'--ab12cd34\r\nContent-Disposition: form-data; name="\r\n\r\nabc\r\n'),
        lambda: form(path, b"--ab12cd34\r\nContent-Disposition: " + b"x" * 20_000 + b"\r\n\r\nabc\r\n"),
        lambda: form(path, b"--ab12cd34\r\n" + b"x" * 20_000 + b": 1\r\n\r\nabc\r\n"),
        lambda: form(path, b"--ab12cd34\r\n" + b"X-A: 1\r\n" * 5000 + b"\r\nabc\r\n"),
        lambda: form(path, part("other", "a.jpg", b"abc")),
        lambda: form(path, part("file", None, b"abc")),
        lambda: form(path, part("file", "a.jpg", b"x" * 10), part("settings", None, b"1" * 70_000)),
        lambda: form(path, part("file", b"a\r\nContent-Type: text/html.jpg", b"abc"), end=b""),
    ])()  # fmt: skip
    return Case("a broken form", made)


def wrong_settings(rng: random.Random) -> Case:
    """Settings that are not JSON or have invalid values."""
    text = rng.choice([
        "{", "[]", "null", "1", '"x"', "[" * 60_000, '{"a":' * 20_000, '{"seed": NaN}', '{"seed": 1e999}',
        '{"seed": -1}', '{"seed": ' + "9" * 6000 + "}", '{"seed": 1.5}', '{"strength": NaN}', '{"strength": Infinity}',
        '{"privacy": NaN}', '{"privacy": -1}', '{"privacy": "\\ud800"}', '{"units": "\\ud800"}', '{"\\ud800": 1}',
        '{"units": "nothing:1"}', '{"units": "' + "x" * 60_000 + '"}', '{"region": "../../etc"}', '{"preset": "/x"}',
        '{"threshold": 1e-400}', '{"threshold": "0.5; rm"}', '{"min_face_px": 0}', '{"min_face_px": 1e308, "x": 1}',
        '{"tries": 1000000}', '{"method": "swapper\\u0000"}', '{"bundle": "/etc"}', '{"mark": "c2pa"}', '{"out": "/x"}',
        '{"' + "k" * 30_000 + '": 1}', '{"detector": ["fast"]}', "\ud800", "\x00",
    ])  # fmt: skip
    return Case(f"settings {text[:30]!r}", upload(b"x", "a.jpg", settings=text))


def wrong_fields(rng: random.Random) -> Case:
    """Invalid settings of a single photo, which are fields of the form."""
    name, text = rng.choice([
        ("seed", "NaN"), ("seed", "9" * 5000), ("seed", "1e400"), ("strength", "nan"), ("strength", "inf"),
        ("privacy", "nan"), ("privacy", "1e-400"), ("threshold", "inf"), ("threshold", "5e-324"),
        ("min_face_px", "-inf"), ("units", "\x00"),
        ("units", "../x"), ("unknown", "1"), ("preset", "x" * 60_000), ("tries", "99999999999"), ("\ud800", "1"),
        ("__class__", "1"), ("method", "none; x"), ("obscure", "\u202e"), ("mark_scope", "all;x"), ("n" * 9000, "1"),
    ])  # fmt: skip
    body = part("file", "a.png", saved("PNG"))
    line = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
    return Case(f"{name[:20]}={text[:20]!r}", form(SINGLE, body, line.encode("utf-8", "surrogatepass")))


def breaks_off(rng: random.Random) -> Case:
    """An upload whose sender closes the connection."""
    whole = upload(zipped(("a.jpg", rng.randbytes(200_000))), path=rng.choice([JOBS, SINGLE]))
    cut = rng.randrange(whole.index(b"\r\n\r\n") + 4, len(whole) - 1)
    return Case("a request that breaks off", whole[:cut], frozenset(), breaks_off=True)


def wrong_http(rng: random.Random) -> Case:
    """Invalid HTTP requests."""
    raw, statuses = rng.choice([
        (lambda: request("GET", "/v1/jobs", x_large="a" * 100_000), {200, 400, 431}),
        (lambda: request("GET", "/" + "a" * 100_000), {400, 404, 414}),
        (lambda: request("GET", "/v1/jobs/%00"), {404}),
        (lambda: request("GET", "/v1/jobs/..%2f..%2f..%2fetc%2fpasswd"), {404}),
        (lambda: request("GET", "/static/..%2f..%2fservice.py"), {404}),
        (lambda: request("GET", "/static/../../service.py"), {404}),
        (lambda: request("GET", "/static/%2e%2e/%2e%2e/service.py"), {404}),
        (lambda: request("GET", "/static//etc/passwd"), {404}),
        (lambda: request("GET", "/v1/jobs/" + "9" * 3000), {404}),
        (lambda: request("GET", "/v1/jobs/x/photos/" + "9" * 5000 + "/before"), {404, 422}),
        (lambda: request("GET", "/v1/jobs/x/photos/-1/../before"), {404, 422}),
        (lambda: request("GET", "/v1/jobs", host="example.org"), {421}),
        (lambda: request("GET", "/v1/jobs", host="localhost@example.org"), {421}),
        (lambda: request("GET", "/v1/jobs", origin="http://example.org"), {403}),
        (lambda: request("POST", "/v1/jobs/x/retry", sec_fetch_site="cross-site"), {403}),
        (lambda: request("BREW", "/v1/jobs"), {405}),
        (lambda: request("TRACE", "/"), {405}),
        (lambda: request("CONNECT", "example.org:443"), {400, 404, 405}),
        (lambda: request("POST", "/v1/jobs", b"", content_length="-5"), {400}),
        (lambda: request("POST", "/v1/jobs", b"", content_length="9" * 30), {400, 413}),
        (lambda: request("POST", "/v1/jobs", b"", content_length="99999999999"), {413}),
        (lambda: request("POST", JOBS, b"0\r\n\r\n", content_length="5", transfer_encoding="chunked"), {400, 415}),
        (lambda: request("POST", "/v1/jobs", b"zz\r\n", content_length="", transfer_encoding="chunked"), {400, 415}),
        (lambda: request("POST", "/v1/jobs", b"", transfer_encoding="gzip"), {400, 501}),
        (lambda: b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n", {400, 421, 505}),
        (lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200), {400}),
        (lambda: b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nHost: example.org\r\nConnection: close\r\n\r\n", {400}),
        (lambda: b"GET /v1/jobs HTTP/1.1\r\nConnection: close\r\n\r\n", {400, 421}),
    ])  # fmt: skip
    data = raw()
    return Case(f"HTTP {data[:40]!r}", data, frozenset(statuses))


def wrong_json(rng: random.Random) -> Case:
    """JSON bodies that are too large, too deeply nested or of wrong types."""
    method, path = rng.choice(
        [("PATCH", "/v1/jobs/x/photos/1"), ("PATCH", "/v1/jobs/x/people/p1"), ("POST", "/v1/session")]
    )
    body = rng.choice([
        b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe{", b"{", b"", b"null", b'"x"', b"9" * 10_000,
        b'{"token": "\\ud800"}', b'{"faces": [{"box": [NaN, 0, 1e999, 1]}]}',
        b'{"faces": ' + json.dumps([{}] * 20_000).encode() + b"}",
        b'{"token": "' + b"x" * 3000 + b'"}', b'{"add": [{"box": [0,0,1,1], "do": "\\u0000"}]}', b" " * 2_000_000,
        b'{"do": "keep", "target": 99999999999999999999}', b'{"' + b"k" * 500_000 + b'": 1}',
    ])  # fmt: skip
    kind = rng.choice(["application/json", "text/plain", "application/json; charset=utf-7", "x/y"])
    raw = request(method, path, body, content_type=kind)
    if len(body) > 1_000_000 and rng.random() < 0.5:
        raw = chunked(method, path, body, content_type=kind)
    return Case(f"JSON {body[:20]!r}", raw, REFUSED | {401, 404})
