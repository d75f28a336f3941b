"""Find the file of a data set that a name in an annotation means.

Annotations move between machines: they name files by paths of other folders and systems, by URLs, or by their last part
alone. What a name means is decided among the data set's own files, so nothing outside the data set is ever touched.
"""

from __future__ import annotations

import html
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

_DRIVE = re.compile(r"^[A-Za-z]:(?=[/\\])")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_BY_TOOLS = re.compile(r"^[0-9a-f]{8}-|(_(jpe?g|png|bmp|webp|tiff?))?\.rf\.[0-9a-z]{20,}$")
"""What Label Studio puts before a name, and Roboflow after it."""


@dataclass(frozen=True)
class Meant:
    """What a name means.

    name: the one file, or "". maybe: the files among which it cannot be told, where there is no one file.
    as_it_stands: whether the name leads to the file word for word.
    """

    name: str = ""
    maybe: tuple[str, ...] = ()
    as_it_stands: bool = False


class Finder:
    """Find files of a data set by the names that annotations give them.

    names: all files, relative to the data set's folder. root: that folder's own path, which absolute names may begin
    with. likely: those of the names to choose from where a name does not lead to a file; all without it.
    """

    def __init__(self, names: Iterable[str], root: str = "", likely: Iterable[str] | None = None) -> None:
        self._there = frozenset(names)
        self._root = root.rstrip("/") + "/"
        self._indexes = [_Index(fold) for fold in (str, _folded, _folded_stem, _bare_stem)]
        self._likely = self._there if likely is None else frozenset(likely)
        self._numbers: dict[str, list[str]] | None = None
        for index in self._indexes:
            for name in self._likely:
                index.add(name)

    def at(self, text: str, folders: Sequence[str]) -> str:
        """Return the file that a name leads to from the first of the folders where there is one, else ""."""
        for reading in readings(text):
            inside = reading.removeprefix(self._root)
            for folder in ("",) if inside != reading else folders:
                path = posixpath.normpath(posixpath.join(folder, inside)) if inside else ""
                if path in self._there:
                    return path
        return ""

    def anywhere(self, text: str) -> tuple[tuple[str, ...], int]:
        """Return the files whose paths end most as a name does, sorted, and in how many parts they agree."""
        tails = [tail for reading in readings(text) if (tail := _tail(reading))]
        for index in self._indexes:
            found = [index.closest(tail) for tail in tails]
            if best := max((depth for _, depth in found), default=0):
                return next(names for names, depth in found if depth == best), best
        return (), 0

    def find(self, text: str, folders: Sequence[str], taken: Collection[str] = ()) -> Meant:
        """Return what a name means.

        taken: files that other names lead to word for word. A mere file name that is not where it should be is not
        looked for among them: it more likely means a file that is missing.
        """
        if name := self.at(text, folders):
            return Meant(name, as_it_stands=is_plain(text))
        found, depth = self.anywhere(text)
        if depth <= 1 and is_plain(text):
            found = tuple(name for name in found if name not in taken)
        return Meant(found[0]) if len(found) == 1 else Meant(maybe=found)

    def numbered(self, number: str) -> tuple[str, ...]:
        """Return the files whose names are a number, with zeros before it or not, sorted."""
        if self._numbers is None:
            self._numbers = defaultdict(list)
            for name in self._likely:
                if (stem := PurePosixPath(name).stem).isdecimal():
                    self._numbers[_digits(stem)].append(name)
        return tuple(sorted(self._numbers.get(_digits(number), ())))


class _Index:
    """The paths of files by their last part, folded."""

    def __init__(self, fold: Callable[[str], str]) -> None:
        self._fold = fold
        self._by_last: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str) -> None:
        self._by_last[self._fold(PurePosixPath(name).name)].append(name)

    def closest(self, tail: Sequence[str]) -> tuple[tuple[str, ...], int]:
        last = tail[-1]  # a name without a suffix may hold a dot, and a.png.txt belong to a.png
        keys = (self._fold(last), _folded(last), self._fold(PurePosixPath(last).stem))
        names = next((self._by_last[key] for key in keys if key in self._by_last), ())
        depths = {name: self._depth(name, tail) for name in names}
        best = max(depths.values(), default=0)
        return tuple(sorted(name for name, depth in depths.items() if depth == best)), best

    @staticmethod
    def _depth(name: str, tail: Sequence[str]) -> int:
        """Count the folders, from the last, in which a path agrees, and one for its last part."""
        depth = 1
        for one, other in zip(PurePosixPath(name).parts[-2::-1], tail[-2::-1], strict=False):
            if _folded(one) != _folded(other):
                break
            depth += 1
        return depth


def readings(text: str) -> Iterator[str]:
    """Yield what a name may mean as a path: as it stands, with other slashes, as a URL's path, with escapes undone."""
    plain = text.strip()
    every = [text, plain]
    slashed = _DRIVE.sub("", plain.replace("\\", "/"))
    if slashed != plain:
        every.append(slashed)
    if _URL.match(plain) or "?" in plain:
        try:
            url = urlsplit(plain)
        except ValueError:
            url = urlsplit("")
        every += [*parse_qs(url.query).get("d", []), url.path, unquote(url.path)]  # d: Label Studio's local files
    if "%" in plain:
        every.append(unquote(slashed))
    if "#" in plain:  # a member of an archive
        every.append(slashed.rpartition("#")[2])
    if "&" in plain:
        every.append(html.unescape(slashed))
    yield from (one for one in dict.fromkeys(every) if one)


def is_plain(text: str) -> bool:
    """Say whether a name is a relative path that stays below its folder, in the form that this system writes."""
    path = PurePosixPath(text)
    return bool(path.parts) and not (path.is_absolute() or ".." in path.parts or "\\" in text or _URL.match(text))


def _tail(path: str) -> tuple[str, ...]:
    """Return the parts of a path that can be below the data set: those after the last `..`."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "//")]
    while ".." in parts:
        parts = parts[parts.index("..") + 1 :]
    return tuple(parts)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _folded_stem(name: str) -> str:
    return PurePosixPath(_folded(name)).stem


def _bare_stem(name: str) -> str:
    """Return a name's letters and digits, without what tools put around it."""
    plain = _BY_TOOLS.sub("", _folded_stem(name))
    return "".join(c for c in plain if c.isalnum()) or plain


def _digits(number: str) -> str:
    return number.lstrip("0") or "0"
