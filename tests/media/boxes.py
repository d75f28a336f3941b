"""Boxes of AVIF and HEIC files, put together by ISO/IEC 14496-12 and 23008-12."""

import struct


def box(kind: bytes, body: bytes, *full: int) -> bytes:
    """Return a box; full: version and flags, for boxes that have them."""
    head = bytes([full[0]]) + full[1].to_bytes(3, "big") if full else b""
    return struct.pack(">I4s", 8 + len(head) + len(body), kind) + head + body


FTYP = box(b"ftyp", b"avif\0\0\0\0avifmif1")


def heif(*parts: bytes, behind: bytes = b"") -> bytes:
    return FTYP + box(b"meta", b"".join(parts), 0, 0) + behind


def infe(number: int, kind: bytes, name: bytes = b"", version: int = 2) -> bytes:
    return box(b"infe", struct.pack(">HH" if version == 2 else ">IH", number, 0) + kind + name + b"\0", version, 0)


def iinf(*entries: bytes, version: int = 0) -> bytes:
    return box(b"iinf", struct.pack(">H" if version == 0 else ">I", len(entries)) + b"".join(entries), version, 0)


def pitm(number: int, version: int = 0) -> bytes:
    return box(b"pitm", struct.pack(">H" if version == 0 else ">I", number), version, 0)


def iref(*links: tuple[bytes, int, tuple[int, ...]], version: int = 0) -> bytes:
    code = "H" if version == 0 else "I"
    bodies = [box(kind, struct.pack(f">{code}H{len(to)}{code}", source, len(to), *to)) for kind, source, to in links]
    return box(b"iref", b"".join(bodies), version, 0)


def iprp(ipma: bytes, *held: bytes) -> bytes:
    return box(b"iprp", box(b"ipco", b"".join(held)) + ipma)


def iloc(version: int, *items: bytes, sizes: int = 0x4400) -> bytes:
    return box(b"iloc", struct.pack(">HH" if version < 2 else ">HI", sizes, len(items)) + b"".join(items), version, 0)
