"""Addresses for the review of a job: faces with their risks, decisions, and photos before and after."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from styleid.engine.journal import Journal
from styleid.media.image import read_photo
from styleid.serve import review
from styleid.serve.jobs import CurrentService, OwnJob
from styleid.serve.problems import ProblemError, documented
from styleid.serve.service import Service
from styleid.serve.store import Job, JobFile, Kind
from styleid.serve.tokens import User
from styleid.serve.tracks import decided_video, found_tracks, stamped_video
from styleid.serve.videos import VideoBody, VideoWishes, own_video, video_bodies
from styleid.serve.worker import DECISIONS, OUTPUTS

router = APIRouter(prefix="/v1/jobs/{job}", tags=["review"], responses=documented(401, 403, 404, 421))


def _whole(value: object) -> object:
    """Return 5.0 as 5, since JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Box = Annotated[list[float], Field(min_length=4, max_length=4, examples=[[181.0, 58.0, 270.0, 178.0]])]
Hiding = Literal["solid", "blur", "pixelate"]
Target = Annotated[int, Field(ge=0, le=1000), BeforeValidator(_whole)]
_MOST_FACES = 1000
_JPEG_QUALITY = 85


class FaceWish(BaseModel):
    """Decision about a detected face.

    Attributes:
        box: Box of the face: x0, y0, x1, y1, in pixels of the upright photo.
        do: What to do with the face.
        target: Which of several new faces to use; 0 is the face used without a decision.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    box: Box
    do: Literal["replace", "keep", "solid", "blur", "pixelate"] = "replace"
    target: Target = 0


class AddedBox(BaseModel):
    """A face that was missed, and how it is obscured."""

    model_config = ConfigDict(extra="forbid", strict=True)
    box: Box
    do: Hiding = "blur"


class PhotoWishes(BaseModel):
    """All decisions about one photo; they replace earlier ones.

    Attributes:
        faces: Decisions about detected faces.
        add: Faces that the detector missed.
        remove: Boxes of detections that are not faces.
        approved: Whether the user approves the photo.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    faces: list[FaceWish] = Field([], max_length=_MOST_FACES)
    add: list[AddedBox] = Field([], max_length=_MOST_FACES)
    remove: list[Box] = Field([], max_length=_MOST_FACES)
    approved: bool = False


class PersonWish(BaseModel):
    """A decision about all faces of a person; null withdraws it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    do: Literal["replace", "keep", "solid", "blur", "pixelate"] | None
    target: Target = 0


class FaceBody(BaseModel):
    """One face of a photo.

    Attributes:
        box: x0, y0, x1, y1, in pixels of the upright photo.
        action: How the face was treated.
        risk: How much a person should check the face, 0 to 1.
        reasons: Reasons for the risk.
        reason: Why the face was obscured although the method gives new faces, or an empty string.
        score: Confidence of the detector, 0 to 1, or null if unknown.
        tries: Number of attempts to make a new face.
        person: Name of the person, or null if the face is not linked to one.
        decision: The decision about the face, with its user and time, or null.
    """

    box: Box
    action: str = Field(examples=["anonymised"])
    risk: float = Field(examples=[0.8])
    reasons: list[str] = Field(examples=[["near"]])
    reason: str = Field(description="why it was obscured against the method, else empty", examples=[""])
    score: float | None = Field(examples=[0.94])
    tries: int = Field(examples=[1])
    person: str | None = Field(examples=["p1"])
    decision: dict[str, Any] | None = Field(description="what was decided, by whom and when", examples=[None])


class PhotoBody(BaseModel):
    """One photo and its faces.

    Attributes:
        number: Position among the job's inputs, from 1.
        name: Name in the job.
        version: Changes when the output changes; empty if there is none.
        error: Why the photo is withheld, or an empty string.
        risk: Highest risk of its faces, 0 to 1; 0.3 if no face was found.
        faces: Its faces.
        wishes: The current decisions about it.
    """

    number: int
    name: str
    version: str
    error: str
    risk: float
    faces: list[FaceBody]
    wishes: dict[str, Any]


class ReviewBody(BaseModel):
    """The photos and videos of a job that were processed: withheld ones first, then by falling risk.

    Attributes:
        photos: The photos.
        videos: The videos.
        people: Decisions about people in photos, by the person's name.
        can_undo: Whether there is a change of decisions to undo.
    """

    photos: list[PhotoBody]
    videos: list[VideoBody]
    people: dict[str, Any]
    can_undo: bool


@router.get("/faces", summary="List the faces of a job, with boxes, risks and decisions")
def faces(own: OwnJob, service: CurrentService) -> ReviewBody:
    """Return the journal's figures of each photo, with the decisions about it."""
    return _review(own, service)


