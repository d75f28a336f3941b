"""What the checks of all formats share: the marks that are allowed, and how a line names what was found."""

from __future__ import annotations

from collections.abc import Sequence

from styleid.media.formats.parse import c2pa
from styleid.media.provenance import PACKET


class Marks:
    """Accept the packet that marks generated content, and a C2PA manifest that says the same, once in a file each."""

    def __init__(self, *, xmp: bool = True, manifest: bool = True, described: Sequence[bytes] = ()) -> None:
        """Begin a file.

        xmp, manifest: whether there may be one at all. described: the packets of which one must be there instead of the
        mark's own, since it also says what follows the picture.
        """
        self._seen, self._signed, self._described = not xmp, not manifest, described

    @property
    def lack_description(self) -> bool:
        """Whether nothing says what follows the picture, though something must."""
        return bool(self._described) and not self._seen

    def leftovers(self, xmp: object, where: str) -> list[str]:
        """Return a line for XMP that is not the packet, or that is there again."""
        if xmp not in (self._described or (PACKET,)):
            return [f"{where} (XMP)"]
        again, self._seen = self._seen, True  # a number of copies would tell something
        return [f"{where} (XMP): the mark a second time"] if again else []

    def manifest(self, store: object) -> list[str]:
        """Return lines for what a C2PA manifest store holds beyond the mark, or for a second one."""
        again, self._signed = self._signed, True
        if again or not isinstance(store, bytes):
            return ["C2PA: a second manifest store"]
        return c2pa.manifest_leftovers(store)


def trailing(data: bytes, end: int) -> list[str]:
    """Return a line for the bytes after a picture, if there are any."""
    rest = data[end:]
    return [f"{len(rest)} bytes after the picture: {excerpt(rest)}"] if rest else []


def excerpt(body: bytes) -> str:
    """Return the first bytes of something as a message shows them."""
    return repr(body[:40].decode("latin-1"))
