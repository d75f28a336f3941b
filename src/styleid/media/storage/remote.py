"""Files and folders that are elsewhere: fsspec URLs such as s3://bucket/photos (extra `remote`).

`RemotePath` has the few members of `pathlib.Path` that a run over many files uses, and raises OSError where they do,
whatever the file system's own library raises. Where it logs in and how, fsspec's own configuration says: environment
variables, and files in ~/.config/fsspec.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import re
import secrets
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, NamedTuple

from styleid.errors import MissingDependencyError, OptionError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SECRET = re.compile(r"(?<=://)[^/@:]*:[^/@]*@")
"""A name with a password; a name alone may be a container's (abfs://container@account)."""
_WHOLE_WRITES = frozenset({"s3", "gs", "abfs", "adl", "oss", "oci", "r2", "tos", "b2", "hf", "memory"})
"""Stores in which an object shows when all of it is there; elsewhere a file is written under another name first."""
TEMPORARY = re.compile(r"\.styleid-[0-9a-f]{16}\.part")
_ALIASES = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs"}
_PIECE_BYTES = 1 << 20
_MODIFIED = ("LastModified", "last_modified", "mtime", "updated", "modified_at", "modificationTime", "created")
"""What the file systems call the time of the last change."""


class Entry(NamedTuple):
    """A file below a folder. name: relative, with slashes. modified: seconds since 1970, NaN where nobody says."""

    name: str
    size: int
    modified: float


@dataclass(frozen=True)
class RemotePath:
    """A file or folder at an fsspec URL. url: without a slash at its end."""

    url: str

    def __str__(self) -> str:
        """Return the URL without the name and the password in it."""
        return _SECRET.sub("", self.url)

    def __truediv__(self, name: str | PurePath) -> RemotePath:
        tail = name.as_posix() if isinstance(name, PurePath) else name
        return RemotePath(f"{self.url}/{tail}")

    @property
    def name(self) -> str:
        """Return the last part."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Return the last part's suffix, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """Return the folder that holds this; of a bucket itself, the bucket."""
        head, slash, _ = self.url.rpartition("/")
        return RemotePath(head) if slash and not head.endswith("/") else self

    def is_within(self, other: RemotePath) -> bool:
        """Say whether this is another path or lies below it."""
        return f"{self.url}/".startswith(f"{other.url}/")

    def is_dir(self) -> bool:
        """Say whether this is a folder, which in a store means that something lies below it."""
        with _as_os_error(self):
            return bool(self._fs.isdir(self._path))

    def exists(self) -> bool:
        """Say whether there is such a file or folder."""
        with _as_os_error(self):
            return bool(self._fs.exists(self._path))

    def read_bytes(self) -> bytes:
        """Return the whole file."""
        with _as_os_error(self):
            return bytes(self._fs.cat_file(self._path))

    def open(self) -> IO[bytes]:
        """Open the file for reading, piece by piece."""
        with _as_os_error(self):
            file = self._fs.open(self._path, "rb")
        return io.BufferedReader(_Pieces(self, file), _PIECE_BYTES)

    def size(self) -> int:
        """Return how many bytes the file has."""
        with _as_os_error(self):
            return int(self._fs.size(self._path))

    def write_whole(self, data: bytes) -> None:
        """Write a file so that its name shows all of it or none."""
        self._put(lambda path: self._fs.pipe_file(path, data))

    def upload(self, file: Path) -> None:
        """Write a file of this machine there, so that its name shows all of it or none."""
        self._put(lambda path: self._fs.put_file(str(file), path))

    def _put(self, write: Callable[[str], object]) -> None:
        with _as_os_error(self):
            fs, path = self._fs, self._path
            if _protocol(self.url) in _WHOLE_WRITES:
                write(path)
                return
            folder, _, _ = path.rpartition("/")
            if folder:
                fs.makedirs(folder, exist_ok=True)
            temporary = f"{folder}/.styleid-{secrets.token_hex(8)}.part"
            try:
                write(temporary)
                fs.mv(temporary, path)
            except BaseException:
                with contextlib.suppress(Exception):
                    fs.rm_file(temporary)
                raise

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Remove the file."""
        with _as_os_error(self):
            try:
                self._fs.rm_file(self._path)
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def names(self) -> list[str]:
        """Return the names of what lies directly in this folder, nothing where there is no such folder."""
        with _as_os_error(self):
            try:
                self._fs.invalidate_cache()  # others write there, too
                return [PurePosixPath(path).name for path in self._fs.ls(self._path, detail=False)]
            except FileNotFoundError:
                return []

    def walk(self, skip: RemotePath | None = None) -> Iterator[Entry]:
        """Yield the files below this folder, folder by folder, hidden ones and those below `skip` left out."""
        with _as_os_error(self):
            fs, root = self._fs, self._path.rstrip("/")
            barred = skip._path if skip is not None and skip.is_within(self) else None
            fs.invalidate_cache()
            for folder, folders, files in fs.walk(root, detail=True, on_error="raise"):
                inside = folder.strip("/").removeprefix(root.strip("/")).strip("/")
                for name in [n for n, of in folders.items() if n.startswith(".") or _same(of["name"], barred)]:
                    del folders[name]
                for name, of in files.items():
                    if name and not name.startswith("."):  # stores name a folder itself as a file without name
                        yield Entry(f"{inside}/{name}" if inside else name, int(of.get("size") or 0), _modified(of))

    def remove_stale(self, older_than_s: float) -> int:
        """Remove the temporaries that a killed run left below this folder; return how many there were.

        Those whose age nobody knows stay where an age is asked for: another machine may be writing them.
        """
        count = 0
        if _protocol(self.url) in _WHOLE_WRITES:
            return 0
        now = datetime.now().timestamp()
        with _as_os_error(self):
            for folder, _, files in self._fs.walk(self._path, detail=True):
                for name, of in files.items():
                    if TEMPORARY.fullmatch(name) and (not older_than_s or now - _modified(of) >= older_than_s):
                        self._fs.rm_file(f"{folder.rstrip('/')}/{name}")
                        count += 1
        return count

    @property
    def _fs(self) -> Any:
        return _file_system(_root(self.url))

    @property
    def _path(self) -> str:
        return str(self._fs._strip_protocol(self.url))


