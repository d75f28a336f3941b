"""Named folders of the server, from which jobs read originals and into which results are saved."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from styleid.errors import OptionError
from styleid.media.storage.remote import TEMPORARY
from styleid.serve.names import clean_name, is_hidden, kind_of
from styleid.serve.options import Limits
from styleid.serve.problems import ProblemError
from styleid.serve.store import JobFile
from styleid.serve.uploads import describe, full_disk

_MOST_NAME = 64


@dataclass(frozen=True)
class Folders:
    """Folders of the server, by the names that clients use.

    Attributes:
        inputs: Folders of originals, which jobs only read.
        outputs: Folders that results may be saved into.
    """

    inputs: Mapping[str, Path] = field(default_factory=dict[str, Path])
    outputs: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @classmethod
    def read(cls, inputs: Iterable[str], outputs: Iterable[str], data: Path) -> Folders:
        """Read folders given as NAME=DIR; raises OptionError if one cannot be used or overlaps another or the data."""
        folders = cls(_read("folder", inputs), _read("out_folder", outputs))
        others = [("data", data.resolve())]
        for option, group in (("folder", folders.inputs), ("out_folder", folders.outputs)):
            for path in group.values():
                _require_apart(option, path, others)
            others += [(option, path) for path in group.values()]
        return folders

    def input(self, name: str, sub: str = "") -> Path:
        """Return a folder of originals; raises ProblemError if there is none."""
        return _inside(self.inputs, name, sub)

    def original(self, name: str, sub: str, file: str) -> Path:
        """Return the path of an original; raises OptionError if its folder is no longer named, or it lies elsewhere."""
        root = self.inputs.get(name)
        path = None if root is None else (root / sub / file).resolve()
        if root is None or path is None or not path.is_relative_to(root):
            raise OptionError("folder", f"{file} is not in a folder named '{name}' any more.")
        return path


def list_folder(folder: Path, limits: Limits) -> tuple[list[JobFile], list[str]]:
    """List the photos and videos of a folder and its subfolders. Links are not followed, hidden files are ignored.

    Args:
        folder: The folder.
        limits: Limits of the service.

    Returns:
        The photos and videos, and the names of other files (at most max_files of them).

    Raises:
        ProblemError: The folder has too many photos and videos, or a photo too many pixels (413); or it has no photo
            and no video, or a name cannot be used (422).
    """
    files: list[JobFile] = []
    skipped: list[str] = []
    for name in sorted(_walk(folder)):
        path = folder / name
        if path.is_symlink() or not path.is_file() or kind_of(name) is None:
            skipped.append(name.as_posix())
            continue
        if len(files) >= limits.max_files:
            raise ProblemError(413, f"The folder holds more than {limits.max_files} photos and videos.")
        files.append(describe(path, len(files) + 1, clean_name(name.as_posix()), limits))
    if not files:
        raise ProblemError(422, "The folder holds no photo and no video.")
    return files, skipped[: limits.max_files]


def save(results: Path, folders: Folders, name: str, sub: str, job: str) -> PurePosixPath:
    """Copy a job's results into an output folder, completely or not at all.

    Args:
        results: Folder with the job's results.
        folders: The named folders of the server.
        name: Name of the output folder.
        sub: New subfolder for the results. If it is empty, `styleid-` and the job's identifier are used.
        job: Identifier of the job.

    Returns:
        Path of the results within the output folder.

    Raises:
        ProblemError: There is no output folder of that name (404), the subfolder exists or cannot be written (409), it
            leads out of the folder (422), or the disk is full (507).
    """
    if name not in folders.outputs:
        raise ProblemError(404, "There is no folder of this name to save into.")
    root = folders.outputs[name]
    place = clean_name(sub) if sub else PurePosixPath(f"styleid-{job}")
    target = root / place
    if not target.parent.resolve().is_relative_to(root):
        raise ProblemError(422, "The subfolder leads out of the folder.")
    if target.exists() or target.is_symlink():
        raise ProblemError(409, "There is something of this name in the folder already. Choose another subfolder.")
    part = root / f".styleid-{job}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(results, part, ignore=_temporary, copy_function=shutil.copyfile)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.rename(target)
    except OSError as error:
        raise _as_problem(error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def _as_problem(error: OSError) -> ProblemError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):  # copytree wraps it
        return full_disk()
    return ProblemError(409, "The results could not be written into the folder. Ask the person who runs the service.")


def _temporary(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if TEMPORARY.fullmatch(name)]


def _inside(folders: Mapping[str, Path], name: str, sub: str) -> Path:
    if name not in folders:
        raise ProblemError(404, "There is no folder of this name.")
    root = folders[name]
    path = (root / clean_name(sub)).resolve() if sub else root
    if not path.is_relative_to(root) or not path.is_dir():
        raise ProblemError(404, "There is no such subfolder.")
    return path


def _walk(folder: Path) -> Iterator[PurePosixPath]:
    for at, folders, files in os.walk(folder):
        base = PurePosixPath(Path(at).relative_to(folder).as_posix())
        folders[:] = sorted(one for one in folders if not is_hidden(PurePosixPath(one)))
        yield from (base / name for name in files if not is_hidden(PurePosixPath(name)))


def _read(option: str, given: Iterable[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for one in given:
        name, _, path = one.partition("=")
        if not name or not path or not name.isprintable() or len(name) > _MOST_NAME or name in found:
            raise OptionError(option, f"'{one}' must be NAME=DIR, with a name that no other folder has.")
        found[name] = Path(path).expanduser().resolve()
        if not found[name].is_dir():
            raise OptionError(option, f"{path} is not a folder.")
    return found


def _require_apart(option: str, path: Path, others: Iterable[tuple[str, Path]]) -> None:
    for other, there in others:
        if option == other:
            continue
        if path.is_relative_to(there) or there.is_relative_to(path):
            raise OptionError(option, f"{path} and the folder of {other}, {there}, overlap. Originals, "
                              "results and jobs need separate folders.")  # fmt: skip
