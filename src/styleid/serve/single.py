"""Anonymise one photo per request, without writing to the disk."""

from __future__ import annotations

import io
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from styleid.engine.finding import find_faces
from styleid.engine.photo import anonymize_photo
from styleid.errors import ImageError
from styleid.media.containers.errors import TooManyPixelsError
from styleid.media.image import Photo, read_photo_bytes
from styleid.serve.forms import Sink, receive_form
from styleid.serve.problems import ProblemError, documented
from styleid.serve.service import Service, the_service
from styleid.serve.settings import Settings
from styleid.types import Action

router = APIRouter(prefix="/v1", tags=["single photos"])

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WebP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "GIF": "image/gif",
    "AVIF": "image/avif",
    "HEIC": "image/heic",
    "JPEG XL": "image/jxl",
}
_FIGURES = {
    "Styleid-Faces": "how many faces were found",
    "Styleid-Anonymised": "how many of them are new now",
    "Styleid-Obscured": "how many of them are hidden",
    "Styleid-Obscured-Against-Method": "how many are hidden although the method gives new faces",
    "Styleid-Seconds": "how long the work took",
}


class DetectedFace(BaseModel):
    """A face's box, in pixels of the upright photo, pixel centres at integers."""

    box: list[float] = Field(description="x0, y0, x1, y1", examples=[[120.5, 80.0, 210.2, 205.9]])
    score: float = Field(description="how sure the detector is, 0 to 1", examples=[0.94])
    landmarks: list[list[float]] | None = Field(
        description="eyes, nose tip and mouth corners as x, y, left in the image first; null where none are known"
    )


class Detected(BaseModel):
    """The faces of a photo."""

    width: int = Field(examples=[1280])
    height: int = Field(examples=[960])
    faces: list[DetectedFace]


@dataclass
class _Upload:
    """An uploaded photo.

    Attributes:
        data: Contents of the file.
        name: Its file name, without folders.
        settings: Settings of the request.
    """

    data: bytes
    name: str
    settings: Settings


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    file = {"type": "string", "format": "binary", "description": "the photo"}
    fields = {name: _without_null(one) for name, one in schema["properties"].items()}
    form = {"type": "object", "required": ["file"], "properties": {"file": file, **fields}}
    form["additionalProperties"] = False
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a field's schema without null: a form leaves the field out instead."""
    kinds = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    if len(kinds) == len(schema.get("anyOf", [])):
        return schema
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return rest | kinds[0]


_REFUSALS = documented(400, 401, 403, 408, 413, 415, 421, 422, 429)
_FORM = _form(Settings.model_json_schema())


@router.post(
    "/anonymize",
    summary="Anonymise one photo",
    response_class=Response,
    openapi_extra=_FORM,
    responses=_REFUSALS
    | {
        200: {
            "description": "The photo, in the format that it came in",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()},
            "headers": {
                name: {"description": text, "schema": {"type": "number"}, "example": 1}
                for name, text in _FIGURES.items()
            },
        }
    },
)
async def anonymize(request: Request, service: Annotated[Service, Depends(the_service)]) -> Response:
    """Return the photo with new faces, in its own format; the headers contain figures.

    The photo's file name and the seed decide which new faces are drawn, as on the command line.
    """
    async with service.turns.enter():
        upload = await _receive(request, service)
        async with service.turns.work():
            data, kind, figures = await run_sync(_anonymize, service, upload)
    disposition = f"attachment; filename*=UTF-8''{quote(upload.name, safe='')}"
    return Response(data, 200, figures | {"content-disposition": disposition}, MEDIA_TYPES[kind])


@router.post(
    "/detect", summary="Find the faces of one photo", openapi_extra=_FORM, responses=_REFUSALS, response_model=Detected
)
async def detect(request: Request, service: Annotated[Service, Depends(the_service)]) -> Detected:
    """Return the faces of a photo; nothing is changed."""
    async with service.turns.enter():
        upload = await _receive(request, service)
        async with service.turns.work():
            return await run_sync(_detect, service, upload)


async def _receive(request: Request, service: Service) -> _Upload:
    most = service.options.limits.photo_bytes
    files: list[tuple[str, io.BytesIO]] = []

    def open_file(field: str, name: str) -> Sink:
        if field != "file" or files:
            raise ProblemError(422, "Send one photo, in the field 'file'.")
        files.append((PurePosixPath(name.replace("\\", "/")).name or "photo", _Kept()))
        return files[0][1]

    fields = await receive_form(request, open_file, most)
    if not files:
        raise ProblemError(422, "The field 'file' with the photo is missing.")
    name, data = files[0]
    return _Upload(data.getvalue(), name, Settings.read(fields))


class _Kept(io.BytesIO):
    """A buffer that stays readable after `close`."""

    def close(self) -> None:
        """Do nothing, so that the content stays."""


def read_upload(data: bytes, name: str, pixels: int) -> Photo:
    """Read an uploaded photo.

    Args:
        data: Contents of the file.
        name: Its file name.
        pixels: Largest number of pixels.

    Raises:
        ProblemError: The photo has too many pixels (413).
        ImageError: The photo cannot be read.
    """
    try:
        return read_photo_bytes(data, name, max_pixels=pixels)
    except ImageError as error:
        if isinstance(error.__cause__, TooManyPixelsError):
            raise ProblemError(413, f"At most {pixels / 1e6:g} million pixels are accepted.") from error
        raise


def _anonymize(service: Service, upload: _Upload) -> tuple[bytes, str, dict[str, str]]:
    begun = time.perf_counter()
    options = upload.settings
    anonymizer = service.networks.anonymizer(options.anonymize_options())
    photo = read_upload(upload.data, upload.name, service.options.limits.pixels)
    run = options.run_options(service.nowhere, service.options.limits.pixels)
    try:
        data, record = anonymize_photo(upload.name, photo, anonymizer, run)
    except ImageError:
        service.count({"faces": [], "error": True}, time.perf_counter() - begun)
        raise
    seconds = time.perf_counter() - begun
    faces = Counter(str(face["action"]) for face in record["faces"])
    service.count(record, seconds)
    against = sum("reason" in face for face in record["faces"])
    figures = (faces.total(), faces[Action.ANONYMIZED], faces[Action.OBSCURED], against, round(seconds, 3))
    return data, photo.format, {name.lower(): str(value) for name, value in zip(_FIGURES, figures, strict=True)}


def _detect(service: Service, upload: _Upload) -> Detected:
    options = upload.settings.model_copy(update={"method": "none"}).anonymize_options()
    anonymizer = service.networks.anonymizer(options)
    photo = read_upload(upload.data, upload.name, service.options.limits.pixels)
    found = find_faces(photo, anonymizer)
    faces = anonymizer.find(found.photo.image_rgb) if found.faces is None else found.faces
    height, width = photo.image_rgb.shape[:2]
    detected = [
        DetectedFace(
            box=[round(float(v), 1) for v in face.boxes_xyxy[0]],
            score=round(float(face.scores[0]), 3),
            landmarks=_points(face.landmarks_px[0].tolist()),
        )
        for face in faces
    ]
    return Detected(width=width, height=height, faces=detected)


def _points(rows: list[list[float]]) -> list[list[float]] | None:
    known = all(value == value for row in rows for value in row)  # noqa: PLR0124 # NaN is unequal to itself
    return [[round(value, 1) for value in row] for row in rows] if known else None
