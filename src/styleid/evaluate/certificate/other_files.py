"""Search the other files of an output folder for pictures."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from styleid.engine.journal import is_journal
from styleid.engine.report import NAME as REPORT
from styleid.errors import ImageError
from styleid.evaluate.certificate.hashes import list_files
from styleid.evaluate.side_channels import embedded_pictures
from styleid.media.storage.files import walk_inputs
from styleid.media.text import find_picture, plain_text

_LARGEST_TEXT = 64 << 20


@dataclass(frozen=True)
class OtherFiles:
    """The results for other files.

    count: number of files. own: number of journals and reports, whose pictures are outputs. with_pictures: names of
    files that contain a picture or cannot be searched for one.
    """

    count: int = 0
    own: int = 0
    with_pictures: tuple[str, ...] = ()


def examine_others(outputs: Path, photos: AbstractSet[str]) -> OtherFiles:
    """Search every file of a folder for pictures, except photos. photos: names of the photos of the run."""
    listed = _listed(outputs) & photos
    count, own, found = 0, 0, []
    for name, path in list_files(outputs):
        if name in listed:
            continue
        count += 1
        if is_journal(name) or name == REPORT:
            own += 1
        elif _may_show(path):
            found.append(name)
    return OtherFiles(count, own, tuple(found))


def _listed(outputs: Path) -> set[str]:
    try:
        return {file.relative.as_posix() for file in walk_inputs([outputs])}
    except ImageError:
        return set()


def _may_show(path: Path) -> bool:
    if path.stat().st_size > _LARGEST_TEXT:
        return True
    content = path.read_bytes()
    if embedded_pictures(b"\0" + content):
        return True
    text = plain_text(content)
    return text is None or bool(find_picture(text))
