"""Check a finished video for tracks and tags that it must not contain, by opening it like any reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from styleid.media.video.tags import TEXT_SUBTITLES, safe_chapters, safe_tags


def find_leftovers(path: Path, av: Any) -> str:
    """Return the first disallowed part of a finished video, "" if there is none.

    Allowed are one video track, audio, text subtitles, and tags and chapters that contain no picture.

    Args:
        path: The video.
        av: The module PyAV.
    """
    with av.open(str(path), metadata_errors="replace") as container:
        titles = "data" if container.chapters() else ""  # MP4 stores chapter titles in a track
        extra = sorted(s.type for s in container.streams if s.type not in ("video", "audio", "subtitle"))
        if extra not in ([], [titles]):
            return f"a track of type {extra[0]}"
        if len(container.streams.video) != 1:
            return f"{len(container.streams.video)} video tracks"
        spoken = {s.codec_context.name if s.codec_context else "" for s in container.streams.subtitles}
        if not spoken <= TEXT_SUBTITLES:
            return "subtitles that are no text"
        held = [container.metadata, *(stream.metadata for stream in container.streams)]
        names = [name for tags in held for name in safe_tags(tags)[1]] + safe_chapters(container.chapters())[1]
        return f"a picture in the tag {names[0]}" if names else ""
