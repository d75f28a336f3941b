"""Addresses for jobs of many photos and videos. Jobs run one after the other, and are kept until they expire."""

from __future__ import annotations

import asyncio
import errno
import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from styleid.serve.bundle_zip import zip_chunks
from styleid.serve.folders import list_folder, save
from styleid.serve.forms import receive_form
from styleid.serve.names import require_apart
from styleid.serve.problems import ProblemError, documented
from styleid.serve.service import Service, the_service
from styleid.serve.settings import MOST_SEED, Settings
from styleid.serve.store import Job, State
from styleid.serve.tokens import User, who_is
from styleid.serve.uploads import Upload, check_announced, full_disk
from styleid.serve.worker import OUTPUTS

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=documented(401, 403, 404, 421))
CurrentService = Annotated[Service, Depends(the_service)]

_AFTER_DOWNLOAD_S = 600.0
"""Seconds that a job is kept after its download, so that an interrupted download can be repeated."""
_POLL_S = 0.3
_RETRY_S = "60"
_ENDED = ("done", "failed", "cancelled")


class FileBody(BaseModel):
    """One input of a job."""

    number: int = Field(examples=[1])
    name: str = Field(examples=["street/a.jpg"])
    kind: str = Field(examples=["photo"])
    bytes: int = Field(examples=[48213])


class Withheld(BaseModel):
    """An input that was not written."""

    input: str = Field(examples=["notes.jpg"])
    error: str = Field(examples=["the file is empty (0 bytes). Fetch or copy it again"])


class JobBody(BaseModel):
    """A job."""

    id: str = Field(examples=["5b2f0c9ad4e1478a"])
    state: State = Field(examples=["running"])
    created: float = Field(description="seconds since 1970", examples=[1796000000.0])
    expires: float = Field(description="when the job and all its files are removed", examples=[1796086400.0])
    settings: dict[str, Any] = Field(examples=[{"seed": 7, "privacy": "standard"}])
    done: int = Field(description="files that are done", examples=[3])
    total: int = Field(description="files there are", examples=[12])
    now: str = Field(description="what is being done", examples=["street/a.jpg"])
    eta_s: float | None = Field(description="seconds that are left, where that can be said", examples=[8.5])
    error: str = Field(description="why the job failed, else empty", examples=[""])
    skipped: list[str] = Field(description="files of the upload that are neither photo nor video", examples=[[]])
    faces: dict[str, int] = Field(description="faces by what became of them", examples=[{"anonymised": 31}])
    withheld: list[Withheld] = Field(description="inputs that were not written, and why", examples=[[]])


class JobWithFiles(JobBody):
    """A job and its inputs."""

    files: list[FileBody]


_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "photos, videos and ZIP files of both; a file's name may have folders",
                        },
                        "folder": {
                            "type": "string",
                            "description": "instead of files: a folder of the server, by its name",
                            "example": "wards",
                        },
                        "subfolder": {"type": "string", "description": "a part of that folder", "example": "2026/may"},
                        "settings": {
                            "type": "string",
                            "description": "JSON of the options, named as for a single photo",
                            "example": '{"seed": 7, "privacy": "standard"}',
                        },
                    },
                }
            }
        },
    }
}


def own_job(job: str, user: User, service: CurrentService) -> Job:
    """Return a job of the present user; jobs of others are not found."""
    found = service.store.job(job)
    if found is None or found.owner != user:
        raise ProblemError(404, "There is no such job.")
    return found


OwnJob = Annotated[Job, Depends(own_job)]


@router.post(
    "",
    summary="Make a job of photos and videos",
    status_code=201,
    openapi_extra=_UPLOAD,
    responses=documented(400, 408, 413, 415, 422, 429, 507),
)
async def make(request: Request, user: User, service: CurrentService) -> JobWithFiles:
    """Upload photos, videos and ZIP files, and queue a job."""
    limits = service.options.limits
    if len(service.store.jobs(user)) >= limits.max_jobs:
        detail = f"At most {limits.max_jobs} jobs are kept for one person. Delete some."
        raise ProblemError(429, detail, {"retry-after": _RETRY_S})
    folder = service.worker.folder(secrets.token_hex(8))
    folder.mkdir(mode=0o700)
    check_announced_or_remove(request, folder, service)
    now = time.time()
    expires = now + service.options.expire_hours * 3600
    service.store.add_job(Job(folder.name, user, "receiving", now, expires, {}))
    try:
        await _receive(request, folder, service)
    except BaseException:
        await run_sync(_expire_later, folder, service)
        raise
    service.worker.wake()
    return _with_files(service, _known(service, folder.name))


