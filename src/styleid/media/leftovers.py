"""Shared by the audits of all formats: the allowed marks, and the texts of findings."""

from __future__ import annotations

from collections.abc import Sequence

from styleid.media.counts import counted
from styleid.media.formats.parse import c2pa
from styleid.media.provenance import PACKET


class Marks:
    """The marks of generated content found in one file: at most one XMP packet and one C2PA manifest are accepted."""

    def __init__(self, *, xmp: bool = True, manifest: bool = True, described: Sequence[bytes] = ()) -> None:
        """Start the check of one file.

        Args:
            xmp: Whether an XMP packet is accepted.
            manifest: Whether a C2PA manifest is accepted.
            described: Packets that describe the data after the picture. If given, the file must hold one of them, and
                the plain mark is not accepted.
        """
        self._seen, self._signed, self._described = not xmp, not manifest, described

    @property
    def lack_description(self) -> bool:
        """Whether a packet that describes the data after the picture is required but was not found."""
        return bool(self._described) and not self._seen

    def leftovers(self, xmp: object, where: str) -> list[str]:
        """Return a line for XMP that is not accepted or that repeats an accepted packet, else an empty list.

        Args:
            xmp: The packet, or another object if the file has something else in the place of XMP.
            where: Where it was found, for the line.
        """
        if xmp not in (self._described or (PACKET,)):
            return [f"{where} (XMP)"]
        again, self._seen = self._seen, True  # the number of copies could carry information
        return [f"{where} (XMP): the mark a second time"] if again else []

    def manifest(self, store: object) -> list[str]:
        """Return lines for everything in a C2PA manifest store except the mark, or one line for a second store."""
        again, self._signed = self._signed, True
        if again or not isinstance(store, bytes):
            return ["C2PA: a second manifest store"]
        return c2pa.manifest_leftovers(store)


def trailing(data: bytes, end: int) -> list[str]:
    """Return a line for the bytes after a picture, an empty list if there are none."""
    rest = data[end:]
    return [f"{counted(len(rest), 'byte')} after the picture: {excerpt(rest)}"] if rest else []


def excerpt(body: bytes) -> str:
    """Return the first 40 bytes as a quoted string for messages."""
    return repr(body[:40].decode("latin-1"))
