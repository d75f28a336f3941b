"""Run the anonymisation of a clip: find, follow and measure faces, choose targets, render, check and write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from styleid.core.pipeline import Anonymizer
from styleid.engine.assignment import Assignment
from styleid.engine.decisions import DecidedVideo
from styleid.engine.journal import Journal
from styleid.engine.json_value import JsonValue, read_json
from styleid.engine.local import bundle_settings
from styleid.errors import OptionError, VideoError
from styleid.faces.track import associate
from styleid.media.signing import check_signing
from styleid.media.video.clip import Clip, ClipSink
from styleid.media.video.frames import FramesClip, FramesSink
from styleid.media.video.reader import VideoClip
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions, VideoSink, container_of
from styleid.people.keep import Keep
from styleid.people.pseudonyms import ConsistentTargets
from styleid.people.targets import TakenTarget
from styleid.types import Faces, ImageRGB
from styleid.version import __version__
from styleid.video.decided import clip_sha256, export_video_decisions, require_decided, shared_settings
from styleid.video.engines import open_engine
from styleid.video.gaps import complete
from styleid.video.keep import leave_kept
from styleid.video.linking import link_tracks
from styleid.video.measurements import Measurements, measure
from styleid.video.options import EngineOptions, VideoOptions
from styleid.video.record import parse_tracks, to_record
from styleid.video.render import Renderer
from styleid.video.review import Sheets, write_review
from styleid.video.scan import Detector, Scan, Watch, scan
from styleid.video.segments import Engine, LocalEngine
from styleid.video.store import Workspace
from styleid.video.targets import AssignedTarget, assign_targets
from styleid.video.track_entry import track_entry
from styleid.video.tracks import Track, rounded, steadied, tracks_of

UNSURE_SHARE = 0.35
"""Threshold of low-score detections, as a share of the detector's threshold. They continue tracks, but begin none."""
_GAP_S = 1.0
"""Longest gap, in seconds, across which detections are joined into one track."""
_WHOLE = "the whole video was made again by the decisions: parts of an encoded video cannot be exchanged without a seam"


@dataclass
class VideoSummary:
    """Result of a run.

    Attributes:
        record: The journal's record.
        seconds: Duration of the run.
        failure: Why no output was written, "" if it was.
        page: The review's page, None without a review.
        stage_seconds: Duration of each stage in seconds, by name.
    """

    record: dict[str, Any]
    seconds: float
    failure: str = ""
    page: Path | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0 if everything was done as requested, otherwise 3.

        It is 3 if no output was written, or if a face was obscured although it should have got a new face.
        """
        stretches = [s for track in self.record.get("tracks", []) for s in track["obscured_at"]]
        return 3 if self.failure or any(s["reason"] for s in stretches) else 0

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable summary."""
        tracks = self.record.get("tracks", [])
        return {
            "input": self.record["input"],
            "written": not self.failure,
            "tracks": len(tracks),
            "people": len({t["person"] for t in tracks}),
            "frames": self.record.get("video", {}).get("frames", 0),
            "faces": {name: sum(t[name] for t in tracks) for name in ("anonymised", "obscured")},
            "tracks_kept": sum(t["action"] == "kept" for t in tracks),
            "error": self.failure,
            "seconds": round(self.seconds, 3),
            "stage_seconds": {stage: round(s, 3) for stage, s in self.stage_seconds.items()},
            "exit_status": self.exit_status,
        }


def process_video(
    source: Path,
    anonymizer: Anonymizer,
    options: VideoOptions,
    encode: EncodeOptions | None = None,
    side: TrackOptions | None = None,
    *,
    assignment: Assignment | None = None,
    detector: Detector | None = None,
    watch: Watch | None = None,
    decided: DecidedVideo | None = None,
    export: Path | None = None,
    where: EngineOptions | None = None,
) -> VideoSummary:
    """Anonymise a video or a folder of frames, and append a record to the journal beside the output.

    If the input cannot be used, the summary and the journal say why. An incomplete output is removed.

    Args:
        source: The video or folder.
        anonymizer: Replaces and checks faces. The assignment's anonymiser is used instead if there is one.
        options: What to write, and the edited tracks.
        encode: How the video is encoded.
        side: What happens to sound and subtitles.
        assignment: Who gets which target, and who is kept; None for new targets for everybody.
        detector: Finds faces, including low-score ones. By default, the anonymiser's detector with a lower threshold.
        watch: Called with the stage, the number of finished items, and their total.
        decided: Decisions about the clip. If they were made for another file, no output is written.
        export: Path of a decisions file to write; None for none.
        where: Where networks look at the frames; None for this machine.

    Returns:
        The summary.

    Raises:
        OptionError: If options contradict each other, or the output would overwrite the input.
        OutputError: If the output cannot be written.
        MissingDependencyError: If a package that the run needs is not installed.
    """
    begun = time.perf_counter()
    if assignment is not None:
        anonymizer = assignment.anonymizer
    encode, side = encode or EncodeOptions(), side or TrackOptions()
    check_signing(options.marking)
    if not options.frames:
        container_of(options.out, encode)
    if source.exists() and options.out.exists() and source.samefile(options.out):
        raise OptionError("out", f"{options.out} is the input and would be overwritten.")
    clocked = _Clock(watch)
    if assignment is not None and assignment.groups:
        raise OptionError("targets", "groups of k people are formed from many photos, not from a video.")
    given = None if decided is None else decided.tracks
    if given is not None and options.tracks is not None:
        raise OptionError("tracks", f"{given.source} defines the tracks, too. Give only one of the two.")
    targets = assignment.settings() if assignment else {}
    settings = _settings(anonymizer, options, encode, side) | targets
    base = {"input": source.name, "versions": {"styleid": __version__}, "settings": settings}
    journal = Journal(options.out.parent)
    try:
        work = _Work(
            source, anonymizer, options, encode, side, decided, shared_settings(anonymizer, options.marking) | targets
        )
        with open_engine(anonymizer, where) as engine:
            record, page = _run_on(engine, work, detector, clocked, export)
        failure = ""
    except VideoError as error:
        record, page, failure = {"error": error.reason}, None, error.reason
    seconds = time.perf_counter() - begun
    record = base | {"seconds": round(seconds, 3)} | record
    journal.append(record)
    return VideoSummary(record, seconds, failure, page, clocked.seconds | _stages(anonymizer))


