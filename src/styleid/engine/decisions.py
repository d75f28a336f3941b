"""The decisions file: what a person decided about the faces of a run's photos and videos, as JSON (docs/decisions.md).

Unknown entries are errors, because an entry that is ignored could be a decision to obscure a face.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styleid.core.decisions import TREATMENTS, FaceDecision, PhotoDecisions, Treatment
from styleid.engine.json_value import JsonValue, read_json
from styleid.errors import OptionError
from styleid.pixel.obscure import OBSCURINGS

FORMAT = 1
OPTION = "decisions"
_OF_FACES: tuple[Treatment, ...] = tuple(one for one in TREATMENTS if one != "remove")
_WHO = ("by", "at")
_ABOUT_A_FACE = ("score", "became", "reason")
"""Entries of an exported file that inform the person who edits it. They have no effect."""


@dataclass(frozen=True)
class DecidedPhoto:
    """The decisions about one photo. sha256: of its file. approved: who approved it and when, or just whether."""

    sha256: str
    decisions: PhotoDecisions = field(default_factory=PhotoDecisions)
    approved: Mapping[str, str] | bool = False

    @property
    def digest(self) -> str:
        """A hash of all decisions about faces. `resume` repeats an output if it has changed."""
        parts = [[one.box_xyxy, one.to_json()] for one in self.decisions.faces]
        added = [[one.box_xyxy, one.to_json()] for one in self.decisions.added]
        text = json.dumps([parts, added], sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def journal_entries(self) -> dict[str, Any]:
        """Return the entries of the journal about the decisions as a whole."""
        return {"decisions": self.digest} | ({"approved": self.approved} if self.approved else {})


@dataclass(frozen=True)
class DecidedVideo:
    """The decisions about one video.

    sha256: of its file, or of the lines that sha256sum prints for the frames of a folder. tracks: as in tracks.json, or
    None if there are none. approved: who approved it and when, or just whether.
    """

    sha256: str
    tracks: JsonValue | None = None
    approved: Mapping[str, str] | bool = False

    @property
    def digest(self) -> str:
        """A hash of all decisions about tracks."""
        tracks = None if self.tracks is None else self.tracks.value
        return hashlib.sha256(json.dumps(tracks, sort_keys=True).encode()).hexdigest()[:16]

    def journal_entries(self) -> dict[str, Any]:
        """Return the entries of the journal about the decisions as a whole."""
        return {"decisions": self.digest} | ({"approved": self.approved} if self.approved else {})


@dataclass(frozen=True)
class Decisions:
    """All decisions of a file. source: its name, for messages. settings: those of the run, including the seed."""

    source: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    photos: Mapping[str, DecidedPhoto] = field(default_factory=dict[str, DecidedPhoto])
    videos: Mapping[str, DecidedVideo] = field(default_factory=dict[str, DecidedVideo])

    def video(self, name: str) -> DecidedVideo:
        """Return the decisions about a video.

        Args:
            name: Its name as in the file, or without its folders.

        Raises:
            OptionError: No video or several videos have this name.
        """
        if name in self.videos:
            return self.videos[name]
        found = [one for path, one in self.videos.items() if path.rpartition("/")[2] == name]
        if len(found) != 1:
            many = "several videos" if found else "no video"
            raise OptionError(OPTION, f"{self.source}: 'videos' has {many} named '{name}'.")
        return found[0]

    def require_settings(self, settings: Mapping[str, Any], ignore: Collection[str] = ()) -> None:
        """Check that a run has the settings that the decisions were made with.

        Args:
            settings: Settings of the run.
            ignore: Names of settings that do not apply to the run.

        Raises:
            OptionError: A setting differs.
        """
        own = json.loads(json.dumps(dict(settings)))
        for name, value in self.settings.items():
            if name not in ignore and own.get(name) != value:
                given = json.dumps(own[name]) if name in own else "nothing"
                raise OptionError(
                    OPTION,
                    f"{self.source}: settings.{name} is {json.dumps(value)}, and this run has {given}. Repeat the "
                    "command with the options that the decisions were made with, or remove the setting from the file.",
                )

    def require_fresh_targets(self, targets: str) -> None:
        """Raise OptionError if a decision asks for another target although people share their targets across photos."""
        if targets == "fresh":
            return
        for name, photo in self.photos.items():
            if any(one.target for one in photo.decisions.faces):
                raise OptionError(OPTION, f"{self.source}: photos['{name}'] asks for another new face ('target'), but "
                                  f"with `targets={targets}` people share theirs across photos.")  # fmt: skip


def read_decisions(path: Path) -> Decisions:
    """Read a decisions file; raises OptionError, which names the file, the photo and the field."""
    return parse_decisions(read_json(path, OPTION))


def parse_decisions(root: JsonValue) -> Decisions:
    """Read decisions from JSON values; see `read_decisions`."""
    record = root.members(("format",), ("seed", "settings", "people", "photos", "videos"))
    if record["format"].value != FORMAT:
        raise record["format"].error(f"{FORMAT}, the only format that this version reads")
    settings = dict(record["settings"].mapping()) if "settings" in record else {}
    settings = {name: one.value for name, one in settings.items()}
    if "seed" in record:
        seed = None if record["seed"].value is None else record["seed"].whole()
        if settings.setdefault("seed", seed) != seed:
            raise record["seed"].error(f"the same as settings.seed, {settings['seed']}")
    people = read_people(record["people"]) if "people" in record else {}
    photos = {name: _photo(one, people) for name, one in _entries(record, "photos")}
    videos = {name: _video(one) for name, one in _entries(record, "videos")}
    return Decisions(root.source, settings, photos, videos)


@dataclass(frozen=True)
class ParsedDecision:
    """The decision about a face or about all faces of a person; see `FaceDecision`."""

    do: Treatment
    target: int
    by: str
    at: str


def _entries(record: Mapping[str, JsonValue], name: str) -> list[tuple[str, JsonValue]]:
    return list(record[name].mapping().items()) if name in record else []


def read_people(value: JsonValue) -> dict[str, ParsedDecision]:
    """Read the decisions about people, by their names."""
    return {name: parse_decision(one.members(("do",), ("target", *_WHO))) for name, one in value.mapping().items()}


def parse_decision(
    record: Mapping[str, JsonValue], person: ParsedDecision | None = None, by: str = "", at: str = ""
) -> ParsedDecision:
    """Read the decision of an entry.

    Args:
        record: The entry.
        person: The decision about its person, for what the entry does not say.
        by: Who decided, if neither says it.
        at: When it was decided, if neither says it.
    """
    do = record["do"].one_of(_OF_FACES) if "do" in record else (person.do if person else "replace")
    target = record["target"].whole(0) if "target" in record else 0
    if target and do != "replace":
        raise record["target"].error("left out: a face that is not replaced gets no new face")
    if person is not None and "do" not in record:
        target = record["target"].whole(0) if "target" in record else person.target
        by, at = person.by or by, person.at or at
    return ParsedDecision(do, target, *_who(record, by, at))


def _who(record: Mapping[str, JsonValue], by: str = "", at: str = "") -> tuple[str, str]:
    return record["by"].text() if "by" in record else by, record["at"].time() if "at" in record else at


def _photo(value: JsonValue, people: Mapping[str, ParsedDecision]) -> DecidedPhoto:
    record = value.members(("sha256",), ("faces", "add", "remove", "approved", *_WHO))
    who = _who(record)
    faces = [_face(one, people, *who) for one in _items(record, "faces")]
    removed = [_removed(one, *who) for one in _items(record, "remove")]
    added = [_added(one, *who) for one in _items(record, "add")]
    approved = _approved(record["approved"], *who) if "approved" in record else False
    return DecidedPhoto(record["sha256"].sha256(), PhotoDecisions((*faces, *removed), tuple(added)), approved)


def _items(record: Mapping[str, JsonValue], name: str) -> list[JsonValue]:
    return record[name].items() if name in record else []


def _face(value: JsonValue, people: Mapping[str, ParsedDecision], by: str, at: str) -> FaceDecision:
    record = value.members(("box",), ("do", "target", "person", *_WHO, *_ABOUT_A_FACE))
    name = record["person"].text() if "person" in record else ""
    wish = parse_decision(record, people.get(name), by, at)
    return FaceDecision(record["box"].box(), wish.do, wish.target, name, wish.by, wish.at)


def _added(value: JsonValue, by: str, at: str) -> FaceDecision:
    record = value.members(("box", "do"), ("person", *_WHO))
    name = record["person"].text() if "person" in record else ""
    do: Treatment = record["do"].one_of(OBSCURINGS)
    return FaceDecision(record["box"].box(), do, 0, name, *_who(record, by, at))


def _removed(value: JsonValue, by: str, at: str) -> FaceDecision:
    if isinstance(value.value, list):
        return FaceDecision(value.box(), "remove", by=by, at=at)
    record = value.members(("box",), _WHO)
    by, at = _who(record, by, at)
    return FaceDecision(record["box"].box(), "remove", by=by, at=at)


def _approved(value: JsonValue, by: str, at: str) -> Mapping[str, str] | bool:
    if isinstance(value.value, bool) and not value.value:
        return False
    if not isinstance(value.value, bool):
        by, at = _who(value.members((), _WHO), by, at)
    return {name: said for name, said in (("by", by), ("at", at)) if said} or True


def _video(value: JsonValue) -> DecidedVideo:
    record = value.members(("sha256",), ("tracks", "approved", *_WHO))
    if "tracks" in record:
        record["tracks"].mapping()
    approved = _approved(record["approved"], *_who(record)) if "approved" in record else False
    return DecidedVideo(record["sha256"].sha256(), record.get("tracks"), approved)
