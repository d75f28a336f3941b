"""Lists of files as inputs: text files with one name per line, or a column of a Parquet file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from styleid.errors import MissingDependencyError, OptionError
from styleid.media.storage.files import FoundPath
from styleid.media.storage.remote import Place, RemotePath, holds_password, place

_COLUMN = "path"


def list_of(given: Place) -> Place | None:
    """Return the list that an input such as @photos.txt names; None if the input is a file or folder."""
    if isinstance(given, RemotePath):
        return RemotePath(given.url[1:]) if given.url.startswith("@") else None
    return Path(str(given)[1:]) if str(given).startswith("@") and not os.path.lexists(given) else None


def read_list(path: Place, *, exclude: Place) -> Iterator[FoundPath]:
    """Yield each file that a list names, once, in the order of the list.

    Names are relative to the folder of the list, or absolute paths below that folder, because the outputs mirror it.
    They can also be URLs; then the outputs mirror the bucket or host and its folders, unless the URL lies below the
    folder of the list.

    Args:
        path: The list.
        exclude: The output folder.

    Raises:
        OptionError: The list cannot be read, or a file lies elsewhere or in the output folder.
        MissingDependencyError: pyarrow is needed to read a Parquet file.
    """
    seen, barred = set[str](), _barred(path, exclude)
    for text in _rows(path):
        if "://" in text:
            found = _by_url(path, text)
        elif isinstance(path, RemotePath):
            found = FoundPath(path.parent, _inside(path, text, os.path.normpath(text)))
        else:
            found = _by_path(path, text)
        if barred is not None and _is_output(found.whole(), barred):
            raise OptionError("inputs", f"{path} names {text}, which lies in the output folder.")
        if found.name not in seen:
            seen.add(found.name)
            yield found


def _by_path(path: Path, text: str) -> FoundPath:
    folder = os.path.abspath(path.parent)  # noqa: PTH100 # symbolic links must not be resolved
    whole = os.path.normpath(os.path.join(folder, text))  # noqa: PTH118
    return FoundPath(str(path.parent), _inside(path, text, os.path.relpath(whole, folder)))


def _by_url(path: Place, text: str) -> FoundPath:
    if holds_password(text):
        raise OptionError("inputs", f"{path} contains a URL with a password. Put the password into fsspec's settings.")
    file = place(text)
    if isinstance(file, Path):
        if isinstance(path, RemotePath):
            raise OptionError("inputs", f"{path} names {text}, which lies on this machine.")
        return _by_path(path, str(file))
    if isinstance(path, RemotePath) and file.is_within(path.parent):
        return FoundPath(path.parent, _inside(path, text, file.url.removeprefix(path.parent.url).strip("/")))
    name = file.url.partition("://")[2].strip("/")
    return FoundPath(RemotePath(file.url[: -len(name) - 1]), _inside(path, text, name))


def _inside(path: Place, text: str, name: str) -> str:
    if name.startswith(("..", "/")) or name in ("", ".") or ".." in name.split("/"):
        raise OptionError("inputs", f"{path} names {text}, which does not lie below the list's folder {path.parent}.")
    return name


def _barred(path: Place, exclude: Place) -> Place | None:
    """Return the resolved output folder; None if no file of the list can lie in it."""
    if isinstance(exclude, RemotePath):
        return exclude
    barred = exclude.resolve()
    return barred if isinstance(path, Path) and barred.is_relative_to(path.parent.resolve()) else None


def _is_output(whole: Place, barred: Place) -> bool:
    if isinstance(whole, RemotePath) or isinstance(barred, RemotePath):
        return isinstance(whole, RemotePath) and isinstance(barred, RemotePath) and whole.is_within(barred)
    return whole.resolve().is_relative_to(barred)


def _rows(path: Place) -> Iterator[str]:
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet_rows(path)
        elif isinstance(path, RemotePath):
            text = path.read_bytes().decode(errors="surrogateescape")
            yield from (line for line in map(str.strip, text.splitlines()) if line)
        else:
            with path.open(encoding="utf-8", errors="surrogateescape") as file:
                yield from (line for line in map(str.strip, file) if line)
    except OSError as error:
        raise OptionError("inputs", f"the list {path} cannot be read: {error.strerror or error}.") from error


def _parquet_rows(path: Place) -> Iterator[str]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingDependencyError("pyarrow, which reads Parquet files,", "pyarrow") from error
    source: Any = io.BytesIO(path.read_bytes()) if isinstance(path, RemotePath) else path
    try:
        with parquet.ParquetFile(source) as file:
            if _COLUMN not in file.schema_arrow.names:
                names = ", ".join(file.schema_arrow.names)
                raise OptionError("inputs", f"the list {path} has no column '{_COLUMN}', only {names}.")
            for batch in file.iter_batches(columns=[_COLUMN]):
                yield from (str(text) for text in batch.column(0).to_pylist() if text)
    except arrow.ArrowInvalid as error:
        raise OptionError("inputs", f"the list {path} is not a Parquet file: {error}") from error
