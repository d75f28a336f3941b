"""Find input files, and write output files that are whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import platform
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from styleid.errors import ImageError, OptionError, OutputError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.remote import TEMPORARY, Place, RemotePath
from styleid.types import HintSource


@dataclass(frozen=True)
class InputFile:
    """Hold one input.

    path: where it is. relative: where its output goes below the output folder. hint_source: who knows more of it, such
    as a data set. modified: when it was last changed, in seconds since 1970, if a listing told it; else NaN.
    """

    path: Place
    relative: Path
    hint_source: HintSource | None = field(default=None, compare=False)
    modified: float = field(default=math.nan, compare=False)

    def place(self) -> tuple[str, str]:
        """Return the folder that the output's name is relative to, and that name; the path must end in it."""
        assert isinstance(self.path, Path), "inputs that are elsewhere come as folders, files or lists"
        return str(self.path.parents[len(self.relative.parts) - 1]), str(self.relative)


class FoundPath(NamedTuple):
    """An input as a walk finds it. root: the folder that its name is relative to. modified: as `InputFile` has it."""

    root: str | RemotePath
    name: str
    modified: float = math.nan

    def whole(self) -> Place:
        """Return where it is."""
        return self.root / self.name if isinstance(self.root, RemotePath) else Path(self.root) / self.name


def walk_inputs(inputs: Sequence[Place | InputFile], *, exclude: Place | None = None) -> list[InputFile]:
    """List the files to process: files as named, folders walked in sorted order with their tree kept.

    A folder yields its files with a known image suffix, hidden ones skipped; a file named explicitly is taken whatever
    its name says. Links to folders are followed, each real folder once. exclude: the output folder, never entered.
    A file with an image suffix that cannot be read is listed all the same, so that reading it reports it. Whoever has
    made its own list passes its entries.
    Raises `OptionError` where an input does not exist, lies in the output folder, or two inputs would be written to
    the same place; `ImageError` where a folder cannot be listed.
    """
    found = walk(inputs, exclude=exclude)
    return [InputFile(one.whole(), Path(one.name), modified=one.modified) for one in found]


def walk(inputs: Sequence[Place | InputFile], *, exclude: Place | None = None) -> Iterator[FoundPath]:
    """Yield what `walk_inputs` lists, one after the other, without a Path for each."""
    barred = exclude.resolve() if isinstance(exclude, Path) else None
    known: dict[str, FoundPath] | None = {} if len(inputs) > 1 else None  # one folder cannot name an output twice
    for given in inputs:
        for found in _places(given, exclude, barred):
            if known is not None and found.name in known:
                one, two = known[found.name].whole(), found.whole()
                if one != two and not _same(one, two):
                    raise OptionError("INPUT", f"{one} and {two} would both be written to {found.name}. "
                                      "Run them separately, or name a folder that holds both")  # fmt: skip
                continue
            if known is not None:
                known[found.name] = found
            yield found


def walk_others(folder: Place, *, exclude: Place | None = None) -> list[str]:
    """List the files below a folder that no suffix names as images, as `walk_inputs` does; hidden ones are left out.

    Raises `ImageError` where a folder cannot be listed.
    """
    if isinstance(folder, Path):
        barred = exclude.resolve() if isinstance(exclude, Path) else None
        return [name.replace(os.sep, "/") for name in _walk(folder, barred, images=False)]
    skipped = exclude if isinstance(exclude, RemotePath) else None
    try:
        return sorted(entry.name for entry in folder.walk(skip=skipped) if not _is_image(entry.name))
    except OSError as error:
        raise ImageError(str(folder), f"this cannot be listed ({error.strerror})") from error


def _places(given: Place | InputFile, exclude: Place | None, barred: Path | None) -> Iterator[FoundPath]:
    if isinstance(given, InputFile):
        yield FoundPath(*given.place())
    elif isinstance(given, RemotePath):
        yield from _under_url(given, exclude if isinstance(exclude, RemotePath) else None)
    else:
        for root, name in _under(Path(given), exclude, barred):
            yield FoundPath(root, name)


def _under_url(given: RemotePath, exclude: RemotePath | None) -> Iterator[FoundPath]:
    try:
        if exclude is not None and given.is_within(exclude):
            raise OptionError("--out", f"{exclude} is or holds the input {given}. Name another output folder")
        if given.is_dir():
            entries = given.walk(skip=exclude)
            photos = [one for one in entries if _is_image(one.name)]
            photos.sort(key=lambda one: one.name.replace("/", "\0"))
            for one in photos:
                yield FoundPath(given, one.name, one.modified)
        elif given.exists():
            yield FoundPath(given.parent, given.name)
        else:
            raise OptionError("INPUT", f"{given} does not exist, or holds nothing")
    except OSError as error:
        raise ImageError(
            str(given), f"this cannot be listed ({error.strerror}), so photos in it would be missed"
        ) from error


def _under(given: Path, exclude: Place | None, barred: Path | None) -> Iterator[tuple[str, str]]:
    if given.is_dir():
        if barred is not None and _is_within(given.resolve(), barred):
            raise OptionError("--out", f"{exclude} is or holds the input folder {given}. Name another output folder")
        for name in _walk(given, barred):
            yield str(given), name
    elif os.path.lexists(given):
        if barred is not None and _is_within(given.resolve(), barred):
            raise OptionError("--out", f"the input {given} lies in the output folder and would be overwritten")
        yield str(given.parent), given.name
    else:
        raise OptionError("INPUT", f"{given} does not exist")


