"""Anonymise the videos of a job as `styleid video` does, and again only if decisions change."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from styleid.core.pipeline import Anonymizer
from styleid.engine.decisions import FORMAT, DecidedVideo
from styleid.engine.journal import Journal
from styleid.engine.summary import Summary
from styleid.errors import OptionError
from styleid.media.storage.files import write_atomic
from styleid.serve.names import VIDEOS, video_output
from styleid.serve.settings import Settings
from styleid.serve.store import JobFile
from styleid.serve.tracks import tracks_path

OUTPUTS = "out"
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class JobVideo:
    """One video of a job.

    Attributes:
        folder: The job's folder.
        file: The job's record of the video.
        source: Path of the original.
    """

    folder: Path
    file: JobFile
    source: Path

    @property
    def target(self) -> Path:
        """Path of its output."""
        return self.folder / OUTPUTS / VIDEOS / video_output(PurePosixPath(self.file.name))

    def record(self) -> dict[str, Any] | None:
        """Return its line in the journal; None if it is not done."""
        return Journal(self.target.parent).among({self.source.name}).get(self.source.name)

    def sheet(self, track: int) -> Path:
        """Return the path of a track's pictures in the output."""
        return self.review / f"track-{track:03d}.jpg"

    @property
    def review(self) -> Path:
        """Folder of the output's page, tracks and pictures."""
        from styleid.video.review import review_folder

        return review_folder(self.target)

    def strip(self, track: int) -> Path:
        """Return the path of a track's pictures in the original."""
        return tracks_path(self.folder, self.file.number).with_suffix("") / f"{track}.jpg"


def do_video(
    video: JobVideo, settings: Settings, anonymizer: Anonymizer, decided: DecidedVideo, watch: Watch
) -> dict[str, Any]:
    """Anonymise a video, unless its output is complete and was made with the same decisions.

    If the video fails, an output of an earlier run is removed.

    Args:
        video: The video.
        settings: Settings of the job.
        anonymizer: Anonymiser with the job's options.
        decided: Decisions about the video.
        watch: Called with the stage, the frames done and their total; an exception that it raises ends the work.

    Returns:
        The video's line in the journal; it has the key error if the video was not written.

    Raises:
        OptionError: The settings or decisions do not fit the video.
    """
    from styleid.video.options import VideoOptions
    from styleid.video.run import process_video

    video.target.parent.mkdir(parents=True, exist_ok=True)
    record = _finished(video, decided)
    if record is None:
        options = VideoOptions(video.target, review=True, require_faces=settings.require_faces,
                               marking=settings.marking())  # fmt: skip
        try:
            record = process_video(video.source, anonymizer, options, watch=watch, decided=decided).record
        except OptionError as error:
            raise OptionError(error.option, f"{video.file.name}: {error.reason}") from error
    if "error" in record:
        video.target.unlink(missing_ok=True)  # written by an earlier run with other decisions
        shutil.rmtree(video.review, ignore_errors=True)
        return record
    if decided.tracks is None:
        _set_aside(video, watch)
    return record


def count_video(summary: Summary, name: str, record: Mapping[str, Any]) -> None:
    """Add a video to a job's summary.

    Args:
        summary: The summary to change.
        name: Name of the video.
        record: The video's line in the journal.
    """
    summary.inputs += 1
    if "error" in record:
        summary.failed += 1
        summary.failures.append((name, record["error"]))
        return
    summary.written += 1
    for track in record["tracks"]:
        summary.faces[track["action"]] += 1


def _finished(video: JobVideo, decided: DecidedVideo) -> dict[str, Any] | None:
    """Return a video's line if its output is complete and has the same decisions; journal a new approval."""
    record = video.record()
    if record is None or record.get("decisions") != decided.digest or not _is_whole(video.target, record):
        return None
    bare = {name: value for name, value in record.items() if name != "approved"}
    if bare | decided.journal_entries() != record:
        record = bare | decided.journal_entries()
        Journal(video.target.parent).append(record)
    return record


def _is_whole(path: Path, record: Mapping[str, Any]) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == record.get("sha256")
    except OSError:
        return False


def _set_aside(video: JobVideo, watch: Watch) -> None:
    """Store the tracks as they were found, and their pictures in the original."""
    path = tracks_path(video.folder, video.file.number)
    if path.is_file():
        return
    data = (video.review / "tracks.json").read_bytes()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    _draw_strips(video, json.loads(data), watch)
    write_atomic(path, data)  # written last: its presence means that the pictures are complete


def _draw_strips(video: JobVideo, found: Mapping[str, Any], watch: Watch) -> None:
    from styleid.engine.json_value import JsonValue
    from styleid.media.video.reader import VideoClip
    from styleid.video.record import parse_tracks
    from styleid.video.review import Sheets

    clip = VideoClip(video.source)
    tracks = parse_tracks(JsonValue(found, "", video.file.name), clip.info, found["frames"])
    sheets = Sheets(tracks, marked=False)
    for frame in clip.frames():
        watch("look", frame.index, found["frames"])
        for k, track in enumerate(tracks):
            if sheets.wants(k, frame.index):
                sheets.show(k, frame.index, frame.image_rgb, track.boxes_xyxy[frame.index - track.first], False)
    for k, track in enumerate(tracks):
        if (jpeg := sheets.jpeg(k)) is not None:
            write_atomic(video.strip(track.number), jpeg)


def write_decisions(
    path: Path, settings: Settings, anonymizer: Anonymizer, videos: Mapping[str, DecidedVideo], *, photos: bool
) -> None:
    """Add videos to a job's decisions file, or write a file with videos alone.

    Args:
        path: Path of the decisions file.
        settings: Settings of the job.
        anonymizer: Anonymiser with the job's options.
        videos: Decisions about each video that was written, by its name.
        photos: Whether the job has photos; the file then exists already.
    """
    from styleid.video.decided import shared_settings

    if photos:
        record = json.loads(path.read_bytes())
    else:
        shared = shared_settings(anonymizer, settings.marking())
        record = {"format": FORMAT, "seed": settings.seed, "settings": shared, "photos": {}}
    record["videos"] = {name: _exported(decided) for name, decided in videos.items()}
    write_atomic(path, json.dumps(record, indent=1).encode())


def _exported(decided: DecidedVideo) -> dict[str, Any]:
    entry: dict[str, Any] = {"sha256": decided.sha256}
    if decided.tracks is not None:
        entry["tracks"] = decided.tracks.value
    return entry | ({"approved": decided.approved} if decided.approved else {})
