"""The moving part of a photo, the video of a motion photo or Live Photo: it is anonymised or left out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol

from styleid.core.pipeline import Anonymizer
from styleid.errors import StyleIDError, VideoError
from styleid.media.formats.decoded import MovingPart
from styleid.media.provenance import MarkOptions
from styleid.people.groups import GroupTargets
from styleid.people.targets import RecordedTargets, TakenTarget


class AnonymizeVideo(Protocol):
    """A function that anonymises the video of a photo, such as `styleid.video.moving.anonymize_moving`."""

    def __call__(
        self, video: bytes, name: str, anonymizer: Anonymizer, taken: Sequence[TakenTarget], marking: MarkOptions
    ) -> tuple[bytes, dict[str, Any]]:
        """Return the new file and its entry in the journal; raises StyleIDError if it cannot be anonymised."""
        ...


class MovingResult(NamedTuple):
    """The outcome of a moving part.

    data: the new video, or None if it is left out. record: its entry in the journal. beside: the name of its file, or
    "" if it is in the file of the photo.
    """

    data: bytes | None
    record: dict[str, Any]
    beside: str = ""

    @property
    def is_generated_inside(self) -> bool:
        """Whether it is in the file of the photo and has generated faces."""
        return not self.beside and any(track["anonymised"] for track in self.record.get("tracks", []))


def recorded(anonymizer: Anonymizer) -> tuple[Anonymizer, RecordedTargets]:
    """Return a copy of an anonymiser that records the targets of the photo's faces, and the record."""
    targets = RecordedTargets(anonymizer.targets)
    return anonymizer.with_people(targets=targets), targets


def anonymize_part(
    part: MovingPart,
    photo: str,
    anonymizer: Anonymizer,
    taken: Sequence[TakenTarget],
    marking: MarkOptions,
    anonymize_video: AnonymizeVideo | None,
) -> MovingResult:
    """Anonymise the video of a photo. If that fails, leave it out and record the reason.

    Args:
        part: The video.
        photo: Name of the photo.
        anonymizer: Anonymises the faces.
        taken: The targets of the photo's faces.
        marking: How files are marked that contain generated faces.
        anonymize_video: Anonymises videos; None leaves the video out.
    """
    entry: dict[str, Any] = {"file": part.beside} if part.beside else {}
    try:
        data, record = _new_video(part, photo, anonymizer, taken, marking, anonymize_video)
    except StyleIDError as error:
        return leave_out(part, str(getattr(error, "reason", error)))
    entry |= {key: record[key] for key in ("video", "tracks", "notes", "mark") if record.get(key)}
    return MovingResult(data, entry | {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}, part.beside)


def leave_out(part: MovingPart, reason: str) -> MovingResult:
    """Return the outcome of a video that is not written, with the reason."""
    entry = {"file": part.beside} if part.beside else {}
    return MovingResult(None, entry | {"left_out": reason}, part.beside)


def _new_video(
    part: MovingPart,
    photo: str,
    anonymizer: Anonymizer,
    taken: Sequence[TakenTarget],
    marking: MarkOptions,
    anonymize_video: AnonymizeVideo | None,
) -> tuple[bytes, dict[str, Any]]:
    name = str(PurePosixPath(photo).with_name(part.beside or f"{PurePosixPath(photo).stem}.mp4"))
    if isinstance(anonymizer.targets, GroupTargets):
        raise VideoError(name, "groups of k people can only be formed from photos")
    if anonymize_video is None:
        raise VideoError(name, "this run processes photos only")
    if not part.beside and marking.mark == "c2pa":  # the signature of the photo's file covers the video in it
        marking = MarkOptions("iptc", marking.mark_scope)
    return anonymize_video(part.data, name, anonymizer, taken, marking)


def obscured_reasons(record: Mapping[str, Any]) -> list[str]:
    """Return why faces in the moving part were obscured although another method was asked for, from a journal line."""
    return [
        f"in its moving part, from {stretch['from_s']:.2f} to {stretch['to_s']:.2f} s: {stretch['reason']}"
        for track in record.get("moving", {}).get("tracks", [])
        for stretch in track["obscured_at"]
        if stretch["reason"]
    ]
