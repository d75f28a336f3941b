"""Check that tags, chapter titles, subtitles and audio headers contain no picture before they are copied.

Covers can be stored as text in tags, in Vorbis comments, and in subtitles as attachments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from styleid.media.text import find_picture, plain_text

TEXT_SUBTITLES = frozenset({"subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text", "ttml"})
"""Subtitle codecs that are text; others contain pictures, which are not checked."""
_ATTACHED = (b"[fonts]", b"[graphics]")
_SHORT_HEADER, _STREAM_INFO_BYTES = 512, 34
_HARMLESS_SIDE_DATA = frozenset({"skip_samples", "webvtt_identifier", "webvtt_settings"})
_NAME_LENGTH = 40


def safe_tags(tags: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the tags that are plain text without a picture, and the names of the other tags.

    If the tags together contain a picture in pieces, none is kept.
    """
    kept = {name: value for name, value in tags.items() if _is_harmless(name) and _is_harmless(value)}
    if not _is_harmless("".join(kept.values())):
        kept = {}
    return kept, [_shown(name) for name in tags if name not in kept]


def safe_chapters(chapters: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return chapters without those tags that may contain a picture, and the names of the tags that were left out."""
    made: list[dict[str, Any]] = []
    left_out: list[str] = []
    for chapter in chapters:
        tags, names = safe_tags(chapter.get("metadata") or {})
        made.append({**chapter, "metadata": tags})
        left_out += names
    titles = "".join(value for chapter in made for value in chapter["metadata"].values())
    if not _is_harmless(titles):
        return [{**chapter, "metadata": {}} for chapter in made], [*left_out, "titles of chapters"]
    return made, left_out


def holds_picture(header: bytes | None, packets: Iterable[Any]) -> bool:
    """Return whether a subtitle track contains a picture or an attached file.

    Args:
        header: The codec's extradata.
        packets: All packets of the track.
    """
    start = header or b""
    if any(mark in start.lower() for mark in _ATTACHED):
        return True
    pieces = [start]
    for packet in packets:
        pieces += [bytes(packet), *(bytes(side) for side in packet.iter_sidedata())]
    return any(bool(find_picture(text)) for text in (b"".join(pieces), b"\n".join(pieces)))


def bare_header(codec: str, header: bytes | None) -> bytes | None:
    """Return the header of an audio track without comments, None if its content is unknown.

    Args:
        codec: FFmpeg's name of the codec.
        header: The codec's extradata.
    """
    if codec == "vorbis" and header:
        return _without_comments(header)
    if codec == "flac" and header:
        return _only_stream_info(header)
    return header or b"" if len(header or b"") <= _SHORT_HEADER else None


def bare_packet(packet: Any, av: Any) -> Any:
    """Return a packet without side data; one that has only harmless side data is returned unchanged.

    Args:
        packet: A packet of PyAV.
        av: The module PyAV.
    """
    if {side.data_type for side in packet.iter_sidedata()} <= _HARMLESS_SIDE_DATA:
        return packet
    bare = av.Packet(bytes(packet))
    bare.pts, bare.dts, bare.time_base, bare.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    bare.is_keyframe = packet.is_keyframe
    return bare


def _is_harmless(text: str) -> bool:
    data = text.encode("utf-8", "surrogateescape")
    return plain_text(data) is not None and not find_picture(data)


def _shown(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[:_NAME_LENGTH] or "a tag without a name"


def _only_stream_info(header: bytes) -> bytes | None:
    """Return a FLAC header with only its stream information block, None if it is damaged."""
    if len(header) == _STREAM_INFO_BYTES:
        return header
    if header[:4] != b"fLaC" or header[4:8] not in (b"\0\0\0\x22", b"\x80\0\0\x22") or len(header) < 42:
        return None
    return b"fLaC\x80\0\0\x22" + header[8:42]


def _without_comments(header: bytes) -> bytes | None:
    """Return a Vorbis header of three laced packets with the comments emptied, None if it is damaged."""
    if header[:1] != b"\x02":
        return None
    sizes: list[int] = []
    at = 1
    for _ in range(2):
        size = 0
        while at < len(header) and header[at] == 255:
            size, at = size + 255, at + 1
        if at >= len(header):
            return None
        sizes.append(size + header[at])
        at += 1
    first, rest = header[at : at + sizes[0]], header[at + sum(sizes) :]
    comment = b"\x03vorbis" + bytes(8) + b"\x01"
    if len(first) > 254 or not first.startswith(b"\x01vorbis") or not rest.startswith(b"\x05vorbis"):
        return None
    return bytes([2, len(first), len(comment)]) + first + comment + rest
