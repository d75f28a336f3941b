"""The moving part of a photo, which whoever can anonymise videos treats: it must not stay as it was."""

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
    """Anonymise a video that belongs to a photo; `styleid.video.moving.anonymize_moving` is one."""

    def __call__(
        self, video: bytes, name: str, anonymizer: Anonymizer, taken: Sequence[TakenTarget], marking: MarkOptions
    ) -> tuple[bytes, dict[str, Any]]:
        """Return the new file and what the journal says of it; raises StyleIDError where there is none."""
        ...


class Moved(NamedTuple):
    """What became of a moving part. data: the new video, None where it is left out. record: the journal's words.

    beside: the name of its own file, "" where it lies in the photo's.
    """

    data: bytes | None
    record: dict[str, Any]
    beside: str = ""

    @property
    def is_generated_inside(self) -> bool:
        """Whether it lies in the photo's file and any face in it is generated."""
        return not self.beside and any(track["anonymised"] for track in self.record.get("tracks", []))


def recorded(anonymizer: Anonymizer) -> tuple[Anonymizer, RecordedTargets]:
    """Return an anonymiser like another, and what its photo's faces take."""
    targets = RecordedTargets(anonymizer.targets)
    return anonymizer.with_people(targets=targets), targets


def anonymize_part(
    part: MovingPart,
    photo: str,
    anonymizer: Anonymizer,
    taken: Sequence[TakenTarget],
    marking: MarkOptions,
    anonymize_video: AnonymizeVideo | None,
) -> Moved:
    """Anonymise the video that belongs to a photo; what cannot be is left out, with the reason.

    photo: its name. taken: what its faces became. anonymize_video: None where nobody treats videos.
    """
    told: dict[str, Any] = {"file": part.beside} if part.beside else {}
    try:
        data, record = _new_video(part, photo, anonymizer, taken, marking, anonymize_video)
    except StyleIDError as error:
        return leave_out(part, str(getattr(error, "reason", error)))
    told |= {key: record[key] for key in ("video", "tracks", "notes", "mark") if record.get(key)}
    return Moved(data, told | {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}, part.beside)


def leave_out(part: MovingPart, reason: str) -> Moved:
    """Return what is told of a video that is not written."""
    told = {"file": part.beside} if part.beside else {}
    return Moved(None, told | {"left_out": reason}, part.beside)


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
        raise VideoError(name, "groups of k are made of the people of photos, not of videos")
    if anonymize_video is None:
        raise VideoError(name, "this run treats photos only")
    if not part.beside and marking.mark == "c2pa":  # the signature of the photo's file covers the video in it
        marking = MarkOptions("iptc", marking.mark_scope)
    return anonymize_video(part.data, name, anonymizer, taken, marking)


def obscured_reasons(record: Mapping[str, Any]) -> list[str]:
    """Return why faces in the moving part of a journal's line were obscured against the method."""
    return [
        f"in its moving part, from {stretch['from_s']:.2f} to {stretch['to_s']:.2f} s: {stretch['reason']}"
        for track in record.get("moving", {}).get("tracks", [])
        for stretch in track["obscured_at"]
        if stretch["reason"]
    ]
