"""Read a folder of frames as a clip, and write it to a new folder, each frame in its own format as in `media.image`."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from styleid.errors import ImageError, OptionError, OutputError, VideoError
from styleid.media.image import Photo, read_photo
from styleid.media.marking import encode_marked
from styleid.media.provenance import MarkOptions
from styleid.media.storage.files import os_reason, write_atomic
from styleid.media.video.clip import ClipFrame, ClipInfo
from styleid.media.views import further_views
from styleid.types import ImageRGB, MaskArray

_NUMBER = re.compile(r"%0?(\d*)d")


class FramesClip:
    """The frames of a folder in the order of their names, in which numbers are compared as numbers."""

    def __init__(self, folder: Path, pattern: str, fps: float) -> None:
        """List the frames and read the first.

        Args:
            folder: The folder with the frames.
            pattern: File names, such as '*.png' or 'frame_%05d.png'.
            fps: Frames per second.

        Raises:
            VideoError: The folder is missing, no file matches, or the first frame cannot be read.
            OptionError: The pattern contains a folder.
        """
        self.folder, self._fps = folder, fps
        if not folder.is_dir():
            raise VideoError(folder, "it is no folder, but `frames` needs a folder of frames")
        if "/" in pattern or "\\" in pattern:
            raise OptionError("frames", f"'{pattern}' names a folder; name the folder as `source`.")
        self.paths = sorted((p for p in folder.glob(_glob(pattern)) if _fits(p.name, pattern)), key=_by_number)
        if not self.paths:
            raise VideoError(folder, f"no file in it matches '{pattern}'")
        height, width = self._read(self.paths[0]).image_rgb.shape[:2]
        facts = {"codec": "frames", "size": [width, height], "fps": fps}
        self.info = ClipInfo(folder.name, width, height, Fraction(fps).limit_denominator(1001), len(self.paths), facts)

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to read the same frames."""
        return self.__dict__ | {"folder": self.folder.absolute(), "paths": [path.absolute() for path in self.paths]}

    def frames(self) -> Iterator[ClipFrame]:
        """Yield all frames.

        Raises:
            VideoError: A frame cannot be read, or its size differs from the first frame's.
        """
        return self.pictures(0, len(self.paths))

    def pictures(self, begin: int, end: int) -> Iterator[ClipFrame]:
        """Yield the frames from a number on, up to another; see `frames`."""
        for index in range(begin, end):
            path = self.paths[index]
            photo = self._read(path)
            if photo.image_rgb.shape[:2] != (self.info.height, self.info.width):
                raise VideoError(
                    path, f"it has another size than the first frame, {self.info.width} x {self.info.height}"
                )
            yield ClipFrame(index, index / self._fps, 1 / self._fps, photo, _image, to_views=_views, key=True)

    def _read(self, path: Path) -> Photo:
        try:
            return read_photo(path)
        except ImageError as error:
            raise VideoError(path, error.reason) from error


class FramesSink:
    """A writer of frames into a folder, which gets its name when all frames are written; see `ClipSink`."""

    def __init__(self, clip: FramesClip, out: Path, marking: MarkOptions | None = None) -> None:
        """Create the folder under a temporary name.

        Args:
            clip: The source.
            out: The output folder, new or empty.
            marking: The mark of generated content; None writes none.

        Raises:
            OptionError: `out` exists and is not an empty folder.
            OutputError: The folder cannot be created.
        """
        self._clip, self._out, self.notes = clip, out, ()
        self._marking, self.mark = marking or MarkOptions(mark="none"), ""
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OptionError("out", f"{out} exists already. Name a folder that is new or empty.")
        self._part = out.parent / f".styleid-{secrets.token_hex(8)}.part"
        self._digest = hashlib.sha256()
        try:
            self._part.mkdir(parents=True)
        except OSError as error:
            raise OutputError(out, os_reason(error)) from error

    notes: tuple[str, ...]

    def write(
        self, frame: ClipFrame, image_rgb: ImageRGB | None, changed: MaskArray | None, *, generated: bool = False
    ) -> None:
        """Write a frame under its own name, with a mark that depends on this frame only; see `ClipSink.write`.

        Raises:
            VideoError: The frame cannot be encoded.
            OutputError: The frame cannot be written.
        """
        photo: Photo = frame.native
        path = self._clip.paths[frame.index]
        mask = np.zeros(photo.image_rgb.shape[:2], bool) if changed is None else changed
        try:
            image = photo.image_rgb if image_rgb is None else image_rgb
            encoded = encode_marked(photo, image, mask, "strip", self._marking,
                                    generated=generated, changed=changed is not None)  # fmt: skip
        except ImageError as error:
            raise VideoError(path, error.reason) from error
        self._digest.update(bytes.fromhex(write_atomic(self._part / path.name, encoded.data)))
        self.mark, self.notes = self.mark or encoded.mark, tuple(dict.fromkeys((*self.notes, *encoded.notes)))

    def finish(self) -> str:
        """Give the folder its name, and return the SHA-256 of the frames' SHA-256 digests, in order.

        Raises:
            OutputError: The folder cannot be renamed.
        """
        try:
            if self._out.exists():
                self._out.rmdir()
            self._part.rename(self._out)
        except OSError as error:
            raise OutputError(self._out, os_reason(error)) from error
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Remove the unfinished folder."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self._part)


def _image(photo: Photo) -> ImageRGB:
    return photo.image_rgb


def _views(photo: Photo) -> list[tuple[ImageRGB, float]]:
    """Return the further views of a frame; see `styleid.media.views`."""
    return [(view.image_rgb, view.scale) for view in further_views(photo)]


def _glob(pattern: str) -> str:
    return _NUMBER.sub("*", pattern)


def _fits(name: str, pattern: str) -> bool:
    """Return whether a name has digits where the pattern has a number; glob has already matched the rest."""
    if not _NUMBER.search(pattern):
        return True
    parts = [re.escape(part) for part in _NUMBER.sub("\0", pattern).split("\0")]
    return re.fullmatch(r"\d+".join(parts).replace(r"\*", ".*"), name) is not None


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that orders 'a2' before 'a10'."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
