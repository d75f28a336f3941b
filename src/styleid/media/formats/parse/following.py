"""Describe what follows the picture in a file: a gain map (JPEG), and the video of a motion photo (JPEG, HEIC, AVIF).

Google's Motion Photo format 1.0 lists both in XMP. The video is the end of the file; in HEIC and AVIF it lies in a box,
whose header counts as padding. The packet is built from lengths alone, so that the audit can tell every byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from styleid.media.formats.parse.motion import CAMERA, CONTAINER, ITEM, NO_MOTION, UNKNOWN_TIME, MotionFacts
from styleid.media.provenance import SOURCE_TYPE

VIDEO_BOX = b"mpvd"
"""The box of a HEIC or AVIF that holds a motion photo's video."""
VIDEO_HEADER_BYTES = 8


def told_motion(packets: bytes) -> MotionFacts:
    """Return what a packet of `Following` says of a video, to build one that says just that and compare them."""
    time = re.search(rb'MotionPhotoPresentationTimestampUs="(-1|\d{1,8})"', packets)
    return MotionFacts(int(time[1]) if time else UNKNOWN_TIME, b"GCamera:MicroVideo=" in packets)


@dataclass(frozen=True)
class Following:
    """Say what follows the picture of a file, in this order.

    gain_map_bytes, video_bytes: how long both are, 0 where there is none. motion: how the video belongs to the picture.
    picture: the media type of the picture.
    """

    gain_map_bytes: int = 0
    video_bytes: int = 0
    motion: MotionFacts = NO_MOTION
    picture: str = "image/jpeg"

    def packet(self, *, marked: bool) -> bytes:
        """Return the XMP packet that says so.

        marked: whether the file holds generated parts, see `styleid.media.provenance`.
        """
        names = f' xmlns:Container="{CONTAINER}" xmlns:Item="{ITEM}"' + self._gain_map_told() + self._motion_told()
        padding = "" if self.picture == "image/jpeg" else f' Item:Length="0" Item:Padding="{VIDEO_HEADER_BYTES}"'
        items = [_item("Primary", self.picture, padding)]
        if self.gain_map_bytes:
            items.append(_item("GainMap", "image/jpeg", f' Item:Length="{self.gain_map_bytes}"'))
        if self.video_bytes:
            items.append(_item("MotionPhoto", "video/mp4", f' Item:Length="{self.video_bytes}" Item:Padding="0"'))
        body = f"<Container:Directory><rdf:Seq>{''.join(items)}</rdf:Seq></Container:Directory>"
        if marked:
            names += ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
            body += f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            f'<rdf:Description rdf:about=""{names}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>'
            '<?xpacket end="r"?>'
        ).encode()

    def _gain_map_told(self) -> str:
        return ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"' if self.gain_map_bytes else ""

    def _motion_told(self) -> str:
        if not self.video_bytes:
            return ""
        time = self.motion.shown_at_us
        told = (
            f' xmlns:GCamera="{CAMERA}" GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"'
            f' GCamera:MotionPhotoPresentationTimestampUs="{time}"'
        )
        if self.motion.micro:
            told += (
                ' GCamera:MicroVideo="1" GCamera:MicroVideoVersion="1"'
                f' GCamera:MicroVideoOffset="{self.video_bytes}" GCamera:MicroVideoPresentationTimestampUs="{time}"'
            )
        return told


def _item(semantic: str, mime: str, length: str) -> str:
    item = f'<Container:Item Item:Semantic="{semantic}" Item:Mime="{mime}"{length}/>'
    return f'<rdf:li rdf:parseType="Resource">{item}</rdf:li>'
