"""Encoded files for the tests, made on demand, and readers that share no code with styleid."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  # so that Pillow shows JPEG XL
import tifffile
from PIL import Image, ImageCms

pillow_heif.register_heif_opener()  # so that Pillow shows what the code under test wrote with other calls

SECRET = b"SECRET-Jane-Doe-5551234"
HEIGHT, WIDTH = 37, 53


def smooth(height=HEIGHT, width=WIDTH, channels=3, dtype=np.uint8, seed=0):
    """A picture of soft blobs with a little grain, as a camera has it, (h, w, channels), or (h, w) for one channel."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0, 1, (height, width, channels)).astype(np.float32)
    blobs = cv2.GaussianBlur(noise, (0, 0), 6).reshape(height, width, channels)
    blobs = (blobs - blobs.min()) / max(float(np.ptp(blobs)), 1e-6) + rng.uniform(0, 0.03, (height, width, 1))
    top = 255 if dtype == np.uint8 else 65535
    return np.clip(blobs * top, 0, top).astype(dtype).reshape((height, width, channels)[: 2 if channels == 1 else 3])


def noise(height=HEIGHT, width=WIDTH, channels=3, dtype=np.uint8, seed=0):
    """A picture of white noise."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def pillow(array, kind, mode=None, **options):
    """Encode with Pillow."""
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    out = io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def opencv(array, suffix):
    """Encode with OpenCV, which takes 16-bit colours; the array is RGB."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(array.shape[2] if array.ndim == 3 else 1)
    done, data = cv2.imencode(suffix, np.ascontiguousarray(array[..., order] if order else array))
    assert done
    return data.tobytes()


def tiff(array, **options):
    """Encode with tifffile."""
    out = io.BytesIO()
    big, order = options.pop("bigtiff", False), options.pop("byteorder", "<")
    with tifffile.TiffWriter(out, bigtiff=big, byteorder=order) as writer:
        writer.write(array, metadata=None, software=False, **options)
    return out.getvalue()


def heic(array, mode=None, **options):
    """Encode with pillow-heif; the array is RGB, RGBA or grey, uint8, or uint16 whose upper bits count."""
    height, width = array.shape[:2]
    mode = mode or {1: "L", 3: "RGB", 4: "RGBA"}[array.shape[2] if array.ndim == 3 else 1]
    file, out = pillow_heif.HeifFile(), io.BytesIO()
    file.add_frombytes(mode + (";16" if array.dtype == np.uint16 else ""), (width, height), array.tobytes())
    file.save(out, **options)
    return out.getvalue()


def orientation_of(image):
    """Return the orientation of an opened picture; pillow-heif's plugin sets that of EXIF to 1, and says so."""
    return image.info.get("original_orientation") or image.getexif().get(274, 1)


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(array, bits, colour, *chunks):
    """Write a PNG by hand: unfiltered rows of samples, (h, w[, c]), at 1 to 16 bits; chunks go before IDAT."""
    height, width = array.shape[:2]
    flat = array.reshape(height, -1)
    if bits == 16:
        rows = flat.astype(">u2").view(np.uint8)
    elif bits == 8:
        rows = flat.astype(np.uint8)
    else:
        planes = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunks)
        + png_chunk(b"IDAT", zlib.compress(body))
        + png_chunk(b"IEND", b"")
    )


