"""Allow-lists for picture files, used by the writers and by the audit."""

from __future__ import annotations

from styleid.media.formats.parse.ifd import ORIENTATION, RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION

JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's frame headers."""
STRUCTURE = JPEG_FRAMES | {0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD}
"""Markers of the segments that a JPEG needs to store its pixels."""
ICC_PREFIX = b"ICC_PROFILE\0"

PROFILE_NAME = b"ICC profile"
COLOUR_CHUNKS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
"""PNG chunks that define the colour space, with their lengths; they are copied."""

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR, PREDICTOR = 273, 277, 278, 279, 284, 317
COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS, EXTRA = 320, 322, 323, 324, 325, 338
SAMPLE_FORMAT, JPEG_TABLES, ICC_TAG, DNG_VERSION = 339, 347, 34675, 50706

ALLOWED_TAGS = frozenset(
    {SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP,
     STRIP_COUNTS, PLANAR, PREDICTOR, COLOUR_MAP, EXTRA, SAMPLE_FORMAT, ICC_TAG, ORIENTATION, X_RESOLUTION,
     Y_RESOLUTION, RESOLUTION_UNIT, FILL_ORDER, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS,
     292, 293, JPEG_TABLES, 530, 531, 532}
)  # fmt: skip
"""TIFF tags of structure, colour and density. All other tags are metadata."""

PIXEL_PLACES = ((STRIP_OFFSETS, STRIP_COUNTS), (TILE_OFFSETS, TILE_COUNTS))
"""Pairs of tags with the offsets and the lengths of the pixel data."""
