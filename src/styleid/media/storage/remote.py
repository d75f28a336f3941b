"""Files and folders at fsspec URLs such as s3://bucket/photos (extra `remote`).

`RemotePath` has those members of `pathlib.Path` that runs over many files use. It raises OSError like `pathlib.Path`,
whatever error the file system's library raises. Credentials and endpoints come from fsspec's own configuration:
environment variables, and files in ~/.config/fsspec.
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
"""User name and password in a URL. A name without password is kept: it can be a container (abfs://container@account)."""
_WHOLE_WRITES = frozenset({"s3", "gs", "abfs", "adl", "oss", "oci", "r2", "tos", "b2", "hf", "memory"})
"""Protocols whose writes are atomic. With others, a file is written under a temporary name and then renamed."""
TEMPORARY = re.compile(r"\.styleid-[0-9a-f]{16}\.part")
_ALIASES = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs"}
_PIECE_BYTES = 1 << 20
_MODIFIED = ("LastModified", "last_modified", "mtime", "updated", "modified_at", "modificationTime", "created")
"""Keys under which fsspec's file systems report the time of the last change."""


class Entry(NamedTuple):
    """A file below a folder.

    Attributes:
        name: Relative path with slashes.
        size: Bytes; 0 if the file system does not report it.
        modified: Time of the last change in seconds since 1970; NaN if unknown.
    """

    name: str
    size: int
    modified: float


@dataclass(frozen=True)
class RemotePath:
    """A file or folder at an fsspec URL; `url` has no slash at its end.

    All methods that access the file system raise OSError if it fails.
    """

    url: str

    def __str__(self) -> str:
        """Return the URL without user name and password."""
        return _SECRET.sub("", self.url)

    def __truediv__(self, name: str | PurePath) -> RemotePath:
        tail = name.as_posix() if isinstance(name, PurePath) else name
        return RemotePath(f"{self.url}/{tail}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that contains this path; the parent of a bucket is the bucket."""
        head, slash, _ = self.url.rpartition("/")
        return RemotePath(head) if slash and not head.endswith("/") else self

    def is_within(self, other: RemotePath) -> bool:
        """Return whether this path equals another or lies below it."""
        return f"{self.url}/".startswith(f"{other.url}/")

    def is_dir(self) -> bool:
        """Return whether this is a folder. In object stores, that means that objects exist below it."""
        with _as_os_error(self):
            return bool(self._fs.isdir(self._path))

    def exists(self) -> bool:
        """Return whether the file or folder exists."""
        with _as_os_error(self):
            return bool(self._fs.exists(self._path))

    def read_bytes(self) -> bytes:
        """Return the content of the file."""
        with _as_os_error(self):
            return bytes(self._fs.cat_file(self._path))

    def open(self) -> IO[bytes]:
        """Open the file for buffered reading."""
        with _as_os_error(self):
            file = self._fs.open(self._path, "rb")
        return io.BufferedReader(_Pieces(self, file), _PIECE_BYTES)

    def size(self) -> int:
        """Return the size of the file in bytes."""
        with _as_os_error(self):
            return int(self._fs.size(self._path))

    def write_whole(self, data: bytes) -> None:
        """Write the file atomically."""
        self._put(lambda path: self._fs.pipe_file(path, data))

    def upload(self, file: Path) -> None:
        """Upload a local file to this path atomically."""
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
        """Remove the file.

        Args:
            missing_ok: Whether a missing file is no error.

        Raises:
            FileNotFoundError: The file is missing, and missing_ok is false.
        """
        with _as_os_error(self):
            try:
                self._fs.rm_file(self._path)
            except FileNotFoundError:
                if not missing_ok:
                    raise

    def names(self) -> list[str]:
        """Return the names of the files and folders directly in this folder; an empty list if it does not exist."""
        with _as_os_error(self):
            try:
                self._fs.invalidate_cache()  # other processes write there, too
                return [PurePosixPath(path).name for path in self._fs.ls(self._path, detail=False)]
            except FileNotFoundError:
                return []

    def walk(self, skip: RemotePath | None = None) -> Iterator[Entry]:
        """Yield the files below this folder, folder by folder, except hidden ones and those below `skip`."""
        with _as_os_error(self):
            fs, root = self._fs, self._path.rstrip("/")
            barred = skip._path if skip is not None and skip.is_within(self) else None
            fs.invalidate_cache()
            for folder, folders, files in fs.walk(root, detail=True, on_error="raise"):
                inside = folder.strip("/").removeprefix(root.strip("/")).strip("/")
                for name in [n for n, of in folders.items() if n.startswith(".") or _same(of["name"], barred)]:
                    del folders[name]
                for name, of in files.items():
                    if name and not name.startswith("."):  # object stores list a folder itself as a file without name
                        yield Entry(f"{inside}/{name}" if inside else name, int(of.get("size") or 0), _modified(of))

    def remove_stale(self, older_than_s: float) -> int:
        """Remove the temporary files that a killed run left below this folder, and return their number.

        Args:
            older_than_s: Minimum age in seconds; 0 removes all. With a minimum, files of unknown age are kept, because
                another machine may be writing them.
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
    """A file object that turns all errors of its library into OSError."""

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
"""A file or folder, on this machine or at a URL."""


def place(text: str) -> Place:
    """Parse a path or URL.

    Args:
        text: A local path or a URL. An @ before it, which marks a list of inputs, is kept.

    Returns:
        A `RemotePath` for URLs, else a `Path`, also for file:// and local:// URLs.

    Raises:
        OptionError: The URL is chained, or fsspec cannot open such URLs.
        MissingDependencyError: fsspec is not installed.
    """
    if "::" in text and "://" in text:
        raise OptionError(text, "chained URLs are not supported. Name the folder or file itself.")
    mark, url = text[: text.startswith("@")], text.removeprefix("@")
    if not _URL.match(url):
        return Path(text)
    protocol, rest = _protocol(url), url.partition("://")[2]
    if protocol in ("file", "local"):
        return Path(mark + rest)
    found = RemotePath(f"{_ALIASES.get(protocol, protocol)}://{rest}".rstrip("/"))  # compare equal whatever the alias
    _file_system(_root(found.url))  # report a missing package before the run starts
    return RemotePath(mark + found.url)


def holds_password(text: str) -> bool:
    """Return whether a URL contains a user name and a password."""
    return _SECRET.search(text) is not None


def _protocol(url: str) -> str:
    return url.partition("://")[0].lower()


def _root(url: str) -> str:
    """Return a URL up to its host or bucket, which share one file system object."""
    protocol, _, rest = url.partition("://")
    return f"{protocol}://{rest.partition('/')[0]}"


@functools.lru_cache(maxsize=64)
def _file_system(url: str) -> Any:
    try:
        import fsspec  # pyright: ignore[reportMissingTypeStubs]  # it ships no types
    except ModuleNotFoundError as error:
        raise MissingDependencyError("fsspec, which reads and writes URLs,", "'styleid[remote]'") from error
    shown = _SECRET.sub("", url)
    core: Any = fsspec.core
    try:
        return core.url_to_fs(url)[0]
    except ImportError as error:
        raise OptionError(shown, f"the package for such URLs is not installed: {error}.") from error
    except ValueError as error:
        raise OptionError(shown, f"fsspec cannot open such URLs: {error}.") from error


@contextlib.contextmanager
def _as_os_error(path: RemotePath) -> Generator[None, None, None]:
    """Turn all errors of a file system's library into OSError, without passwords of URLs in their texts."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # many libraries set only a text
            number = errno.ENOENT if isinstance(error, FileNotFoundError) else error.errno or errno.EIO
            raise OSError(number, _SECRET.sub("", str(error)) or type(error).__name__, str(path)) from error
        raise
    except (MissingDependencyError, OptionError, GeneratorExit):
        raise
    except Exception as error:  # each library has its own errors
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
