"""Audio, chapters, subtitles and tags of a video: dropped, kept or changed, as the options say.

Thumbnails, attachments and data tracks (GPS, motion) are never kept, because thumbnails show the original faces; nor
are tags that contain a picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from styleid.errors import OptionError, VideoError
from styleid.media.video.clock import SideClock
from styleid.media.video.pyav import import_av
from styleid.media.video.reader import VideoClip
from styleid.media.video.tags import TEXT_SUBTITLES, bare_header, bare_packet, holds_picture, safe_chapters, safe_tags

Audio = Literal["drop", "keep", "pitch"]
ALLOWED = ("metadata", "chapters", "subtitles")
_PITCH = 0.82
_LEAST_RATE_HZ = 8000
_LEAST_GAP_S, _MOST_GAP_S = 0.05, 60


@dataclass(frozen=True)
class TrackOptions:
    """Options for everything in a video except its pictures.

    audio: drop leaves audio out, because a voice identifies a person; keep copies it; pitch lowers it by 3.4 semitones,
        which does not protect against speaker recognition.
    allow: what else to keep, separated by commas: metadata, chapters, subtitles. Empty keeps none of them.
    """

    audio: Audio = "drop"
    allow: str = ""

    def __post_init__(self) -> None:
        if self.audio not in ("drop", "keep", "pitch"):
            raise OptionError("audio", f"'{self.audio}' is unknown; choose one of drop, keep, pitch.")
        for name in self.allowed - set(ALLOWED):
            raise OptionError("allow", f"'{name}' is unknown; choose from {', '.join(ALLOWED)}.")

    @property
    def allowed(self) -> set[str]:
        """Names in `allow`, as a set."""
        return {name.strip() for name in self.allow.split(",") if name.strip()}


class SideTracks:
    """Copies the other tracks of a clip into an output, in step with the pictures.

    Attributes:
        notes: What the user should know about tracks and tags that were left out or changed.
    """

    def __init__(self, clip: VideoClip, output: Any, container: str, options: TrackOptions) -> None:
        self._clip, self._output, self._options, self._av = clip, output, options, import_av()
        self._source = clip.open()
        self._start = clip.facts.start
        self.notes: list[str] = []
        self._copied: dict[int, Any] = {}
        self._changed: dict[int, _PitchShifter] = {}
        self._choose(container)
        wanted = [self._source.streams[i] for i in (*self._copied, *self._changed)]
        self._packets = self._placed(wanted) if wanted else iter(())
        self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def until(self, time_s: float) -> None:
        """Write the packets that begin up to a time."""
        while self._next is not None:
            packet = self._next
            if packet.dts is not None and float(packet.dts * packet.time_base - self._start) > time_s:
                return
            self._next = next(self._packets, None)
            index = packet.stream.index
            if index in self._changed:
                self._output.mux(self._changed[index].take(packet))
            elif packet.dts is not None and packet.size:
                shift: int = round(self._start / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                bare = bare_packet(packet, self._av)
                bare.stream = self._copied[index]
                self._output.mux(bare)
        for pitch in self._changed.values():
            self._output.mux(pitch.finish())

    def _placed(self, streams: Sequence[Any]) -> Iterator[Any]:
        """Yield packets with the pictures' times; where recordings were joined, overlapping packets are left out."""
        clocks = {s.index: SideClock(self._clip.shifts_s, jumps=self._clip.jumps) for s in streams}
        for packet in self._source.demux(streams):
            if clocks[packet.stream.index].place(packet) or not packet.size:
                yield packet

    def _choose(self, container: str) -> None:
        source, allowed = self._source, self._options.allowed
        dropped: list[str] = []
        for stream in source.streams:
            if stream.type == "audio":
                self._choose_audio(stream)
            elif stream.type == "subtitle" and "subtitles" in allowed:
                self._copy_subtitles(stream, container)
            elif stream.type != "video":
                dropped.append(f"{stream.type} track")
            elif stream.index != self._clip.stream_index:
                dropped.append("thumbnail or further picture track")
        if source.chapters() and "chapters" not in allowed:
            dropped.append("chapters")
        if dropped:
            self.notes.append("left out: " + ", ".join(sorted(set(dropped))))
        self._copy_tags(allowed)

    def _copy_tags(self, allowed: set[str]) -> None:
        """Copy chapters and tags that are allowed and contain no picture."""
        names: list[str] = []
        if "chapters" in allowed:
            chapters, names = safe_chapters(self._source.chapters())
            self._output.set_chapters(chapters)
        if "metadata" in allowed:
            tags, more = safe_tags(self._source.metadata)
            self._output.metadata.update(tags)
            names += more
        if names:
            listed = ", ".join(dict.fromkeys(names))
            self.notes.append(f"tags that contain a picture or are no plain text were left out: {listed}")

    def _choose_audio(self, stream: Any) -> None:
        if self._options.audio == "drop":
            if not any("audio" in note for note in self.notes):
                self.notes.append("audio was dropped, because a voice identifies a person; `audio=keep` or "
                                  "`audio=pitch` keeps a track")  # fmt: skip
            return
        if stream.codec_context is None:
            raise VideoError(self._clip.path, "its audio is in a codec that this build of PyAV cannot read. "
                             "Use `audio=drop`, the default")  # fmt: skip
        name = stream.codec_context.name
        header = bare_header(name, stream.codec_context.extradata)
        fits = name in self._output.supported_codecs
        if self._options.audio == "keep" and fits and header is not None:
            copy = self._output.add_stream_from_template(stream)
            copy.codec_context.extradata = header or None
            copy.metadata.clear()
            self._copied[stream.index] = copy
            return
        factor = _PITCH if self._options.audio == "pitch" else 1.0
        self._changed[stream.index] = _PitchShifter(stream, self._output, factor, self._start, self._av)
        if self._options.audio == "keep":
            why = "has an unknown header" if fits else "cannot be stored in this container"
            self.notes.append(f"audio in {name} {why}: it was written as AAC")

    def _copy_subtitles(self, stream: Any, container: str) -> None:
        name = stream.codec_context.name if stream.codec_context else ""
        if name not in self._output.supported_codecs:
            self.notes.append(
                f"subtitles in {name or 'an unknown format'} were left out: {container} cannot store them"
            )
            return
        if reason := self._unsafe(stream, name):
            self.notes.append(f"subtitles in {name} were left out: {reason}")
            return
        copy = self._output.add_stream_from_template(stream)
        copy.metadata.clear()
        self._copied[stream.index] = copy

    def _unsafe(self, stream: Any, name: str) -> str:
        """Return why a subtitle track may not be copied, "" if it may."""
        if name not in TEXT_SUBTITLES:
            return "they are pictures, which are not checked for faces"
        if len(self._clip.shifts_s) > 1:
            return "their times cannot be adapted to joined recordings"
        with self._clip.open() as again:
            held = holds_picture(stream.codec_context.extradata, again.demux(again.streams[stream.index]))
        return "they contain a picture or an attached file" if held else ""