def render_video(
    source: Path, anonymizer: Anonymizer, options: VideoOptions, taken: Sequence[TakenTarget] = ()
) -> dict[str, Any]:
    """Anonymise a video as `process_video` does, but without sound and without a journal.

    Args:
        source: The video.
        anonymizer: Replaces and checks faces.
        options: What to write.
        taken: Targets of people in the photo that the video belongs to; see `assign_targets`.

    Returns:
        The record for the journal.

    Raises:
        VideoError: If the input cannot be used.
        OutputError: If the output cannot be written.
        MissingDependencyError: If a package that the run needs is not installed.
    """
    work = _Work(source, anonymizer, options, EncodeOptions(), TrackOptions(), None, {}, taken)
    with open_engine(anonymizer) as engine:
        return _run_on(engine, work, None, None, None)[0]


@dataclass(frozen=True)
class _Work:
    """The arguments of a run.

    Attributes:
        source: The video or folder of frames.
        anonymizer: Replaces and checks faces.
        options: What to write, and the edited tracks.
        encode: How the video is encoded.
        side: What happens to sound and subtitles.
        decided: Decisions about the clip, None without any.
        repeated: Settings that an exported decisions file contains.
        taken: See `assign_targets`.
    """

    source: Path
    anonymizer: Anonymizer
    options: VideoOptions
    encode: EncodeOptions
    side: TrackOptions
    decided: DecidedVideo | None
    repeated: Mapping[str, Any]
    taken: Sequence[TakenTarget] = ()


def _run_on(
    engine: Engine, work: _Work, detector: Detector | None, watch: Watch | None, export: Path | None
) -> tuple[dict[str, Any], Path | None]:
    source, anonymizer, options, encode, side = work.source, work.anonymizer, work.options, work.encode, work.side
    clip: Clip = FramesClip(source, options.frames, options.fps) if options.frames else VideoClip(source)
    told = require_decided(source, clip, work.decided)
    given = None if work.decided is None else work.decided.tracks
    with Workspace() as space:
        found, tracks, measured, assigned = first_pass(
            clip, anonymizer, options, detector, space, watch, given, work.taken, engine
        )
        if options.require_faces and not tracks:
            raise VideoError(source, "no face was found, and `require_faces` is set")
        renderer, sheets = Renderer(clip, tracks, anonymizer, measured, assigned, engine), Sheets(tracks)
        sink: ClipSink
        if isinstance(clip, VideoClip):
            sink = VideoSink(clip, options.out, encode, side, options.marking)
        else:
            assert isinstance(clip, FramesClip)
            sink = FramesSink(clip, options.out, options.marking)
        try:
            renderer.run(sink, sheets.show if options.review else None, watch, found.frames)
            digest = sink.finish()
        except BaseException:
            sink.abandon()
            raise
    video = clip.info.facts | {"frames": found.frames, "seconds": round(_length(found), 3), "cuts": len(found.cuts)}
    notes = [*clip.info.notes, *sink.notes, *([_WHOLE] if given is not None else [])]
    record = told | {"sha256": digest, "video": video, "notes": notes}
    record["tracks"] = [track_entry(t, log, found) for t, log in zip(tracks, renderer.logs, strict=True)]
    if sink.mark:
        record["mark"] = sink.mark
    page, kept = None, to_record(clip.info, found.frames, tracks)
    if options.review:
        page = write_review(options.out, kept, record, tracks, sheets)
    if export is not None:
        export_video_decisions(export, work.repeated, source.name, clip_sha256(source, clip), kept)
    return record, page