@router.get("", summary="List the jobs of the user")
def index(user: User, service: CurrentService) -> list[JobBody]:
    """Return the jobs, the newest first."""
    return [_job_body(service, job) for job in service.store.jobs(user)]


@router.get("/{job}", summary="Tell how far a job is")
def show(own: OwnJob, service: CurrentService) -> JobWithFiles:
    """Return a job and its inputs."""
    return _with_files(service, own)


@router.get("/{job}/events", summary="Follow a job", response_class=EventSourceResponse)
async def events(own: OwnJob, request: Request, service: CurrentService) -> AsyncIterator[ServerSentEvent]:
    """Send the job after each change, until it ends or the user's token is removed."""
    last = ""
    while who_is(service, request) == own.owner:
        job = service.store.job(own.id)
        if job is None:
            yield ServerSentEvent(event="deleted", data={"id": own.id})
            return
        body = _job_body(service, job).model_dump()
        text = json.dumps(body | {"eta_s": None}, sort_keys=True)
        if text != last:
            last = text
            yield ServerSentEvent(event="job", data=body)
        if job.state in _ENDED or service.worker.ending:
            return
        await asyncio.sleep(_POLL_S)


@router.post("/{job}/cancel", summary="End a job after the photos in hand", responses=documented(409))
def cancel(own: OwnJob, service: CurrentService) -> JobBody:
    """Cancel a job. Finished files stay, and the job can be continued."""
    if own.state in _ENDED:
        raise ProblemError(409, "The job has ended already.")
    service.worker.cancel(own.id)
    return _job_body(service, _known(service, own.id))


@router.post("/{job}/retry", summary="Go on with a job that has ended", responses=documented(409))
def retry(own: OwnJob, service: CurrentService) -> JobBody:
    """Process the files again that failed or were not processed."""
    if not service.store.move(own.id, "queued", among=_ENDED):
        raise ProblemError(409, "The job has not ended yet.")
    service.worker.wake()
    return _job_body(service, _known(service, own.id))


@router.delete("/{job}", summary="Remove a job and all its files", status_code=204, responses=documented(409))
def remove(own: OwnJob, service: CurrentService) -> Response:
    """Remove a job with all its files before the response is sent."""
    if own.state == "receiving":
        raise ProblemError(409, "The job's upload has not ended yet.")
    service.worker.delete(own.id)
    return Response(status_code=204)


