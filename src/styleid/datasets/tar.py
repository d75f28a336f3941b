"""Read and write tar shards member by member, and refuse members that a shard must not contain."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any

from styleid.datasets.plan import leads_out
from styleid.errors import DatasetError, OutputError
from styleid.media.storage.files import os_reason
from styleid.media.storage.remote import Place
from styleid.media.text import find_picture, plain_text

_BLOCK = 512
_CHUNK = 1 << 20
_SHORT = 256
_BROKEN = (tarfile.TarError, EOFError, ValueError, UnicodeError)


class ShardReader:
    """Reads a shard's members in order.

    DatasetError is raised if the shard is damaged or contains links, devices or paths that lead out of its folder.
    Members can be opened again while the reader is open.
    """

    def __init__(self, path: Place) -> None:
        self.path = str(path)
        try:
            self._file: IO[bytes] = path.open("rb") if isinstance(path, Path) else path.open()
        except OSError as error:
            raise DatasetError(self.path, f"it cannot be read ({error.strerror or error})") from error
        try:
            self._tar = tarfile.open(fileobj=self._file, mode="r:")  # noqa: SIM115 (closed by __exit__)
        except (*_BROKEN, OSError) as error:
            self._file.close()
            raise DatasetError(self.path, f"it is not a readable tar file ({error})") from error

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()
        self._file.close()

    @property
    def comments(self) -> dict[str, str]:
        """The headers that apply to all members."""
        return dict(self._tar.pax_headers)

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Yield each member after a check; raises DatasetError at the first that is not allowed."""
        try:
            while (info := self._tar.next()) is not None:
                # tarfile would keep every member's header
                self._tar.members = []  # pyright: ignore[reportAttributeAccessIssue]
                self._check(info)
                yield info
            self._require_end()
        except (*_BROKEN, OSError) as error:
            raise DatasetError(self.path, f"it is damaged or cut short ({error})") from error

    def open(self, info: tarfile.TarInfo) -> IO[bytes]:
        """Open a file member for reading."""
        file = self._tar.extractfile(info)
        assert file is not None  # only regular files pass _check
        return file

    def read(self, info: tarfile.TarInfo) -> bytes:
        """Return a file member's content; raises DatasetError if it is cut short."""
        try:
            data = self.open(info).read()
        except (*_BROKEN, OSError) as error:
            raise DatasetError(self.path, f"'{info.name}' is damaged or cut short ({error})") from error
        if len(data) != info.size:
            raise DatasetError(self.path, f"'{info.name}' is cut short")
        return data

    def head(self, info: tarfile.TarInfo) -> bytes:
        """Return the first bytes of a file member."""
        return self.open(info).read(_BLOCK)

    def _check(self, info: tarfile.TarInfo) -> None:
        if leads_out(info.name) or "\\" in info.name:
            raise DatasetError(self.path, f"its member '{info.name}' would be unpacked outside the folder")
        if info.issym() or info.islnk():
            raise DatasetError(self.path, f"its member '{info.name}' is a link to '{info.linkname}'")
        if info.issparse() or not (info.isreg() or info.isdir()):
            raise DatasetError(self.path, f"its member '{info.name}' is not a regular file")
        for key, value in {**self.comments, **info.pax_headers}.items():
            if reason := _hidden_in(value):
                raise DatasetError(self.path, f"the header '{key}' of its member '{info.name[:80]}': {reason}")

    def _require_end(self) -> None:
        """Check that the members end where the shard does: tarfile takes a damaged header for the end."""
        at = self._tar.offset
        self._file.seek(at)
        while block := self._file.read(_CHUNK):
            if block.strip(b"\0"):
                raise DatasetError(self.path, f"it is damaged: what follows byte {at} is no member, so members would "
                                   "be lost")  # fmt: skip


class ShardWriter:
    """Writes a shard whole or not at all: it gets its name when `finish` is called.

    A shard for a URL is first written to a temporary file that only its owner can read.
    """

    def __init__(self, path: Place, comments: dict[str, str]) -> None:
        self.path, self.digest, self.bytes = path, "", 0
        with self._named():
            if isinstance(path, Path):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._temporary = path.parent / f".styleid-{secrets.token_hex(8)}.part"
                self._file = self._temporary.open("xb")
            else:
                descriptor, name = tempfile.mkstemp(".part", ".styleid-")
                self._temporary, self._file = Path(name), os.fdopen(descriptor, "wb")
            self._tar = tarfile.open(fileobj=self._file, mode="w:", format=tarfile.PAX_FORMAT,  # noqa: SIM115
                                     pax_headers=comments)  # fmt: skip

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self.digest:
            self._file.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    def add(self, info: tarfile.TarInfo, source: IO[bytes] | None, size: int) -> None:
        """Append a member with its old header, except for the size."""
        header = copy(info)
        if header.size != size:
            header.size = size
            header.pax_headers = {k: v for k, v in info.pax_headers.items() if k != "size"}
        try:
            with self._named():
                self._tar.addfile(header, source)
        except tarfile.TarError as error:  # only the source raises it: it was cut short since it was checked
            raise DatasetError(str(self.path), f"'{info.name}' cannot be copied ({error})") from error
        self._tar.members = []  # pyright: ignore[reportAttributeAccessIssue]

    def finish(self) -> str:
        """Write the shard to the disk under its name, and return the SHA-256 of its bytes."""
        with self._named():
            self._tar.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            digest, self.bytes = file_digest(self._temporary), self._temporary.stat().st_size
            if isinstance(self.path, Path):
                self._temporary.replace(self.path)
            else:
                self.path.upload(self._temporary)
                self._temporary.unlink()
        self.digest = digest
        return digest

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(str(self.path), os_reason(error)) from error


def _hidden_in(value: str) -> str:
    """Return why a header's value may be a picture; empty if it is short or plain text without one."""
    if len(value) <= _SHORT:
        return ""
    text = plain_text(value.encode(errors="surrogateescape"))
    return "it is no plain text" if text is None else find_picture(text)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(path: Place, record: Mapping[str, Any]) -> bool:
    """Return whether a shard still has the hash in its journal line, or at a URL the size."""
    try:
        return (
            file_digest(path) == record["sha256"] if isinstance(path, Path) else path.size() == record.get("bytes", -1)
        )
    except OSError:
        return False


def sample_key(name: str) -> str:
    """Return the key of a member's sample: the path up to the first dot of the file name."""
    path = PurePosixPath(name)
    return (path.parent / path.name.partition(".")[0]).as_posix()


def extension(name: str) -> str:
    """Return a member's extension: what follows the first dot of the file name, in lower case."""
    return PurePosixPath(name).name.partition(".")[2].lower()
