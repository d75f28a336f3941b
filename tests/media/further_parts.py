"""Files with further parts, built from the formats' specifications, and readers of them.

Ultra HDR: developer.android.com/media/platform/hdr-image-format; ISO 21496-1; MPF: CIPA DC-007. Motion photos:
developer.android.com/media/platform/motion-photo-format; Samsung's trailer, in a HEIC's box sefd too: ExifTool.
"""

import io
import struct
import xml.etree.ElementTree as ET

import numpy as np
from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

from tests.media import samples

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
ITEM = CONTAINER + "item/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
NUMBERS = {"GainMapMin": -0.25, "GainMapMax": 2.5, "Gamma": 1.2, "OffsetSDR": 0.015625, "OffsetHDR": 0.015625,
           "HDRCapacityMin": 0.0, "HDRCapacityMax": 2.3}  # fmt: skip


def xmp_packet(body, **names):
    """XMP whose description is body; names: further namespaces."""
    spaces = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in names.items())
    start, _, rest = body.partition(">")
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="Adobe XMP Core 5.1.2"><rdf:RDF xmlns:rdf="{RDF}">'
        f"<rdf:Description{spaces} {start}>{rest}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def xmp_segment(body, **names):
    """An APP1 segment with XMP."""
    return samples.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp_packet(body, **names))


def item(semantic, mime, length=None, padding=None):
    sizes = (("Length", length), ("Padding", padding))
    told = "".join(f' Item:{name}="{value}"' for name, value in sizes if value is not None)
    part = f'<Container:Item Item:Semantic="{semantic}" Item:Mime="{mime}"{told}/>'
    return f'<rdf:li rdf:parseType="Resource">{part}</rdf:li>'


def directory(*items):
    return f"<Container:Directory><rdf:Seq>{''.join(items)}</rdf:Seq></Container:Directory>"


def hdrgm_xmp(numbers=NUMBERS, hdr="False"):
    """The gain map's own XMP; a list of three is a number for each channel."""
    plain = {name: v for name, v in numbers.items() if not isinstance(v, list)}
    lists = {name: v for name, v in numbers.items() if isinstance(v, list)}
    attributes = "".join(f' hdrgm:{name}="{value:g}"' for name, value in plain.items())
    inside = "".join(
        f"<hdrgm:{name}><rdf:Seq>{''.join(f'<rdf:li>{v:g}</rdf:li>' for v in values)}</rdf:Seq></hdrgm:{name}>"
        for name, values in lists.items()
    )
    return xmp_segment(f'hdrgm:Version="1.0"{attributes} hdrgm:BaseRenditionIsHDR="{hdr}">{inside}', hdrgm=HDRGM)


def iso_block(numbers=NUMBERS, flags=0x40, common=0):
    """ISO 21496-1's block of one channel or, where numbers are lists, of three; common: one denominator for all."""
    order = ("GainMapMin", "GainMapMax", "Gamma", "OffsetSDR", "OffsetHDR")
    three = [numbers[name] if isinstance(numbers[name], list) else [numbers[name]] for name in order]
    count = max(map(len, three))
    rows = [numbers["HDRCapacityMin"], numbers["HDRCapacityMax"]]
    rows += [three[k][min(channel, len(three[k]) - 1)] for channel in range(count) for k in range(5)]
    flags |= 0x80 * (count == 3) | 0x08 * bool(common)
    unit = common or 1000000
    whole = [round(v * unit) for v in rows]
    body = (
        struct.pack(">I", unit) + struct.pack(f">{len(whole)}i", *whole)
        if common
        else b"".join(struct.pack(">iI", n, unit) for n in whole)
    )
    return ISO + struct.pack(">HHB", 0, 0, flags) + body


def iso_segment(*args, **options):
    return samples.jpeg_segment(0xE2, iso_block(*args, **options))


