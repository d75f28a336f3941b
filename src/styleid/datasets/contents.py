"""Check the files of a data set that are no photos before they are copied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from styleid.datasets.options import AnnotationOptions
from styleid.datasets.passthrough import (
    counted_as,
    face_in_map,
    has_ending,
    named_endings,
    unread_kind_of,
    why_unread,
    why_withheld,
    with_passthrough_option,
)
from styleid.datasets.plan import Named, Plan
from styleid.media.formats.parse.unread_kinds import Shows
from styleid.types import ImageRGB

_CACHES = frozenset({".npy", ".npz"})


@dataclass(frozen=True)
class CheckedFile:
    """A checked file. data: its content. reason: why it is withheld; empty if it is copied."""

    name: str
    data: bytes = b""
    reason: str = ""


class Contents:
    """Decides which annotations, label maps and other files of a data set are copied.

    Attributes:
        unread: Number of files that were left out because their kind is not read, by kind; complete after `look`.
    """

    def __init__(
        self, root: Path, plan: Plan, options: AnnotationOptions, shows_face: Callable[[ImageRGB], bool]
    ) -> None:
        """Prepare the check. shows_face: returns whether a picture shows a face; label maps are checked with it."""
        self._root, self._plan, self._options, self._shows_face = root, plan, options, shows_face
        self._unseen = named_endings(options.carry)
        self._masks = frozenset(plan.masks)
        self.unread: Counter[str] = Counter()

    @property
    def absent(self) -> frozenset[str]:
        """Files that the plan reports as incomplete. They stay errors, whatever their content."""
        return frozenset(name for name, _ in self._plan.absent)

    @property
    def left(self) -> list[str]:
        """Files that are neither photos nor annotations and that no option asks to copy."""
        return [] if self._options.copy_others else [n for n in self._plan.others if not has_ending(n, self._unseen)]

    def look(self) -> Iterator[CheckedFile]:
        """Check the files. Yield each that is copied or must be reported, annotations first."""
        left = self.left
        for name in (*self._plan.annotations, *self._plan.masks, *sorted({*self._plan.others} - {*left})):
            yield self._check(name)
        for name in left:
            ending = PurePosixPath(name).suffix
            if (kind := unread_kind_of(self._root / name)) is None:
                continue
            self.unread[counted_as(kind, ending)] += 1
            if kind.shows is Shows.PICTURE:
                yield CheckedFile(name, reason=why_unread(kind, ending))

    def caches(self) -> Iterator[Named]:
        """Yield a note on each array file that was left out and has the name of a photo beside it."""
        photos = {photo.relative.with_suffix("").as_posix() for photo in self._plan.photos}
        for name in self.left:
            path = PurePosixPath(name)
            if path.suffix.lower() in _CACHES and path.with_suffix("").as_posix() in photos:
                yield name, "left out: it has the name of a photo beside it, and may be a cache with the photo's pixels"

    def _check(self, name: str) -> CheckedFile:
        try:
            data = (self._root / name).read_bytes()
        except OSError as error:
            return CheckedFile(name, reason=f"it cannot be read ({error.strerror or error})")
        if has_ending(name, self._unseen):
            return CheckedFile(name, data)
        reason = face_in_map(data, self._shows_face) if name in self._masks else why_withheld(name, data)
        return CheckedFile(name, data, with_passthrough_option(reason, PurePosixPath(name).suffix) if reason else "")
