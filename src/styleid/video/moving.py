"""Anonymise the video of a motion photo or Live Photo."""

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
    """Anonymise the video that belongs to a photo. Its sound is dropped.

    Args:
        video: An MP4 or QuickTime file.
        name: Name of the video, on which a seed's targets depend. Its suffix, .mp4 or .mov, names the output's
            container.
        anonymizer: The anonymiser that the photo was processed with.
        taken: The targets that the people in the photo got. People who match them get the same targets in the video.
        marking: How the output is marked as containing generated faces.

    Returns:
        The output file, and the record for the journal.

    Raises:
        VideoError: If the video cannot be used.
        OutputError: If the output cannot be written.
        MissingDependencyError: If a package that the run needs, such as PyAV, is not installed.
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
