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
    """Choose what annotations are used for, and what becomes of them.

    boxes: from-annotations hides what the data set itself marks as faces and heads, and looks closer at its persons;
        or a JSON file of boxes as for styleid anonymize.
    classes: which classes those are, such as face head=head rider=person; without it those with a usual name.
    bad_boxes: what becomes of a photo with a face or head box that holds nothing of it: withhold, or skip the box.
    frame: what boxes of a photo with an EXIF orientation refer to: its stored pixels, the upright picture, or auto,
        which goes by the size that the annotation tells.
    box_unit: what boxes of COCO and VOC count: pixels, percent or shares of the photo, or auto, which takes them for
        pixels unless all of a file, or of a folder of VOC, lie within 100 x 100 while photos are larger: these are
        withheld.
    add_faces: write the faces that were found into the annotations, as a class of its own.
    face_class: the name of that class; the data set may not have it yet.
    drop_withheld: take the entries of photos that were not written out of the annotations; without it they stay.
    masks: further folders of label maps, below the data set's, which are carried byte for byte.
    copy_others: also copy files that are neither photos nor annotations and are known to be harmless: text without a
        picture in it, which may still name people.
    carry: endings, such as npy, of files other than photos that are copied byte for byte; what they show is not looked
        at.
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
            raise OptionError("face_class", f"{self.face_class!r} is no name of a class.")
        if self.add_faces and self.box_unit in ("percent", "shares"):
            raise OptionError("add_faces", f"faces are added in pixels, and `box_unit` is {self.box_unit}.")


@dataclass(frozen=True)
class CocoOptions:
    """Say where a COCO data set keeps its parts.

    annotations: the JSON files, below the data set's folder; without it annotations/*.json and *.json.
    images: the folder that file names are relative to; without it the usual places are tried.
    """

    annotations: tuple[Path, ...] = ()
    images: Path | None = None


@dataclass(frozen=True)
class ShardOptions:
    """Choose how tar shards are treated.

    carry: extensions of members, such as seg.png, that are carried byte for byte; what they show is not looked at.
    drop_withheld: leave out the whole sample of a photo that was not written; without it its other members stay.
    boxes: a JSON file of further face boxes, such as {"shard-0.tar/a.jpg": [[10, 20, 60, 90]]}.
    """

    carry: tuple[str, ...] = ()
    drop_withheld: bool = False
    boxes: Path | None = None
