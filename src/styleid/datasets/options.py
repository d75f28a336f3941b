"""Options of `styleid dataset`: frozen dataclasses, whose docstrings are the help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from styleid.errors import OptionError

FROM_ANNOTATIONS = "from-annotations"

Frame = Literal["auto", "stored", "upright"]
Unit = Literal["auto", "pixels", "percent", "shares"]


@dataclass(frozen=True)
class AnnotationOptions:
    """Choose how annotations are used and changed.

    boxes: from-annotations replaces or obscures what the annotations mark as faces and heads, and searches the persons
        that they mark more closely; or a JSON file of boxes as for styleid anonymize.
    classes: names of the classes of faces, heads and persons, such as face head=head rider=person; by default those
        with a usual name, such as face or person.
    bad_boxes: what to do with a photo with a face or head box that lies outside it or is empty: withhold the photo, or
        skip the box.
    frame: what boxes of a photo with an EXIF orientation refer to: the stored pixels, the upright photo, or auto, which
        decides by the size that the annotation states.
    box_unit: unit of the boxes of COCO and VOC: pixels, percent of the photo's size, shares of it (fractions from 0 to
        1), or auto. auto takes pixels, but withholds photos where all boxes of a file, or of a VOC folder, lie within
        100 x 100 and may be in percent.
    add_faces: write the faces that were found into the annotations, as a class of their own.
    face_class: name of that class; the data set must not have it yet.
    drop_withheld: remove the entries of photos that were not written from the annotations; by default they stay.
    masks: further folders of label maps, inside the data set's folder, that are copied byte for byte.
    copy_others: also copy files that are neither photos nor annotations and are known to be harmless: text without a
        picture in it, which may still name people.
    carry: endings, such as npy, of files other than photos that are copied byte for byte, without a check of what they
        show.
    """

    boxes: str = ""
    classes: tuple[str, ...] = ()
    bad_boxes: Literal["withhold", "skip"] = "withhold"
    frame: Frame = "auto"
    box_unit: Unit = "auto"
    add_faces: bool = False
    face_class: str = "face"
    drop_withheld: bool = False
    masks: tuple[Path, ...] = ()
    copy_others: bool = False
    carry: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.face_class.strip() or not self.face_class.isprintable():
            raise OptionError("face_class", f"{self.face_class!r} must be a printable name.")
        if self.add_faces and self.box_unit in ("percent", "shares"):
            raise OptionError("add_faces", f"faces are added in pixels, and `box_unit` is {self.box_unit}.")


@dataclass(frozen=True)
class CocoOptions:
    """Choose where a COCO data set has its annotations and photos.

    annotations: the JSON files, inside the data set's folder; by default annotations/*.json and *.json.
    images: folder that the names of photos are relative to; by default the usual places are tried.
    """

    annotations: tuple[Path, ...] = ()
    images: Path | None = None


@dataclass(frozen=True)
class ShardOptions:
    """Choose what happens to the members of tar shards.

    carry: extensions of members, such as seg.png, that are copied byte for byte, without a check of what they show.
    drop_withheld: leave out the whole sample of a photo that was not written; by default its other members stay.
    boxes: JSON file of further face boxes, such as {"shard-0.tar/a.jpg": [[10, 20, 60, 90]]}.
    """

    carry: tuple[str, ...] = ()
    drop_withheld: bool = False
    boxes: Path | None = None
