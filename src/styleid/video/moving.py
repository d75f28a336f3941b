"""Anonymise the moving part of a photo: the video of a motion photo, or the one beside a Live Photo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from styleid.core.pipeline import Anonymizer
from styleid.errors import VideoError
from styleid.media.provenance import MarkOptions
from styleid.people.targets import TakenTarget
from styleid.video.options import VideoOptions
from styleid.video.run import render_video
from styleid.video.store import Workspace


def anonymize_moving(
    video: bytes, name: str, anonymizer: Anonymizer, taken: Sequence[TakenTarget], marking: MarkOptions
) -> tuple[bytes, dict[str, Any]]:
    """Anonymise a video that belongs to a photo; sound is dropped.

    Args:
        video: An MP4 or QuickTime file.
        name: What it is called, which a seed's targets depend on; its suffix, .mp4 or .mov, is the output's.
        anonymizer: What the photo was anonymised with.
        taken: What the people in the photo became; who is in the video too becomes the same.
        marking: How the output says that it holds generated faces.

    Returns:
        The new file, and what the journal says of it.

    Raises:
        VideoError: It cannot be used; the reason is for a person to read.
        OutputError: It cannot be written.
        MissingDependencyError: PyAV is not installed.
    """
    own = PurePosixPath(name)
    with Workspace() as space:
        source, out = space.folder / own.name, space.folder / f"out{own.suffix}"
        source.write_bytes(video)
        options = VideoOptions(out, marking=marking)
        try:
            record = render_video(source, anonymizer, options, taken)
        except VideoError as error:
            raise VideoError(name, error.reason) from error
        return out.read_bytes(), record
