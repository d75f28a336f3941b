"""Who gets which face in a run over files: the pass that looks at everybody before anything is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from styleid.bundles.registry import load_bundle
from styleid.core.decisions import settle
from styleid.core.face import KnownFaces
from styleid.core.options import PeopleOptions
from styleid.core.pipeline import Anonymizer
from styleid.engine.finding import find_faces
from styleid.engine.photo import Job, decisions_for, in_every_frame, read_job
from styleid.errors import ImageError, OptionError
from styleid.faces.detect import FaceDetector
from styleid.media.image import Photo
from styleid.people.groups import GroupTargets
from styleid.people.keep import Keep, read_keep
from styleid.people.key_file import read_key
from styleid.people.pseudonyms import ConsistentTargets
from styleid.people.targets import Sighting, sightings_of


class Assignment:
    """Give an anonymiser the targets and the people to keep that options ask for."""

    def __init__(self, anonymizer: Anonymizer, options: PeopleOptions, bundle: str) -> None:
        """Read the key, the people file and the photos of people to keep; bundle: which one knows kept people.

        Raises KeyFileError, PeopleFileError, ImageError and OptionError where one of them cannot be used.
        """
        self.options = options
        self._seen: dict[str, KnownFaces] = {}
        self._consistent: ConsistentTargets | None = None
        self._groups: GroupTargets | None = None
        method, seed = anonymizer.options.method, anonymizer.options.seed
        if options.targets != "fresh" and method == "none":
            raise OptionError("targets", f"{options.targets} gives new faces, and `method=none` makes none.")
        if options.key_file is not None:
            key = read_key(options.key_file)
            self._consistent = ConsistentTargets(anonymizer.bundle, anonymizer.method, key)
        if options.k is not None:
            self._groups = GroupTargets(anonymizer.bundle, anonymizer.method, options.k, seed)
        keep: Keep | None = None
        if options.keep is not None:
            knows = anonymizer.bundle if method != "none" else load_bundle(bundle, anonymizer.device)
            detector = FaceDetector(anonymizer.options.detector, anonymizer.device)
            keep = read_keep(options.keep, knows, detector)
        self._keep = keep
        self.anonymizer = anonymizer.with_people(self._groups or self._consistent, keep, self._seen)

    @property
    def groups(self) -> bool:
        """Whether people are put into groups, for which all of them must be known first."""
        return self._groups is not None

    def settings(self) -> dict[str, Any]:
        """Return what an output depends on besides the anonymiser's options, for the journal and for resuming."""
        chosen: dict[str, Any] = {"targets": self.options.targets}
        if self._consistent is not None:
            chosen["people"] = self._consistent.run_mark()
        if self._keep is not None:
            chosen["keep"] = self._keep.mark
        return {name: value for name, value in chosen.items() if value != "fresh"}

    @property
    def looks_ahead(self) -> bool:
        """Whether targets depend on more than one photo, so that all are looked at before any is written."""
        return self._groups is not None or self._consistent is not None

    def look_at(self, jobs: Sequence[Job], watch: Callable[[int, int, str], None] | None) -> None:
        """Look at everybody in a run's files and give them targets.

        Files that cannot be read, or whose boxes cannot be used, show nobody: the run names them when it comes to them.
        """
        giver = self._groups or self._consistent
        if giver is None:
            return
        sightings: list[Sighting] = []
        for done, job in enumerate(jobs, 1):
            with contextlib.suppress(ImageError):
                sightings += self._faces_of(job, read_job(job))
            if watch is not None:
                watch(done, len(jobs), f"looking at {job.name}")
        giver.assign(sightings)

    def _faces_of(self, job: Job, photo: Photo) -> list[Sighting]:
        anonymizer = self.anonymizer
        try:
            decisions = decisions_for(photo, job.decided)
            boxes = None if job.boxes is None else in_every_frame(job.boxes, photo)
            found = find_faces(photo, anonymizer, boxes, decisions=decisions)
            image = found.photo.image_rgb
            faces = anonymizer.find(image, boxes) if found.faces is None else found.faces
            settled = settle(faces, image.shape, decisions)
        except ValueError:
            return []
        self._seen[job.name] = KnownFaces.of(image, faces)
        rows = anonymizer.leave_kept(image, settled.faces, settled=settled).nonzero()[0]
        if not len(rows):
            return []
        return sightings_of(anonymizer.bundle, job.name, anonymizer.analyse(image, settled.faces, rows))

    def plan(self) -> dict[str, str]:
        """Return what a line of the journal says of how people were grouped."""
        return {"grouping": self._groups.plan} if self._groups is not None else {}

    def require_plan(self, done: Iterable[Mapping[str, Any]]) -> None:
        """Raise OptionError where earlier lines of the journal were written under another grouping, or without seed."""
        if self._groups is None:
            return
        for record in done:
            if self.anonymizer.options.seed is None:
                raise OptionError("resume", f"`targets={self.options.targets}` draws other targets each time, and a "
                                  "group must share one. Begin anew, or use `seed` from the start.")  # fmt: skip
            if record.get("grouping") != self._groups.plan:
                raise OptionError("resume", "the people of this run are grouped otherwise than before, since its "
                                  "inputs have changed. Begin anew in another `out`.")  # fmt: skip

    def short(self, records: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Take back the targets that too few people of a group got; return the photos that must be done again."""
        if self._groups is None:
            return set()
        short = self._groups.short(records)
        for group in short:
            self._groups.withdraw(group)
        return set().union(*short.values())
