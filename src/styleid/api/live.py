"""Anonymise live pictures."""

from __future__ import annotations

import threading
from pathlib import Path

from styleid.bundles.registry import DEFAULT
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.errors import OptionError
from styleid.media.provenance import MarkOptions
from styleid.media.video.live_address import LivePlace, live_place
from styleid.media.video.writer import EncodeOptions
from styleid.runtime import Device
from styleid.video.live import LiveSummary, LiveWatch, process_live
from styleid.video.live_options import LiveOptions


def anonymize_live(
    source: str | Path,
    out: str | Path,
    options: AnonymizeOptions | None = None,
    live: LiveOptions | None = None,
    *,
    encode: EncodeOptions | None = None,
    marking: MarkOptions | None = None,
    bundle: str | Path = DEFAULT,
    device: Device = "cpu",
    stop: threading.Event | None = None,
    watch: LiveWatch | None = None,
) -> LiveSummary:
    """Anonymise pictures as they come, as `styleid video --live` does, until the source ends or `stop` is set.

    A journal beside the output, or in the current folder where the output is a stream, gets one line. A source that
    cannot be opened or is lost is no exception: the summary says what happened.

    Args:
        source: A camera device, the address of a stream, or a file, which is played at its own speed.
        out: A file, which gets its name when the run ends, or the address of a stream.
        options: How faces are anonymised.
        live: The delay that is allowed.
        encode: Codec and quality of the output.
        marking: How a file says that it holds generated faces.
        bundle: Name of a built-in bundle, or a folder with a `bundle.json`.
        device: Where networks run.
        stop: Ends the run when another thread sets it.
        watch: Called about ten times a second with what was shown so far.

    Returns:
        The line of the journal: pictures received, shown and dropped, delays, and what was done with faces.

    Raises:
        OptionError: The options cannot work.
        BundleError: The bundle cannot be used.
        OutputError: The output cannot be written, or its receiver is gone.
        MissingDependencyError: PyAV is not installed; the extra `video` has it.

    Examples:
        A source such as `rtsp://camera/1` runs until `stop` is set; a file ends by itself.

        >>> from pathlib import Path
        >>> from styleid import AnonymizeOptions, anonymize_live
        >>> summary = anonymize_live(Path("people.mp4"), Path("recording.mp4"), AnonymizeOptions(method="none"))
        >>> summary.record["frames"]["shown"] > 0
        True
    """
    places = _place("source", source), _place("out", out)
    anonymizer = Anonymizer.from_bundle(bundle, options, device)
    return process_live(*places, anonymizer, live or LiveOptions(live=True), encode, marking, stop=stop, watch=watch)


def _place(option: str, given: str | Path) -> LivePlace:
    found = given if isinstance(given, Path) else live_place(given)
    if found is None:
        raise OptionError(option, f"{given} is neither a path nor the address of a live stream.")
    return found
