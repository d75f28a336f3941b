"""Find everything in a JPEG file except pixels, allowed metadata, a gain map and a video; see `styleid.media.audit`."""

from __future__ import annotations

from styleid.media.containers.errors import BadFileError
from styleid.media.containers.jpeg import JpegParts, JpegSegment, jpeg_parts
from styleid.media.counts import counted
from styleid.media.formats.parse import c2pa
from styleid.media.formats.parse.allowed import ICC_PREFIX, STRUCTURE
from styleid.media.formats.parse.exif import PREFIX, MetadataMode, exif_leftovers
from styleid.media.formats.parse.following import FollowingData, described_motion
from styleid.media.formats.parse.gain_map import ISO_PRIMARY
from styleid.media.formats.parse.icc import profile_leftovers
from styleid.media.formats.parse.jpeg_parts import MPF_NAME, gain_map_numbers, mpf_payload
from styleid.media.formats.parse.motion import NO_MOTION
from styleid.media.formats.parse.movie import movie_leftovers
from styleid.media.leftovers import Marks, excerpt, trailing
from styleid.media.provenance import JPEG_XMP

_SEGMENTS = {
    b"http://ns.adobe.com/xap/1.0/": "XMP",
    b"http://ns.adobe.com/xmp/extension/": "XMP",
    b"Photoshop 3.0": "IPTC and Photoshop resources",
    b"MPF": "further pictures",
    b"JFXX": "thumbnail",
}


def jpeg_leftovers(data: bytes, metadata: MetadataMode) -> list[str]:
    """List everything in a JPEG that the allow-list does not name, one line each.

    Args:
        data: The whole file.
        metadata: The allow-list; see `styleid.media.audit.find_leftovers`.

    Raises:
        BadFileError: The file cannot be parsed.
    """
    parts = jpeg_parts(data)
    inner = _gain_map_parts(data[parts.end :])
    end = parts.end if inner is None else parts.end + inner.end
    if data[end + 4 : end + 8] != b"ftyp":
        if inner is None:
            return trailing(data, end) + _segments(parts.segments, metadata)
        return trailing(data, end) + _with_following(parts, inner, 0, metadata)
    try:
        found = [f"motion photo: {line}" for line in movie_leftovers(data[end:])]
    except BadFileError:
        return trailing(data, end) + _segments(parts.segments, metadata)
    return found + _with_following(parts, inner, len(data) - end, metadata)


def _gain_map_parts(second: bytes) -> JpegParts | None:
    """Return the parts of a JPEG that declares itself a gain map, None for anything else."""
    try:
        inner = jpeg_parts(second)
        return inner if gain_map_numbers(inner.segments) is not None else None
    except BadFileError:
        return None


def _with_following(parts: JpegParts, inner: JpegParts | None, video_bytes: int, metadata: MetadataMode) -> list[str]:
    """List the leftovers of a picture that is followed by a gain map, a video or both.

    What follows must be described by exactly the segments that the writer builds from it.
    """
    xmp = b"".join(s.payload for s in parts.segments if s.payload.startswith(JPEG_XMP))
    motion = described_motion(xmp) if video_bytes else NO_MOTION
    following = FollowingData(0 if inner is None else inner.end, video_bytes, motion)
    packets = [JPEG_XMP + following.packet(marked=marked) for marked in (False, True)]
    own = [next((packet for packet in packets if any(s.payload == packet for s in parts.segments)), packets[0])]
    if inner is not None:
        listed = next((s for s in parts.segments if s.payload.startswith(MPF_NAME)), None)
        header = listed.end - len(listed.payload) + len(MPF_NAME) if listed else 0
        own += [ISO_PRIMARY, mpf_payload(parts.end, parts.end - header, inner.end)]
    rest, missing = _without_once(parts.segments, own)
    found = [f"no segment {excerpt(payload[:28])} that describes only what follows the picture" for payload in missing]
    found += _segments(rest, metadata, Marks(xmp=own[0] in missing))
    return found + ([] if inner is None else [f"gain map: {line}" for line in _gain_map(inner)])


def _gain_map(inner: JpegParts) -> list[str]:
    numbers = gain_map_numbers(inner.segments)
    assert numbers is not None, "_gain_map_parts returns only parts with numbers"
    rest, missing = _without_once(inner.segments, [JPEG_XMP + numbers.xmp(), numbers.iso()])
    found = [f"no segment {excerpt(payload[:28])} that holds only its numbers" for payload in missing]
    return found + _segments(rest, "strip", Marks(xmp=False, manifest=False))


def _without_once(
    segments: tuple[JpegSegment, ...], payloads: list[bytes]
) -> tuple[tuple[JpegSegment, ...], list[bytes]]:
    """Remove the first segment with each of the payloads; return the other segments and the payloads not found."""
    rest = list(segments)
    missing: list[bytes] = []
    for payload in payloads:
        at = next((k for k, s in enumerate(rest) if s.payload == payload), None)
        if at is None:
            missing.append(payload)
        else:
            del rest[at]
    return tuple(rest), missing


def _segments(segments: tuple[JpegSegment, ...], metadata: MetadataMode, marks: Marks | None = None) -> list[str]:
    found: list[str] = []
    profile, marks = b"", marks or Marks()
    manifest: list[bytes] = []
    for segment in segments:
        payload, marker = segment.payload, segment.marker
        if marker in STRUCTURE or (marker == 0xEE and payload[:5] == b"Adobe" and len(payload) == 12):
            continue
        if marker == 0xE0 and payload[:5] == b"JFIF\0" and len(payload) >= 14:
            if len(payload) > 14:
                found.append("JPEG thumbnail (JFIF)")
        elif marker == 0xE1 and payload.startswith(PREFIX):
            found += exif_leftovers(payload, metadata)
        elif marker == 0xE1 and payload.startswith(JPEG_XMP):
            found += marks.leftovers(payload[len(JPEG_XMP) :], "JPEG segment APP1 'http://ns.adobe.com/xap/1.0/'")
        elif marker == 0xEB and payload.startswith(b"JP"):
            manifest.append(payload)
        elif marker == 0xE2 and payload.startswith(ICC_PREFIX):
            profile += payload[14:]
        elif marker == 0xFE:
            found.append(f"JPEG comment: {excerpt(payload)}")
        else:
            name = payload.split(b"\0")[0][:32]
            known = f" ({_SEGMENTS[name]})" if name in _SEGMENTS else ""
            size = counted(len(payload), "byte")
            found.append(f"JPEG segment {_marker_name(marker)} {excerpt(name)}{known}, {size}")
    if manifest:
        found += marks.manifest(c2pa.jpeg_store(manifest) or b"")
    return found + (profile_leftovers(profile) if profile else [])


def _marker_name(marker: int) -> str:
    return f"APP{marker - 0xE0}" if 0xE0 <= marker <= 0xEF else f"0x{marker:02X}"
