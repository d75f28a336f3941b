"""Measure how many faces detectors miss, and how many false alarms they give.

    python benchmarks/detection.py measure --data DIR --backgrounds DIR [--photos DIR] [--lfw DIR]
    python benchmarks/detection.py fit --data DIR --backgrounds DIR

`--data` holds the extracted archives of faces (utkface-0, utkface-1, generated, wild, parsing, portraits320) and
`teachers/landmarks68_pfld.onnx`; `--backgrounds` pictures without faces, beside those that scikit-image carries;
`--photos` the group photos that detection_marks.json names; `--lfw` a folder with the layout of Labeled Faces in the
Wild. detection_scenes.py defines what counts as a face and makes the scenes. `fit` prints weights for `standard` and
`thorough`, fitted to scenes with the other half of the faces and another seed; it writes no file.

A face is found if the intersection over union of a detector's box with its box is at least 0.25. The limit is low since
detectors draw boxes of different shapes, and the obscured area is larger than the box. A box is a false alarm if it
matches no marked face, small ones included, and lies in no area that is marked as unclear. Intervals are 95 % bootstrap
intervals over photos.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from detection_faces import Faces, read
from detection_finders import DEFACE, FAST, STANDARD, THOROUGH, UNIONS, Contestant, Rows, contestants
from detection_scenes import COUNTED_PX, Backgrounds, Scene, Studio, size_group

from styleid.evaluate.statistics import Estimate, Sums, estimate

MARKS = Path(__file__).with_name("detection_marks.json")
RESULTS = Path(__file__).parent / "results" / "detection"
_LEAST_OVERLAP = 0.25
_LEAST_INSIDE = 0.5
_LEAST_FACES = 30
_SETTINGS = (DEFACE, FAST, STANDARD, THOROUGH)
_OF_PEOPLE = ("sex", "age", "UTKFace's group", "skin tone", "pose")
_REAL = ("group photos", "lfw-dev")


# -------------------------------------------------------------------------------------------------------- photos


@dataclass
class Marked:
    """A photo with marked faces.

    Attributes:
        scene: The photo and its faces.
        unclear_xyxy: Boxes (m, 4), in pixels, in which detections are not false alarms.
    """

    scene: Scene
    unclear_xyxy: np.ndarray


def photos(args: argparse.Namespace) -> Iterator[Marked]:
    """Yield the scenes, then the marked photos."""
    studio = Studio(Faces(args.data, 0), Backgrounds(args.backgrounds, 0), 0)
    for scene in studio.scenes(args.photos_of_each):
        yield Marked(scene, np.empty((0, 4)))
    marks = json.loads(MARKS.read_text(encoding="utf-8"))
    for kind, folder, suffix in (("group photos", args.photos, ""), ("lfw-dev", args.lfw, ".jpg")):
        for name, marked in (marks[kind] if folder else {}).items():
            yield _marked(kind, folder, name + suffix, marked)


def _marked(kind: str, folder: Path, name: str, marked: dict) -> Marked:
    boxes = np.array(marked["faces"], float).reshape(-1, 4)
    groups = [size_group(box) for box in boxes]
    if kind == "lfw-dev":
        groups = [group | {"place": "named" if i == 0 else "beside"} for i, group in enumerate(groups)]
    return Marked(Scene(name, kind, read(folder / name), boxes, groups), np.array(marked["unclear"]).reshape(-1, 4))


# ------------------------------------------------------------------------------------------------------- judging


@dataclass
class Tally:
    """Results of one detector at one threshold.

    Attributes:
        missed: Whether each counted face was missed.
        alarms: Number of false alarms in each photo.
    """

    missed: list[bool] = field(default_factory=list)
    alarms: list[int] = field(default_factory=list)


def judge(rows: Rows, photo: Marked) -> tuple[np.ndarray, int]:
    """Compare a detector's boxes with the marked faces.

    Args:
        rows: Detections (k, 4 or more) that begin with x0, y0, x1, y1, in pixels.
        photo: The photo and its n marked faces.

    Returns:
        Whether each marked face was found, bool (n,), and the number of false alarms.
    """
    boxes = photo.scene.boxes_xyxy
    overlap = _intersections(boxes, rows[:, :4])
    union = _areas(boxes)[:, None] + _areas(rows[:, :4])[None] - overlap
    met = overlap / np.maximum(union, 1e-9) >= _LEAST_OVERLAP
    inside = _intersections(photo.unclear_xyxy, rows[:, :4]) / np.maximum(_areas(rows[:, :4]), 1e-9)[None]
    excused = met.any(0) | (inside > _LEAST_INSIDE).any(0)
    return met.any(1), int((~excused).sum())


def _intersections(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    low = np.maximum(some[:, None, :2], others[None, :, :2])
    high = np.minimum(some[:, None, 2:], others[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


@dataclass
class Record:
    """All results.

    Attributes:
        kinds: Kind of each photo.
        names: Name of each photo.
        faces: Groups of each counted face, by category.
        photo_of_face: Index of each counted face's photo.
        tallies: Results by the name of a detector and threshold.
    """

    kinds: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    faces: list[dict[str, str]] = field(default_factory=list)
    photo_of_face: list[int] = field(default_factory=list)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def add(self, photo: Marked, readings: dict[str, Rows]) -> None:
        scene = photo.scene
        counted = (scene.boxes_xyxy[:, 2:] - scene.boxes_xyxy[:, :2]).min(1, initial=np.inf) >= COUNTED_PX
        self.faces += [g | {"kind": scene.kind} for g, counts in zip(scene.groups, counted, strict=True) if counts]
        self.photo_of_face += [len(self.kinds)] * int(counted.sum())
        self.kinds.append(scene.kind)
        self.names.append(scene.name)
        for name, rows in readings.items():
            found, alarms = judge(rows, photo)
            tally = self.tallies.setdefault(name, Tally())
            tally.missed += (~found[counted]).tolist()
            tally.alarms.append(alarms)

    def misses(self, name: str, where: Callable[[dict[str, str]], bool] = lambda _: True) -> Estimate:
        chosen = [i for i, face in enumerate(self.faces) if where(face)]
        missed, photo = np.array(self.tallies[name].missed, float), np.array(self.photo_of_face)
        return estimate(Sums.of(missed[chosen], photo[chosen]))

    def alarms(self, name: str, where: Callable[[str], bool] = lambda _: True) -> Estimate:
        chosen = [i for i, kind in enumerate(self.kinds) if where(kind)]
        return estimate(Sums.of(np.array(self.tallies[name].alarms, float)[chosen], chosen), share=True)

    def groups(self) -> dict[str, list[str]]:
        """Return the groups with enough faces, by category."""
        values: dict[str, dict[str, int]] = {}
        for face in self.faces:
            for key, value in face.items():
                values.setdefault(key, {}).setdefault(value, 0)
                values[key][value] += 1
        kept = {key: sorted(v for v, n in found.items() if n >= _LEAST_FACES) for key, found in values.items()}
        return {key: found for key, found in sorted(kept.items()) if found}


def measure(args: argparse.Namespace) -> tuple[Record, list[Contestant]] | None:
    """Run every detector on every photo that an earlier run did not store; return None if the time is over."""
    record, all_of_them, begun = Record(), list(contestants()), time.monotonic()
    kept = kept_by(args.keep)
    for number, photo in enumerate(photos(args)):
        if photo.scene.name in kept:
            found = recalled(kept[photo.scene.name], all_of_them)
        elif args.seconds and time.monotonic() - begun > args.seconds:
            print(f"stopped before photo {number}; the same command goes on")
            return None
        else:
            found = {one.name: one.timed(photo.scene.image_rgb) for one in all_of_them}
            keep(args.keep, photo.scene.name, found, all_of_them)
        readings = {
            reading: found[one.name][found[one.name][:, 4] > threshold]
            for one in all_of_them
            for reading, threshold in one.thresholds.items()
        }
        readings |= {name: np.concatenate([readings[one] for one in parts]) for name, parts in UNIONS.items()}
        record.add(photo, readings)
    return record, all_of_them


def keep(to: Path | None, name: str, found: dict[str, Rows], used: list[Contestant]) -> None:
    """Append the detections in a photo to a file, if one is given."""
    if to is None:
        return
    each = {one.name: {"rows": found[one.name].tolist(), "seconds": one.seconds[-1]} for one in used}
    with to.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"photo": name, "found": each}) + "\n")


def kept_by(path: Path | None) -> dict[str, dict]:
    """Return the detections of an earlier run, by the photo's name."""
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["photo"]: line["found"] for line in lines}