@router.patch("/photos/{number}", summary="Decide about the faces of one photo", responses=documented(400, 409, 422))
def decide(number: int, wishes: PhotoWishes, own: OwnJob, user: User, service: CurrentService) -> ReviewBody:
    """Replace the photo's decisions, and anonymise the photo again."""
    file = _photo(own, number, service)

    def change(body: review.Body) -> review.Body:
        body = copy.deepcopy(body)
        old = body.setdefault("photos", {}).get(file.name, {})
        new = wishes.model_dump()
        body["photos"][file.name] = review.stamped(new, old, user)
        return body

    return _change(own, service, change)


@router.patch("/videos/{number}", summary="Decide about the tracks of a video", responses=documented(400, 409, 422))
def decide_video(number: int, wishes: VideoWishes, own: OwnJob, user: User, service: CurrentService) -> ReviewBody:
    """Replace the video's decisions, and anonymise the whole video again."""
    video = own_video(own, number, service)
    found = found_tracks(video.folder, number)
    if found is None:
        raise ProblemError(409, "The video is not done.")

    def change(body: review.Body) -> review.Body:
        body = copy.deepcopy(body)
        videos = body.setdefault("videos", {})
        entry = stamped_video(wishes.model_dump(), videos.get(video.file.name, {}), user)
        decided_video(entry, video.file, found)
        videos[video.file.name] = entry
        return body

    return _change(own, service, change)


@router.patch("/people/{person}", summary="Decide about all faces of a person", responses=documented(400, 409, 422))
def decide_person(person: str, wish: PersonWish, own: OwnJob, user: User, service: CurrentService) -> ReviewBody:
    """Decide about a person in all photos; decisions about single faces stay."""
    links = service.store.links(own.id)
    if not any(name == person for rows in links.values() for _, name in rows):
        raise ProblemError(404, "There is no such person.")
    given = None if wish.do is None else wish.model_dump()
    return _change(own, service, lambda body: review.with_person(body, person, given, user))


@router.post("/approve", summary="Approve all photos and videos that are not yet", responses=documented(409))
def approve(own: OwnJob, user: User, service: CurrentService) -> ReviewBody:
    """Write into the journal that the present user approves the results."""
    now = _review(own, service)
    withheld = {one.name for one in (*now.photos, *now.videos) if one.error}
    done: list[tuple[Kind, str]] = [
        (one.kind, one.name) for one in service.store.files(own.id) if one.name not in withheld
    ]
    return _change(own, service, lambda body: review.approve_all(body, done, user))


@router.post("/undo", summary="Take back the last decision", responses=documented(409))
def undo(own: OwnJob, service: CurrentService) -> ReviewBody:
    """Undo the last decisions."""
    if not service.store.undo(own.id):
        raise ProblemError(409, "There is nothing to undo.")
    service.worker.wake()
    return _review(own, service)


@router.get("/decisions", summary="Download the decisions as `styleid anonymize --decisions` takes them",
            responses=documented(409))  # fmt: skip
def decisions(own: OwnJob, service: CurrentService) -> FileResponse:
    """Return the decisions file with which the command line repeats the job."""
    path = service.worker.folder(own.id) / DECISIONS
    if own.state != "done" or not path.is_file():
        raise ProblemError(409, "The job is not done.")
    return FileResponse(path, media_type="application/json", filename=f"styleid-{own.id}-decisions.json")