def write_atomic(path: Place, data: bytes) -> str:
    """Write a file whole or not at all, here or at a URL, and return the sha256 of its bytes in hex.

    The bytes go to a temporary name in the same folder, are flushed to the disk, and then take the final name;
    whatever interrupts that, the temporary is removed. Missing folders are made. Raises `OutputError`.
    """
    if isinstance(path, RemotePath):
        try:
            path.write_whole(data)
        except OSError as error:
            raise OutputError(str(path), f"it cannot be written ({error.strerror})") from error
        return hashlib.sha256(data).hexdigest()
    path = Path(path)
    temporary = path.parent / f".styleid-{_mark(os.getpid())}{secrets.token_hex(4)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_through(temporary, data)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(path, os_reason(error)) from error
    return hashlib.sha256(data).hexdigest()


def remove_stale(folder: Place, *, older_than_s: float = 0.0) -> int:
    """Remove the temporaries that a killed run left below a folder; return how many there were.

    Call it before any worker writes there: a living run's temporaries look the same. Where other machines may write
    there now, older_than_s says from which age on a temporary can be nobody's.
    """
    if isinstance(folder, RemotePath):
        try:
            return folder.remove_stale(older_than_s)
        except OSError as error:
            raise OutputError(str(folder), f"what a killed run left cannot be removed ({error.strerror})") from error
    count = 0
    for parent, _, names in os.walk(folder):
        for name in filter(TEMPORARY.fullmatch, names):
            count += _remove(Path(parent) / name, older_than_s)
    return count


def remove_temporaries_of(process: int, folders: Iterable[Place]) -> None:
    """Remove what a process of this machine that was killed left directly in folders of this machine."""
    start = f".styleid-{_mark(process)}"
    for folder in (one for one in folders if isinstance(one, Path) and one.is_dir()):
        for entry in _entries(folder):
            if entry.name.startswith(start) and TEMPORARY.fullmatch(entry.name):
                _remove(folder / entry.name, 0.0)


def _remove(path: Path, older_than_s: float) -> bool:
    try:
        if older_than_s and time.time() - path.stat().st_mtime < older_than_s:
            return False
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(path, os_reason(error)) from error
    return True


def _mark(process: int) -> str:
    """Return eight hex digits that tell a process of this machine from others, and from those of other machines."""
    return hashlib.sha256(f"{platform.node()}/{process}".encode()).hexdigest()[:8]


def _walk(root: Path, barred: Path | None, *, images: bool = True) -> list[str]:
    """List image files below a folder by their names in it, in the order of their folders' names and their own.

    images: list these, or the other files instead. Real folders are walked first, then the linked ones that no real
    path led to.
    """
    seen: set[Path] = set()
    found: list[str] = []
    pending = [""]
    linked: list[str] = []
    while pending or linked:
        inside = pending.pop() if pending else linked.pop(0)
        folder = root / inside
        real = folder.resolve()
        if real in seen or real == barred:
            continue
        seen.add(real)
        for entry in _entries(folder):
            if entry.name.startswith("."):
                continue
            name = os.path.join(inside, entry.name)  # noqa: PTH118 # a Path for each of millions of names is slow
            if _is_folder(entry):
                (linked if entry.is_symlink() else pending).append(name)
            elif _is_image(entry.name) == images and (images or _is_file_or_gone(entry)):
                found.append(name)
    found.sort(key=lambda name: name.replace(os.sep, "\0"))
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda e: e.name)
    except OSError as error:
        raise ImageError(folder, f"this folder cannot be listed ({error.strerror}), so photos in it would be "
                         "missed. Make it readable, or leave it out")  from error  # fmt: skip


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 # a Path for each is slow


def _is_file_or_gone(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a file or a link that leads nowhere, but no pipe, socket or device."""
    try:
        return entry.is_file() or not Path(entry.path).exists()
    except OSError:
        return True


def _is_within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _same(one: Place, other: Place) -> bool:
    if isinstance(one, RemotePath) or isinstance(other, RemotePath):
        return one == other
    try:
        return one.samefile(other)
    except OSError:
        return False


def write_through(path: Path, data: bytes) -> None:
    """Write a new file and bring it to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def os_reason(error: OSError) -> str:
    """Say why a file cannot be written, and what to do about it."""
    reasons = {
        errno.ENOSPC: "the disk is full. Free some space and run again with --resume",
        errno.EDQUOT: "the disk quota is used up. Free some space and run again with --resume",
        errno.EFBIG: "the file would exceed the largest size allowed here",
        errno.EACCES: "writing there is not permitted. Check the owner and the mode of the folder",
        errno.EPERM: "writing there is not permitted. Check the owner and the mode of the folder",
        errno.EROFS: "the disk is mounted read-only",
        errno.EISDIR: "a folder of that name is in the way",
        errno.ENOTDIR: "a file is in the way where a folder of that name is needed",
        errno.EEXIST: "a file is in the way where a folder of that name is needed",
        errno.ENAMETOOLONG: "its name is too long for this file system",
    }
    return reasons.get(error.errno or 0, f"it cannot be written ({error.strerror or error})")
