"""Find pictures in any file without code of styleid, as a curious person would.

Signatures anywhere, arrays, pickles without loading them, archives, and the forms of text: base64 in both alphabets,
hex, base85, PGM and PPM, XPM, and numbers in raster order.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import io
import pickletools
import re
import tarfile
import zipfile
from collections.abc import Iterator

import numpy as np
from PIL import Image

Size = tuple[int, int]

_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|BM|II\*\0|MM\0\*|P[1-6]\s|\0\0\0\x0cjP  |\0\0\0.ftyp|8BPS|/\* XPM \*/",
    re.DOTALL,
)
_DEEPEST = 4


class Reader:
    """Look for one picture. sizes_wh: sizes that pixels without a header may have."""

    def __init__(self, picture: Image.Image, face_xyxy: tuple[int, int, int, int], sizes_wh: list[Size]) -> None:
        self._wanted = self._face(np.asarray(picture.convert("L")), picture.size, face_xyxy)
        self._shares = np.array(face_xyxy) / np.tile(picture.size, 2)
        self._sizes = sizes_wh

    def finds(self, data: bytes, deep: int = 0) -> bool:
        """Say whether bytes decode to the picture in some way."""
        if any(self._is_it(grey) for grey in self._greys(data)):
            return True
        return deep < _DEEPEST and any(self.finds(part, deep + 1) for part in parts(data) if part != data)

    def _greys(self, data: bytes) -> Iterator[np.ndarray]:
        for at in {0, *(match.start() for match in _SIGNATURES.finditer(data))}:
            with contextlib.suppress(Exception), Image.open(io.BytesIO(data[at:])) as image:
                yield np.asarray(image.convert("RGB").convert("L"))
        for at in (match.start() for match in re.finditer(rb"\x93NUMPY", data)):
            with contextlib.suppress(Exception):
                yield from self._shaped(np.load(io.BytesIO(data[at:]), allow_pickle=False).ravel())
        yield from self._shaped(np.frombuffer(data, np.uint8))
        for numbers in numbers_in(data):
            yield from self._shaped(numbers)

    def _shaped(self, values: np.ndarray) -> Iterator[np.ndarray]:
        for width, height in self._sizes:
            for channels in (1, 3):
                count = width * height * channels
                for start in {0, len(values) - count} if len(values) >= count else ():
                    table = values[start : start + count].astype(float).reshape(height, width, channels)
                    yield table.mean(2)
                    yield values[start : start + count].astype(float).reshape(channels, height, width).mean(0)

    def _is_it(self, grey: np.ndarray) -> bool:
        height, width = grey.shape[:2]
        if min(height, width) < 16:
            return False
        box = np.round(self._shares * [width, height, width, height]).astype(int)
        found = self._face(grey, (width, height), tuple(box.tolist()))
        if found.std() < 1e-6:
            return False
        return float(np.corrcoef(found.ravel(), self._wanted.ravel())[0, 1]) > 0.9

    @staticmethod
    def _face(grey: np.ndarray, size: Size, box: tuple[int, int, int, int]) -> np.ndarray:
        low, high = float(grey.min()), float(grey.max())
        even = ((grey - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
        return np.asarray(Image.fromarray(even).crop(box).resize((16, 16), Image.Resampling.BOX)).astype(float)


def parts(data: bytes) -> Iterator[bytes]:
    """Yield what bytes hold: members of archives, strings of pickles, and what text decodes to."""
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
        yield from (archive.read(name) for name in archive.namelist())
    with contextlib.suppress(Exception), tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        yield from (file.read() for info in tar if (file := tar.extractfile(info)) is not None)
    with contextlib.suppress(Exception):
        yield gzip.decompress(data)
    if data[:1] in (b"\x80", b"(", b"]", b"c"):
        with contextlib.suppress(Exception):
            for _, argument, _ in pickletools.genops(data):
                if isinstance(argument, bytes | bytearray | str) and len(argument) > 99:
                    yield (
                        argument
                        if isinstance(argument, bytes)
                        else bytes(argument, "latin-1")
                        if isinstance(argument, str)
                        else bytes(argument)
                    )
    yield from _decoded(data)


def _decoded(data: bytes) -> Iterator[bytes]:
    text = data.replace(b"\\/", b"/")
    squeezed = re.sub(rb"[\s\"',\\]+", b"", text)
    for run in re.findall(rb"[A-Za-z0-9+/_-]{120,}", squeezed):
        for first in (0, *(at for at in (run.find(b"/9j/"), run.find(b"_9j_"), run.find(b"iVBOR")) if at > 0)):
            piece = run[first:].translate(bytes.maketrans(b"-_", b"+/"))
            piece = piece[:-1] if len(piece) % 4 == 1 else piece
            yield base64.b64decode(piece + b"=" * (-len(piece) % 4))
    hexed = re.sub(rb"0x|\\x|[\s\"',:\\]+", b"", text)
    for run in re.findall(rb"[0-9a-fA-F]{240,}", hexed):
        yield binascii.unhexlify(run[: len(run) // 2 * 2])
    for run in re.findall(rb"[!-~]{120,}", data):
        for piece in (run, max(run.split(b'"'), key=len)):
            for decode in (base64.b85decode, base64.a85decode):
                with contextlib.suppress(Exception):
                    yield decode(piece)


def numbers_in(data: bytes) -> Iterator[np.ndarray]:
    """Yield the numbers of a text, all of them and each column of a table."""
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode()
        words = re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)
        if len(words) >= 256:
            values = np.array(words, float)
            yield values
            for count in (2, 3, 4, 5):
                yield from (values[first::count] for first in range(count))
