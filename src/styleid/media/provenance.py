"""Say in a file that its picture holds generated parts: the IPTC digital source type, as one fixed XMP packet.

The packet never varies, so it tells nothing about a photo but this one fact. `docs/provenance.md` has the table of
formats and where each keeps it.
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
"""IPTC's term for a picture that combines captured parts with parts that a trained model made."""

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
"""The XMP packet that marks a file. Audits accept these bytes and no other XMP."""

JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
"""What an APP1 segment of a JPEG begins with where it holds XMP."""
PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
"""What an iTXt chunk of a PNG begins with: the keyword, not compressed, no language, no translation."""
GIF_XMP = b"!\xff\x0bXMP DataXMP"
"""What an application extension of a GIF begins with; the packet follows as it is, not in blocks."""
GIF_XMP_END = bytes([1, *range(255, -1, -1), 0])
"""What follows the packet in a GIF, so that a reader that takes its bytes for blocks' lengths still finds the end."""
TIFF_XMP = 700
ISO_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""The identifier of a uuid box that holds XMP in an MP4."""

_DECLARED = re.compile(rb"digitalsourcetype/(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia)")


def declares_generated(data: bytes) -> bool:
    """Say whether a file's bytes name one of IPTC's source types for what trained models made."""
    return _DECLARED.search(data) is not None


@dataclass(frozen=True)
class MarkOptions:
    """Choose how files say that they hold generated faces.

    mark: none; iptc writes IPTC's digital source type as XMP; c2pa also signs a C2PA manifest, which needs
        --c2pa-certificate and --c2pa-key.
    mark_scope: generated marks files with at least one new face; changed also those whose faces were only obscured; all
        marks every file.
    c2pa_certificate: PEM file of the certificate to sign with, followed by those that vouch for it, without the root.
    c2pa_key: PEM file of the certificate's private key, without a password.
    c2pa_timestamp: URL of a time-stamp server (RFC 3161) to ask for each signature; without it none is asked.
    """

    mark: Mark = "iptc"
    mark_scope: MarkScope = "generated"
    c2pa_certificate: Path | None = None
    c2pa_key: Path | None = None
    c2pa_timestamp: str = ""

    def __post_init__(self) -> None:
        _one_of("--mark", self.mark, ("none", "iptc", "c2pa"))
        _one_of("--mark-scope", self.mark_scope, ("generated", "changed", "all"))
        files = {"--c2pa-certificate": self.c2pa_certificate, "--c2pa-key": self.c2pa_key}
        if self.mark == "c2pa" and (missing := [flag for flag, path in files.items() if path is None]):
            raise OptionError("--mark", f"c2pa signs each file and needs {' and '.join(missing)}.")
        given = [flag for flag, value in (files | {"--c2pa-timestamp": self.c2pa_timestamp}).items() if value]
        if self.mark != "c2pa" and given:
            raise OptionError(given[0], "it belongs to --mark c2pa.")
        if self.c2pa_timestamp and not self.c2pa_timestamp.startswith(("http://", "https://")):
            raise OptionError("--c2pa-timestamp", f"'{self.c2pa_timestamp}' is no URL that begins with http or https.")

    def applies(self, *, generated: bool, changed: bool) -> bool:
        """Say whether a file with generated faces, or with any face changed, is to be marked."""
        wanted = {"generated": generated, "changed": generated or changed, "all": True}
        return self.mark != "none" and wanted[self.mark_scope]

    def settings(self) -> dict[str, Any]:
        """Return what the journal says: no key, and of the certificate its name."""
        settings = {"mark": self.mark, "mark_scope": self.mark_scope}
        if self.c2pa_certificate is not None:
            settings |= {"c2pa_certificate": self.c2pa_certificate.name, "c2pa_timestamp": self.c2pa_timestamp}
        return settings


def _one_of(option: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise OptionError(option, f"'{given}' is unknown; choose one of {', '.join(known)}.")
