"""Check that decisions belong to a clip, and write decisions files about clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.core.pipeline import Anonymizer
from styleid.engine.assignment import Assignment
from styleid.engine.decided_settings import adopt, adopt_options, adopt_targets
from styleid.engine.decisions import FORMAT, DecidedVideo, Decisions
from styleid.engine.local import bundle_settings
from styleid.errors import VideoError
from styleid.media.provenance import MarkOptions
from styleid.media.storage.files import os_reason, write_atomic
from styleid.media.video.clip import Clip
from styleid.media.video.frames import FramesClip
from styleid.video.options import VideoOptions
from styleid.video.review import track_lines

_OF_PHOTOS = ("metadata",)
"""Settings that apply only to photos. A decisions file may be about photos and videos."""


def adopt_video(
    decisions: Decisions, how: AnonymizeOptions, options: VideoOptions, people: PeopleOptions, typed: Collection[str]
) -> tuple[AnonymizeOptions, VideoOptions, PeopleOptions]:
    """Return the options of a run over a video with the settings of a decisions file.

    Args:
        decisions: The decisions file.
        how: Options of the anonymiser, as the user set them.
        options: Options of the video.
        people: Options about people.
        typed: Names of the options that the user set.

    Raises:
        OptionError: If an option that the user set contradicts the file, or the file has a value that is not allowed.
    """
    options = replace(options, marking=adopt(decisions, options.marking, typed))
    return adopt_options(decisions, how, typed), options, adopt_targets(decisions, people, typed)


def require_same(decisions: Decisions, anonymizer: Anonymizer, marking: MarkOptions, assignment: Assignment) -> None:
    """Check that a run has the settings that the decisions were made with.

    Args:
        decisions: The decisions file.
        anonymizer: The run's anonymiser.
        marking: How the output is marked.
        assignment: Who gets which target.

    Raises:
        OptionError: If a setting differs.
    """
    decisions.require_settings(shared_settings(anonymizer, marking) | assignment.settings(), ignore=_OF_PHOTOS)


def shared_settings(anonymizer: Anonymizer, marking: MarkOptions) -> dict[str, Any]:
    """Return the settings that photos and videos share, by their names in a decisions file."""
    return asdict(anonymizer.options) | marking.settings() | bundle_settings(anonymizer)


def require_decided(source: Path, clip: Clip, decided: DecidedVideo | None) -> dict[str, Any]:
    """Check that decisions were made for a clip.

    Args:
        source: The video or folder of frames.
        clip: The clip.
        decided: The decisions, None without any.

    Returns:
        The entries of the journal about the decisions; empty without any.

    Raises:
        VideoError: If the decisions were made for another file, or the file cannot be read.
    """
    if decided is None:
        return {}
    found = clip_sha256(source, clip)
    if found != decided.sha256:
        raise VideoError(
            source,
            "it is not the video that the decisions were made about: its SHA-256 differs. Make new decisions, or "
            "remove the video from the decisions file",
        )
    return {"input_sha256": found} | decided.journal_entries()


def clip_sha256(source: Path, clip: Clip) -> str:
    """Return the SHA-256 of a video file in hex.

    For a folder of frames, it is the SHA-256 of the lines that sha256sum prints for the frames.

    Raises:
        VideoError: If a file cannot be read.
    """
    if not isinstance(clip, FramesClip):
        return _file_sha256(source)
    lines = "".join(f"{_file_sha256(path)}  {path.name}\n" for path in clip.paths)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VideoError(path, os_reason(error)) from error


def export_video_decisions(
    path: Path, settings: Mapping[str, Any], name: str, sha256: str, tracks: Mapping[str, Any]
) -> None:
    """Write a decisions file about one clip. With it, the same command repeats the output.

    Args:
        path: The file to write.
        settings: Settings of the run.
        name: Name of the clip.
        sha256: SHA-256 of the clip, from `clip_sha256`.
        tracks: The tracks, as in tracks.json.

    Raises:
        OutputError: If the file cannot be written.
    """
    head = {"format": FORMAT, "seed": settings.get("seed"), "settings": dict(settings)}
    text = json.dumps(head, sort_keys=True)[:-1]
    video = f'{json.dumps(name)}: {{"sha256": "{sha256}", "tracks": {track_lines(tracks)}}}'
    write_atomic(path, f'{text},\n"videos": {{\n{video}}}}}\n'.encode(errors="backslashreplace"))