class _Pieces(io.RawIOBase):
    """A file at a URL that raises OSError whatever its library raises."""

    def __init__(self, path: RemotePath, file: Any) -> None:
        self._where, self._file = path, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _as_os_error(self._where):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _as_os_error(self._where):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


Place = Path | RemotePath
"""Where a file or folder is: here, or at a URL."""


def place(text: str) -> Place:
    """Return what a text names: a URL's file, or a path, which file:// and local:// URLs are too.

    An @ before it, for a list, stays. Raises OptionError for a URL that fsspec does not know, MissingDependencyError
    where what reads it is missing.
    """
    if "::" in text and "://" in text:
        raise OptionError(text, "chained URLs are not supported; name the folder or file itself.")
    mark, url = text[: text.startswith("@")], text.removeprefix("@")
    if not _URL.match(url):
        return Path(text)
    protocol, rest = _protocol(url), url.partition("://")[2]
    if protocol in ("file", "local"):
        return Path(mark + rest)
    found = RemotePath(f"{_ALIASES.get(protocol, protocol)}://{rest}".rstrip("/"))  # one place has one name
    _file_system(_root(found.url))  # what is missing shall be said before a run begins
    return RemotePath(mark + found.url)


def holds_password(text: str) -> bool:
    """Say whether a URL holds a name and a password."""
    return _SECRET.search(text) is not None


def _protocol(url: str) -> str:
    return url.partition("://")[0].lower()


def _root(url: str) -> str:
    """Return a URL up to its host or bucket: one file system serves all below it."""
    protocol, _, rest = url.partition("://")
    return f"{protocol}://{rest.partition('/')[0]}"


@functools.lru_cache(maxsize=64)
def _file_system(url: str) -> Any:
    try:
        import fsspec  # pyright: ignore[reportMissingTypeStubs]  # it ships no types
    except ModuleNotFoundError as error:
        raise MissingDependencyError("what reads URLs", "'styleid[remote]'") from error
    shown = _SECRET.sub("", url)
    core: Any = fsspec.core
    try:
        return core.url_to_fs(url)[0]
    except ImportError as error:
        raise OptionError(shown, f"what reads such URLs is not installed: {error}.") from error
    except ValueError as error:
        raise OptionError(shown, f"fsspec cannot open such URLs: {error}.") from error


@contextlib.contextmanager
def _as_os_error(path: RemotePath) -> Generator[None, None, None]:
    """Turn whatever a file system's library raises into OSError, and leave the URL's secrets out of it."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # many libraries give a text alone
            number = errno.ENOENT if isinstance(error, FileNotFoundError) else error.errno or errno.EIO
            raise OSError(number, _SECRET.sub("", str(error)) or type(error).__name__, str(path)) from error
        raise
    except (MissingDependencyError, OptionError, GeneratorExit):
        raise
    except Exception as error:  # each library has errors of its own
        text = _SECRET.sub("", str(error).strip()) or "no reason given"
        raise OSError(errno.EIO, f"{type(error).__name__}: {text}", str(path)) from error


def _modified(of: dict[str, Any]) -> float:
    value = next((of[key] for key in _MODIFIED if of.get(key) is not None), None)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, int | float) else float("nan")


def _same(one: str, other: str | None) -> bool:
    return other is not None and one.strip("/") == other.strip("/")
