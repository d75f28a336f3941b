"""A client of `styleid serve`, in one module that needs nothing but Python.

>>> from styleid.serve.client import Client
>>> with Client("http://127.0.0.1:8765") as desk:  # doctest: +SKIP
...     photo = desk.anonymize("group.jpg", seed=7)
...     Path("anonymised.jpg").write_bytes(photo.data)
"""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NotRequired, Self, TypedDict
from urllib.parse import quote, urlsplit

State = Literal["receiving", "queued", "running", "done", "failed", "cancelled"]
Treatment = Literal["replace", "keep", "solid", "blur", "pixelate"]
Box = tuple[float, float, float, float] | list[float]

_CHUNK = 1 << 16
_ENDED = ("done", "failed", "cancelled")


class ServiceError(Exception):
    """The service refused a request. Fields: status, detail."""

    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(f"{status}: {detail}")


@dataclass(frozen=True)
class AnonymizedPhoto:
    """One photo as it came back. data: the file. figures: how many faces, and what became of them."""

    data: bytes
    figures: Mapping[str, float]


class DetectedFace(TypedDict):
    """Where a face is, in pixels of the upright photo."""

    box: list[float]
    score: float
    landmarks: list[list[float]] | None


class Detected(TypedDict):
    """The faces of a photo."""

    width: int
    height: int
    faces: list[DetectedFace]


class Job(TypedDict):
    """A job, as far as it is."""

    id: str
    state: State
    created: float
    expires: float
    settings: dict[str, Any]
    done: int
    total: int
    now: str
    eta_s: float | None
    error: str
    skipped: list[str]
    faces: dict[str, int]
    withheld: list[dict[str, str]]


class FaceWish(TypedDict):
    """What is done with a face that was found."""

    box: Box
    do: NotRequired[Treatment]
    target: NotRequired[int]


class AddedBox(TypedDict):
    """Where a face was missed, and how it is hidden."""

    box: Box
    do: NotRequired[Literal["solid", "blur", "pixelate"]]


class TrackWish(TypedDict):
    """What is done with a track of a video; `remove` leaves it as it is, since it is no face."""

    track: int
    do: NotRequired[Treatment | Literal["remove"]]
    target: NotRequired[int]


class TrackPersonWish(TypedDict):
    """What is done with all tracks of a person of a video."""

    person: int
    do: NotRequired[Treatment]
    target: NotRequired[int]


class AddedTrack(TypedDict):
    """Where a face was missed in a video: rows of frame, x0, y0, x1, y1, with straight lines between them."""

    keys: list[list[float]]
    do: NotRequired[Literal["solid", "blur", "pixelate"]]


class Folders(TypedDict):
    """The folders of the server that are named: of originals, and to save into."""

    inputs: list[str]
    outputs: list[str]


class Saved(TypedDict):
    """Where results were saved."""

    folder: str
    subfolder: str


