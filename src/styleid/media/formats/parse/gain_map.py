"""Read and build the description of a gain map: the binary block of ISO 21496-1, and Google's `hdrgm` XMP.

A gain map states how much brighter each part of a picture is on an HDR display. Both forms contain the same numbers;
Ultra HDR files may have either. The output depends on the numbers only, so equal numbers give equal bytes.

Convention
----------
Gains and capacities are logarithms to base 2. All numbers are integers in millionths, as they are written.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from xml.etree import ElementTree

from styleid.media.containers.errors import BadFileError

ISO_NAME = b"urn:iso:std:iso:ts:21496:-1\0"
"""First bytes of an APP2 segment with the block of ISO 21496-1."""
ISO_PRIMARY = ISO_NAME + bytes(4)
"""The segment in the base picture: only the two version numbers."""
UNIT = 1_000_000

_HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MULTI_CHANNEL, _BASE_COLOURS, _COMMON, _BACKWARD = 0x80, 0x40, 0x08, 0x04
_MOST = 100 * UNIT
_XMP_FIELDS = (
    ("GainMapMin", "low", "0"),
    ("GainMapMax", "high", ""),
    ("Gamma", "gamma", "1"),
    ("OffsetSDR", "offset_sdr", "0.015625"),
    ("OffsetHDR", "offset_hdr", "0.015625"),
)
"""Name in XMP, name here, and default, in the order of ISO 21496-1. GainMapMax and HDRCapacityMax are required."""


@dataclass(frozen=True)
class GainMapNumbers:
    """How the samples of a gain map are converted to gains. Tuples have one number for all channels, or three.

    Attributes:
        low: Gain of sample 0.
        high: Gain of sample 255.
        gamma: Gamma of the samples, positive.
        offset_sdr: Added to linear colours before the gain is applied.
        offset_hdr: Subtracted from the result.
        capacity_min: Headroom of a display from which the map has an effect.
        capacity_max: Headroom of a display from which the map is applied fully.
        base_colours: Whether gains apply in the colour space of the base picture, not in the map's own.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    gamma: tuple[int, ...]
    offset_sdr: tuple[int, ...]
    offset_hdr: tuple[int, ...]
    capacity_min: int
    capacity_max: int
    base_colours: bool = True

    def __post_init__(self) -> None:
        every = (self.low, self.high, self.gamma, self.offset_sdr, self.offset_hdr)
        flat = [number for numbers in every for number in numbers]
        if {len(numbers) for numbers in every} not in ({1}, {3}) or max(map(abs, flat)) > _MOST:
            raise BadFileError("its gain map's numbers are out of range or not for 1 or 3 channels")
        if min(self.gamma) <= 0 or not 0 <= self.capacity_min < self.capacity_max <= _MOST:
            raise BadFileError("its gain map's numbers are out of range")

    @property
    def channels(self) -> int:
        """Number of channels with their own numbers: 1 or 3."""
        return len(self.low)

    def iso(self) -> bytes:
        """Return the payload of the ISO 21496-1 segment in the gain map's JPEG."""
        flags = _BASE_COLOURS * self.base_colours | (_MULTI_CHANNEL if self.channels == 3 else 0)
        columns = (self.low, self.high, self.gamma, self.offset_sdr, self.offset_hdr)
        rows = [self.capacity_min, self.capacity_max, *(n for channel in zip(*columns, strict=True) for n in channel)]
        return ISO_NAME + bytes(4) + bytes([flags]) + b"".join(struct.pack(">iI", n, UNIT) for n in rows)

    def xmp(self) -> bytes:
        """Return the XMP packet in the gain map's JPEG."""
        fields = [(name, getattr(self, own)) for name, own, _ in _XMP_FIELDS]
        single = [(name, v[0]) for name, v in fields if len(v) == 1]
        single += [("HDRCapacityMin", self.capacity_min), ("HDRCapacityMax", self.capacity_max)]
        attributes = "".join(f' hdrgm:{name}="{_decimal(value)}"' for name, value in single)
        lists = "".join(
            f"<hdrgm:{name}><rdf:Seq>{''.join(f'<rdf:li>{_decimal(v)}</rdf:li>' for v in values)}</rdf:Seq>"
            f"</hdrgm:{name}>"
            for name, values in fields
            if len(values) > 1
        )
        return (
            f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
            f'<rdf:Description rdf:about="" xmlns:hdrgm="{_HDRGM}" hdrgm:Version="1.0"{attributes} '
            f'hdrgm:BaseRenditionIsHDR="False">{lists}</rdf:Description></rdf:RDF></x:xmpmeta>'
        ).encode()


