"""Where a run over many files writes, and how its work is divided."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from styleid.engine.moving import AnonymizeVideo
from styleid.errors import OptionError
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.image import MAX_PIXELS
from styleid.media.provenance import MarkOptions
from styleid.media.storage.remote import Place

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class RunOptions:
    """Choose where a run writes and how.

    out: folder, or URL of one, for the anonymised files and the journal; inputs' folders are mirrored in it.
    metadata: strip keeps only orientation, density and colour profile; safe also technical exposure fields.
    resume: skip inputs that a journal in out names as done and whose output is still what was written.
    require_faces: treat a photo without any face as an error and do not write it.
    workers: processes that share the work; each has several photos in hand at once. 0 means one for every four cores,
        fewer for few photos. What is written does not depend on it.
    shard: i/n takes the i-th of n parts of the inputs, by a hash of their names; each part has a journal of its own.
    engine: local runs on this machine; ray hands the photos to the actors of a Ray cluster.
    marking: how files say that they hold generated faces.
    anonymize_video: treats the moving parts of photos, which are left out without it.
    live_photos: the video beside a Live Photo belongs to it, and is written beside the output.
    max_pixels: the most pixels of a photo; a larger one is withheld before it is decoded.
    """

    out: Place
    metadata: Literal["strip", "safe"] = "strip"
    resume: bool = False
    require_faces: bool = False
    workers: int = 1
    shard: str = ""
    engine: Engine = "local"
    marking: MarkOptions = field(default_factory=MarkOptions)
    anonymize_video: AnonymizeVideo | None = None
    live_photos: bool = False
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise OptionError("workers", f"{self.workers} is no number of processes.")
        named = isinstance(self.out, Path) and self.out.suffix.lower() in IMAGE_SUFFIXES
        if named and not self.folder.is_dir():
            raise OptionError("out", f"{self.out} is named like a photo. Name a folder, where photos keep their "
                              "names, or use a pipe: `styleid anonymize - --out - < a.jpg > b.jpg`")  # fmt: skip

    @property
    def folder(self) -> Path:
        """Return out where it is a folder of this machine; OptionError where it is a URL."""
        if isinstance(self.out, Path):
            return self.out
        raise OptionError("out", f"{self.out} is a URL; data sets are written to folders of this machine.")
