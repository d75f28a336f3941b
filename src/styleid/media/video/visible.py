"""Apply transparency and crop to decoded pictures: transparent parts become black, parts outside the crop are removed.

The output has neither transparency nor a crop, so it must not contain what the source hides.

Convention
----------
Alpha is straight and full range: 0 hides a pixel, the highest value shows it. Values below 1/16 count as hidden:
amplification could make faces visible there that the detector does not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, UInt

from styleid.media.containers.errors import BadFileError
from styleid.media.video.headers import Aperture
from styleid.media.video.hevc import declares_alpha, header_declares_alpha
from styleid.media.video.planes import PixelColours, black, planar_format, planes_of
from styleid.types import MaskArray

_LEAST_ALPHA = 1 / 16
_ALPHA_CODECS = ("vp8", "vp9")
_BLOCK_ADDITIONAL = "matroska_block_additional"


class Visible:
    """Applies a clip's transparency and aperture to its pictures, in decoding order.

    Attributes:
        filled: Whether any pixel so far was hidden or partly transparent.
        shown: Whether any pixel so far was not hidden.
    """

    def __init__(self, codec: str, header: bytes, aperture: Aperture | None, av: Any) -> None:
        """Start with a clip.

        Args:
            codec: FFmpeg's name of its codec.
            header: The codec's extradata.
            aperture: The part of the pictures that is shown, None for all.
            av: The module PyAV.
        """
        self._codec, self._aperture, self._av = codec.removeprefix("lib").replace("vpx-", ""), aperture, av
        self._header, self._layered = header, codec == "hevc" and header_declares_alpha(header)
        self._coder: Any = None
        self._alphas: dict[int | None, UInt[np.ndarray, "_ _"]] = {}
        self._alpha: UInt[np.ndarray, "_ _"] | None = None
        self._hidden: MaskArray | None = None
        self.filled = self.shown = False

    def look(self, packet: Any) -> None:
        """Read the alpha that WebM stores as side data of a packet, and notice an alpha layer of H.265.

        Raises:
            BadFileError: There is such side data for a codec for which it is not supported.
        """
        if self._codec == "hevc" and packet.size:
            self._layered |= declares_alpha(bytes(packet), self._header)
        for side in packet.iter_sidedata() if packet.size else ():
            if side.data_type == _BLOCK_ADDITIONAL and int.from_bytes(bytes(side)[:8], "big") == 1:
                self._decode_alpha(bytes(side)[8:], packet.pts)

    def _decode_alpha(self, coded: bytes, pts: int | None) -> None:
        if self._coder is None:
            if self._codec not in _ALPHA_CODECS:
                raise BadFileError(f"it has transparency with the codec {self._codec}, which is not supported. "
                                   "Put the picture on an opaque background first")  # fmt: skip
            self._coder = self._av.CodecContext.create(self._codec, "r")
        packet = self._av.Packet(coded)
        packet.pts = pts
        for frame in self._coder.decode(packet):
            self._alphas[pts] = planes_of(frame)[0].copy()

    def of(self, frame: Any) -> tuple[Any, MaskArray | None]:
        """Return the visible part of a decoded picture, and its hidden pixels.

        Returns:
            The picture itself, or a new one in a planar format without alpha; and a mask, bool (h, w), as stored, or
            None if no pixel is hidden.

        Raises:
            BadFileError: Alpha is in a second layer, which is not supported, or alpha or crop do not fit the picture.
        """
        self._alpha, self._hidden = self._alphas.pop(frame.pts, self._alpha), None
        own = any(part.is_alpha for part in frame.format.components) or frame.format.has_palette
        if self._layered and not own:
            raise BadFileError("it has transparency in a second layer, which is not supported. "
                               "Put the picture on an opaque background first")  # fmt: skip
        if self._alpha is None and not own and self._aperture is None:
            self.shown = True
            return frame, None
        return self._made(frame, own)

    def _made(self, frame: Any, own: bool) -> tuple[Any, MaskArray | None]:
        name = planar_format(planar_format(frame.format.name, alpha=own), alpha=False)
        planar = PixelColours.of(frame).in_format(frame, planar_format(frame.format.name, alpha=own))
        planes = [plane.copy() for plane in planes_of(planar)]
        bits = max(part.bits for part in planar.format.components)
        alpha = planes.pop().astype(np.float64) / (2**bits - 1) if own else None
        if self._alpha is not None:
            beside = self._alpha.astype(np.float64) / 255
            if beside.shape != (frame.height, frame.width):
                raise BadFileError("the size of its transparency differs from the size of its pictures")
            alpha = beside if alpha is None else np.minimum(alpha, beside)
        if alpha is None:
            self.shown = True
        else:
            self._fill(planes, alpha, black(name, full_range=PixelColours.of(frame).full_range))
        return self._frame(frame, planes, name, self._box(frame))

    def _fill(
        self, planes: list[UInt[np.ndarray, "_ _"]], alpha: Float[np.ndarray, "h w"], black: tuple[int, ...]
    ) -> None:
        """Composite planes over black in place; chroma samples that belong to any hidden pixel become neutral."""
        alpha = np.where(alpha < _LEAST_ALPHA, 0, alpha)
        self._hidden = alpha == 0
        self.filled |= bool((alpha < 1).any())
        self.shown |= bool(alpha.any())
        for plane, dark in zip(planes, black, strict=True):
            share = _shrunk(alpha, plane.shape)
            plane[...] = np.rint(dark + (plane.astype(np.float64) - dark) * share)

    def _box(self, frame: Any) -> tuple[int, int, int, int]:
        if self._aperture is None:
            return 0, 0, frame.width, frame.height
        x0, y0, x1, y1 = self._aperture.box(frame.width, frame.height)
        if not (0 <= x0 < x1 <= frame.width and 0 <= y0 < y1 <= frame.height):
            raise BadFileError(f"it is damaged: its crop lies outside its pictures of {frame.width} x {frame.height}")
        return x0, y0, x1, y1

    def _frame(
        self, frame: Any, planes: list[UInt[np.ndarray, "_ _"]], name: str, box: tuple[int, int, int, int]
    ) -> tuple[Any, MaskArray | None]:
        """Return a new picture of the part inside a box, and its hidden pixels; it begins at a whole chroma sample."""
        across, down = -(-frame.width // planes[-1].shape[1]), -(-frame.height // planes[-1].shape[0])
        x0, y0 = -(-box[0] // across) * across, -(-box[1] // down) * down
        if x0 >= box[2] or y0 >= box[3]:
            raise BadFileError("the visible part of its pictures is smaller than a pixel")
        made = self._av.VideoFrame(box[2] - x0, box[3] - y0, name)
        for mine, theirs in zip(planes_of(made), planes, strict=True):
            fy, fx = -(-frame.height // theirs.shape[0]), -(-frame.width // theirs.shape[1])
            mine[...] = theirs[y0 // fy : y0 // fy + mine.shape[0], x0 // fx : x0 // fx + mine.shape[1]]
        made.pts, made.time_base, made.duration = frame.pts, frame.time_base, frame.duration
        made.colorspace, made.color_range = frame.colorspace, frame.color_range
        hidden = self._hidden[y0 : box[3], x0 : box[2]] if self._hidden is not None and self._hidden.any() else None
        return made, hidden


def _shrunk(alpha: Float[np.ndarray, "h w"], shape: tuple[int, ...]) -> Float[np.ndarray, "rows columns"]:
    """Return the alpha of each sample of a plane: the mean over its pixels, or 0 if any of them is hidden."""
    fy, fx = -(-alpha.shape[0] // shape[0]), -(-alpha.shape[1] // shape[1])
    if (fy, fx) == (1, 1):
        return alpha
    padded = np.pad(alpha, ((0, shape[0] * fy - alpha.shape[0]), (0, shape[1] * fx - alpha.shape[1])), mode="edge")
    blocks = padded.reshape(shape[0], fy, shape[1], fx)
    return np.where(blocks.min((1, 3)) > 0, blocks.mean((1, 3)), 0)
