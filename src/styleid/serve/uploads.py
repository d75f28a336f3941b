"""Store a job's upload in its folder: photos, videos, and ZIP files of both."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from PIL import Image
from starlette.requests import Request

from styleid.serve.archives import unpack
from styleid.serve.forms import Sink, announced_bytes, too_large
from styleid.serve.names import clean_name, is_hidden, kind_of
from styleid.serve.options import Limits
from styleid.serve.problems import ProblemError
from styleid.serve.store import JobFile

INPUTS = "in"
_ZIP = ".zip"
_CHUNK = 1 << 20
_LOOK_BYTES = 16 << 20
"""Number of bytes after which the free space of the disk is checked again."""
_OPENED = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""Pillow's readers that may read an upload's header."""


class Upload:
    """Stores the files of an upload in a job's folder.

    Args:
        folder: The job's folder.
        limits: Limits of the service.

    Attributes:
        skipped: Names of files that are neither photos nor videos.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.skipped: list[str] = []
        self._folder, self._limits = folder, limits
        self._names: set[PurePosixPath] = set()
        self._archives: list[Path] = []
        self._left = limits.upload_bytes
        (folder / INPUTS).mkdir(parents=True)

    def open(self, field: str, given: str) -> Sink:
        """Return the sink for a file of the form; raises ProblemError if it is refused."""
        if field != "file":
            raise ProblemError(422, "Send all files in fields named 'file'.")
        name = clean_name(given)
        if name.suffix.lower() == _ZIP:
            self._count()
            path = self._folder / f"upload-{len(self._archives)}{_ZIP}"
            self._archives.append(path)
            return _Spooled(_create(path), self._check_disk)
        if is_hidden(name) or (name.suffix and kind_of(name) is None):
            self._count()
            self.skipped.append(name.as_posix())
            return Path(os.devnull).open("wb")
        return self._take(self._free(name))

    @property
    def is_empty(self) -> bool:
        """Whether no file was uploaded."""
        return not self._names and not self._archives and not self.skipped

    def finish(self) -> list[JobFile]:
        """Unpack archives, and return all inputs; raises ProblemError if they cannot be used."""
        for path in self._archives:
            self._check_disk()
            left = self._limits.max_files - len(self._names)
            self.skipped += unpack(path, self._take_member, most_files=max(left, 0), most_bytes=self._left)
            path.unlink()
        if not self._names:
            raise ProblemError(422, "The upload holds no photo and no video.")
        inputs = self._folder / INPUTS
        return [describe(inputs / name, k, name, self._limits) for k, name in enumerate(sorted(self._names), 1)]

    def _take_member(self, name: PurePosixPath) -> Sink:
        return self._take(self._free(name))

    def _take(self, name: PurePosixPath) -> Sink:
        self._count()
        self._names.add(name)
        path = self._folder / INPUTS / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _Spooled(_create(path), self._check_disk, self._take_bytes)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
                raise ProblemError(422, "A file and a folder of the upload have one name.") from error
            raise

    def _count(self) -> None:
        if len(self._names) + len(self._archives) + len(self.skipped) >= self._limits.max_files:
            raise ProblemError(413, f"At most {self._limits.max_files} files are accepted in one job.")

    def _take_bytes(self, size: int) -> None:
        """Count the bytes of inputs, over all archives."""
        self._left -= size
        if self._left < 0:
            raise too_large(self._limits.upload_bytes)

    def _check_disk(self) -> None:
        check_disk(self._folder, self._limits)

    def _free(self, name: PurePosixPath) -> PurePosixPath:
        """Return an unused name; two folders may contain photos of one name."""
        number, free = 2, name
        while free in self._names:
            free, number = name.with_name(f"{name.stem} ({number}){name.suffix}"), number + 1
        return free


def describe(path: Path, number: int, name: PurePosixPath, limits: Limits) -> JobFile:
    """Return the record of one input.

    Args:
        path: Path of the file.
        number: Its position in the job, from 1.
        name: Its name in the job.
        limits: Limits of the service.

    Raises:
        ProblemError: The file is a photo with too many pixels (413).
    """
    kind = kind_of(name) or "photo"
    if kind == "photo":
        _check_pixels(path, limits)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return JobFile(number, name.as_posix(), kind, path.stat().st_size, digest.hexdigest())


class _Spooled:
    """Writes to a file, and checks its limits every few megabytes."""

    def __init__(self, file: BinaryIO, look: Callable[[], None], count: Callable[[int], None] | None = None) -> None:
        self._file, self._look, self._count, self._written = file, look, count, 0

    def write(self, data: bytes, /) -> None:
        """Write bytes; raises ProblemError if there are too many, or the disk is too full."""
        if self._count is not None:
            self._count(len(data))
        self._written += len(data)
        if self._written >= _LOOK_BYTES:
            self._written = 0
            self._look()
        self._file.write(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def check_disk(folder: Path, limits: Limits, more_bytes: int = 0) -> None:
    """Raise ProblemError (507) if too little of the disk would be left."""
    free = shutil.disk_usage(folder).free - more_bytes
    if free < limits.free_bytes:
        raise full_disk()


def full_disk() -> ProblemError:
    """Return the problem of a disk that is full."""
    return ProblemError(507, "The disk of the service has too little room. Delete jobs that are done, or try later.")


def check_announced(request: Request, folder: Path, limits: Limits) -> None:
    """Refuse an upload by its announced length."""
    length = announced_bytes(request.headers)
    if length > limits.upload_bytes + 1_000_000:
        raise too_large(limits.upload_bytes)
    check_disk(folder, limits, length)


def _check_pixels(path: Path, limits: Limits) -> None:
    try:
        with Image.open(path, formats=_OPENED) as image:
            width, height = image.size
    except Exception:  # the job reports an unreadable photo later
        return
    if width * height > limits.pixels:
        raise ProblemError(413, f"At most {limits.max_megapixels} million pixels are accepted in a photo.")


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
