"""Look at folders."""

import json
from pathlib import Path

from PIL import Image

from styleid.engine.journal import NAME


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file below a folder but the journal, by relative name."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def write(root: Path, files: dict[str, bytes | str | Image.Image]) -> Path:
    """Write files below a folder; pictures in the format of their suffix."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Image.Image):
            content.save(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def errors(folder: Path) -> dict[str, str]:
    """Return the journal's errors: the last line of each input counts."""
    lines = (json.loads(line) for line in (folder / NAME).read_text().splitlines())
    last = {line["input"]: line for line in lines}
    return {name: line["error"] for name, line in last.items() if "error" in line}


def with_orientation(image: Image.Image, orientation: int) -> dict:
    """Return what to save a picture with so that its EXIF tells an orientation."""
    exif = Image.Exif()
    exif[0x112] = orientation
    return {"exif": exif}
