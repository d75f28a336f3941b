"""The mark of generated content: IPTC's digital source type in one fixed XMP packet, and the options for it.

The packet is the same in every file, so it reveals nothing about a photo except that parts of it were generated.
`docs/provenance.md` lists where each format stores it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from styleid.errors import OptionError

Mark = Literal["none", "iptc", "c2pa"]
MarkScope = Literal["generated", "changed", "all"]

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's digital source type for a composite that contains parts made by a trained model."""

PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
    '  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">\n'
    f"   <Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>\n"
    "  </rdf:Description>\n"
    " </rdf:RDF>\n"
    "</x:xmpmeta>\n"
    '<?xpacket end="r"?>'
).encode()
"""The XMP packet that marks a file. `styleid.media.audit` accepts exactly these bytes as a mark."""

JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""First bytes of a JPEG's APP1 segment that holds XMP."""
PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
"""First bytes of a PNG's iTXt chunk that holds XMP: keyword, no compression, no language, no translated keyword."""
GIF_XMP = b"!\xff\x0bXMP DataXMP"
"""First bytes of a GIF's application extension that holds XMP; the packet follows without being cut into sub-blocks."""
GIF_XMP_END = bytes([1, *range(255, -1, -1), 0])
"""Bytes after the packet in a GIF: a reader that takes any byte for a sub-block's length still finds the end."""
TIFF_XMP = 700
ISO_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""Identifier of an MP4's uuid box that holds XMP."""

_DECLARED = re.compile(rb"digitalsourcetype/(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia)")


def declares_generated(data: bytes) -> bool:
    """Return whether a file contains one of IPTC's two source types for content made by trained models."""
    return _DECLARED.search(data) is not None


@dataclass(frozen=True)
class MarkOptions:
    """Options for the mark of generated content.

    mark: iptc writes IPTC's digital source type as XMP; c2pa also writes a signed C2PA manifest, which needs
        `c2pa_certificate` and `c2pa_key`; none writes no mark.
    mark_scope: which files are marked: generated, those with at least one new face; changed, also those whose faces
        were only obscured; all, every file.
    c2pa_certificate: PEM file with the signing certificate, followed by its intermediate certificates, without the
        root.
    c2pa_key: PEM file with the certificate's private key, without a password.
    c2pa_timestamp: URL of a time-stamp server (RFC 3161) that is asked for each signature; empty asks none.
    """

    mark: Mark = "iptc"
    mark_scope: MarkScope = "generated"
    c2pa_certificate: Path | None = None
    c2pa_key: Path | None = None
    c2pa_timestamp: str = ""

    def __post_init__(self) -> None:
        _one_of("mark", self.mark, ("none", "iptc", "c2pa"))
        _one_of("mark_scope", self.mark_scope, ("generated", "changed", "all"))
        files = {"c2pa_certificate": self.c2pa_certificate, "c2pa_key": self.c2pa_key}
        if self.mark == "c2pa" and (missing := [f"`{name}`" for name, path in files.items() if path is None]):
            raise OptionError("mark", f"c2pa signs every marked file, so it needs {' and '.join(missing)}.")
        given = [name for name, value in (files | {"c2pa_timestamp": self.c2pa_timestamp}).items() if value]
        if self.mark != "c2pa" and given:
            raise OptionError(given[0], f"it is only used with `mark=c2pa`, not `mark={self.mark}`.")
        if self.c2pa_timestamp and not self.c2pa_timestamp.startswith(("http://", "https://")):
            raise OptionError("c2pa_timestamp", f"'{self.c2pa_timestamp}' must be a URL that begins with http:// or "
                              "https://.")  # fmt: skip

    def applies(self, *, generated: bool, changed: bool) -> bool:
        """Return whether a file is marked.

        Args:
            generated: Whether the file has a new face.
            changed: Whether any face in the file was changed.
        """
        wanted = {"generated": generated, "changed": generated or changed, "all": True}
        return self.mark != "none" and wanted[self.mark_scope]

    def settings(self) -> dict[str, Any]:
        """Return the settings for the journal: without the key, and with only the certificate's file name."""
        settings = {"mark": self.mark, "mark_scope": self.mark_scope}
        if self.c2pa_certificate is not None:
            settings |= {"c2pa_certificate": self.c2pa_certificate.name, "c2pa_timestamp": self.c2pa_timestamp}
        return settings


def _one_of(option: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise OptionError(option, f"'{given}' is unknown; choose one of {', '.join(known)}.")
