"""Find the file that a name in an annotation refers to.

Annotations move between machines. They name files by paths of other folders and systems, by URLs, or by the file name
alone. Only the data set's own files are candidates, so nothing outside the data set is ever read.
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
"""Prefixes that Label Studio adds to a name, and suffixes that Roboflow adds."""


@dataclass(frozen=True)
class NameMatch:
    """The file that a name refers to.

    name: the file, or empty. maybe: the candidates, if the file is ambiguous. as_it_stands: whether the name is the
    file's path, without any interpretation.
    """

    name: str = ""
    maybe: tuple[str, ...] = ()
    as_it_stands: bool = False


class Finder:
    """Finds files of a data set by the names in annotations."""

    def __init__(self, names: Iterable[str], root: str = "", likely: Iterable[str] | None = None) -> None:
        """Index the files.

        Args:
            names: All files, relative to the data set's folder.
            root: Path of that folder; absolute names may begin with it.
            likely: The files that are candidates if a name is not a path to a file; by default all.
        """
        self._there = frozenset(names)
        self._root = root.rstrip("/") + "/"
        self._indexes = [_Index(fold) for fold in (str, _folded, _folded_stem, _bare_stem)]
        self._likely = self._there if likely is None else frozenset(likely)
        self._numbers: dict[str, list[str]] | None = None
        for index in self._indexes:
            for name in self._likely:
                index.add(name)

    def at(self, text: str, folders: Sequence[str]) -> str:
        """Return the file at a path relative to one of the folders, in their order; empty if there is none."""
        for reading in possible_paths(text):
            inside = reading.removeprefix(self._root)
            for folder in ("",) if inside != reading else folders:
                path = posixpath.normpath(posixpath.join(folder, inside)) if inside else ""
                if path in self._there:
                    return path
        return ""

    def anywhere(self, text: str) -> tuple[tuple[str, ...], int]:
        """Return the files whose paths share the most last parts with a name, sorted, and the number of these parts."""
        tails = [tail for reading in possible_paths(text) if (tail := _tail(reading))]
        for index in self._indexes:
            found = [index.closest(tail) for tail in tails]
            if best := max((depth for _, depth in found), default=0):
                return next(names for names, depth in found if depth == best), best
        return (), 0

    def find(self, text: str, folders: Sequence[str], taken: Collection[str] = ()) -> NameMatch:
        """Return the file that a name refers to.

        Args:
            text: The name in an annotation.
            folders: Folders that it may be relative to, in this order.
            taken: Files that other names refer to by their exact paths. A bare file name that is found nowhere is not
                matched with them, since it more likely refers to a missing file.
        """
        if name := self.at(text, folders):
            return NameMatch(name, as_it_stands=is_plain(text))
        found, depth = self.anywhere(text)
        if depth <= 1 and is_plain(text):
            found = tuple(name for name in found if name not in taken)
        return NameMatch(found[0]) if len(found) == 1 else NameMatch(maybe=found)

    def numbered(self, number: str) -> tuple[str, ...]:
        """Return the files whose names are a number, with or without leading zeros, sorted."""
        if self._numbers is None:
            self._numbers = defaultdict(list)
            for name in self._likely:
                if (stem := PurePosixPath(name).stem).isdecimal():
                    self._numbers[_digits(stem)].append(name)
        return tuple(sorted(self._numbers.get(_digits(number), ())))


class _Index:
    """Index of paths by their file name, in a normalised form."""

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
        """Return the number of last parts that a path has in common with a name, the file name included."""
        depth = 1
        for one, other in zip(PurePosixPath(name).parts[-2::-1], tail[-2::-1], strict=False):
            if _folded(one) != _folded(other):
                break
            depth += 1
        return depth


def possible_paths(text: str) -> Iterator[str]:
    """Yield the paths that a name may stand for: unchanged, with other slashes, as a URL's path, decoded."""
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
    """Return whether a name is a plain relative path that stays inside its folder."""
    path = PurePosixPath(text)
    return bool(path.parts) and not (path.is_absolute() or ".." in path.parts or "\\" in text or _URL.match(text))


def _tail(path: str) -> tuple[str, ...]:
    """Return the parts of a path after its last `..`, which can lie inside the data set."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "//")]
    while ".." in parts:
        parts = parts[parts.index("..") + 1 :]
    return tuple(parts)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _folded_stem(name: str) -> str:
    return PurePosixPath(_folded(name)).stem


def _bare_stem(name: str) -> str:
    """Return the letters and digits of a name, without the prefixes and suffixes of tools."""
    plain = _BY_TOOLS.sub("", _folded_stem(name))
    return "".join(c for c in plain if c.isalnum()) or plain


def _digits(number: str) -> str:
    return number.lstrip("0") or "0"