def first_pass(
    clip: Clip,
    anonymizer: Anonymizer,
    options: VideoOptions,
    detector: Detector | None,
    space: Workspace,
    watch: Watch | None = None,
    given: JsonValue | None = None,
    taken: Sequence[TakenTarget] = (),
    engine: Engine | None = None,
) -> tuple[Scan, list[Track], Measurements | None, dict[int, AssignedTarget]]:
    """Find and follow all faces of a clip; with a bundle, also measure every face and choose each person's target.

    Args:
        clip: The clip.
        anonymizer: Replaces and checks faces; its method "none" needs no bundle.
        options: Name the edited tracks, if any.
        detector: Finds faces, including low-score ones; by default the anonymiser's with a lower threshold.
        space: Holds the measurements.
        watch: Called with the stage, the number of finished items, and their total.
        given: Edited tracks, as in tracks.json; by default those that the options name. If there are any, nothing is
            detected.
        taken: See `assign_targets`.
        engine: Runs the work on frames; by default in the calling thread.

    Returns:
        The scan; the tracks; the measurements, None without a bundle or tracks; and the targets by person.

    Raises:
        OptionError: If the edited tracks are invalid or belong to another clip.
        VideoError: If a frame cannot be read.
        OutputError: If the measurements cannot be stored.
    """
    chosen = anonymizer.options.detector
    bundle = None if anonymizer.options.method == "none" else anonymizer.bundle
    rate = float(clip.info.rate)
    engine = engine or LocalEngine(anonymizer)
    if given is None and options.tracks is not None:
        given = read_json(options.tracks, "tracks")
    if given is not None:
        found = scan(clip, _NoDetector(), None, chosen.threshold, space, engine, watch)
        tracks = parse_tracks(given, clip.info, found.frames)
        _require_free_targets(tracks, anonymizer, given)
        people = [t.person for t in tracks]
    else:
        low = replace(chosen, threshold=chosen.threshold * UNSURE_SHARE)
        finder = detector or anonymizer.detector.with_options(low)
        found = scan(clip, finder, bundle, chosen.threshold, space, engine, watch)
        rows = associate(found.candidates, chosen.threshold, found.cuts, round(_GAP_S * rate))
        tracks = complete(clip, found, tracks_of(found, rows, chosen.threshold), watch, engine.pool)
        tracks = [rounded(steadied(track, found.times_s, rate)) for track in tracks]
        people = None
    for number, track in enumerate(tracks, 1):
        track.number, track.person = track.number or number, number - 1
    keep = anonymizer.keep
    if keep is not None and tracks:
        if not isinstance(keep, Keep):
            raise TypeError(f"In videos, keep must be a styleid.people.keep.Keep, not {type(keep).__name__}.")
        leave_kept(clip, found, tracks, keep, watch)
    if bundle is None or not tracks:
        _set_people(tracks, people)
        return found, tracks, None, {}
    measured, samples = measure(clip, found, tracks, anonymizer, space, engine, watch)
    strictest = min(bundle.spec.thresholds)
    _set_people(tracks, people or link_tracks(tracks, measured, bundle.spec.thresholds[strictest].high))
    name = clip.info.name
    chosen_targets = assign_targets(tracks, measured, samples, anonymizer, name, watch, taken, engine.pool)
    return found, tracks, measured, chosen_targets


def _set_people(tracks: Sequence[Track], people: Sequence[int] | None) -> None:
    """Set each track's person; tracks without one (None, or a negative number) get a new person each."""
    free = 1 + max(people) if people else 1
    for index, track in enumerate(tracks):
        given = people[index] if people is not None else index
        track.person, free = (given, free) if given >= 0 else (free, free + 1)


def _require_free_targets(tracks: Sequence[Track], anonymizer: Anonymizer, given: JsonValue) -> None:
    """Raise OptionError if an edited track requests another target although a key fixes each person's target."""
    if isinstance(anonymizer.targets, ConsistentTargets) and any(track.other for track in tracks):
        raise OptionError(given.option, f"{given.source} asks for another new face ('target'), and with "
                          "`targets=consistent` a person's new face is the same in all videos and photos.")  # fmt: skip


class _NoDetector:
    """A detector that finds nothing, for clips whose tracks are given."""

    def detect(self, image_rgb: ImageRGB) -> Faces:
        return Faces.empty()


class _Clock:
    """Measures the duration of each stage, and passes progress on."""

    def __init__(self, watch: Watch | None) -> None:
        self._watch, self._last = watch, time.perf_counter()
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
        if self._watch is not None:
            self._watch(stage, done, total)


def _stages(anonymizer: Anonymizer) -> dict[str, float]:
    return {f"faces: {stage}": seconds for stage, seconds in anonymizer.seconds.items()}


def _length(found: Scan) -> float:
    return float(found.times_s[-1] + found.durations_s[-1] - found.times_s[0]) if found.frames else 0.0


def _settings(
    anonymizer: Anonymizer, options: VideoOptions, encode: EncodeOptions, side: TrackOptions
) -> dict[str, Any]:
    chosen = asdict(replace(options, out=Path(options.out.name), tracks=None)) | {"out": options.out.name}
    settings = asdict(anonymizer.options) | chosen | asdict(encode) | asdict(side)
    settings["tracks"] = options.tracks.name if options.tracks else ""
    del settings["marking"]
    return settings | options.marking.settings() | bundle_settings(anonymizer)