def read_iso(payload: bytes) -> GainMapNumbers:
    """Read the payload of a gain map's ISO 21496-1 segment.

    Raises:
        BadFileError: It is damaged or of an unsupported kind.
    """
    body = payload.removeprefix(ISO_NAME)
    if len(body) < 5 or body[:2] != b"\0\0" or body[4] & _BACKWARD:
        raise BadFileError("its gain map is of an unsupported kind")
    flags, rest = body[4], body[5:]
    channels = 3 if flags & _MULTI_CHANNEL else 1
    count = 2 + 5 * channels
    common = bool(flags & _COMMON)
    if len(rest) != (4 + 4 * count if common else 8 * count):
        raise BadFileError("its gain map's numbers are damaged")
    if common:
        denominator, *numerators = struct.unpack(f">I{count}i", rest)
        pairs = [(n, denominator) for n in numerators]
    else:
        pairs = list(struct.iter_unpack(">iI", rest))
    if not all(denominator for _, denominator in pairs):
        raise BadFileError("its gain map's numbers are damaged")
    low, high, *numbers = (round(Fraction(n, d) * UNIT) for n, d in pairs)
    columns = {own: tuple(numbers[k::5]) for k, (_, own, _) in enumerate(_XMP_FIELDS)}
    return _numbers(columns, low, high, base_colours=bool(flags & _BASE_COLOURS))


def read_xmp(packet: bytes) -> GainMapNumbers | None:
    """Read a gain map's XMP packet; return None if it describes no gain map.

    Raises:
        BadFileError: The description is damaged or of an unsupported kind.
    """
    values = _hdrgm_values(packet)
    if "GainMapMax" not in values or "HDRCapacityMax" not in values:
        return None
    if values.get("BaseRenditionIsHDR", ["False"])[0].strip().lower() == "true":
        raise BadFileError("its gain map is of an unsupported kind")
    found = {own: _millionths(values.get(name) or [default]) for name, own, default in _XMP_FIELDS}
    channels = max(map(len, found.values()))
    columns = {own: numbers * channels if len(numbers) == 1 else numbers for own, numbers in found.items()}
    least = _millionths(values.get("HDRCapacityMin") or ["0"])[0]
    return _numbers(columns, least, _millionths(values["HDRCapacityMax"])[0], base_colours=True)


def _numbers(columns: dict[str, tuple[int, ...]], least: int, most: int, *, base_colours: bool) -> GainMapNumbers:
    low, high, gamma, offset_sdr, offset_hdr = (columns[own] for _, own, _ in _XMP_FIELDS)
    return GainMapNumbers(low, high, gamma, offset_sdr, offset_hdr, least, most, base_colours)


def _hdrgm_values(packet: bytes) -> dict[str, list[str]]:
    """Return the `hdrgm` properties in a packet, which may be attributes, elements or lists."""
    if b"<!" in packet:  # XMP has no declarations, and entities could expand without limit
        return {}
    try:
        root = ElementTree.fromstring(packet.strip(b"\0 \r\n\t"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return {}
    values: dict[str, list[str]] = {}
    start = f"{{{_HDRGM}}}"
    for element in root.iter():
        for name, text in element.attrib.items():
            if name.startswith(start):
                values[name.removeprefix(start)] = [text]
        if element.tag.startswith(start):
            items = [item.text or "" for item in element.iter(f"{{{_RDF}}}li")]
            values[element.tag.removeprefix(start)] = items or [element.text or ""]
    return values


def _millionths(texts: list[str]) -> tuple[int, ...]:
    try:
        numbers = [float(text) for text in texts]
    except ValueError as error:
        raise BadFileError("its gain map's numbers are damaged") from error
    if not all(math.isfinite(number) and abs(number) < _MOST for number in numbers):
        raise BadFileError("its gain map's numbers are out of range")
    return tuple(round(number * UNIT) for number in numbers)


def _decimal(millionths: int) -> str:
    sign, digits = "-" * (millionths < 0), f"{abs(millionths):07d}"
    return f"{sign}{digits[:-6]}.{digits[-6:]}".rstrip("0").rstrip(".")