class _PitchShifter:
    """Converter of an audio track: decodes it, changes its pitch but not its length, and encodes it as AAC."""

    def __init__(self, stream: Any, output: Any, factor: float, start: Fraction, av: Any) -> None:
        context = stream.codec_context
        self._av, self._rate, self._start, self._factor = av, max(context.sample_rate, _LEAST_RATE_HZ), start, factor
        self._layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        self._out = output.add_stream("aac", rate=self._rate, layout=self._layout)
        self._out.codec_context.bit_rate = 96_000 * (1 if self._layout == "mono" else 2)
        self._out.time_base = self._out.codec_context.time_base = Fraction(1, self._rate)
        self._into = av.AudioResampler("fltp", self._layout, self._rate)
        self._graph: Any = None
        self._begin: int | None = None
        self._taken = self._given = 0
        self._done = False

    def take(self, packet: Any) -> list[Any]:
        """Return encoded packets for one packet of the source."""
        encoded: list[Any] = []
        for frame in packet.decode():
            at = round(((frame.pts or 0) * frame.time_base - self._start) * self._rate)
            if self._begin is None:
                self._begin = at
            if frame.pts is not None:
                encoded += self._silence(at - self._begin - self._taken)
            frame.pts = None
            for even in self._into.resample(frame):
                encoded += self._pass_on(even)
        return encoded

    def _silence(self, samples: int) -> list[Any]:
        """Fill a gap between packets, so that audio after it stays in step with the pictures."""
        if not _LEAST_GAP_S * self._rate < samples < _MOST_GAP_S * self._rate:
            return []
        frame = self._av.AudioFrame.from_ndarray(np.zeros((self._channels, samples), np.float32), "fltp", self._layout)
        frame.sample_rate = self._rate
        return self._pass_on(frame)

    def finish(self) -> list[Any]:
        """Return the last packets; the audio is padded to the length of the source's."""
        if self._done:
            return []
        self._done = True
        encoded: list[Any] = []
        for even in self._into.resample(None):
            encoded += self._pass_on(even)
        if self._graph is not None:
            self._graph.push(None)
            encoded += self._pull()
            if self._taken > self._given:
                encoded += self._encode(np.zeros((self._channels, self._taken - self._given), np.float32))
        return encoded + list(self._out.encode(None))

    @property
    def _channels(self) -> int:
        return 1 if self._layout == "mono" else 2

    def _pass_on(self, frame: Any) -> list[Any]:
        self._taken += frame.samples
        if self._factor == 1.0:
            return self._encode(frame.to_ndarray())
        if self._graph is None:
            self._graph = self._make_graph()
        frame.pts, frame.time_base = self._taken - frame.samples, Fraction(1, self._rate)
        self._graph.push(frame)
        return self._pull()

    def _make_graph(self) -> Any:
        graph = self._av.filter.Graph()
        first = graph.add_abuffer(
            sample_rate=self._rate, format="fltp", layout=self._layout, time_base=Fraction(1, self._rate)
        )
        steps = [
            graph.add("asetrate", f"{round(self._rate * self._factor)}"),
            graph.add("aresample", f"{self._rate}"),
            graph.add("atempo", f"{1 / self._factor:.6f}"),
            graph.add("aformat", f"sample_fmts=fltp:channel_layouts={self._layout}:sample_rates={self._rate}"),
            graph.add("abuffersink"),
        ]
        for before, after in zip([first, *steps], steps, strict=False):
            before.link_to(after)
        graph.configure()
        return graph

    def _pull(self) -> list[Any]:
        encoded: list[Any] = []
        while True:
            try:
                frame = self._graph.pull()
            except (self._av.error.BlockingIOError, self._av.error.EOFError):
                return encoded
            encoded += self._encode(frame.to_ndarray()[:, : max(self._taken - self._given, 0)])

    def _encode(self, samples: Float[np.ndarray, "channels n"]) -> list[Any]:
        if samples.shape[1] == 0:
            return []
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), "fltp", self._layout)
        frame.sample_rate, frame.time_base = self._rate, Fraction(1, self._rate)
        frame.pts = (self._begin or 0) + self._given
        self._given += samples.shape[1]
        return list(self._out.encode(frame))
