"""Sources and targets of live pictures: a file, a camera device, or the address of a stream."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from styleid.errors import OptionError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://.")
_USER = re.compile(r"(?<=://)[^/@]*@")
_QUERY = re.compile(r"\?.*", re.DOTALL)
_TCP, _TLS = "tcp", "tls,tcp"
_PROTOCOLS = {
    "rtsp": "rtp,udp,tcp,http",
    "rtsps": "rtp,udp,tls,tcp,https",
    "rtmp": f"rtmp,{_TCP}",
    "rtmps": f"rtmps,{_TLS}",
    "srt": "srt",
    "tcp": _TCP,
    "udp": "udp",
    "http": f"http,{_TCP}",
    "https": f"https,http,{_TLS}",
}
"""Protocols that FFmpeg may open for each scheme. Files and other protocols that a stream may name are not allowed."""
_WRITTEN_AS = {"rtsp": "rtsp", "rtmp": "flv", "rtmps": "flv", "srt": "mpegts", "tcp": "mpegts", "udp": "mpegts"}
SCHEMES = tuple(_PROTOCOLS)


@dataclass(frozen=True)
class LiveAddress:
    """The address of a stream, such as rtsp://camera/stream. Its text may contain a password; `str` leaves it out."""

    text: str

    def __str__(self) -> str:
        """Return the address without user name, password and query, which may contain a key."""
        return _QUERY.sub("", _USER.sub("", self.text))

    @property
    def scheme(self) -> str:
        """The part before ://, in lower case."""
        return self.text.partition("://")[0].lower()

    @property
    def protocols(self) -> str:
        """Protocols that FFmpeg may open for this address, separated by commas."""
        return _PROTOCOLS[self.scheme]

    @property
    def container(self) -> str:
        """FFmpeg's name of the container to write.

        Raises:
            OptionError: Streams of this kind can only be read.
        """
        if self.scheme not in _WRITTEN_AS:
            raise OptionError("out", f"{self} cannot be written to. Name a file, or an address that begins with "
                              f"{', '.join(f'{scheme}://' for scheme in _WRITTEN_AS)}.")  # fmt: skip
        return _WRITTEN_AS[self.scheme]


LivePlace = Path | LiveAddress
"""A file or device of this machine, or a stream."""


def live_place(text: str) -> LivePlace | None:
    """Parse a path or the address of a stream; return None for other URLs, such as s3://bucket/clip."""
    named = _URL.match(text)
    if named is None:
        return Path(text)
    scheme = named[1].lower()
    if scheme == "file":
        return Path(text.partition("://")[2])
    return LiveAddress(text) if scheme in _PROTOCOLS else None
