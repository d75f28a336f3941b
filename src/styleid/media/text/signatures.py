"""Signatures of pictures, to be searched anywhere in a file."""

from __future__ import annotations

import re

SIGNATURE = re.compile(
    rb"\xff\xd8\xff[\xc0\xc4\xdb\xe0-\xef\xfe]|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF.{4}WEBPVP8|BM.{4}\0{4}.{3}\0.\0\0\0|"
    rb"II\*\0.{3}\0|MM\0\*\0|\0\0\0.ftyp(?:avi[fs]|hei|hev|mif1|msf1|jp2|mp4|isom|qt)|"
    rb"\0\0\0\x0cJXL |\0\0\0\x0cjP  |8BPS\0\x01",
    re.DOTALL,
)
"""First bytes of picture files, specific enough to be searched anywhere in a file."""
