"""Look at a finished video as a reader does, for what must not be in it, whoever wrote it there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from styleid.media.video.tags import TEXT_SUBTITLES, safe_chapters, safe_tags


def find_leftovers(path: Path, av: Any) -> str:
    """Return what a finished video holds that it may not, "" where that is nothing.

    It may hold one track of pictures, sound, subtitles that are text, and tags and chapters without a picture.
    """
    with av.open(str(path), metadata_errors="replace") as container:
        titles = "data" if container.chapters() else ""  # MP4 keeps titles of chapters in a track
        extra = sorted(s.type for s in container.streams if s.type not in ("video", "audio", "subtitle"))
        if extra not in ([], [titles]):
            return f"a track of {extra[0]}"
        if len(container.streams.video) != 1:
            return f"{len(container.streams.video)} tracks of pictures"
        spoken = {s.codec_context.name if s.codec_context else "" for s in container.streams.subtitles}
        if not spoken <= TEXT_SUBTITLES:
            return "subtitles that are no text"
        held = [container.metadata, *(stream.metadata for stream in container.streams)]
        names = [name for tags in held for name in safe_tags(tags)[1]] + safe_chapters(container.chapters())[1]
        return f"a picture in the tag {names[0]}" if names else ""
