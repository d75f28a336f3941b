"""Anonymise the sample photos, and place each original and result side by side.

`python examples/demo.py` runs this where styleid is installed; `make demo` installs it first, into .venv. The
astronaut (Eileen Collins, photographed by NASA, public domain) comes with scikit-image; the group beside it was made by
`examples/make_scene.py` and shows nobody.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from styleid.cli import main as styleid
from styleid.media.image import read_photo

HERE = Path(__file__).parent
OUT = Path("demo-output")
SHEET_WIDTH_PX = 1800


def main() -> int:
    originals, results = OUT / "originals", OUT / "anonymised"
    shutil.rmtree(OUT, ignore_errors=True)
    originals.mkdir(parents=True)
    Image.fromarray(data.astronaut()).save(originals / "astronaut.png")
    shutil.copy(HERE / "group.jpg", originals)
    print(f"styleid anonymize {originals} --out {results} --seed 1 --report\n")
    status = styleid(["anonymize", str(originals), "--out", str(results), "--seed", "1", "--report"])
    sheet = OUT / "before-and-after.jpg"
    draw_sheet(originals, results).save(sheet, quality=90)
    print(f"\nLook at  {sheet}\nPhotos   {results}\nReport   {results / 'styleid-report.html'}")
    command = os.path.relpath(Path(sys.executable).with_name("styleid"))
    print(f"Yours:   {command} anonymize FOLDER --out ANOTHER-FOLDER --report")
    return 0 if status == 3 else status  # 3: a face was obscured, and the lines above say which


def draw_sheet(originals: Path, results: Path) -> Image.Image:
    """Return each photo beside its result, one row per photo."""
    rows = []
    for path in sorted(originals.iterdir()):
        pair = [Image.fromarray(read_photo(folder / path.name).image_rgb) for folder in (originals, results)]
        size = (SHEET_WIDTH_PX // 2, round(pair[0].height * SHEET_WIDTH_PX / 2 / pair[0].width))
        rows.append(np.concatenate([np.asarray(photo.resize(size, Image.Resampling.LANCZOS)) for photo in pair], 1))
    return Image.fromarray(np.concatenate(rows))


if __name__ == "__main__":
    sys.exit(main())