def mpf_segment(first, at, second):
    """A big-endian MPF segment at an offset of a file whose first picture has so many bytes, and its second."""
    table = struct.pack(">HHHI4s", 3, 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    table += struct.pack(">HHIII", 0xB002, 7, 32, 50, 0)
    entries = struct.pack(">IIIHHIIIHH", 0x20030000, first, 0, 0, 0, 0, second, first - at - 8, 0, 0)
    return samples.jpeg_segment(0xE2, b"MPF\0MM\0*\0\0\0\x08" + table + entries)


def behind_header(data, *segments):
    return samples.with_jpeg_segments(data, *segments)


def ultra_hdr(picture, gain, *described, orientation=1, extra=b"", primary=None, **options):
    """An Ultra HDR file as a phone writes it, with names and a position in its EXIF.

    described: the segments in the gain map, by default its XMP and ISO's. extra: what follows the gain map.
    """
    second = samples.pillow(gain, "JPEG", quality=95)
    second = behind_header(second, *(described or (hdrgm_xmp(), iso_segment())))
    names = {"Container": CONTAINER, "Item": ITEM, "hdrgm": HDRGM}
    listed = directory(item("Primary", "image/jpeg"), item("GainMap", "image/jpeg", len(second)))
    told = [
        samples.jpeg_segment(0xE1, b"Exif\0\0" + samples.exif(orientation)),
        primary or xmp_segment(f'hdrgm:Version="1.0">{listed}', **names),
        samples.jpeg_segment(0xE2, ISO + bytes(4)),
    ]
    first = behind_header(samples.pillow(picture, "JPEG", quality=95, **options), *told)
    at = 2 + first[2:].index(ISO + bytes(4)) + len(ISO) + 4
    length = len(first) + len(mpf_segment(8, 0, 0))
    return first[:at] + mpf_segment(length, at, len(second)) + first[at:] + second + extra


def descriptions(data):
    """Parse every XMP packet of a file: the attributes and elements of its description, by their full names."""
    pieces = data.split(b"http://ns.adobe.com/xap/1.0/\0")[1:]
    return [description(piece[: piece.index(b"</x:xmpmeta>") + 12]) for piece in pieces]


def description(packet):
    """Parse an XMP packet's description."""
    return ET.fromstring(packet[packet.index(b"<x:xmpmeta") :].split(b"<?xpacket")[0]).find(f".//{{{RDF}}}Description")


def container_items(description):
    """(semantic, mime, length) of a description's parts."""
    return [
        tuple(one.get(f"{{{ITEM}}}{name}") for name in ("Semantic", "Mime", "Length"))
        for one in description.iter(f"{{{CONTAINER}}}Item")
    ]


def mpf_pictures(data):
    """Cut out all pictures that a file's MPF segment lists, by Pillow's reader of its tags."""
    with MpoImageFile(io.BytesIO(data)) as image:  # Image.open takes Ultra HDR files for plain JPEGs
        pieces = []
        for number in range(image.n_frames):
            image.seek(number)
            size = image.mpinfo[0xB002][number]["Size"]
            pieces.append(data[image.offset : image.offset + size])
    return pieces


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def samsung_trailer(video, *, version=b"mpv3"):
    """A video and what says so in Samsung's way: named parts, then a list of where they begin before it."""
    parts = [(0x0A01, b"Image_UTC_Data", b"1546300800000"), (0x0A30, b"MotionPhoto_Data", video),
             (0x0A31, b"MotionPhoto_Version", version)]  # fmt: skip
    bodies = [struct.pack("<HHI", 0, kind, len(name)) + name + body for kind, name, body in parts]
    table, back = b"", sum(map(len, bodies))
    for (kind, _, _), body in zip(parts, bodies, strict=True):
        table += struct.pack("<HHII", 0, kind, back, len(body))
        back -= len(body)
    table = b"SEFH" + struct.pack("<II", 107, len(parts)) + table
    return b"".join(bodies) + table + struct.pack("<I", len(table)) + b"SEFT"


def motion_photo(picture, video, kind="motion", *, time=250000, orientation=1, gain=None):
    """A motion photo, with names and a position in its EXIF.

    kind: motion is Google's version 1, elements the same with its properties as elements, micro MicroVideo, samsung a
    trailer without XMP. gain: an Ultra HDR file's map before the video.
    """
    names = {"GCamera": CAMERA, "Container": CONTAINER, "Item": ITEM, "hdrgm": HDRGM}
    second = b"" if gain is None else behind_header(samples.pillow(gain, "JPEG", quality=95), hdrgm_xmp())
    items = [item("Primary", "image/jpeg", 0, 0)]
    items += [item("GainMap", "image/jpeg", len(second))] if second else []
    listed = directory(*items, item("MotionPhoto", "video/mp4", len(video), 0))
    bodies = {
        "motion": f'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" hdrgm:Version="1.0" '
        f'GCamera:MotionPhotoPresentationTimestampUs="{time}">{listed}',
        "elements": "><GCamera:MotionPhoto>1</GCamera:MotionPhoto><GCamera:MotionPhotoPresentationTimestampUs>"
        f"{time}</GCamera:MotionPhotoPresentationTimestampUs>{listed}",
        "micro": f'GCamera:MicroVideo="1" GCamera:MicroVideoVersion="1" GCamera:MicroVideoOffset="{len(video)}" '
        f'GCamera:MicroVideoPresentationTimestampUs="{time}">',
    }
    if second and kind == "motion":
        told = xmp_segment(bodies[kind], **names)
        return ultra_hdr(picture, gain, orientation=orientation, primary=told, extra=video)
    told = [samples.jpeg_segment(0xE1, b"Exif\0\0" + samples.exif(orientation))]
    told += [xmp_segment(bodies[kind], **names)] if kind in bodies else []
    first = behind_header(samples.pillow(picture, "JPEG", quality=95), *told)
    return first + (samsung_trailer(video) if kind == "samsung" else video)


def heif_motion_photo(picture, video, kind="box", suffix="heic", *, time=250000, **options):
    """A motion photo in HEIC or AVIF, with names and a position in its EXIF.

    kind: box is Google's version 1, a box mpvd behind the picture; behind the same without the box; samsung a box mpvd
    and a box sefd with a trailer that points to it; sefd a trailer with the video in a box; trailer one without a box.
    """
    length = len(video)
    padding = 0 if kind == "behind" else 8
    listed = directory(item("Primary", f"image/{suffix}", 0, padding), item("MotionPhoto", "video/mp4", length, 0))
    told = xmp_packet(
        f'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" '
        f'GCamera:MotionPhotoPresentationTimestampUs="{time}">{listed}',
        GCamera=CAMERA, Container=CONTAINER, Item=ITEM,
    )  # fmt: skip
    options |= {"xmp": told} if kind in ("box", "behind") else {}
    exif = b"Exif\0\0" + samples.exif(1)
    encode = samples.heic if suffix == "heic" else lambda array, **more: samples.pillow(array, "AVIF", **more)
    first = encode(picture, exif=exif, **options)
    boxed = iso_box(b"mpvd", video)
    pointer = b"mpv2" + struct.pack(">II", len(first) + 8, length)
    behind = {
        "box": boxed,
        "behind": video,
        "samsung": boxed + iso_box(b"sefd", samsung_trailer(pointer)),
        "sefd": iso_box(b"sefd", samsung_trailer(video)),
        "trailer": samsung_trailer(video),
    }
    return first + behind[kind]


def iso_box(kind, body):
    return struct.pack(">I4s", 8 + len(body), kind) + body


def split_heif_motion(data):
    """Cut a HEIC or AVIF motion photo as the format's description says: (all before the box, the video)."""
    at, kinds = 0, []
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        kinds.append(kind)
        at += size
    assert kinds.count(b"mpvd") == 1
    assert (kinds[-1], at) == (b"mpvd", len(data))
    video = data[len(data) - size + 8 :]
    suffix = "avif" if data[8:12] == b"avif" else "heic"
    own = description(Image.open(io.BytesIO(data)).info["xmp"])
    (primary, moving) = own.iter(f"{{{CONTAINER}}}Item")
    told = [(one.get(f"{{{ITEM}}}{name}")) for one in (primary, moving) for name in ("Semantic", "Mime")]
    assert told == ["Primary", f"image/{suffix}", "MotionPhoto", "video/mp4"]
    assert (primary.get(f"{{{ITEM}}}Length"), primary.get(f"{{{ITEM}}}Padding")) == ("0", "8")
    assert moving.get(f"{{{ITEM}}}Length") == str(len(video))
    assert own.get(f"{{{CAMERA}}}MotionPhoto") == own.get(f"{{{CAMERA}}}MotionPhotoVersion") == "1"
    return data[: len(data) - size], video


def split_motion(data):
    """Cut a motion photo as a reader of Google's directory does: (all before the video, the video)."""
    (own, *_) = descriptions(data)
    *_, (semantic, mime, length) = container_items(own)
    assert (semantic, mime) == ("MotionPhoto", "video/mp4")
    assert own.get(f"{{{CAMERA}}}MotionPhoto") == own.get(f"{{{CAMERA}}}MotionPhotoVersion") == "1"
    return data[: -int(length)], data[-int(length) :]


def apple_photo(picture, identifier, *, heic=False):
    """A photo with the maker's note of an iPhone: two tags, of which the second names a Live Photo's video."""
    text = identifier.encode() + b"\0"
    rows = struct.pack(">HHHII", 2, 1, 9, 1, 14) + struct.pack(">HHII", 17, 2, len(text), 14 + 2 + 24 + 4)
    note = b"Apple iOS\0\0\x01MM" + rows + bytes(4) + text
    pointer = struct.pack(">HHHIII", 1, 34665, 4, 1, 26, 0)
    block = b"MM\0*\0\0\0\x08" + pointer + struct.pack(">HHHIII", 1, 37500, 7, len(note), 44, 0) + note
    if heic:
        return samples.heic(picture, exif=b"Exif\0\0" + block)
    return behind_header(samples.pillow(picture, "JPEG", quality=95), samples.jpeg_segment(0xE1, b"Exif\0\0" + block))
