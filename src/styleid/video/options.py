"""Options of a run over a video."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from styleid.engine.options import Engine
from styleid.errors import OptionError, require_paths
from styleid.media.provenance import MarkOptions


@dataclass(frozen=True)
class VideoOptions:
    """Choose what is written, and what a person has said about the tracks.

    out: the video to write; its suffix names the container: .mp4, .mov or .mkv. With `frames`, a folder.
    frames: pattern of file names, such as '*.png'. The input is then a folder, whose matching files are the frames, in
        the order of their names.
    fps: frame rate of a folder of frames, in frames per second, 0.1 to 1000.
    tracks: tracks.json of an earlier run with `review`, edited by a person, for example to drop a false alarm, join
        tracks or add boxes.
    review: also write a folder beside the output with a page, pictures of each track, and tracks.json for a person to
        edit.
    require_faces: withhold the video if no face is found in it.
    marking: how the output says that it holds generated faces.
    """

    out: Path
    frames: str = ""
    fps: float = 25.0
    tracks: Path | None = None
    review: bool = False
    require_faces: bool = False
    marking: MarkOptions = field(default_factory=MarkOptions)

    def __post_init__(self) -> None:
        require_paths(out=self.out, tracks=self.tracks)
        if not 0.1 <= self.fps <= 1000:
            raise OptionError("fps", f"{self.fps} does not lie between 0.1 and 1000.")


@dataclass(frozen=True)
class EngineOptions:
    """Choose where networks look at the frames. The output does not depend on it.

    engine: local runs on this machine; ray gives segments of the video to the actors of a Ray cluster.
    workers: number of Ray actors, at most one for each core of the cluster; 0 means one for each.
    """

    engine: Engine = "local"
    workers: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise OptionError("workers", f"must be 0 or more, not {self.workers}.")
        if self.workers and self.engine == "local":
            raise OptionError("workers", "it needs `engine=ray`: on one machine, a video uses all cores by itself.")
