"""Recognise files that are not read (pictures, videos, containers) by their first bytes or by their suffix."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

HEAD_BYTES = 512
"""Number of first bytes that are enough to recognise a file."""


class Shows(Enum):
    """What a file may show: a picture, a video, or anything, as in an archive."""

    PICTURE = "picture"
    VIDEO = "video"
    ANYTHING = "anything"


class UnreadKind(NamedTuple):
    """A kind of file. name: for messages, with its article, such as "a PDF"."""

    name: str
    shows: Shows


def kind_of(head: bytes) -> UnreadKind | None:
    """Return the kind of a file from its first bytes, None if it is unknown or can be read as a photo."""
    for shows, kinds in _MAGICS.items():
        for name, pattern in kinds:
            if pattern.match(head):
                return UnreadKind(name, shows)
    return None


def unread_kind(name: str, head: bytes) -> UnreadKind | None:
    """Return the kind of a picture or video that is not read, None for other files.

    Args:
        name: Name of the file; its suffix decides if the first bytes do not.
        head: The first `HEAD_BYTES` bytes of the file, or fewer; empty if they are not known.
    """
    kind = kind_of(head)
    if kind is not None and kind.shows is not Shows.ANYTHING:
        return kind
    ending = name.lower().rpartition(".")[2] if "." in name else ""
    shows = Shows.VIDEO if ending in _VIDEO_ENDINGS else Shows.PICTURE
    named = _VIDEO_ENDINGS.get(ending) or _PICTURE_ENDINGS.get(ending)
    return UnreadKind(named, shows) if named else None


def _compiled(*kinds: tuple[str, bytes]) -> list[tuple[str, re.Pattern[bytes]]]:
    return [(name, re.compile(pattern, re.DOTALL)) for name, pattern in kinds]


_MAGICS = {
    Shows.PICTURE: _compiled(
        ("a Photoshop document", rb"8BPS"),
        ("a JPEG 2000 picture", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
        ("a JPEG XR picture", rb"II\xbc"),
        ("a JPEG LS picture", rb"\xff\xd8\xff\xf7"),
        ("an OpenEXR picture", rb"\x76\x2f\x31\x01"),
        ("a Radiance HDR picture", rb"#\?R(?:ADIANCE|GBE)"),
        ("a PBM picture", rb"P[14]\s+[#\d]"),
        ("a PGM picture", rb"P[25]\s+[#\d]"),
        ("a PPM picture", rb"P[36]\s+[#\d]"),
        ("a PAM picture", rb"P7\s+(?:WIDTH|#)"),
        ("a PFM picture", rb"P[Ff]4?\s+\d"),
        ("a QOI picture", rb"qoif"),
        ("a camera's raw file", rb"FUJIFILM|IIRO|IIU\0|\0MRM|FOVb|....ftypcrx|HEAPCCDR"),
        ("an SVG drawing", rb"(?:\xef\xbb\xbf)?\s*(?:<[?!][^>]*>\s*)*<(?:\w+:)?svg[\s>]"),
        ("an XPM picture", rb"\s*/\*\s*XPM\s*\*/|!\s*XPM2"),
        ("an XBM picture", rb"#define\s+\w+\s+\d+\s+#define\s+\w+\s+\d+"),
        ("a PostScript picture", rb"%!PS|\xc5\xd0\xd3\xc6"),
        ("an icon", rb"\0\0[\1\2]\0[\x01-\x40]\0|icns"),
        ("a PCX picture", rb"\x0a[\0-\x05]\x01[\x01\x02\x04\x08]|\xb1\x68\xde\x3a"),
        ("a Silicon Graphics picture", rb"\x01\xda[\0\1][\1\2]\0[\1\2\3]"),
        ("a Sun raster", rb"\x59\xa6\x6a\x95"),
        ("a GIMP picture", rb"gimp xcf"),
        ("a DDS texture", rb"DDS |\xabKTX |\x13\xab\xa1\x5c"),
        ("a DICOM picture", rb".{128}DICM"),
        ("a FITS picture", rb"SIMPLE  ="),
        ("a BPG picture", rb"BPG\xfb"),
        ("a FLIF picture", rb"FLIF"),
        ("an MNG or JNG picture", rb"\x8a[MJ]NG|\x8b[MJ]NG"),
        ("a DPX or Cineon picture", rb"SDPX|XPDS|\x80\x2a\x5f\xd7"),
        ("a farbfeld picture", rb"farbfeld"),
        ("a Windows metafile", rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF"),
        ("a DjVu document", rb"AT&TFORM"),
        ("an IFF picture", rb"FORM....(?:ILBM|PBM |RGB8)"),
    ),
    Shows.VIDEO: _compiled(
        ("a Matroska or WebM video", rb"\x1aE\xdf\xa3"),
        ("an MP4 or QuickTime video", rb"....(?:ftyp(?!avi[fs]|hei|hev|mif1|msf1)|moov|mdat|wide|pnot)"),
        ("an AVI video", rb"RIFF....AVI "),
        ("a Windows Media file", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
        ("an MPEG video", rb"\0\0\x01[\xb3\xba]|\0\0\0?\x01[\x67\x27\x09\x46\x40]"),
        ("an MPEG transport stream", rb"G.{187}G|.{4}G.{191}G"),
        ("a Flash video", rb"FLV\x01|[FCZ]WS[\x01-\x40]"),
        ("an Ogg file", rb"OggS"),
        ("an MXF video", rb"\x06\x0e\x2b\x34"),
        ("a RealMedia file", rb"\.RMF"),
        ("a raw video", rb"YUV4MPEG2 |DKIF"),
    ),
    Shows.ANYTHING: _compiled(
        ("a ZIP archive (or an Office file)", rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"),
        ("a PDF", rb"%PDF"),
        ("a gzip archive", rb"\x1f\x8b"),
        ("a bzip2 archive", rb"BZh\d"),
        ("an xz archive", rb"\xfd7zXZ"),
        ("a Zstandard archive", rb"\x28\xb5\x2f\xfd"),
        ("an LZ4 archive", rb"\x04\x22\x4d\x18"),
        ("a RAR archive", rb"Rar!"),
        ("a 7-Zip archive", rb"7z\xbc\xaf"),
        ("a tar archive", rb".{257}ustar"),
        ("an Office file or a thumbnail cache", rb"\xd0\xcf\x11\xe0|CMMM"),
        ("a sound", rb"RIFF....WAVE|fLaC|ID3|FORM....AIF[FC]|\xff[\xfb\xf3\xf2]"),
        ("a program", rb"\x7fELF|MZ"),
        ("a database", rb"SQLite format 3"),
        ("a Parquet table", rb"PAR1"),
        ("an Arrow table", rb"ARROW1|FEA1"),
        ("an ORC or Avro table", rb"ORC|Obj\x01"),
        ("a NumPy array", rb"\x93NUMPY"),
        ("a pickle", rb"\x80[\x02-\x05]"),
        ("an HDF5 file", rb"\x89HDF"),
        ("a MATLAB file", rb"MATLAB 5\.0"),
    ),
}

_PICTURE_ENDINGS = {
    ending: name
    for name, endings in (
        ("a JPEG 2000 picture", "jp2 j2k jpf jpx jpm j2c jpc jph jhc"),
        ("a JPEG XR picture", "jxr wdp hdp"),
        ("a JPEG under another name", "thm jps insp"),
        ("a camera's raw file", "dng cr2 cr3 crw nef nrw arw srf sr2 raf orf rw2 rwl pef ptx srw x3f 3fr fff iiq mef "
         "mos mrw erf kdc dcr dcs gpr raw"),
        ("a Photoshop document", "psd psb"),
        ("a painting program's picture", "xcf kra ora clip procreate afphoto pdn"),
        ("a vector drawing", "svg svgz eps ai emf wmf cdr"),
        ("a PPM picture", "ppm"),
        ("a PGM picture", "pgm"),
        ("a PBM picture", "pbm"),
        ("a PNM, PAM or PFM picture", "pnm pam pfm"),
        ("a TGA picture", "tga icb vda"),
        ("a QOI picture", "qoi"),
        ("an OpenEXR picture", "exr"),
        ("a Radiance HDR picture", "hdr rgbe"),
        ("a DPX or Cineon picture", "dpx cin"),
        ("a DICOM picture", "dcm dicom"),
        ("a FITS picture", "fits fts"),
        ("a Silicon Graphics picture", "sgi rgba"),
        ("a Sun raster", "ras"),
        ("a PCX picture", "pcx dcx"),
        ("an icon", "ico cur icns"),
        ("an XBM or XPM picture", "xbm xpm"),
        ("a WBMP picture", "wbmp"),
        ("a FLIF picture", "flif"),
        ("a BPG picture", "bpg"),
        ("an APNG, MNG or JNG picture", "apng mng jng"),
        ("an AVIF or HEIC sequence", "avifs heics heifs"),
        ("a texture", "dds ktx ktx2 astc pvr basis"),
        ("a DjVu document", "djvu djv"),
        ("an old picture format", "pcd fpx iff ilbm lbm jbig jb2"),
    )
    for ending in endings.split()
}  # fmt: skip
"""Suffixes that are used for pictures and hardly for anything else."""

_VIDEO_ENDINGS = {
    ending: name
    for name, endings in (
        ("an MP4 or QuickTime video", "mp4 m4v mov qt 3gp 3g2 f4v insv lrv"),
        ("a Matroska or WebM video", "mkv webm"),
        ("an AVI video", "avi divx"),
        ("a Windows Media file", "wmv asf"),
        ("an MPEG video", "mpg mpeg mpe m2v vob mod"),
        ("an MPEG transport stream", "mts m2ts"),
        ("a Flash video", "flv swf"),
        ("an Ogg file", "ogv ogm"),
        ("an MXF video", "mxf"),
        ("a RealMedia file", "rm rmvb"),
        ("a raw video", "y4m ivf mjpeg mjpg braw r3d"),
    )
    for ending in endings.split()
}
