"""XMP that describes the data after a picture: a gain map (JPEG), and a motion photo's video (JPEG, HEIC, AVIF).

Both are listed as Google's Motion Photo format 1.0 defines. The video is at the end of the file; in HEIC and AVIF it is
in a box, whose header counts as padding. The packet depends only on the lengths and on `MotionFacts`, so the audit can
build it again and compare every byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from styleid.media.formats.parse.motion import CAMERA, CONTAINER, ITEM, NO_MOTION, UNKNOWN_TIME, MotionFacts
from styleid.media.provenance import SOURCE_TYPE

VIDEO_BOX = b"mpvd"
"""Type of the HEIC or AVIF box with a motion photo's video."""
VIDEO_HEADER_BYTES = 8


def described_motion(packets: bytes) -> MotionFacts:
    """Return the facts about a video in packets written by `FollowingData`, so that the packet can be built again."""
    time = re.search(rb'MotionPhotoPresentationTimestampUs="(-1|\d{1,8})"', packets)
    return MotionFacts(int(time[1]) if time else UNKNOWN_TIME, b"GCamera:MicroVideo=" in packets)


@dataclass(frozen=True)
class FollowingData:
    """The data after the picture of a file: a gain map, then a video.

    Attributes:
        gain_map_bytes: Length of the gain map, 0 for none.
        video_bytes: Length of the video, 0 for none.
        motion: How the video relates to the picture.
        picture: Media type of the picture.
    """

    gain_map_bytes: int = 0
    video_bytes: int = 0
    motion: MotionFacts = NO_MOTION
    picture: str = "image/jpeg"

    def packet(self, *, marked: bool) -> bytes:
        """Return the XMP packet.

        Args:
            marked: Whether to add the mark of generated content; see `styleid.media.provenance`.
        """
        names = (
            f' xmlns:Container="{CONTAINER}" xmlns:Item="{ITEM}"' + self._describe_gain_map() + self._describe_motion()
        )
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

    def _describe_gain_map(self) -> str:
        return ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"' if self.gain_map_bytes else ""

    def _describe_motion(self) -> str:
        if not self.video_bytes:
            return ""
        time = self.motion.shown_at_us
        text = (
            f' xmlns:GCamera="{CAMERA}" GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"'
            f' GCamera:MotionPhotoPresentationTimestampUs="{time}"'
        )
        if self.motion.micro:
            text += (
                ' GCamera:MicroVideo="1" GCamera:MicroVideoVersion="1"'
                f' GCamera:MicroVideoOffset="{self.video_bytes}" GCamera:MicroVideoPresentationTimestampUs="{time}"'
            )
        return text


def _item(semantic: str, mime: str, length: str) -> str:
    item = f'<Container:Item Item:Semantic="{semantic}" Item:Mime="{mime}"{length}/>'
    return f'<rdf:li rdf:parseType="Resource">{item}</rdf:li>'
