"""Read multipart forms while they arrive, without files in the system's temporary folder.

Starlette's reader stores uploads in temporary files until the whole form has arrived. This reader passes each chunk
to its destination at once, and ends a request as soon as it exceeds a limit.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol
from urllib.parse import unquote

import anyio
import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from styleid.serve.problems import ProblemError


class Sink(Protocol):
    """Receives the bytes of a file."""

    def write(self, data: bytes, /) -> Any:
        """Take the next bytes."""
        ...

    def close(self) -> None:
        """End the file, complete or not."""
        ...


OpenFile = Callable[[str, str], Sink]
"""Called with a part's field and file name; returns the sink for its bytes."""

_MOST_FIELDS = 64
_MOST_FIELD_BYTES = 65_536
_MOST_HEADER_BYTES = 8_192
_FORM_BYTES = 1_000_000
"""Largest size of a form beyond its files, in bytes."""
_MOST_DIGITS = 20
SILENT_S = 60.0
"""Seconds that a client may send nothing before its request ends."""


async def receive_form(request: Request, open_file: OpenFile, most_bytes: int) -> dict[str, str]:
    """Read a multipart form.

    Args:
        request: A request whose body has not been read yet.
        open_file: Called with the field and file name of each file; returns the sink for its bytes, or raises
            ProblemError to refuse the file.
        most_bytes: Largest size of all files together, in bytes.

    Returns:
        The fields that are not files, by name.

    Raises:
        ProblemError: The form is broken or incomplete (400), the client sends nothing for a minute (408), the form is
            too large (413), or the body is not a multipart form (415).
    """
    if announced_bytes(request.headers) > most_bytes + _FORM_BYTES:
        raise too_large(most_bytes)
    reader, left = _Reader(open_file, most_bytes), most_bytes + _FORM_BYTES
    try:
        reader.begin(_boundary(request))
        async for chunk in _chunks(request):
            left -= len(chunk)  # bytes outside the parts count too
            if left < 0:
                raise too_large(most_bytes)
            reader.feed(chunk)
        reader.end()
    except FormParserError as error:
        raise ProblemError(400, "The multipart form is broken.") from error
    except ClientDisconnect as error:
        raise ProblemError(400, "The request ended before all of it had arrived.") from error
    finally:
        reader.close()
    return reader.fields


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """Yield a request's body as it arrives; raises ProblemError (408) after a timeout."""
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(SILENT_S):
                chunk = await anext(stream, None)
        except TimeoutError as error:
            raise ProblemError(408, f"Nothing was sent for {SILENT_S:g} seconds.") from error
        if chunk is None:
            return
        yield chunk


def announced_bytes(headers: Headers) -> int:
    """Return the announced length of a request's body; 0 if none is announced."""
    announced = headers.get("content-length", "")
    return int(announced[:_MOST_DIGITS]) if announced.isdecimal() else 0


def too_large(most_bytes: int) -> ProblemError:
    """Return the problem of a request that is too large."""
    return ProblemError(413, f"At most {most_bytes / 1e6:g} MB are taken at once.")


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind.lower() != b"multipart/form-data" or not boundary:
        raise ProblemError(415, "Send a multipart/form-data form, with the photo in the field 'file'.")
    return boundary


class _Reader:
    """Parses a form."""

    def __init__(self, open_file: OpenFile, most_bytes: int) -> None:
        self.fields: dict[str, str] = {}
        self._open, self._most, self._left = open_file, most_bytes, most_bytes
        self._file: Sink | None = None
        self._field, self._text = "", bytearray()
        self._header_name, self._header_value = bytearray(), bytearray()
        self._disposition = b""
        self._whole = False

    def begin(self, boundary: bytes) -> None:
        """Prepare to split the body at a boundary."""
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header_name,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._open_part,
            "on_part_data": self._on_data,
            "on_part_end": self._end_part,
            "on_end": self._on_end,
        }
        self._parser = python_multipart.MultipartParser(boundary, callbacks)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        if chunk:
            self._parser.write(chunk)

    def end(self) -> None:
        """End the form; raises ProblemError if its last part is incomplete."""
        self._parser.finalize()
        if not self._whole:
            raise ProblemError(400, "The multipart form ends before its last part.")

    def close(self) -> None:
        """Close an unfinished file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._disposition, self._field = b"", ""
        self._text = bytearray()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        _extend(self._header_name, data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        _extend(self._header_value, data[start:end])

    def _on_header_end(self) -> None:
        if bytes(self._header_name).lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def _open_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        if not self._field:
            raise ProblemError(400, "A part of the multipart form has no name.")
        if b"filename" in options:
            self._file = self._open(self._field, _file_name(options[b"filename"]))
        elif len(self.fields) >= _MOST_FIELDS:
            raise ProblemError(413, f"At most {_MOST_FIELDS} fields are accepted.")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is None:
            _extend(self._text, data[start:end], _MOST_FIELD_BYTES)
            return
        self._left -= end - start
        if self._left < 0:
            raise too_large(self._most)
        self._file.write(data[start:end])

    def _end_part(self) -> None:
        if self._file is None:
            self.fields[self._field] = self._text.decode("utf-8", "replace")
        self.close()

    def _on_end(self) -> None:
        self._whole = True


def _extend(to: bytearray, data: bytes, most: int = _MOST_HEADER_BYTES) -> None:
    if len(to) + len(data) > most:
        raise ProblemError(413, "A field or header of the multipart form is too long.")
    to += data


def _file_name(raw: bytes) -> str:
    """Return a file's name with the percent escapes of clients decoded."""
    name = raw.decode("utf-8", "replace")
    for escaped in ("%22", "%0D", "%0A"):
        name = name.replace(escaped, unquote(escaped))
    return name
