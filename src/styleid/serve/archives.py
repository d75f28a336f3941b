"""Unpack ZIP files of photos and videos, and refuse harmful ones."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path, PurePosixPath

from styleid.serve.forms import Sink
from styleid.serve.names import clean_name, is_hidden, kind_of
from styleid.serve.problems import ProblemError

_END = b"PK\x05\x06"
_END_BYTES = 22
_MOST_COMMENT = 65_535
_LOCATOR = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_ENTRY_BYTES = 46
_MOST_ENTRY = 2_000
_CHUNK = 1 << 20
_NESTED = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")

Take = Callable[[PurePosixPath], Sink]
"""Called with a member's name; returns the sink for its bytes."""


def unpack(path: Path, take: Take, *, most_files: int, most_bytes: int) -> list[str]:
    """Unpack the photos and videos of a ZIP file.

    Hidden members are ignored.

    Args:
        path: The ZIP file.
        take: Called with the name of each photo and video; returns the sink for its bytes.
        most_files: Largest number of members.
        most_bytes: Largest size of all members together, unpacked, in bytes.

    Returns:
        Names of the members that are neither photos nor videos.

    Raises:
        ProblemError: The archive has too many members or is too large (413); or it is broken, encrypted or unsafe,
            such as with a link, another archive or a name that leads out of the folder (422).
        OSError: The archive cannot be read from the disk.
    """
    _check_directory(path, most_files)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            names = [_checked(one) for one in members]
            if len(members) > most_files:
                raise _too_many(most_files)
            if len(set(names)) < len(names):
                raise ProblemError(422, "The ZIP holds two files of one name.")
            return _extract(archive, list(zip(members, names, strict=True)), take, most_bytes)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the disk, not of the archive
        raise ProblemError(422, "The ZIP is broken, encrypted or compressed in an unsupported way.") from error
    except Exception as error:  # zlib and lzma define their own error classes
        if isinstance(error, ProblemError) or not type(error).__module__.startswith(("zlib", "lzma", "_lzma")):
            raise
        raise ProblemError(422, "The ZIP is broken.") from error


def _check_directory(path: Path, most_files: int) -> None:
    """Refuse an archive by the size of its directory, before the directory is read into memory."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_BYTES - _MOST_COMMENT))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise ProblemError(422, "The ZIP is broken: it has no end.")
    count, length = struct.unpack_from("<HI", tail, at + 10)
    more = tail[max(0, at - _LOCATOR_BYTES) : at].startswith(_LOCATOR)  # ZIP64: the numbers are elsewhere
    if count == 0xFFFF or length == 0xFFFFFFFF or more:
        raise ProblemError(413, "ZIP64 is not supported. Make several smaller ZIP files.")
    if count > most_files * 2 or length > (_ENTRY_BYTES + _MOST_ENTRY) * most_files:
        raise _too_many(most_files)


def _checked(member: zipfile.ZipInfo) -> PurePosixPath:
    name = clean_name(member.filename)
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ProblemError(422, "The ZIP holds a link or a device.")
    if name.suffix.lower() in _NESTED:
        raise ProblemError(422, "The ZIP holds another archive. Unpack that one first.")
    return name


def _extract(
    archive: zipfile.ZipFile, members: list[tuple[zipfile.ZipInfo, PurePosixPath]], take: Take, most_bytes: int
) -> list[str]:
    left, skipped = most_bytes, []
    if sum(member.file_size for member, _ in members) > most_bytes:
        raise _too_much(most_bytes)
    for member, name in members:
        if is_hidden(name):
            continue
        if kind_of(name) is None:
            skipped.append(name.as_posix())
            continue
        with archive.open(member) as source, closing(take(name)) as target:
            while chunk := source.read(_CHUNK):
                left -= len(chunk)
                if left < 0:  # the member is larger than its header says
                    raise _too_much(most_bytes)
                target.write(chunk)
    return skipped


def _too_many(most_files: int) -> ProblemError:
    return ProblemError(413, f"The ZIP holds too many files; at most {most_files} are taken.")


def _too_much(most_bytes: int) -> ProblemError:
    return ProblemError(413, f"The ZIP holds more than {most_bytes / 1e6:g} MB, unpacked.")
