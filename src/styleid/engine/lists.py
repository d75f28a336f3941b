"""Lists of files as inputs: text, one a line, or a column of a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from styleid.errors import MissingDependencyError, OptionError

_COLUMN = "path"


def list_of(given: Path) -> Path | None:
    """Return the list that an input such as @photos.txt names, None where it is a file or folder itself."""
    return Path(str(given)[1:]) if str(given).startswith("@") and not os.path.lexists(given) else None


def read_list(path: Path, *, exclude: Path) -> Iterator[tuple[str, str]]:
    """Yield the list's folder and each file's name in it, once, in the list's order.

    Files are named relative to the list's folder, or absolutely and below it, since their outputs mirror that folder.
    Raises OptionError for a list that cannot be read, and for a file that lies elsewhere or in the output folder.
    """
    folder, seen = Path(os.path.abspath(path.parent)), set[str]()  # noqa: PTH100 # links stay as they are written
    barred = exclude.resolve()
    inside = barred.is_relative_to(folder.resolve())
    for text in _rows(path):
        whole = os.path.normpath(folder / text)
        name = os.path.relpath(whole, folder)
        if name.startswith("..") or name == ".":
            raise OptionError("INPUT", f"{path} names {text}, which does not lie below the list's folder {folder}.")
        if inside and Path(whole).resolve().is_relative_to(barred):
            raise OptionError("INPUT", f"{path} names {text}, which lies in the output folder.")
        if name not in seen:
            seen.add(name)
            yield str(path.parent), name


def _rows(path: Path) -> Iterator[str]:
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet_rows(path)
            return
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            yield from (line for line in map(str.strip, file) if line)
    except OSError as error:
        raise OptionError("INPUT", f"the list {path} cannot be read: {error.strerror or error}.") from error


def _parquet_rows(path: Path) -> Iterator[str]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingDependencyError("what reads Parquet files", "pyarrow") from error
    try:
        with parquet.ParquetFile(path) as file:
            if _COLUMN not in file.schema_arrow.names:
                names = ", ".join(file.schema_arrow.names)
                raise OptionError("INPUT", f"the list {path} has no column '{_COLUMN}', only {names}.")
            for batch in file.iter_batches(columns=[_COLUMN]):
                yield from (str(text) for text in batch.column(0).to_pylist() if text)
    except arrow.ArrowInvalid as error:
        raise OptionError("INPUT", f"the list {path} is no Parquet file: {error}") from error
