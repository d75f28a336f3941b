"""A hostile request, and functions that make the bytes of requests and forms."""

from __future__ import annotations

from dataclasses import dataclass

MAX_PHOTO_MB, MAX_UPLOAD_MB, MAX_FILES, MAX_MEGAPIXELS = 2, 10, 50, 4
"""Limits of the service that receives the requests."""
REFUSED = frozenset({400, 413, 415, 422})
JOBS, SINGLE, DETECT = "/v1/jobs", "/v1/anonymize", "/v1/detect"
BOUNDARY = "ab12cd34"
FORM = {"content_type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        what: Description of the case.
        raw: Bytes of the request.
        statuses: Statuses that the response may have; empty if the request is broken off.
        absent: Bytes that the response must not contain.
        breaks_off: Whether the sender closes the connection before the end.
    """

    what: str
    raw: bytes
    statuses: frozenset[int] = REFUSED
    absent: tuple[bytes, ...] = ()
    breaks_off: bool = False


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a request. Names of headers have _ for -; content_length="" omits that header."""
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