class Client:
    """Speak to a service. Every method raises ServiceError where it refuses, and OSError where it is not there."""

    def __init__(
        self, address: str, token: str = "", timeout_s: float = 600.0, tls: ssl.SSLContext | None = None
    ) -> None:
        """Prepare to speak to an address such as http://127.0.0.1:8765.

        token: made with `styleid serve token add NAME`, where the service asks for one. tls: whom to trust, by default
        as Python does.
        """
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{address!r} is no address that begins with http:// or https://.")
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=tls
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection of the last request."""
        self._connection.close()

    # ---------------------------------------------------------- single photos

    def anonymize(self, photo: Path | str, **settings: Any) -> AnonymizedPhoto:
        """Anonymise one photo. settings: as the command line has them, such as seed=7 or method="none"."""
        response = self._send_form("/v1/anonymize", [Path(photo)], {k: _text(v) for k, v in settings.items()})
        figures = {
            name.lower().removeprefix("styleid-"): float(value)
            for name, value in response.getheaders()
            if name.lower().startswith("styleid-")
        }
        return AnonymizedPhoto(response.read(), figures)

    def detect(self, photo: Path | str, **settings: Any) -> Detected:
        """Say where the faces of one photo are."""
        return json.load(self._send_form("/v1/detect", [Path(photo)], {k: _text(v) for k, v in settings.items()}))

    # ------------------------------------------------------------------- jobs

    def make_job(self, files: Iterable[Path | str], **settings: Any) -> Job:
        """Make a job of photos, videos and ZIP files; a folder stands for all files in it."""
        fields = {"settings": json.dumps(settings)}
        return json.load(self._send_form("/v1/jobs", [Path(file) for file in files], fields))

    def make_folder_job(self, folder: str, subfolder: str = "", **settings: Any) -> Job:
        """Make a job of a folder of the server, by the name that whoever runs it has given it, or of a part of it."""
        fields = {"folder": folder, "subfolder": subfolder, "settings": json.dumps(settings)}
        return json.load(self._send_form("/v1/jobs", [], fields))

    def folders(self) -> Folders:
        """List the named folders of the server."""
        return self._json("GET", "/v1/folders")

    def jobs(self) -> list[Job]:
        """List your jobs, the newest first."""
        return self._json("GET", "/v1/jobs")

    def job(self, job: str) -> Job:
        """Tell how far a job is."""
        return self._json("GET", f"/v1/jobs/{job}")

    def wait(self, job: str, poll_s: float = 0.5) -> Job:
        """Wait until a job has ended, and return it."""
        while (found := self.job(job))["state"] not in _ENDED:
            time.sleep(poll_s)
        return found

    def cancel(self, job: str) -> Job:
        """End a job after the photos in hand."""
        return self._json("POST", f"/v1/jobs/{job}/cancel")

    def retry(self, job: str) -> Job:
        """Go on with a job that has ended."""
        return self._json("POST", f"/v1/jobs/{job}/retry")

    def delete(self, job: str) -> None:
        """Remove a job and all its files."""
        self._request("DELETE", f"/v1/jobs/{job}").read()

    def download(self, job: str, to: Path | str) -> Path:
        """Write a job's results into a ZIP file, whole or not at all, and return its path."""
        target = Path(to)
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as file:
                shutil.copyfileobj(self._request("GET", f"/v1/jobs/{job}/download"), file)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def save(self, job: str, folder: str, subfolder: str = "") -> Saved:
        """Save a job's results into a named folder of the server, by default into a subfolder with the job's name."""
        return self._json("POST", f"/v1/jobs/{job}/save", {"folder": folder, "subfolder": subfolder})

    # ----------------------------------------------------------------- review

    def faces(self, job: str) -> dict[str, Any]:
        """List the faces of a job's photos and the tracks of its videos, with risks, people and decisions."""
        return self._json("GET", f"/v1/jobs/{job}/faces")

    def decide(
        self,
        job: str,
        photo: int,
        *,
        faces: Iterable[FaceWish] = (),
        add: Iterable[AddedBox] = (),
        remove: Iterable[Box] = (),
        approved: bool = False,
    ) -> dict[str, Any]:
        """Decide about one photo, by its number; that takes the place of earlier decisions about it."""
        wishes = {"faces": list(faces), "add": list(add), "remove": list(remove), "approved": approved}
        return self._json("PATCH", f"/v1/jobs/{job}/photos/{photo}", wishes)

    def decide_video(
        self,
        job: str,
        video: int,
        *,
        tracks: Iterable[TrackWish] = (),
        people: Iterable[TrackPersonWish] = (),
        add: Iterable[AddedTrack] = (),
        approved: bool = False,
    ) -> dict[str, Any]:
        """Decide about the tracks of one video, by its number; that takes the place of earlier decisions about it."""
        wishes = {"tracks": list(tracks), "people": list(people), "add": list(add), "approved": approved}
        return self._json("PATCH", f"/v1/jobs/{job}/videos/{video}", wishes)

    def decide_person(self, job: str, person: str, do: Treatment | None) -> dict[str, Any]:
        """Decide about all faces of a person; None takes it back."""
        return self._json("PATCH", f"/v1/jobs/{job}/people/{quote(person, safe='')}", {"do": do})

    def approve(self, job: str) -> dict[str, Any]:
        """Approve all photos and videos that are not approved yet."""
        return self._json("POST", f"/v1/jobs/{job}/approve")

    def undo(self, job: str) -> dict[str, Any]:
        """Take back the last decision."""
        return self._json("POST", f"/v1/jobs/{job}/undo")

    def decisions(self, job: str) -> dict[str, Any]:
        """Return the decisions as --decisions of `styleid anonymize` and `styleid video` takes them."""
        return self._json("GET", f"/v1/jobs/{job}/decisions")

    # ---------------------------------------------------------------- sending

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        if body is None:
            return json.load(self._request(method, path))
        headers = {"content-type": "application/json"}
        return json.load(self._request(method, path, json.dumps(body).encode(), headers))

    def _send_form(self, path: str, files: Iterable[Path], fields: Mapping[str, str]) -> http.client.HTTPResponse:
        form = _Form(list(_named(files)), fields)
        headers = {"content-type": form.content_type, "content-length": str(form.length)}
        return self._request("POST", path, iter(form), headers)

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        self._connection.close()  # the service ends connections that were idle, and then a request would fail
        try:
            self._connection.request(method, path, body, {**self._headers, **(headers or {})})
            response = self._connection.getresponse()
        except BaseException:
            self._connection.close()
            raise
        if response.status >= 400:
            raise ServiceError(response.status, _detail(response.read()) or response.reason)
        return response


def _named(files: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Yield each file with the name that it gets in a job; folders are walked."""
    for path in files:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.is_file())
            yield from ((one.relative_to(path).as_posix(), one) for one in inside)
        else:
            yield path.name, path


class _Form:
    """A multipart form, read from its files while it is sent."""

    def __init__(self, files: list[tuple[str, Path]], fields: Mapping[str, str]) -> None:
        self._boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={self._boundary}"
        self._fields = b"".join(self._head(name) + text.encode() + b"\r\n" for name, text in fields.items())
        self._files = [(self._head("file", name), path) for name, path in files]
        self._end = f"--{self._boundary}--\r\n".encode()
        sizes = sum(len(head) + path.stat().st_size + 2 for head, path in self._files)
        self.length = len(self._fields) + sizes + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        yield self._fields
        for head, path in self._files:
            yield head
            with path.open("rb") as file:
                yield from _chunks(file)
            yield b"\r\n"
        yield self._end

    def _head(self, name: str, file_name: str = "") -> bytes:
        line = f'content-disposition: form-data; name="{_quoted(name)}"'
        line += f'; filename="{_quoted(file_name)}"' if file_name else ""
        return f"--{self._boundary}\r\n{line}\r\n\r\n".encode(errors="surrogateescape")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return ""
