"""Draw the picture of the README: a portrait, and three new faces of it by the seeds 1, 2 and 3.

    python examples/readme_picture.py docs/before-and-after.jpg

The astronaut (Eileen Collins, photographed by NASA, public domain) comes with scikit-image.
"""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image
from skimage import data

from styleid import AnonymizeOptions, Anonymizer

_NAME, _PART = "astronaut.png", np.s_[:300, 70:370]


def main(out: str) -> None:
    photo = data.astronaut()
    drawn = [
        Anonymizer.from_bundle(options=AnonymizeOptions(seed=seed)).anonymize(photo, name=_NAME) for seed in (1, 2, 3)
    ]
    tiles = [photo[_PART], *(outcome.image_rgb[_PART] for outcome in drawn)]
    Image.fromarray(np.concatenate(tiles, 1)).save(out, quality=92)


if __name__ == "__main__":
    main(sys.argv[1])
