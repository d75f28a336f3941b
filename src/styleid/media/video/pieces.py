"""Read a piece of a clip in another process, and check that it has the same pictures as the first reading.

After a jump into a file, a decoder may give other pictures than when it reads from the beginning: in open groups of
pictures, with a gradual refresh, or because the file's index is wrong. The first reading therefore notes a checksum of
each picture. A piece is read from the last key picture before it, then from two and from ten seconds earlier, then
from the beginning, until the checksums are the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from styleid.errors import VideoError
from styleid.media.video.clip import Clip, ClipFrame
from styleid.media.video.frames import FramesClip
from styleid.media.video.planes import planar_format, planes_of
from styleid.media.video.reader import VideoClip

_EARLIER_S = (0.0, 2.0, 10.0)
"""How long before a piece reading begins, at the last key picture before that time, in the order of the attempts."""


@dataclass(frozen=True)
class FrameMark:
    """What the first reading notes of a frame.

    Attributes:
        stamp: Time stamp in the file; None if there is none.
        checksum: CRC-32 of the picture.
        key: Whether decoding can begin at it.
    """

    stamp: int | None
    checksum: int
    key: bool


def mark_of(frame: ClipFrame) -> FrameMark:
    """Return the mark of a frame of a `VideoClip` or a `FramesClip`."""
    return FrameMark(frame.stamp, _checksum(frame), frame.key)


def read_piece(clip: Clip, first: int, marks: Sequence[FrameMark], threads: int = 0) -> Iterator[ClipFrame]:
    """Yield consecutive frames of a clip, without their times.

    Args:
        clip: A `VideoClip` or a `FramesClip`.
        first: Number of the first frame.
        marks: Marks of the frames to yield.
        threads: Number of threads that decode; 0 lets FFmpeg decide.

    Raises:
        VideoError: The frames cannot be read, or are not those of the first reading.
    """
    if not isinstance(clip, VideoClip):
        assert isinstance(clip, FramesClip)
        yield from _photos(clip, first, marks)
        return
    done = 0
    for earlier_s in (*_EARLIER_S, None):
        stamp = marks[done].stamp
        if stamp is None and earlier_s is not None:
            continue
        at = None if earlier_s is None or stamp is None else stamp - round(earlier_s / clip.facts.time_base)
        for frame in _found(clip, at, first + done, marks[done:], threads):
            yield replace(frame, index=first + done)
            done += 1
        if done == len(marks):
            return
    raise _changed(clip)


def _photos(clip: FramesClip, first: int, marks: Sequence[FrameMark]) -> Iterator[ClipFrame]:
    for frame, mark in zip(clip.pictures(first, first + len(marks)), marks, strict=True):
        if _checksum(frame) != mark.checksum:
            raise VideoError(clip.paths[frame.index], "it was changed while it was processed")
        yield frame


def _found(
    clip: VideoClip, from_stamp: int | None, first: int, marks: Sequence[FrameMark], threads: int
) -> Iterator[ClipFrame]:
    """Yield the frames with these marks, as far as they are found in one reading.

    Args:
        clip: The video.
        from_stamp: Where reading begins; None for the beginning of the file.
        first: Number of the first frame, which counts if reading begins at the beginning.
        marks: Marks of the frames.
        threads: Number of threads that decode.
    """
    done = 0
    try:
        for number, frame in enumerate(clip.pictures(from_stamp, threads)):
            if done == 0 and _comes_before(frame, number, first, marks[0], jumped=from_stamp is not None):
                continue
            if frame.stamp != marks[done].stamp or _checksum(frame) != marks[done].checksum:
                return
            yield frame
            done += 1
            if done == len(marks):
                return
    except VideoError:
        if from_stamp is None:
            raise


def _comes_before(frame: ClipFrame, number: int, first: int, mark: FrameMark, *, jumped: bool) -> bool:
    """Return whether a frame lies before the first wanted one."""
    if not jumped:
        return number < first
    return frame.stamp is None or mark.stamp is None or frame.stamp < mark.stamp


def _checksum(frame: ClipFrame) -> int:
    """Return the CRC-32 of a picture's samples, or of the picture in RGB where the samples are not in planes."""
    form = getattr(frame.native, "format", None)
    if form is None or not hasattr(frame.native, "planes") or planar_format(form.name, alpha=False) != form.name:
        return zlib.crc32(np.ascontiguousarray(frame.image_rgb).data)
    checksum = 0
    for plane in planes_of(frame.native):
        checksum = zlib.crc32(np.ascontiguousarray(plane).data, checksum)
    return checksum


def _changed(clip: VideoClip) -> VideoError:
    return VideoError(clip.path, "its pictures are not those of the first reading: it was changed while it was "
                      "processed, or another machine sees another file at this path")  # fmt: skip
