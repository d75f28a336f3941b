"""Addresses for the videos of a job: tracks with risks and decisions, videos and pictures before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from styleid.serve.clips import JobVideo
from styleid.serve.jobs import CurrentService, OwnJob
from styleid.serve.problems import ProblemError, documented
from styleid.serve.service import Service
from styleid.serve.store import Job
from styleid.serve.tracks import found_tracks, track_risk

router = APIRouter(prefix="/v1/jobs/{job}/videos/{number}", tags=["review"], responses=documented(401, 403, 404, 421))

Side = Literal["before", "after"]
Treatment = Literal["replace", "keep", "solid", "blur", "pixelate"]
_MOST_TRACKS = 10_000
_MOST_NUMBER = 10**9
_MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
}


class TrackWish(BaseModel):
    """Decision about a track.

    Attributes:
        track: Number of the track.
        do: What to do with the track; `remove` leaves it as it is, since it is not a face.
        target: Which of several new faces to use; 0 is the face used without a decision.
    """

    model_config = ConfigDict(extra="forbid")
    track: int = Field(ge=1, examples=[2])
    do: Treatment | Literal["remove"] = "replace"
    target: int = Field(0, ge=0, le=1000)


class TrackPersonWish(BaseModel):
    """Decision about all tracks of a person in a video that have no decision of their own."""

    model_config = ConfigDict(extra="forbid")
    person: int = Field(ge=1, examples=[1])
    do: Treatment = "replace"
    target: int = Field(0, ge=0, le=1000)


class AddedTrack(BaseModel):
    """A face that the detector missed; it is obscured.

    Attributes:
        keys: Rows of frame (from 0), x0, y0, x1, y1, in pixels. Boxes between two rows are interpolated linearly.
        do: How to obscure the face.
    """

    model_config = ConfigDict(extra="forbid")
    keys: list[Annotated[list[float], Field(min_length=5, max_length=5)]] = Field(
        min_length=1, max_length=_MOST_TRACKS, examples=[[[0, 20.0, 80.0, 60.0, 130.0], [12, 30.0, 80.0, 70.0, 130.0]]]
    )
    do: Literal["solid", "blur", "pixelate"] = "blur"


class VideoWishes(BaseModel):
    """All decisions about one video; they replace earlier ones."""

    model_config = ConfigDict(extra="forbid")
    tracks: list[TrackWish] = Field([], max_length=_MOST_TRACKS)
    people: list[TrackPersonWish] = Field([], max_length=_MOST_TRACKS)
    add: list[AddedTrack] = Field([], max_length=_MOST_TRACKS)
    approved: bool = False


class HiddenStretch(BaseModel):
    """A stretch in which a track is obscured.

    Attributes:
        from_s: Begin, in seconds.
        to_s: End, in seconds.
        reason: Why the track is obscured; empty if a person decided so.
    """

    from_s: float
    to_s: float
    reason: str


class TrackBody(BaseModel):
    """One track of a video.

    Attributes:
        track: Number of the track, from 1.
        person: Number of its person, from 1.
        from_s: Time of its first frame, in seconds.
        to_s: Time of its end, in seconds.
        action: How the track was treated.
        anonymised: Number of frames with a new face.
        obscured: Number of frames in which the face is obscured.
        hidden: Stretches in which the face is obscured.
        risk: How much a person should check the track, 0 to 1.
        reasons: Reasons for the risk.
        added: Whether a person added the track.
        decision: The decision about the track, with its user and time, or null.
    """

    track: int
    person: int
    from_s: float = Field(examples=[0.0])
    to_s: float = Field(examples=[1.44])
    action: str = Field(examples=["anonymised"])
    anonymised: int
    obscured: int
    hidden: list[HiddenStretch]
    risk: float = Field(examples=[1.0])
    reasons: list[str] = Field(examples=[["partly"]])
    added: bool
    decision: dict[str, Any] | None = Field(description="what was decided, by whom and when", examples=[None])


class VideoBody(BaseModel):
    """One video and its tracks.

    Attributes:
        number: Position among the job's inputs, from 1.
        name: Name in the job.
        version: Changes when the output changes; empty if there is none.
        error: Why the video is withheld, or an empty string.
        risk: Highest risk of its tracks, 0 to 1.
        seconds: Duration, in seconds.
        frames: Number of frames.
        width: Width, in pixels.
        height: Height, in pixels.
        media_type: Media type of the output.
        tracks: Its tracks.
        wishes: The current decisions about it.
    """

    number: int
    name: str
    version: str
    error: str
    risk: float
    seconds: float
    frames: int
    width: int
    height: int
    media_type: str = Field(description="of the result", examples=["video/mp4"])
    tracks: list[TrackBody]
    wishes: dict[str, Any]


def own_video(own: OwnJob, number: int, service: CurrentService) -> JobVideo:
    """Return a video of a job."""
    for file in service.store.files(own.id):
        if file.number == number and file.kind == "video":
            return service.worker.video(own.id, file)
    raise ProblemError(404, "There is no such video.")


def video_bodies(own: Job, service: Service, decisions: dict[str, Any]) -> list[VideoBody]:
    """Return the journal's figures of each finished video, the riskiest first."""
    files = [one for one in service.store.files(own.id) if one.kind == "video"]
    bodies = [_body(service.worker.video(own.id, one), decisions.get(one.name, {})) for one in files]
    return sorted((one for one in bodies if one is not None), key=lambda one: (not one.error, -one.risk, one.number))


