"""styleid video --live: pictures in as they come, the same out with other faces."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from types import FrameType

from styleid.api.live import anonymize_live
from styleid.commands.messages import counted, warn, with_flags
from styleid.core.options import AnonymizeOptions
from styleid.engine.journal import to_json_line
from styleid.errors import OptionError
from styleid.media.provenance import MarkOptions
from styleid.media.video.live_address import LiveAddress, LivePlace, live_place
from styleid.media.video.writer import EncodeOptions
from styleid.runtime import Device
from styleid.video.live import LiveSummary
from styleid.video.live_options import LiveOptions
from styleid.video.live_stages import LiveCounts

_NOT_LIVE = {
    "frames": "a folder of frames is not a live source",
    "fps": "a live source has its own times",
    "tracks": "tracks are known only after a whole video was seen",
    "review": "tracks are known only after a whole video was seen",
    "require_faces": "faces are known only after a whole video was seen",
    "targets": "live pictures give every person a fresh target",
    "key_file": "live pictures give every person a fresh target",
    "keep": "whom to keep is decided on whole tracks, which are not known yet",
    "audio": "live output has no sound",
    "allow": "live output has pictures only",
    "decisions": "decisions are about a whole video",
    "export_decisions": "decisions are about a whole video",
    "engine": "live pictures are processed on one machine",
    "workers": "live pictures are processed on one machine",
}
"""Options of `styleid video` that --live does not have, and why."""


def place_of(text: str) -> LivePlace:
    """Read a path or the address of a stream, as an argument's type."""
    found = live_place(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text} is a URL; give a path on this machine.")
    return found


def require_path(option: str, place: LivePlace) -> Path:
    """Return a place that is a path; raises OptionError for a stream, which needs --live."""
    if isinstance(place, LiveAddress):
        raise OptionError(option, f"{place} is a stream. Add `live` to process its pictures as they come.")
    return place


def live(
    source: LivePlace,
    out: LivePlace,
    options: LiveOptions,
    how: AnonymizeOptions,
    encode: EncodeOptions,
    marking: MarkOptions,
    bundle: str,
    device: Device,
    *,
    json: bool = False,
    quiet: bool = False,
    typed: Collection[str] = (),
) -> int:
    """Anonymise live pictures until the source ends or Ctrl-C; return the exit status.

    json: print a one-line JSON summary. quiet: show no progress. typed: names of the options that the user has given.
    """
    for name in sorted(_NOT_LIVE.keys() & set(typed)):
        raise OptionError(name, f"it does not go with `live`: {_NOT_LIVE[name]}.")
    shows = not (quiet or json) and sys.stderr.isatty()
    with stopped_by_signals() as stop:
        summary = anonymize_live(
            _typed(source),
            _typed(out),
            how,
            options,
            encode=encode,
            marking=marking,
            bundle=bundle,
            device=device,
            stop=stop,
            watch=_show if shows else None,
        )
    if shows:
        print(file=sys.stderr)
    if summary.failure:
        warn(f"{source}: {with_flags(summary.failure)}")
    for reason, count in summary.record.get("obscured_for", {}).items():
        warn(f"{source}: {counted(count, 'face')} obscured: {with_flags(reason)}")
    if json:
        print(to_json_line(summary.to_json()))
    elif "frames" in summary.record:
        print(_readable(summary, out))
    return summary.exit_status


def _typed(place: LivePlace) -> str | Path:
    return place.text if isinstance(place, LiveAddress) else place


def _readable(summary: LiveSummary, out: LivePlace) -> str:
    record = summary.record
    frames, delay, faces = record["frames"], record["delay_s"], record["faces"]
    return "\n".join(
        [
            f"{frames['shown']} of {frames['received']} frames written to {out}, {frames['dropped']} dropped; "
            f"{frames['obscured']} with an obscured face",
            f"delay: half within {delay['p50']:.2f} s, 95 % within {delay['p95']:.2f} s, all within "
            f"{delay['p100']:.2f} s",
            f"{record['people'] or record['tracks']} {'people' if record['people'] else 'tracks'}: "
            f"{faces['anonymised']} faces anonymised, {faces['obscured']} obscured",
            *map(with_flags, record["notes"]),
            f"{summary.seconds:.1f} s",
        ]
    )


def _show(counts: LiveCounts) -> None:
    text = f"{counts.shown} frames shown, {counts.obscured} with an obscured face, delay {counts.delay_s(0.5):.2f} s"
    print(f"\r{text}  (Ctrl-C ends)", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Yield what is set at the first Ctrl-C or request to end, so that the output is finished; a second one breaks off.

    Outside the main thread no signal can be caught.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def end(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