def recalled(found: dict, used: list[Contestant]) -> dict[str, Rows]:
    """Return the detections of an earlier run, and add the times that they took."""
    for one in used:
        one.seconds.append(found[one.name]["seconds"])
    return {one.name: np.array(found[one.name]["rows"], float).reshape(-1, 5) for one in used}


# --------------------------------------------------------------------------------------------------------- report


def told(value: Estimate, factor: float = 1000, digits: int = 0) -> str:
    low, high = factor * value.low, factor * value.high
    return f"{factor * value.value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def worst(record: Record, name: str) -> tuple[str, Estimate] | None:
    """Return the group of people that a detector misses most, and its misses; None if all groups are too small."""
    people = [(key, value) for key, values in record.groups().items() if key in _OF_PEOPLE for value in values]
    misses = {f"{key}: {value}": record.misses(name, _has(key, value)) for key, value in people}
    return max(misses.items(), key=lambda pair: pair[1].value, default=None)


def _has(key: str, value: str) -> Callable[[dict[str, str]], bool]:
    return lambda face: face.get(key) == value


def write(record: Record, used: list[Contestant], to: Path) -> None:
    """Write the tables and figures."""
    cpu = {one.name: float(np.sum(one.seconds)) for one in used}
    made = sum(kind not in ("group photos", "lfw-dev") for kind in record.kinds)
    text = [
        "# Misses and false alarms of face detectors",
        f"{len(record.kinds)} photos ({made} made scenes), {len(record.faces)} marked faces of 16 px or more. Misses "
        "per thousand faces and false alarms per photo, with 95 % intervals from resampling photos. Made by "
        "`benchmarks/detection.py measure`.",
        _headlines(record, cpu),
        "## Made scenes and real photos apart",
        _apart(record),
        "## Every detector",
        _every_reading(record),
        "## Misses per thousand, by group",
        _by_group(record),
        "## False alarms per photo, by kind of photo",
        _alarms_by_kind(record),
    ]
    to.parent.mkdir(parents=True, exist_ok=True)
    to.with_suffix(".md").write_text("\n\n".join(text) + "\n", encoding="utf-8")
    figures = {n: {"misses": record.misses(n).to_json(), "alarms": record.alarms(n).to_json()} for n in record.tallies}
    figures = {"photos": len(record.kinds), "faces": len(record.faces), "cpu_seconds": cpu, "detectors": figures}
    to.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print("\n\n".join(text[:5]))


