"""Where live pictures come from and go to: a file, a camera device, or the address of a stream."""

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
"""By scheme, what FFmpeg may open for it: no file, and no address of another kind that a stream may name."""
_WRITTEN_AS = {"rtsp": "rtsp", "rtmp": "flv", "rtmps": "flv", "srt": "mpegts", "tcp": "mpegts", "udp": "mpegts"}
SCHEMES = tuple(_PROTOCOLS)


@dataclass(frozen=True)
class LiveAddress:
    """The address of a stream, such as rtsp://camera/stream. Its text may hold a password; `str` leaves that out."""

    text: str

    def __str__(self) -> str:
        """Return the address without name, password and query, which may hold a key."""
        return _QUERY.sub("", _USER.sub("", self.text))

    @property
    def scheme(self) -> str:
        """The part before ://, in lower case."""
        return self.text.partition("://")[0].lower()

    @property
    def protocols(self) -> str:
        """What FFmpeg may open for this address, separated by commas."""
        return _PROTOCOLS[self.scheme]

    @property
    def container(self) -> str:
        """FFmpeg's name of the container to write; raises OptionError where streams of this kind are read only."""
        if self.scheme not in _WRITTEN_AS:
            raise OptionError("out", f"{self} cannot be written to. Name a file, or an address that begins with "
                              f"{', '.join(f'{scheme}://' for scheme in _WRITTEN_AS)}.")  # fmt: skip
        return _WRITTEN_AS[self.scheme]


LivePlace = Path | LiveAddress
"""A file or device of this machine, or a stream."""


def live_place(text: str) -> LivePlace | None:
    """Return the stream that a text names, or the path; None for a URL of another kind, such as s3://bucket/clip."""
    named = _URL.match(text)
    if named is None:
        return Path(text)
    scheme = named[1].lower()
    if scheme == "file":
        return Path(text.partition("://")[2])
    return LiveAddress(text) if scheme in _PROTOCOLS else None