@router.get(
    "/{side}",
    summary="Play a video before or after",
    response_class=FileResponse,
    responses={
        200: {"content": {"video/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "the part that the Range header asks for"},
        416: {"description": "the Range header asks for what the file does not have"},
    },
)
def play(side: Side, own: OwnJob, number: int, service: CurrentService) -> FileResponse:
    """Return the file, or the part that a Range header asks for."""
    video = own_video(own, number, service)
    path = video.source if side == "before" else video.target
    if not path.is_file():
        raise ProblemError(404, "There is no such video.")
    return FileResponse(path, media_type=_media_type(path), content_disposition_type="inline")


@router.get(
    "/tracks/{track}/{side}",
    summary="Show pictures of a track before or after",
    response_class=FileResponse,
    responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
)
def show_track(track: int, side: Side, own: OwnJob, number: int, service: CurrentService) -> FileResponse:
    """Return a JPEG of up to ten square pictures side by side, from a track's first frame to its last."""
    video = own_video(own, number, service)
    path = video.strip(track) if side == "before" else video.sheet(track)
    if not 0 < track <= _MOST_NUMBER or not path.is_file():
        raise ProblemError(404, "There are no such pictures.")
    return FileResponse(path, media_type="image/jpeg")


def _media_type(path: Path) -> str:
    return _MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")


def _body(video: JobVideo, wishes: dict[str, Any]) -> VideoBody | None:
    record = video.record()
    if record is None:
        return None
    tracks = [] if "error" in record else _tracks(video, record)
    seen = record.get("video", {})
    width, height = seen.get("size", (0, 0))
    return VideoBody(
        number=video.file.number,
        name=video.file.name,
        version=record.get("sha256", "")[:12],
        error=record.get("error", ""),
        risk=max((one.risk for one in tracks), default=0.0),
        seconds=seen.get("seconds", 0.0),
        frames=seen.get("frames", 0),
        width=width,
        height=height,
        media_type=_media_type(video.target),
        tracks=tracks,
        wishes=wishes,
    )


def _tracks(video: JobVideo, record: dict[str, Any]) -> list[TrackBody]:
    """Return a video's tracks. Tracks that a person added are not among those of the first run."""
    found = found_tracks(video.folder, video.file.number) or {"tracks": []}
    trust = {one["id"]: one["trust"] for one in found["tracks"]}
    return [_track(entry, trust.get(entry["track"])) for entry in record["tracks"]]


def _track(entry: dict[str, Any], trust: list[float] | None) -> TrackBody:
    level, reasons = track_risk(entry, trust or [])
    return TrackBody(
        track=entry["track"],
        person=entry["person"],
        from_s=entry["from_s"],
        to_s=entry["to_s"],
        action=entry["action"],
        anonymised=entry["anonymised"],
        obscured=entry["obscured"],
        hidden=[
            HiddenStretch(**{key: one[key] for key in ("from_s", "to_s", "reason")}) for one in entry["obscured_at"]
        ],
        risk=level,
        reasons=reasons,
        added=trust is None,
        decision=entry.get("decision"),
    )
