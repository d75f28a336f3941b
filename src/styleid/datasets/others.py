"""Copy what lies beside photos in plain folders, where a user asks for it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from styleid.datasets.passthrough import hidden_picture
from styleid.datasets.plan import walk_files
from styleid.engine.journal import Journal
from styleid.engine.local import Summary
from styleid.errors import OptionError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.storage.files import InputFile, write_atomic


def find_others(inputs: Sequence[Path], out: Path) -> list[InputFile]:
    """List the files in the folders among inputs that are no photos by their names, out and hidden ones left out.

    Raises OptionError where two would be copied to the same place.
    """
    found: dict[Path, InputFile] = {}
    barred = out.resolve()
    for folder in (one for one in inputs if one.is_dir()):
        for name in walk_files(folder):
            path = folder / name
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES or barred in path.resolve().parents:
                continue
            other = found.setdefault(Path(name), InputFile(path, Path(name)))
            if other.path != path:
                raise OptionError("--copy-others", f"{other.path} and {path} would both be copied to {name}.")
    return list(found.values())


def copy_others(files: Sequence[InputFile], out: Path, summary: Summary) -> int:
    """Copy files into a run's folder byte for byte and return how many.

    One that may show persons, or cannot be read, is named in the journal and the summary instead.
    """
    journal, copied = Journal(out), 0
    for file in files:
        try:
            data = file.path.read_bytes()
            reason = hidden_picture(data)
        except OSError as error:
            data, reason = b"", f"it cannot be read ({error.strerror or error})"
        if not reason:
            write_atomic(out / file.relative, data)
            copied += 1
            continue
        name = file.relative.as_posix()
        record = {"input": name, "faces": [], "error": reason}
        journal.append(record)
        summary.count(record)
        with contextlib.suppress(OSError):  # what an earlier run copied was another file
            (out / file.relative).unlink()
    return copied