def _headlines(record: Record, cpu: dict[str, float]) -> str:
    head = [
        "detector",
        "misses per 1,000 faces",
        "false alarms per photo",
        "CPU time over fast's",
        "worst group of people",
    ]
    seconds = dict(zip(_SETTINGS, ("deface", "fast", "standard", "thorough"), strict=True))
    return table(
        head,
        [
            [
                name,
                told(record.misses(name)),
                told(record.alarms(name), 1, 2),
                f"{cpu[seconds[name]] / cpu['fast']:.2f}",
                _worst_told(record, name),
            ]
            for name in _SETTINGS
        ],
    )


def _apart(record: Record) -> str:
    rows = []
    for label, real in (("made scenes", False), ("real photos", True)):
        for name in _SETTINGS:
            misses = record.misses(name, lambda face, real=real: (face["kind"] in _REAL) == real)
            alarms = record.alarms(name, lambda kind, real=real: (kind in _REAL) == real)
            rows.append([label, name, str(misses.count), told(misses), told(alarms, 1, 2)])
    return table(["photos", "detector", "faces", "misses per 1,000", "false alarms per photo"], rows)


def _every_reading(record: Record) -> str:
    rows = [[name, told(record.misses(name)), told(record.alarms(name), 1, 2)] for name in record.tallies]
    return table(["detector, threshold", "misses per 1,000", "false alarms per photo"], rows)


def _by_group(record: Record) -> str:
    rows = []
    for key, values in record.groups().items():
        for value in values:
            misses = [record.misses(name, _has(key, value)) for name in _SETTINGS]
            rows.append([f"{key}: {value}", str(misses[0].count), *map(told, misses)])
    return table(["group", "faces", *_SETTINGS], rows)


def _alarms_by_kind(record: Record) -> str:
    rows = []
    for kind in dict.fromkeys(record.kinds):
        alarms = [record.alarms(name, kind.__eq__) for name in _SETTINGS]
        rows.append([kind, str(record.kinds.count(kind)), *(told(one, 1, 2) for one in alarms)])
    return table(["kind", "photos", *_SETTINGS], rows)


def _worst_told(record: Record, name: str) -> str:
    found = worst(record, name)
    return "" if found is None else f"{found[0]}: {told(found[1])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("measure", "fit"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--lfw", type=Path)
    parser.add_argument("--photos-of-each", type=int, default=12, help="scenes of each kind (default: 12)")
    parser.add_argument("--keep", type=Path, help="file that keeps what was found, so that a stopped run goes on")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long; the same command goes on")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the tables go, without suffix")
    args = parser.parse_args()
    if args.action == "fit":
        from detection_fit import fit

        fit(args)
        return
    if (measured := measure(args)) is not None:
        write(*measured, args.out)


if __name__ == "__main__":
    main()
