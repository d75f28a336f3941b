"""Anonymise a video, or a folder of frames."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from styleid.api.setup import assign
from styleid.bundles.registry import DEFAULT
from styleid.core.options import AnonymizeOptions, PeopleOptions
from styleid.engine.decisions import read_decisions
from styleid.engine.decisions_export import with_seed
from styleid.errors import require_paths
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions
from styleid.runtime import Device
from styleid.video.decided import adopt_video, require_same
from styleid.video.options import EngineOptions, VideoOptions
from styleid.video.run import VideoSummary, process_video
from styleid.video.scan import Watch


def anonymize_video(
    source: Path,
    video: VideoOptions,
    options: AnonymizeOptions | None = None,
    people: PeopleOptions | None = None,
    *,
    encode: EncodeOptions | None = None,
    side_tracks: TrackOptions | None = None,
    bundle: str | Path = DEFAULT,
    device: Device = "cpu",
    decisions: Path | None = None,
    fixed: Collection[str] = (),
    export_decisions: Path | None = None,
    where: EngineOptions | None = None,
    watch: Watch | None = None,
) -> VideoSummary:
    """Anonymise a video or a folder of frames, as `styleid video` does: one new face for each person.

    The output is written whole or not at all. A journal beside it gets one line. An input that cannot be used is no
    exception: the summary says why nothing was written.

    Args:
        source: A video, or with `video.frames` a folder of frames.
        video: Where the output is written, and what a person said about the tracks.
        options: How faces are anonymised.
        people: Who gets which face, and who is kept. Groups of k cannot be made from one video.
        encode: Codec and quality of the output.
        side_tracks: What happens to sound, subtitles and metadata.
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.
        device: Where networks run: cpu, cuda, tensorrt or coreml.
        decisions: JSON file of what a person decided about the tracks. Its seed and settings replace those of `video`,
            `options` and `people`.
        fixed: Names of the options whose values the decisions file must not contradict.
        export_decisions: Where to write a decisions file that lists all tracks.
        where: Where networks look at the frames: by default on this machine, or on a Ray cluster.
        watch: Called after each step with the stage, the number of frames done, and the number of all.

    Returns:
        The line of the journal with all tracks, and times. `exit_status` is that of the command.

    Raises:
        OptionError: The options cannot work, or the decisions are about another video.
        BundleError: The bundle cannot be used.
        KeyFileError: The key of `people` cannot be used.
        PeopleFileError: The people file of the key cannot be used.
        ImageError: A photo of a person to keep cannot be used.
        OutputError: The output cannot be written.
        MissingDependencyError: PyAV is not installed; the extra `video` has it.

    Examples:
        >>> from pathlib import Path
        >>> from styleid import AnonymizeOptions, VideoOptions, anonymize_video
        >>> summary = anonymize_video(Path("people.mp4"), VideoOptions(Path("new.mp4")), AnonymizeOptions(seed=7))
        >>> summary.exit_status, len(summary.record["tracks"])  # 3: some faces were obscured where two people cross
        (3, 4)
    """
    require_paths(source=source)
    options, people, decided = options or AnonymizeOptions(), people or PeopleOptions(), None
    read = read_decisions(decisions) if decisions is not None else None
    if read is not None:
        options, video, people = adopt_video(read, options, video, people, fixed)
        decided = read.video(source.name)
    if export_decisions is not None:
        options = with_seed(options)
    assignment = assign(options, people, bundle, device)
    if read is not None:
        require_same(read, assignment.anonymizer, video.marking, assignment)
    return process_video(
        source,
        assignment.anonymizer,
        video,
        encode,
        side_tracks,
        assignment=assignment,
        watch=watch,
        decided=decided,
        export=export_decisions,
        where=where,
    )
