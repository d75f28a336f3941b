"""Check the names of uploaded files, and find the kind of file by the name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.serve.problems import ProblemError
from styleid.serve.store import JobFile, Kind

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
VIDEOS = PurePosixPath("videos")
"""Subfolder for the results of videos."""
_MOST_PART_BYTES = 200
_MOST_BYTES = 1000
_MOST_PARTS = 20


def clean_name(given: str) -> PurePosixPath:
    """Return an upload's name as a relative path; raises ProblemError (422) if it leads out of its folder."""
    name = PurePosixPath(given.replace("\\", "/"))
    parts = name.parts
    climbs = name.is_absolute() or ".." in parts or any(":" in part for part in parts[:1])
    if climbs or not parts or len(parts) > _MOST_PARTS or len(given.encode(errors="replace")) > _MOST_BYTES:
        raise ProblemError(
            422, "A file's name cannot be used: it is empty, absolute or too long, or leads out of its folder."
        )
    if any(not _is_plain(part) for part in parts):
        raise ProblemError(422, "A file has a name with control characters, or a part of more than 200 bytes.")
    return name


def kind_of(name: PurePosixPath) -> Kind | None:
    """Return whether a file is a photo, a video or neither, by its ending."""
    suffix = name.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "photo" if suffix in IMAGE_SUFFIXES else None


def is_hidden(name: PurePosixPath) -> bool:
    """Return whether a file is one that operating systems add to folders and archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts) or name.name == "Thumbs.db"


def video_output(name: PurePosixPath) -> PurePosixPath:
    """Return the output name of a video. Containers that are read but not written become MP4."""
    written = name.suffix.lower() in (".mp4", ".m4v", ".mov", ".mkv")
    return name if written else name.with_name(name.name + ".mp4")


def require_apart(files: Iterable[JobFile]) -> None:
    """Raise ProblemError (422) if two results would have one name, such as those of a.webm and a.webm.mp4."""
    taken: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for file in files:
        name = PurePosixPath(file.name)
        place = name if file.kind == "photo" else VIDEOS / video_output(name)
        if place in taken:
            raise _too_near(file.name)
        taken.add(place)
        if file.kind == "video":
            folders |= {place, place.with_name(place.name + ".review")}
    for place in taken:
        if not folders.isdisjoint(place.parents):
            raise _too_near(place.as_posix())


def _too_near(name: str) -> ProblemError:
    return ProblemError(422, f"The result of {name[:200]} would take the place of another one's. Rename it.")


def _is_plain(part: str) -> bool:
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        return False
    return size <= _MOST_PART_BYTES and part.isprintable()
