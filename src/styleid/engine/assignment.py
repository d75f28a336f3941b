"""Assign targets to the people of a run, in a first pass over all photos, before any is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from styleid.bundles.registry import load_bundle
from styleid.core.decisions import match_decisions
from styleid.core.face import KnownFaces
from styleid.core.keeping import leave_kept
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
    """The targets of a run and the people to keep, as its options ask."""

    def __init__(self, anonymizer: Anonymizer, options: PeopleOptions, bundle: str) -> None:
        """Read the key, the people file and the photos of people to keep.

        Args:
            anonymizer: Its bundle, method and seed are used.
            options: Which targets are given, and who is kept.
            bundle: Name of the bundle that recognises people to keep, if the method is `none`.

        Raises:
            KeyFileError: The key file cannot be used.
            PeopleFileError: The people file cannot be used.
            ImageError: A photo of a person to keep cannot be used.
            OptionError: The options contradict each other.
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
        """Whether people are divided into groups, which needs all of them first."""
        return self._groups is not None

    def settings(self) -> dict[str, Any]:
        """Return the settings that an output depends on besides those of the anonymiser."""
        chosen: dict[str, Any] = {"targets": self.options.targets}
        if self._consistent is not None:
            chosen["people"] = self._consistent.run_mark()
        if self._keep is not None:
            chosen["keep"] = self._keep.mark
        return {name: value for name, value in chosen.items() if value != "fresh"}

    @property
    def looks_ahead(self) -> bool:
        """Whether targets depend on several photos, so that all are analysed before any is written."""
        return self._groups is not None or self._consistent is not None

    def analyse_photos(self, jobs: Sequence[Job], watch: Callable[[int, int, str], None] | None) -> None:
        """Analyse all photos of a run and assign targets to the people in them.

        Photos that cannot be read, or whose boxes cannot be used, are skipped here. The run reports them later.

        Args:
            jobs: The photos.
            watch: Called with the number of photos done, the number of all, and a line about the last one.
        """
        giver = self._groups or self._consistent
        if giver is None:
            return
        sightings: list[Sighting] = []
        for done, job in enumerate(jobs, 1):
            with contextlib.suppress(ImageError):
                sightings += self._faces_of(job, read_job(job))
            if watch is not None:
                watch(done, len(jobs), f"analysing {job.name}")
        giver.assign(sightings)

    def _faces_of(self, job: Job, photo: Photo) -> list[Sighting]:
        anonymizer = self.anonymizer
        try:
            decisions = decisions_for(photo, job.decided)
            boxes = None if job.boxes is None else in_every_frame(job.boxes, photo)
            found = find_faces(photo, anonymizer, boxes, decisions=decisions)
            image = found.photo.image_rgb
            faces = anonymizer.find(image, boxes) if found.faces is None else found.faces
            matched = match_decisions(faces, image.shape, decisions)
        except ValueError:
            return []
        self._seen[job.name] = KnownFaces.of(image, faces)
        rows = leave_kept(anonymizer.keep, anonymizer.timer, image, matched.faces, matched=matched).nonzero()[0]
        if not len(rows):
            return []
        return sightings_of(anonymizer.bundle, job.name, anonymizer.analyse(image, matched.faces, rows))

    def plan(self) -> dict[str, str]:
        """Return the entry about the groups for a journal line; an empty dict without groups."""
        return {"grouping": self._groups.plan} if self._groups is not None else {}

    def require_plan(self, done: Iterable[Mapping[str, Any]]) -> None:
        """Raise OptionError if earlier journal lines have other groups or no seed."""
        if self._groups is None:
            return
        for record in done:
            if self.anonymizer.options.seed is None:
                raise OptionError("resume", f"`targets={self.options.targets}` draws other targets each time, but a "
                                  "group must share one. Start again in another `out`, with a `seed`.")  # fmt: skip
            if record.get("grouping") != self._groups.plan:
                raise OptionError("resume", "the inputs have changed, so the people of this run are in other groups "
                                  "than before. Start again in another `out`.")  # fmt: skip

    def short(self, records: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Withdraw the targets of groups in which too few people got one; return the photos to repeat."""
        if self._groups is None:
            return set()
        short = self._groups.short(records)
        for group in short:
            self._groups.withdraw(group)
        return set().union(*short.values())