def read_png(data):
    """Read a non-interlaced PNG from the specification: (samples, bits, colour type, chunks by kind)."""
    chunks, position = [], 8
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        assert struct.unpack_from(">I", data, position + 8 + length)[0] == zlib.crc32(kind + body)
        chunks.append((kind, body))
        position += 12 + length
    table = dict(chunks)
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", table[b"IHDR"])
    assert not interlaced
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    step, row_bytes = max(1, channels * bits // 8), (width * channels * bits + 7) // 8
    raw = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    assert len(raw) == height * (row_bytes + 1)
    previous, rows = bytearray(row_bytes), []
    for y in range(height):
        kind = raw[y * (row_bytes + 1)]
        row = bytearray(raw[y * (row_bytes + 1) + 1 : (y + 1) * (row_bytes + 1)])
        for x in range(row_bytes):
            left, up = (row[x - step] if x >= step else 0), previous[x]
            corner = previous[x - step] if x >= step else 0
            guess = left + up - corner
            paeth = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
            row[x] = (row[x] + (0, left, up, (left + up) // 2, paeth)[kind]) & 255
        rows.append(row)
        previous = row
    cube = np.array([list(r) for r in rows], np.uint8).reshape(height, row_bytes)
    if bits == 16:
        samples = cube.view(">u2").astype(np.uint16)
    elif bits == 8:
        samples = cube
    else:
        planes = np.unpackbits(cube, axis=1)[:, : width * bits].reshape(height, width, bits)
        samples = (planes << np.arange(bits - 1, -1, -1, dtype=np.uint8)).sum(axis=2).astype(np.uint8)
    return samples.reshape((height, width, channels)[: 2 if channels == 1 else 3]), bits, colour, table


def exif(orientation=1, *, secret=True):
    """An EXIF block (no prefix), big-endian, with exposure and, if secret, names, position, note and a thumbnail."""
    ascii_ = SECRET + b"\0"
    first = [(274, 3, (orientation,))]
    details = [(33434, 5, (1, 250)), (33437, 5, (28, 10)), (34855, 3, (200,)), (37386, 5, (50, 1)), (40961, 3, (1,))]
    parts = [first, details]
    if secret:
        first += [(270, 2, ascii_), (271, 2, ascii_), (272, 2, ascii_), (306, 2, b"2024:05:06 07:08:09\0"),
                  (315, 2, ascii_), (33432, 2, ascii_)]  # fmt: skip
        details += [(36867, 2, b"2024:05:06 07:08:09\0"), (37500, 7, SECRET * 3), (37510, 7, b"ASCII\0\0\0" + SECRET),
                    (42032, 2, ascii_), (42033, 2, ascii_)]  # fmt: skip
        parts.append([(1, 2, b"N\0"), (2, 5, (52, 1, 31, 1, 0, 1)), (29, 2, b"2024:05:06\0")])
        parts.append([(259, 3, (6,)), (513, 4, (0,)), (514, 4, (0,))])
    first.append((34665, 4, (0,)))
    if secret:
        first.append((34853, 4, (0,)))
    for _ in range(2):
        sizes = [_directory(p, 0)[1] for p in parts]
        places = [8 + sum(sizes[:i]) for i in range(len(parts))]
        _set(first, 34665, places[1])
        if secret:
            _set(first, 34853, places[2])
            _set(parts[3], 513, places[3] + sizes[3])
            _set(parts[3], 514, len(thumbnail()))
    links = [places[3] if secret and i == 0 else 0 for i in range(len(parts))]
    body = b"".join(_directory(p, at, link)[0] for p, at, link in zip(parts, places, links, strict=True))
    return b"MM\0*\0\0\0\x08" + body + (thumbnail() if secret else b"")


def thumbnail():
    return pillow(smooth(12, 16), "JPEG", comment=SECRET)


def _set(fields, tag, value):
    fields[[f[0] for f in fields].index(tag)] = (tag, 4, (value,))


def _directory(fields, at, link=0):
    fields = sorted(fields)
    table, behind = struct.pack(">H", len(fields)), b""
    for tag, kind, values in fields:
        if isinstance(values, bytes):
            raw, count = values, len(values)
        else:
            raw = struct.pack(f">{len(values)}{'H' if kind == 3 else 'I'}", *values)
            count = len(values) // (2 if kind == 5 else 1)
        if len(raw) > 4:
            offset = at + 2 + 12 * len(fields) + 4 + len(behind)
            behind += raw + b"\0" * (len(raw) & 1)
            raw = struct.pack(">I", offset)
        table += struct.pack(">HHI", tag, kind, count) + raw.ljust(4, b"\0")
    whole = table + struct.pack(">I", link) + behind
    return whole, len(whole)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><dc:creator>' + SECRET + b"</dc:creator></x:xmpmeta>"


def jpeg_segment(marker, payload):
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def with_jpeg_segments(data, *segments):
    """Put segments behind SOI and JFIF."""
    at = 4 + struct.unpack_from(">H", data, 4)[0] if data[2:4] == b"\xff\xe0" else 2
    return data[:at] + b"".join(segments) + data[at:]


def soiled_jpeg(array, orientation=1, **options):
    """A JPEG with everything that may leak."""
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(SECRET)) + SECRET
    data = with_jpeg_segments(
        pillow(array, "JPEG", **options),
        jpeg_segment(0xE0, b"JFXX\0\x10" + thumbnail()),
        jpeg_segment(0xE1, b"Exif\0\0" + exif(orientation)),
        jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
        jpeg_segment(0xED, iptc),
        jpeg_segment(0xEB, b"HDR_RI ver=11" + SECRET),
        jpeg_segment(0xE2, b"FPXR\0" + SECRET),
        jpeg_segment(0xFE, SECRET),
    )
    return data + b"MotionPhoto" + SECRET + thumbnail()


def soiled_png(data, orientation=1):
    """The PNG with everything that may leak before its first IDAT chunk, and something behind its end."""
    at = data.index(b"IDAT") - 4
    chunks = [
        png_chunk(b"tEXt", b"Author\0" + SECRET),
        png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(SECRET)),
        png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        png_chunk(b"tIME", struct.pack(">HBBBBB", 2024, 5, 6, 7, 8, 9)),
        png_chunk(b"eXIf", exif(orientation)),
        png_chunk(b"prVt", SECRET),
    ]
    return data[:at] + b"".join(chunks) + data[at:] + SECRET


def soiled_webp(data, orientation=1):
    """The WebP in its extended form with EXIF, XMP and an unknown chunk."""
    chunk = lambda kind, body: struct.pack("<4sI", kind, len(body)) + body + b"\0" * (len(body) & 1)  # noqa: E731
    image = Image.open(io.BytesIO(data))
    if data[12:16] == b"VP8X":
        body = chunk(b"VP8X", bytes([data[20] | 0x0C]) + data[21:30]) + data[30:]
    else:
        alpha = 0x10 if image.mode == "RGBA" else 0
        size = (image.width - 1).to_bytes(3, "little") + (image.height - 1).to_bytes(3, "little")
        body = chunk(b"VP8X", bytes([alpha | 0x0C, 0, 0, 0]) + size) + data[12:]
    body += chunk(b"EXIF", exif(orientation)) + chunk(b"XMP ", XMP) + chunk(b"priv", SECRET)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body + SECRET


def soiled_tiff(array, orientation=1, **options):
    """A TIFF with names, dates, XMP, IPTC, Photoshop and private tags, and bytes that no tag refers to."""
    text = SECRET.decode()
    extra = [(274, "H", 1, orientation, True), (315, "s", 0, text, True), (306, "s", 0, "2024:05:06 07:08:09", True),
             (33432, "s", 0, text, True), (700, "B", len(XMP), XMP, True), (33723, "B", len(SECRET), SECRET, True),
             (34377, "B", len(SECRET), SECRET, True), (65000, "s", 0, text, True)]  # fmt: skip
    return tiff(array, description=text, extratags=extra, **options) + SECRET


def soiled_gif(data):
    """The GIF with a comment, an application extension and bytes behind its trailer."""
    block = bytes([len(SECRET)]) + SECRET + b"\0"
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return data[:at] + b"!\xfe" + block + b"!\xff\x0bXMP DataXMP" + block + data[at:] + SECRET


def soiled_bmp(data):
    """The BMP with bytes between header and pixels, and behind them."""
    at, size = struct.unpack_from("<I", data, 10)[0], len(data)
    return (
        data[:2]
        + struct.pack("<IHHI", size + 2 * len(SECRET), 0, 0, at + len(SECRET))
        + data[14:at]
        + SECRET
        + data[at:]
        + SECRET
    )


def rgb_profile(text="SECRET-Jane-Doe-5551234", maker=b"MAKR"):
    """An sRGB-like profile whose texts, header and private tag name someone."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", data, 128)[0]
    tags = [struct.unpack_from(">4sII", data, 132 + 12 * i) for i in range(count)]
    parts = {name: bytes(data[at : at + size]) for name, at, size in tags}
    wide = text.encode("utf-16-be")
    note = b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(wide), 28) + wide
    parts |= {b"desc": note, b"cprt": note, b"dmnd": note, b"PrVt": b"text\0\0\0\0" + SECRET}
    head = bytearray(data[:128])
    head[48:52] = maker
    head[80:84] = maker
    return profile(bytes(head), parts)


def profile(header, tags):
    """Put a profile together from its header and its tags by name."""
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, part in tags.items():
        table += struct.pack(">4sII", name, at + len(body), len(part))
        body += part + b"\0" * (-len(part) % 4)
    return struct.pack(">I", at + len(body)) + header[4:128] + struct.pack(">I", len(tags)) + table + body


def region(shape, seed=0):
    """A mask of one rectangle inside a picture of a shape."""
    mask = np.zeros(shape[:2], bool)
    height, width = shape[:2]
    mask[height // 4 : max(1, height * 3 // 4), width // 3 : max(1, width * 3 // 4)] = True
    return mask


def cmyk_profile():
    """A small ink profile: light falls by (1 - ink)(1 - black), tabulated both ways through Lab."""
    from skimage.color import lab2rgb, rgb2lab

    def packed(lab):
        return np.clip(np.round(lab * [2.55, 1, 1] + [0, 128, 128]), 0, 255).astype(np.uint8).tobytes()

    def table(inputs, outputs, grid, clut):
        ramp = bytes(range(256))
        unit = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
        return b"mft1\0\0\0\0" + bytes([inputs, outputs, grid, 0]) + unit + ramp * inputs + clut + ramp * outputs

    inks = np.stack(np.meshgrid(*[np.linspace(0, 1, 5)] * 4, indexing="ij"), -1).reshape(-1, 4)
    light = (1 - inks[:, :3]) * (1 - inks[:, 3:])
    there = packed(rgb2lab(light[None])[0])
    steps = np.stack(np.meshgrid(*[np.linspace(0, 255, 17)] * 3, indexing="ij"), -1).reshape(-1, 3)
    with warnings.catch_warnings(action="ignore"):
        rgb = np.clip(lab2rgb((steps / [2.55, 1, 1] - [0, 128, 128])[None])[0], 0, 1)
    black = 1 - rgb.max(1, keepdims=True)
    back = np.hstack([1 - rgb / np.maximum(1 - black, 1e-6), black])
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"Inks\0" + bytes(78),
        b"cprt": b"text\0\0\0\0" + SECRET + b"\0",
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": table(4, 3, 5, there),
        b"B2A0": table(3, 4, 17, np.round(np.clip(back, 0, 1) * 255).astype(np.uint8).tobytes()),
    }
    head = bytes(8) + bytes([2, 0x40, 0, 0]) + b"prtrCMYKLab " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return profile(head.ljust(128, b"\0"), tags)
