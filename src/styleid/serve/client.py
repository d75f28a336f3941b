"""Client for `styleid serve`. This module imports only the standard library.

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
    """Raised when the service refuses a request.

    Attributes:
        status: HTTP status of the response, 400 or more.
        detail: Reason that the service gives.
    """

    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(f"{status}: {detail}")


@dataclass(frozen=True)
class AnonymizedPhoto:
    """An anonymised photo.

    Attributes:
        data: Contents of the image file, in the format of the original.
        figures: Values of the response's `Styleid-` headers by name: faces, anonymised, obscured,
            obscured-against-method (number of faces each) and seconds (processing time).
    """

    data: bytes
    figures: Mapping[str, float]


class DetectedFace(TypedDict):
    """A detected face, in pixels of the upright photo; pixel centres are at integers.

    Attributes:
        box: x0, y0, x1, y1.
        score: Confidence of the detector, 0 to 1.
        landmarks: Five points x, y (eyes, nose tip, mouth corners; left in the image first), or None if unknown.
    """

    box: list[float]
    score: float
    landmarks: list[list[float]] | None


class Detected(TypedDict):
    """The faces of a photo.

    Attributes:
        width: Width of the upright photo, in pixels.
        height: Height of the upright photo, in pixels.
        faces: The detected faces.
    """

    width: int
    height: int
    faces: list[DetectedFace]


class Job(TypedDict):
    """State and progress of a job.

    Attributes:
        id: The job's identifier, which the methods of `Client` take as `job`.
        state: Where the job is between upload and end. The states done, failed and cancelled are final until the job
            is retried or its decisions change.
        created: When the job was made, in seconds since 1970.
        expires: When the service removes the job and its files, in seconds since 1970.
        settings: Settings that the job runs with, including the seed.
        done: Number of files that were processed.
        total: Number of files.
        now: File that is being processed, or an empty string.
        eta_s: Estimated seconds left, or None if unknown.
        error: Why the job failed, or an empty string.
        skipped: Names of files that are neither photos nor videos.
        faces: Number of faces by action, such as anonymised or obscured.
        withheld: Inputs without an output; each has the keys input and error.
    """

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
    """Decision about a detected face.

    Attributes:
        box: Box of the face as the job's review lists it: x0, y0, x1, y1, in pixels of the upright photo.
        do: replace (by default), keep, or how to obscure the face.
        target: Which of several new faces to use, 0 to 1000. Default: 0, the face used without a decision.
    """

    box: Box
    do: NotRequired[Treatment]
    target: NotRequired[int]


class AddedBox(TypedDict):
    """A face that the detector missed; it is obscured.

    Attributes:
        box: x0, y0, x1, y1, in pixels of the upright photo.
        do: How to obscure the face. Default: blur.
    """

    box: Box
    do: NotRequired[Literal["solid", "blur", "pixelate"]]


class TrackWish(TypedDict):
    """Decision about a track of a video.

    Attributes:
        track: Number of the track, from 1.
        do: replace (by default), keep, how to obscure the track, or remove. A removed track is not a face and is left
            as it is.
        target: Which of several new faces to use, 0 to 1000. Default: 0, the face used without a decision.
    """

    track: int
    do: NotRequired[Treatment | Literal["remove"]]
    target: NotRequired[int]


class TrackPersonWish(TypedDict):
    """Decision about all tracks of a person in a video that have no decision of their own.

    Attributes:
        person: Number of the person, from 1.
        do: replace (by default), keep, or how to obscure the tracks.
        target: Which of several new faces to use, 0 to 1000. Default: 0, the face used without a decision.
    """

    person: int
    do: NotRequired[Treatment]
    target: NotRequired[int]


class AddedTrack(TypedDict):
    """A face that the detector missed in a video; it is obscured.

    Attributes:
        keys: Rows of frame (from 0), x0, y0, x1, y1, in pixels. Boxes between two rows are interpolated linearly.
        do: How to obscure the face. Default: blur.
    """

    keys: list[list[float]]
    do: NotRequired[Literal["solid", "blur", "pixelate"]]


class Folders(TypedDict):
    """Names of the server's folders.

    Attributes:
        inputs: Folders of originals, for `Client.make_folder_job`.
        outputs: Folders that results can be saved into, for `Client.save`.
    """

    inputs: list[str]
    outputs: list[str]


class Saved(TypedDict):
    """Where results were saved.

    Attributes:
        folder: Name of the server's folder.
        subfolder: Path within that folder.
    """

    folder: str
    subfolder: str


class Client:
    """Connection to a service.

    Use each client from one thread at a time. Every method that sends a request raises these exceptions:

    Raises:
        ServiceError: The service refuses the request.
        OSError: The service cannot be reached, does not respond in time, or a local file cannot be read or written.
        http.client.HTTPException: The response is not valid HTTP or ends early.
    """

    def __init__(
        self, address: str, token: str = "", timeout_s: float = 600.0, tls: ssl.SSLContext | None = None
    ) -> None:
        """Prepare a client. The connection is opened by the first request.

        Args:
            address: URL of the service, such as http://127.0.0.1:8765. A path in it is ignored.
            token: Token made with `styleid serve token add NAME`; empty if the service needs none.
            timeout_s: Seconds that a socket operation may take.
            tls: TLS settings for an https address. Default: those of `ssl.create_default_context`.

        Raises:
            ValueError: The address does not begin with http:// or https://, or names no host.
        """
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{address!r} does not begin with http:// or https://.")
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
        """Anonymise one photo.

        Args:
            photo: Path of the photo. Its file name and the seed decide which new faces are drawn.
            **settings: Options of `styleid anonymize` by name, such as seed=7 or method="none".

        Returns:
            The anonymised photo, which the service does not store.
        """
        response = self._send_form("/v1/anonymize", [Path(photo)], {k: _text(v) for k, v in settings.items()})
        figures = {
            name.lower().removeprefix("styleid-"): float(value)
            for name, value in response.getheaders()
            if name.lower().startswith("styleid-")
        }
        return AnonymizedPhoto(response.read(), figures)

    def detect(self, photo: Path | str, **settings: Any) -> Detected:
        """Detect the faces of one photo.

        Args:
            photo: Path of the photo.
            **settings: Options of `styleid anonymize` by name, such as detector="thorough" or threshold=0.5.

        Returns:
            The photo's size and its faces.
        """
        return json.load(self._send_form("/v1/detect", [Path(photo)], {k: _text(v) for k, v in settings.items()}))

    # ------------------------------------------------------------------- jobs

    def make_job(self, files: Iterable[Path | str], **settings: Any) -> Job:
        """Upload files and queue a job.

        Args:
            files: Photos, videos and ZIP files. A folder is uploaded with all files in it and its subfolders.
            **settings: Options of `styleid anonymize` by name; values must be representable in JSON.

        Returns:
            The queued job.
        """
        fields = {"settings": json.dumps(settings)}
        return json.load(self._send_form("/v1/jobs", [Path(file) for file in files], fields))

    def make_folder_job(self, folder: str, subfolder: str = "", **settings: Any) -> Job:
        """Queue a job for files that lie on the server.

        Args:
            folder: One of the names in `folders()["inputs"]`.
            subfolder: Path within that folder. Default: the whole folder.
            **settings: Options of `styleid anonymize` by name; values must be representable in JSON.

        Returns:
            The queued job.
        """
        fields = {"folder": folder, "subfolder": subfolder, "settings": json.dumps(settings)}
        return json.load(self._send_form("/v1/jobs", [], fields))

    def folders(self) -> Folders:
        """Return the names of the server's folders."""
        return self._json("GET", "/v1/folders")

    def jobs(self) -> list[Job]:
        """Return the jobs of the token's owner, the newest first."""
        return self._json("GET", "/v1/jobs")

    def job(self, job: str) -> Job:
        """Return a job's state and progress."""
        return self._json("GET", f"/v1/jobs/{job}")

    def wait(self, job: str, poll_s: float = 0.5) -> Job:
        """Wait until a job is done, failed or cancelled.

        Args:
            job: Identifier of the job.
            poll_s: Seconds between two requests for the job's state.

        Returns:
            The job. The method does not raise an exception if the job failed; check its state.
        """
        while (found := self.job(job))["state"] not in _ENDED:
            time.sleep(poll_s)
        return found

    def cancel(self, job: str) -> Job:
        """Cancel a job after the photos in progress. Finished files stay; `retry` continues the job."""
        return self._json("POST", f"/v1/jobs/{job}/cancel")

    def retry(self, job: str) -> Job:
        """Queue a job again that has ended, to process the files that failed or were not processed."""
        return self._json("POST", f"/v1/jobs/{job}/retry")

    def delete(self, job: str) -> None:
        """Cancel a job that has not ended, and remove it with all its files, including its results."""
        self._request("DELETE", f"/v1/jobs/{job}").read()

    def download(self, job: str, to: Path | str) -> Path:
        """Download the results of a job that has ended. The service removes the job ten minutes later.

        Args:
            job: Identifier of the job.
            to: Path of the ZIP file to write. An existing file is replaced once the download is complete.

        Returns:
            The path of the ZIP file.
        """
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
        """Copy the results of a job that has ended into a folder on the server.

        The service removes the job ten minutes later.

        Args:
            job: Identifier of the job.
            folder: One of the names in `folders()["outputs"]`.
            subfolder: New subfolder for the results; it must not exist. Default: styleid- and the job's identifier.

        Returns:
            The folder and the subfolder.
        """
        return self._json("POST", f"/v1/jobs/{job}/save", {"folder": folder, "subfolder": subfolder})

    # ----------------------------------------------------------------- review

    def faces(self, job: str) -> dict[str, Any]:
        """Return the faces and tracks of a job, with risks, people and decisions.

        Args:
            job: Identifier of the job.

        Returns:
            The job's review: photos and videos (those without an output first, then by falling risk), people
            (decisions by person) and can_undo. The service describes the fields in /openapi.json.
        """
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
        """Replace all decisions about one photo, and queue the job again.

        Args:
            job: Identifier of the job, which must be done, queued or running.
            photo: Number of the photo in the review.
            faces: Decisions about detected faces.
            add: Faces that the detector missed.
            remove: Boxes of detections that are not faces; they are left as they are.
            approved: Whether you approve the photo.

        Returns:
            The job's review, as from `faces`.
        """
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
        """Replace all decisions about one video, and queue the job again.

        Args:
            job: Identifier of the job, which must be done, queued or running.
            video: Number of the video in the review.
            tracks: Decisions about single tracks.
            people: Decisions about all tracks of a person.
            add: Faces that the detector missed.
            approved: Whether you approve the video.

        Returns:
            The job's review, as from `faces`.
        """
        wishes = {"tracks": list(tracks), "people": list(people), "add": list(add), "approved": approved}
        return self._json("PATCH", f"/v1/jobs/{job}/videos/{video}", wishes)

    def decide_person(self, job: str, person: str, do: Treatment | None) -> dict[str, Any]:
        """Decide about all faces of a person in a job's photos that have no decision of their own.

        Args:
            job: Identifier of the job, which must be done, queued or running.
            person: Name of the person in the review, such as p1.
            do: What to do with the faces, or None to withdraw the decision.

        Returns:
            The job's review, as from `faces`.
        """
        return self._json("PATCH", f"/v1/jobs/{job}/people/{quote(person, safe='')}", {"do": do})

    def approve(self, job: str) -> dict[str, Any]:
        """Approve all photos and videos that are neither withheld nor approved yet; return the review."""
        return self._json("POST", f"/v1/jobs/{job}/approve")

    def undo(self, job: str) -> dict[str, Any]:
        """Undo the last change of decisions; return the review."""
        return self._json("POST", f"/v1/jobs/{job}/undo")

    def decisions(self, job: str) -> dict[str, Any]:
        """Return the decisions file of a job that is done, as --decisions of the command line reads it."""
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
