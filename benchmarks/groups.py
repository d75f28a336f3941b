"""Measure how often new faces keep the apparent group, sex and age of the original, for each group of people.

    python benchmarks/groups.py PACK.npz [--bundle B] [--each 40]

Anonymises up to --each held-out UTKFace faces of each group from a data pack (`styleid train pack`), and compares the
output of the bundle's attribute network before and after. The skin is compared in the middle of the face. Needs the
extra `lab`. Prints one table.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from styleid.bundles.registry import DEFAULT
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.lab.data.pack import GROUPS, SOURCES, Pack
from styleid.types import Action, ImageRGB

_ENLARGED = 2
"""Crops are small for photos, and a bundle draws no finer than its own."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--bundle", default=DEFAULT)
    parser.add_argument("--each", type=int, default=40, help="most faces of a group")
    args = parser.parse_args()

    pack, anonymizer = Pack.load(args.pack), Anonymizer.from_bundle(args.bundle, AnonymizeOptions(seed=0))
    labelled = [number for number, name in enumerate(SOURCES) if name.startswith("utkface")]
    rows, chance = np.nonzero(pack.held_out & np.isin(pack.source, labelled))[0], np.random.default_rng(0)
    print("| group | faces | group agrees | sex agrees | age differs, years | skin differs, of 255 | on average by |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    everybody = []
    for number, group in enumerate(GROUPS):
        chosen = chance.permutation(rows[pack.group[rows] == number])[: args.each]
        seen = [one for row in chosen if (one := compared(anonymizer, pack, row)) is not None]
        everybody += seen
        print(line(group, seen))
    print(line("all", everybody))


def compared(anonymizer: Anonymizer, pack: Pack, row: int) -> np.ndarray | None:
    """Anonymise one face of a pack.

    Returns:
        Whether the group agrees, whether the sex agrees, the difference of the ages in years, and the mean absolute
        and mean signed difference of the skin colour in levels of 255. None if the face was not replaced.
    """
    (crop,) = pack.crops([row])
    side = crop.shape[0]
    photo = cv2.resize(crop, (_ENLARGED * side,) * 2)
    outcome = anonymizer.anonymize(photo, name=str(row))
    if [face.action for face in outcome.faces] != [Action.ANONYMIZED]:
        return None
    new = cv2.resize(outcome.image_rgb, (side, side), interpolation=cv2.INTER_AREA)
    before, after = anonymizer.bundle.describe(np.stack([crop, new]))
    group, sex = before[2:].argmax() == after[2:].argmax(), (before[1] > 0.5) == (after[1] > 0.5)
    lighter = _skin(new) - _skin(crop)
    return np.array([group, sex, abs(before[0] - after[0]), np.abs(lighter).mean(), np.mean(lighter)])


def line(name: str, seen: list[np.ndarray]) -> str:
    """Return one row of the table."""
    if not seen:
        return f"| {name} | 0 | - | - | - | - | - |"
    group, sex, years, apart, lighter = np.mean(seen, 0)
    return f"| {name} | {len(seen)} | {group:.1%} | {sex:.1%} | {years:.1f} | {apart:.1f} | {lighter:+.1f} |"


def _skin(crop: ImageRGB) -> np.ndarray:
    """Return the mean colour of the middle of a face, (3,)."""
    high, wide = crop.shape[:2]
    return np.asarray(crop[high // 3 : 3 * high // 4, wide // 3 : 2 * wide // 3].mean((0, 1)))


if __name__ == "__main__":
    main()