@router.get(
    "/{job}/download",
    summary="Download the results as ZIP",
    response_class=StreamingResponse,
    responses=documented(409)
    | {200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
def download(own: OwnJob, service: CurrentService) -> StreamingResponse:
    """Download photos, videos, journal and report. The job is removed ten minutes after the last byte."""
    if own.state not in _ENDED:
        raise ProblemError(409, "The job has not ended yet.")
    folder = service.worker.folder(own.id) / OUTPUTS
    if not folder.is_dir():
        raise ProblemError(409, "The job has no results.")

    def chunks() -> Iterator[bytes]:
        yield from zip_chunks(folder)
        service.store.expire(own.id, time.time() + _AFTER_DOWNLOAD_S)

    disposition = f'attachment; filename="styleid-{own.id}.zip"'
    return StreamingResponse(chunks(), 200, {"content-disposition": disposition}, "application/zip")


class SaveWish(BaseModel):
    """Where to save results on the server.

    Attributes:
        folder: Name of one of the server's output folders.
        subfolder: New subfolder for the results. If it is empty, `styleid-` and the job's identifier are used.
    """

    model_config = ConfigDict(extra="forbid")
    folder: str = Field(max_length=64, examples=["results"])
    subfolder: str = Field("", max_length=1000, examples=["2026/may"])


class Saved(BaseModel):
    """Where results were saved."""

    folder: str = Field(examples=["results"])
    subfolder: str = Field(examples=["styleid-5b2f0c9ad4e1478a"])


@router.post("/{job}/save", summary="Save the results into a folder of the server",
             responses=documented(400, 409, 422, 507))  # fmt: skip
def save_results(wish: SaveWish, own: OwnJob, service: CurrentService) -> Saved:
    """Copy photos, videos, journal and report. The job is removed ten minutes later."""
    results = service.worker.folder(own.id) / OUTPUTS
    if own.state not in _ENDED or not results.is_dir():
        raise ProblemError(409, "The job has not ended yet, or has no results.")
    place = save(results, service.folders, wish.folder, wish.subfolder.strip("/"), own.id)
    service.store.expire(own.id, time.time() + _AFTER_DOWNLOAD_S)
    return Saved(folder=wish.folder, subfolder=place.as_posix())


class FoldersBody(BaseModel):
    """Names of the server's folders.

    Attributes:
        inputs: Folders of originals that jobs may read.
        outputs: Folders that results may be saved into.
    """

    inputs: list[str] = Field(examples=[["wards"]])
    outputs: list[str] = Field(examples=[["results"]])


folders_router = APIRouter(prefix="/v1/folders", tags=["jobs"], responses=documented(401, 403, 421))


@folders_router.get("", summary="List the folders of the server that jobs may read, and results may be saved into")
def list_folders(user: User, service: CurrentService) -> FoldersBody:
    """Return the names of the folders."""
    return FoldersBody(inputs=list(service.folders.inputs), outputs=list(service.folders.outputs))


def check_announced_or_remove(request: Request, folder: Path, service: Service) -> None:
    """Refuse an upload by its announced length, and remove its folder."""
    try:
        check_announced(request, folder, service.options.limits)
    except ProblemError:
        folder.rmdir()
        raise


async def _receive(request: Request, folder: Path, service: Service) -> None:
    limits = service.options.limits
    upload = Upload(folder, limits)
    try:
        fields = await receive_form(request, upload.open, limits.upload_bytes)
        source = _source(fields, upload)
        settings = _settings(fields)
        await run_sync(service.networks.anonymizer, settings.anonymize_options())  # checks that the bundle fits
        if source is None:
            files, skipped = await run_sync(upload.finish), upload.skipped
        else:
            files, skipped = await run_sync(list_folder, service.folders.input(*source), limits)
            service.store.set_source(folder.name, *source)
        require_apart(files)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full_disk() from error
        raise
    service.store.set_settings(folder.name, settings.model_dump())
    service.store.receive(folder.name, files, skipped)


def _source(fields: dict[str, str], upload: Upload) -> tuple[str, str] | None:
    """Return the named folder and subfolder of a form; None if it uploads files."""
    name, sub = fields.pop("folder", ""), fields.pop("subfolder", "").strip("/")
    if not name:
        if sub:
            raise ProblemError(422, "A subfolder needs a folder.")
        return None
    if not upload.is_empty:
        raise ProblemError(422, "Send files or name a folder, not both.")
    return name, sub


def _settings(fields: dict[str, str]) -> Settings:
    if unknown := sorted(set(fields) - {"settings"}):
        raise ProblemError(422, f"The form has an unknown field '{unknown[0][:40]}'.")
    try:
        values = json.loads(fields.get("settings", "{}"))
    except (ValueError, RecursionError) as error:
        raise ProblemError(422, "The field 'settings' is not JSON.") from error
    settings = Settings.read(values)
    if settings.seed is None:  # a retry must draw the same new faces
        settings.seed = secrets.randbelow(min(MOST_SEED, 2**31))
    return settings


def _expire_later(folder: Path, service: Service) -> None:
    service.store.remove_job(folder.name)
    shutil.rmtree(folder)


def _known(service: Service, job: str) -> Job:
    found = service.store.job(job)
    if found is None:
        raise ProblemError(404, "There is no such job.")
    return found


def _job_body(service: Service, job: Job) -> JobBody:
    progress = service.worker.progress.get(job.id)
    summary = job.summary
    total = progress.total if progress else service.store.count_files(job.id)
    handled = summary.get("written", 0) + summary.get("failed", 0)
    eta = progress.eta_s() if progress else None
    return JobBody(
        id=job.id,
        state=job.state,
        created=job.created,
        expires=job.expires,
        settings=job.settings,
        done=progress.done if progress else handled,
        total=total,
        now=progress.now if progress else "",
        eta_s=None if eta is None else round(eta, 1),
        error=job.error,
        skipped=list(job.skipped),
        faces=summary.get("faces", {}),
        withheld=[Withheld(**one) for one in summary.get("failures", [])],
    )


def _with_files(service: Service, job: Job) -> JobWithFiles:
    files = [
        FileBody(number=one.number, name=one.name, kind=one.kind, bytes=one.bytes)
        for one in service.store.files(job.id)
    ]
    return JobWithFiles(**_job_body(service, job).model_dump(), files=files)