@router.get(
    "/photos/{number}/{side}",
    summary="Show a photo before or after",
    response_class=Response,
    responses=documented(422) | {200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def show(
    number: int,
    side: Literal["before", "after"],
    own: OwnJob,
    service: CurrentService,
    px: Annotated[int, Query(ge=32, le=4096, description="the longer side at most")] = 1600,
) -> Response:
    """Return a JPEG of the upright photo; its own size is in the headers Styleid-Width and Styleid-Height."""
    file = _photo(own, number, service)
    path = service.worker.folder(own.id) / OUTPUTS / file.name
    if side == "before":
        path = service.worker.source(own.id, file)
    if not path.is_file():
        raise ProblemError(404, "There is no such photo.")
    pixels = service.options.limits.pixels
    jpeg, width, height = await run_sync(_preview, path, px, pixels, limiter=service.previews)
    return Response(jpeg, 200, {"styleid-width": str(width), "styleid-height": str(height)}, "image/jpeg")


def _preview(path: Path, px: int, most_pixels: int) -> tuple[bytes, int, int]:
    """Return a JPEG of a photo, at most px long, and the photo's own width and height."""
    image = read_photo(path, max_pixels=most_pixels).image_rgb
    height, width = image.shape[:2]
    scale = min(1.0, px / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", small[..., ::-1], quality)[1].tobytes(), width, height


def _photo(own: Job, number: int, service: Service) -> JobFile:
    for file in service.store.files(own.id):
        if file.number == number and file.kind == "photo":
            return file
    raise ProblemError(404, "There is no such photo.")


def _change(own: Job, service: Service, change: Any) -> ReviewBody:
    """Store new decisions, if they are valid, and queue the job again."""
    if own.state not in ("done", "queued", "running"):
        raise ProblemError(409, "The job is not done. Retry it first.")
    files, links = service.store.files(own.id), service.store.links(own.id)

    def checked(body: review.Body) -> review.Body:
        body = change(body)
        review.compose(body, files, links)
        return body

    service.store.decide(own.id, checked)
    service.store.keep_until(own.id, time.time() + service.options.expire_hours * 3600)
    service.worker.wake()
    return _review(own, service)


def _records(own: Job, service: Service) -> dict[str, dict[str, Any]]:
    out: Path = service.worker.folder(own.id) / OUTPUTS
    return {str(record["input"]): record for record in Journal(out).records()} if out.is_dir() else {}


def _review(own: Job, service: Service) -> ReviewBody:
    body, versions = service.store.decisions(own.id)
    records, links = _records(own, service), service.store.links(own.id)
    photos = []
    for file in service.store.files(own.id):
        record = records.get(file.name)
        if file.kind != "photo" or record is None:
            continue
        bodies = [_face(one, links.get(file.name, [])) for one in record["faces"]]
        photos.append(
            PhotoBody(
                number=file.number,
                name=file.name,
                version=record.get("sha256", "")[:12],
                error=record.get("error", ""),
                risk=max((one.risk for one in bodies), default=review.NO_FACE_RISK),
                faces=bodies,
                wishes=body.get("photos", {}).get(file.name, {}),
            )
        )
    photos.sort(key=lambda photo: (not photo.error, -photo.risk, photo.number))
    videos = video_bodies(own, service, body.get("videos", {}))
    return ReviewBody(photos=photos, videos=videos, people=body.get("people", {}), can_undo=versions > 0)


def _face(face: dict[str, Any], links: list[tuple[list[float], str]]) -> FaceBody:
    level, reasons = review.risk(face)
    owners = [person for box, person in links if review.overlap(box, face["box"]) > 0.99]
    return FaceBody(
        box=face["box"],
        action=face["action"],
        risk=level,
        reasons=reasons,
        reason=face.get("reason", ""),
        score=face.get("score"),
        tries=face["tries"],
        person=owners[0] if owners else None,
        decision=face.get("decision"),
    )
