"""Make photos for benchmarks from scikit-image's astronaut, or count the faces that deface detects in a folder.

For example: python benchmarks/photos.py make FOLDER --photos 24
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png")
SIZE = (1280, 960)
_SLOTS = (3, 2)
_PORTRAIT = (90, 0, 360, 260)
_SCALES = (0.4, 1.5)
_DEFACE_THRESHOLD = 0.2
_QUALITY = 92


def make(folder: Path, photos: int, seed: int = 0) -> int:
    """Write photos of one to six portraits on a brick wall, of random sizes and places; return the number of faces."""
    import skimage.data

    rng = np.random.default_rng(seed)
    portrait = Image.fromarray(skimage.data.astronaut()).crop(_PORTRAIT)
    wall = Image.fromarray(np.tile(skimage.data.brick(), (2, 3))[: SIZE[1], : SIZE[0]]).convert("RGB")
    slots = [(x, y) for y in range(_SLOTS[1]) for x in range(_SLOTS[0])]
    slot = np.array([SIZE[0] // _SLOTS[0], SIZE[1] // _SLOTS[1]])
    folder.mkdir(parents=True, exist_ok=True)
    faces = 0
    for number in range(photos):
        canvas = wall.copy()
        for place in rng.permutation(slots)[: 1 + number % len(slots)]:
            scale = rng.uniform(*_SCALES)
            pasted = portrait.resize((round(portrait.width * scale), round(portrait.height * scale)))
            if rng.random() < 0.5:
                pasted = pasted.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            room = np.maximum(slot - pasted.size, 0)
            x, y = (int(v) for v in place * slot + rng.integers(0, room + 1))
            canvas.paste(pasted, (x, y))
            faces += 1
        canvas.save(folder / f"{number:03d}.jpg", quality=_QUALITY)
    return faces


def count(folder: Path) -> int:
    """Return the number of faces that deface's detector finds in a folder at its default threshold."""
    import contextlib
    import io

    import imageio.v2
    from deface.centerface import CenterFace

    with contextlib.redirect_stdout(io.StringIO()):
        detector = CenterFace(in_shape=None, backend="auto")
    photos = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    return sum(len(detector(imageio.v2.imread(path), threshold=_DEFACE_THRESHOLD)[0]) for path in photos)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("make", "count"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=24, help="how many to make (default: 24)")
    given = parser.parse_args()
    print(make(given.folder, given.photos) if given.action == "make" else count(given.folder))


if __name__ == "__main__":
    main()
