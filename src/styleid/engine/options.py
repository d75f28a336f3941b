"""The options of a run over many files: where it writes, and how its work is divided."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from styleid.engine.moving import AnonymizeVideo
from styleid.errors import OptionError, require_paths
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.media.image import MAX_PIXELS
from styleid.media.provenance import MarkOptions
from styleid.media.storage.remote import Place

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class RunOptions:
    """Choose where a run writes and how.

    out: folder, or URL of a folder, for the anonymised files and the journal. It mirrors the folders of the inputs.
    metadata: which metadata is kept. strip keeps orientation, pixel density and colour profile; safe also keeps
        technical fields of the exposure.
    resume: skip inputs that the journal of the output folder lists as done, if their outputs are
        unchanged.
    require_faces: withhold photos in which no face is found.
    workers: number of processes; each works on several photos at once. 0 means one for every four cores, but fewer if
        there are few photos. The outputs do not depend on it.
    shard: part of the inputs to process, as i/n for the i-th of n parts, such as 1/8. Inputs are divided by a hash of
        their names, and each part has its own journal.
    engine: local runs on this machine; ray gives the photos to the actors of a Ray cluster.
    marking: how files are marked that contain generated faces.
    anonymize_video: anonymises the moving parts of photos. Without it, they are left out.
    live_photos: treat the video beside a Live Photo as part of it, and write it beside the output.
    max_pixels: maximum number of pixels of a photo. A larger one is withheld before it is decoded.
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
        require_paths(out=self.out)
        if self.workers < 0:
            raise OptionError("workers", f"must be 0 or more, not {self.workers}.")
        named = isinstance(self.out, Path) and self.out.suffix.lower() in IMAGE_SUFFIXES
        if named and not self.folder.is_dir():
            raise OptionError("out", f"{self.out} is named like a photo. Name a folder, where photos keep their "
                              "names, or use a pipe: `styleid anonymize - --out - < a.jpg > b.jpg`")  # fmt: skip

    @property
    def folder(self) -> Path:
        """The output folder on this machine; raises OptionError if `out` is a URL."""
        if isinstance(self.out, Path):
            return self.out
        raise OptionError("out", f"{self.out} is a URL; data sets are written to folders of this machine.")
