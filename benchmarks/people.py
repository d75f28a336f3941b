"""Measure how targets are assigned to people: one key, two keys, fresh targets, groups, and kept people.

    python benchmarks/people.py FOLDER --work DIR [--people 150] [--bundle B]

FOLDER is LFW-like (person/photo); the first --people people with several photos are used. Prints one JSON object. Two
new faces count as the same person if their similarity by the bundle's recogniser is above the threshold at a
false-match rate of 1e-3. New faces are measured in the finished photos, aligned by the originals' landmarks; targets
alone are rendered by the generator in their own pose. The largest face of each photo counts as the named person's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from styleid.bundles.registry import DEFAULT
from styleid.core.keeping import leave_kept
from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.rendering import render
from styleid.engine.assignment import Assignment
from styleid.engine.journal import Journal
from styleid.engine.local import RunOptions, process_files
from styleid.faces.geometry import five_points
from styleid.media.image import read_photo
from styleid.people.key_file import new_key
from styleid.people.targets import AssignedTargets
from styleid.types import Action, FloatArray

_FMR = 1e-3


@dataclass(frozen=True)
class Seen:
    """Results of a run for the n named faces.

    Attributes:
        new: Embeddings of the faces in the output, (n, d).
        done: Whether each face was anonymised, bool (n,).
        targets: Embeddings of the rendered targets, (n, d).
        tries: Number of attempts for each face, (n,).
        record: Seconds, counts, target numbers and journal of the run.
    """

    new: FloatArray
    done: np.ndarray
    targets: FloatArray
    tries: np.ndarray
    record: dict


class _Notes:
    """A source of targets that delegates to another one, and stores the last target of each face."""

    def __init__(self, within) -> None:
        self.within, self.codes, self.places = within, {}, {}

    def admit(self, faces) -> None:
        self.within.admit(faces)

    def sample(self, bundle, photo, faces, attempt):
        targets = self.within.sample(bundle, photo, faces, attempt)
        for face, target in zip(faces, targets, strict=True):
            self.codes[photo, face.index] = target
            self.places[photo, face.index] = face.target
        return targets

    def plan_next(self, face, verdict, steps):
        return self.within.plan_next(face, verdict, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--people", type=int, default=150)
    parser.add_argument("--bundle", default=DEFAULT)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="of fresh targets, and of other keys")
    parser.add_argument(
        "--only", default="", help="of one-key, linking, two-keys, fresh, groups, keep; separated by commas"
    )
    args = parser.parse_args()
    inputs = args.work / "photos"
    shutil.rmtree(args.work, ignore_errors=True)
    _sample(args.folder, inputs, args.people)
    bench = Bench(args, inputs)
    wanted = args.only.split(",") if args.only else list(bench.steps())
    figures: dict = {"people": args.people, "photos": len(bench.photos), "fmr": _FMR}
    for name, step in bench.steps().items():
        if name in wanted:
            figures[name] = step()
            print(json.dumps({name: figures[name]}), file=sys.stderr, flush=True)
    print(json.dumps(figures, indent=1))


def _over(rounds: Sequence[dict[str, dict]]) -> dict:
    """Combine rounds: the sum of pairs, the mean of other figures, and `as_one` of each round in `rounds`."""
    joined = {}
    for name, first in rounds[0].items():
        each = [one[name] for one in rounds]
        means = {what: round(float(np.mean([one[what] for one in each])), 4) for what in first}
        joined[name] = means | {"pairs": sum(one["pairs"] for one in each), "rounds": [one["as_one"] for one in each]}
    return joined


def _sample(folder: Path, into: Path, people: int) -> None:
    chosen = [one for one in sorted(folder.iterdir()) if len(list(one.glob("*.jpg"))) > 1][:people]
    for one in chosen:
        shutil.copytree(one, into / one.name)


class Bench:
    """The photos, their faces and embeddings, and the steps of the benchmark."""

    def __init__(self, args: argparse.Namespace, inputs: Path) -> None:
        self.args, self.inputs = args, inputs
        self.anonymizer = Anonymizer.from_bundle(args.bundle, AnonymizeOptions(seed=1))
        self.spec = self.anonymizer.bundle.spec
        self.high = self.spec.thresholds[_FMR].high
        self.photos, self.faces, clear = [], [], []
        for path in sorted(inputs.rglob("*.jpg")):
            image = read_photo(path).image_rgb
            faces = self.anonymizer.find(image)
            if len(faces):
                self.photos.append(path.relative_to(inputs).as_posix())
                self.faces.append((int(faces.min_sides_px.argmax()), faces))
                clear.append(self._crop(image, len(self.faces) - 1))
        self.clear = self.anonymizer.bundle.embed(np.stack(clear))
        self.person = np.array([name.split("/")[0] for name in self.photos])
        pairs = [
            p for one in np.unique(self.person) for p in itertools.combinations(np.nonzero(self.person == one)[0], 2)
        ]
        self.pairs = np.array(pairs)

    def _crop(self, image: np.ndarray, row: int) -> np.ndarray:
        index, faces = self.faces[row]
        return self.spec.identity_crop.crop(image, self.spec.identity_crop.matrix(faces.landmarks_px[index]))

    def key(self, name: str) -> Path:
        return new_key(self.args.work / f"{name}.key").path

    def steps(self) -> dict[str, Callable[[], dict]]:
        return {
            "one-key": self.one_key,
            "linking": self.linking,
            "two-keys": self.two_keys,
            "fresh": self.fresh,
            "groups": self.groups,
            "keep": self.keep,
        }

    def one_key(self) -> dict:
        seen = self.first = self.run("first", PeopleOptions("consistent", self.key("first")))
        self.given = self.assignment._consistent
        linked = self.linked
        pairs = self.pairs[seen.done[self.pairs].all(1)]
        of_linked = np.array([(seen.new[a] * seen.new[b]).sum() for a, b in pairs if linked[a, b]])
        return self.told(seen) | self.each(seen) | {"new_faces_of_linked_pairs": self.alike(of_linked)}

    def two_keys(self) -> dict:
        rounds, first = [], self.first
        for number in range(self.args.rounds):
            name = f"other{number}"
            other = self.run(name, PeopleOptions("consistent", self.key(name)))
            both = first.done & other.done
            rounds.append({
                "under_the_other_key": self.within(other.new, other.done),
                "same_photo": self.alike((first.new * other.new).sum(1)[both]),
                "other_photos": self.within(first.new, both, other.new),
                "targets": self.alike((first.targets * other.targets).sum(1)[both]),
            })  # fmt: skip
        return _over(rounds)

    def fresh(self) -> dict:
        rounds = []
        for seed in range(1, self.args.rounds + 1):
            seen = self.run(f"fresh{seed}", PeopleOptions(), seed)
            rounds.append(self.each(seen))
        return self.told(seen) | _over(rounds)

    def run(self, name: str, options: PeopleOptions, seed: int | None = None) -> Seen:
        """Anonymise all photos, and measure the named faces in the output."""
        out = self.args.work / name
        anonymizer = Anonymizer.from_bundle(self.args.bundle, AnonymizeOptions(seed=seed))
        assignment = Assignment(anonymizer, options, self.args.bundle)
        self.assignment = assignment
        notes = _Notes(assignment.anonymizer.targets)
        assignment.anonymizer = assignment.anonymizer.with_people(targets=notes)
        summary = process_files([self.inputs], anonymizer, RunOptions(out), assignment=assignment)
        records = {record["input"]: record for record in Journal(out).records()}
        told = [records[name]["faces"][index] for name, (index, _) in zip(self.photos, self.faces, strict=True)]
        crops = [self._crop(read_photo(out / name).image_rgb, row) for row, name in enumerate(self.photos)]
        codes = [notes.codes.get((name, index)) for name, (index, _) in zip(self.photos, self.faces, strict=True)]
        places = [notes.places.get((name, index), -1) for name, (index, _) in zip(self.photos, self.faces, strict=True)]
        return Seen(
            self.anonymizer.bundle.embed(np.stack(crops)),
            np.array([face["action"] == Action.ANONYMIZED for face in told]) & np.array([c is not None for c in codes]),
            self._drawn(codes),
            np.array([face["tries"] for face in told]),
            {"seconds": round(summary.seconds, 1), "faces": dict(summary.faces), "places": places, "records": records},
        )

    def _drawn(self, codes: Sequence[FloatArray | None]) -> FloatArray:
        """Return embeddings of targets that are rendered in their own pose."""
        blank = np.zeros(self.spec.size, np.float32)
        wplus = np.stack([blank if code is None else code for code in codes])
        images, landmarks = render(self.anonymizer.bundle, wplus)
        template = self.spec.identity_crop
        crops = [
            template.crop(image.round().astype(np.uint8), template.matrix(five_points(points)))
            for image, points in zip(images, landmarks, strict=True)
        ]
        return self.anonymizer.bundle.embed(np.stack(crops))

    def told(self, seen: Seen) -> dict:
        places = np.array(seen.record["places"])[seen.done]
        faces = seen.record["faces"]
        return {
            "seconds": seen.record["seconds"],
            "faces": faces,
            "share_anonymised": round(faces[Action.ANONYMIZED] / sum(faces.values()), 4),
            "by_first_target": round(float((places == 0).mean()), 4),
            "tries_mean": round(float(seen.tries.mean()), 3),
        }

    def alike(self, similarities: FloatArray) -> dict:
        return {"pairs": len(similarities), "as_one": round(float((similarities > self.high).mean()), 4)}

    def within(self, one: FloatArray, done: np.ndarray, other: FloatArray | None = None) -> dict:
        """Return the share of pairs of a person's photos that match, and the share of people whose first pair does."""
        a, b = self.pairs[done[self.pairs].all(1)].T
        alike = (one[a] * (one if other is None else other)[b]).sum(1)
        people = self.person[a]
        # one pair of photos per person, so that all people have the same weight
        first = np.array([np.nonzero(people == who)[0][0] for who in np.unique(people)])
        return self.alike(alike) | {"people": len(first), "people_as_one": self.alike(alike[first])["as_one"],
                                    "median": round(float(np.median(alike)), 3)}  # fmt: skip

    def each(self, seen: Seen) -> dict[str, dict]:
        """Return `within` for the new faces of a run and for their targets."""
        return {"new_faces": self.within(seen.new, seen.done), "targets": self.within(seen.targets, seen.done)}

    def numbers(self) -> np.ndarray:
        """Return the number of the person to whom the run with the first key linked each named face."""
        given = [
            self._given(self.given, name, index, faces)
            for name, (index, faces) in zip(self.photos, self.faces, strict=True)
        ]
        return np.unique([targets[0].tobytes() for targets in given], return_inverse=True)[1]

    @cached_property
    def linked(self) -> np.ndarray:
        numbers = self.numbers()
        return numbers[:, None] == numbers[None]

    def linking(self) -> dict:
        """Return how often photos of one person and of two people are linked."""
        numbers, linked = self.numbers(), self.linked
        same = self.person[:, None] == self.person[None]
        upper = np.triu(np.ones_like(same), 1)
        shared = [len(set(self.person[numbers == n])) > 1 for n in numbers]
        first = [np.nonzero(self.person == who)[0][:2] for who in np.unique(self.person)]
        return {
            "pairs_of_a_person_linked": round(float(linked[same & upper].mean()), 4),
            "people_whose_first_two_are_linked": round(float(np.mean([linked[a, b] for a, b in first])), 4),
            "pairs_of_two_people_linked": float(f"{linked[~same & upper].mean():.2g}"),
            "linked_pairs_that_are_one_person": round(float(same[linked & upper].mean()), 4),
            "people_who_share_a_pseudonym": round(
                float(np.mean([np.any(np.array(shared)[self.person == who]) for who in np.unique(self.person)])), 4
            ),
            "clear_pairs_above_threshold": round(
                float(((self.clear @ self.clear.T)[same & upper] > self.high).mean()), 4
            ),
        }

    def _given(self, targets: AssignedTargets, name: str, index: int, faces) -> FloatArray:
        image = read_photo(self.inputs / name).image_rgb
        rows = np.nonzero(np.isfinite(faces.landmarks_px).all((1, 2)))[0]
        source = next(s for s in self.anonymizer.analyse(image, faces, rows) if s.index == index)
        given = targets.given(source)
        assert given is not None
        return given.targets

    def groups(self) -> dict:
        """Compare the sizes of a run's groups with the number of named people in them."""
        k = self.args.k
        seen = self.run(f"k{k}", PeopleOptions(f"k={k}"), seed=1)
        people: dict[int, set[str]] = {}
        said: dict[int, int] = {}
        for name, record in seen.record["records"].items():
            for place, face in enumerate(record["faces"]):
                if "group" in face:
                    row = self.photos.index(name)
                    who = self.person[row] if self.faces[row][0] == place else f"{name} {place}"
                    people.setdefault(face["group"]["number"], set()).add(who)
                    said[face["group"]["number"]] = face["group"]["people"]
        true = [len(who) for who in people.values()]
        return self.told(seen) | {
            "groups": len(people),
            "people_said_mean": round(float(np.mean(list(said.values()))), 2),
            "people_by_name_least": min(true),
            "groups_below_k_by_name": round(float(np.mean([n < k for n in true])), 4),
        }

    def _cut(self, row: int) -> np.ndarray:
        """Return a crop of a photo's named face with a margin, like a photo that a user gives."""
        index, faces = self.faces[row]
        image = read_photo(self.inputs / self.photos[row]).image_rgb
        x0, y0, x1, y1 = faces.boxes_xyxy[index]
        low = np.maximum([x0 - 0.4 * (x1 - x0), y0 - 0.4 * (y1 - y0)], 0).astype(int)
        high = np.array([x1 + 0.4 * (x1 - x0), y1 + 0.4 * (y1 - y0)]).astype(int)
        return np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])

    def keep(self, people: int = 10) -> dict:
        """Keep people by all their photos but the last, and return the shares of faces that are kept."""
        several = [who for who in np.unique(self.person) if (self.person == who).sum() >= 3][:people]
        folder = self.args.work / "keep"
        given = set()
        for who in several:
            for row in np.nonzero(self.person == who)[0][:-1]:
                (folder / who).mkdir(parents=True, exist_ok=True)
                Image.fromarray(self._cut(row)).save(folder / who / f"{row}.png")
                given.add(int(row))
        anonymizer = Anonymizer.from_bundle(self.args.bundle, AnonymizeOptions(seed=1))
        anonymizer = Assignment(anonymizer, PeopleOptions(keep=folder), self.args.bundle).anonymizer
        kept = []
        for row, name in enumerate(self.photos):
            index, faces = self.faces[row]
            image = read_photo(self.inputs / name).image_rgb
            kept.append(not leave_kept(anonymizer.keep, anonymizer.timer, image, faces)[index])
        rows = np.arange(len(self.photos))
        theirs = np.isin(self.person, several)
        known = np.isin(rows, sorted(given))
        share: Callable[[np.ndarray], float] = lambda which: round(float(np.array(kept)[which].mean()), 4)  # noqa: E731
        return {
            "people": len(several),
            "kept_of_their_given_photos": share(theirs & known),
            "kept_of_their_other_photos": share(theirs & ~known),
            "others": int((~theirs).sum()),
            "kept_of_others": share(~theirs),
        }


if __name__ == "__main__":
    main()
