"""A request that is made to harm, and the bytes of requests and forms."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PHOTO_MB, MAX_UPLOAD_MB, MAX_FILES, MAX_MEGAPIXELS = 2, 10, 50, 4
"""The limits of the service that the requests are made for."""
REFUSED = frozenset({400, 413, 415, 422})
JOBS, SINGLE, DETECT = "/v1/jobs", "/v1/anonymize", "/v1/detect"
BOUNDARY = "ab12cd34"
FORM = {"content_type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass(frozen=True)
class Case:
    """One request. statuses: what it may end in, empty where it breaks off. absent: what the answer may not hold."""

    what: str
    raw: bytes
    statuses: frozenset[int] = REFUSED
    absent: tuple[bytes, ...] = ()
    breaks_off: bool = False


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a request. headers: names with _ for -; content_length="" leaves it out."""
    given = {"host": "localhost", "connection": "close", "content-length": str(len(body))}
    given |= {name.replace("_", "-"): text for name, text in headers.items()}
    lines = [f"{name}: {text}" for name, text in given.items() if text]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])
    return head.encode("latin-1") + body


def part(name: str, file_name: str | bytes | None, data: bytes, kind: str = "") -> bytes:
    """Return one part of a form."""
    line = f'Content-Disposition: form-data; name="{name}"'.encode()
    if file_name is not None:
        raw = file_name if isinstance(file_name, bytes) else file_name.encode("utf-8", "surrogatepass")
        line += b'; filename="' + raw.replace(b'"', b"%22") + b'"'
    more = f"\r\nContent-Type: {kind}".encode() if kind else b""
    return b"--" + BOUNDARY.encode() + b"\r\n" + line + more + b"\r\n\r\n" + data + b"\r\n"


def form(path: str, *parts: bytes, end: bytes = b"--ab12cd34--\r\n", **headers: str) -> bytes:
    """Return a request with a form."""
    return request("POST", path, b"".join(parts) + end, **(FORM | headers))


def upload(data: bytes, name: str | bytes = "a.zip", path: str = JOBS, **fields: str) -> bytes:
    """Return a request that uploads one file."""
    given = [part(key, None, text.encode("utf-8", "surrogatepass")) for key, text in fields.items()]
    return form(path, part("file", name, data, "application/octet-stream"), *given)


def chunked(method: str, path: str, body: bytes, **headers: str) -> bytes:
    """Return a request whose body comes in chunks and announces no length."""
    head = request(method, path, content_length="", transfer_encoding="chunked", **headers)
    pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
    return head + b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"
