"""Measure stability and privacy of the new faces in a video, and time each stage on a synthetic clip.

    python benchmarks/video.py [--seed 5] [--frames 16] [--picture docs/video-frames.jpg]

Prints the two Markdown tables of docs/video.md. The figures of the example video do not carry over to other videos;
measure your own with --video.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from against_deface import processor

from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import DEFAULT
from styleid.core.options import AnonymizeOptions
from styleid.core.pipeline import Anonymizer
from styleid.core.rendering import render
from styleid.faces.align import CropTemplate
from styleid.media.video.reader import VideoClip, import_av
from styleid.pixel.obscure import face_ellipse
from styleid.types import ImageRGB
from styleid.video.options import VideoOptions
from styleid.video.run import VideoSummary, process_video

HERE = Path(__file__).parent
EXAMPLE, RESULT = HERE.parent / "examples" / "people.mp4", HERE / "results" / "video.md"
FADE_S = 0.2
"""Seconds of the fade before and after an obscured stretch; frames this near to one do not count."""
FMR = 1e-3
MOMENTS = 8
_INNER_PX = 64
_STAGES = {
    "finding faces": "find, tiles included",
    "following faces": "follow",
    "measuring faces": "measure",
    "rendering": "render, gate, encode",
}
_FULL_HD, _RATE = (1920, 1080), 25


@dataclass(frozen=True)
class TrackFigures:
    """Figures of a track, over pairs of successive frames in which the new face is fully visible.

    Attributes:
        number: Number of the track.
        frames: Number of frames with a new face.
        obscured: Number of frames in which the face is obscured.
        pairs: Number of pairs of frames.
        steady: Lowest similarity of the new face between the frames of a pair.
        alike: Highest similarity of the new face to the original in the same frame.
        inside: Mean change of the aligned face between the frames of a pair, in grey levels: original, output.
        outside: The same for the area away from all faces.
    """

    number: int
    frames: int
    obscured: int
    pairs: int
    steady: float
    alike: float
    inside: tuple[float, float]
    outside: tuple[float, float]


class Judged:
    """The frames of a video and its output, with the tracks that the run wrote for review."""

    def __init__(self, source: Path, out: Path, record: Mapping[str, Any], bundle: Bundle) -> None:
        self.before, self.after = images(source), images(out)
        if len(self.before) != len(self.after):
            raise SystemExit(f"{out.name} has {len(self.after)} frames, its original {len(self.before)}.")
        reviewed = json.loads((out.parent / f"{out.name}.review" / "tracks.json").read_text(encoding="utf-8"))
        self.tracks, self._told, self._bundle = reviewed["tracks"], record["tracks"], bundle
        self.rate = float(VideoClip(source).info.rate)
        self._fade = round(FADE_S * self.rate)

    def figures(self) -> list[TrackFigures]:
        """Return the figures of every track with at least one pair of frames."""
        made = [self._of(track, told) for track, told in zip(self.tracks, self._told, strict=True)]
        return [one for one in made if one.pairs]

    def _of(self, track: Mapping[str, Any], told: Mapping[str, Any]) -> TrackFigures:
        points = np.float32(track["landmarks"] or []).reshape(-1, 5, 2)
        shown = [self._clear(track, track["first"] + k) for k in range(len(points))]
        pairs = [k for k in range(len(points) - 1) if shown[k] and shown[k + 1]]
        count = told["anonymised"], told["obscured"], len(pairs)
        if not pairs:
            return TrackFigures(track["id"], *count, 1.0, 0.0, (0.0, 0.0), (0.0, 0.0))
        was, now = (self._embedded(video, track["first"], points) for video in (self.before, self.after))
        return TrackFigures(
            track["id"],
            *count,
            min(float(now[k] @ now[k + 1]) for k in pairs),
            max(float(was[k] @ now[k]) for k, seen in enumerate(shown) if seen),
            (self._inside(self.before, track, points, pairs), self._inside(self.after, track, points, pairs)),
            (self._outside(self.before, track, pairs), self._outside(self.after, track, pairs)),
        )

    def _clear(self, track: Mapping[str, Any], frame: int) -> bool:
        """Return whether a face is neither obscured, fading nor covered by an obscured face in a frame."""
        shape = self.before[0].shape[:2]
        hiding = [t for t in self.tracks if self._hidden(t, frame)]
        if track in hiding or not hiding:
            return not hiding
        own = face_ellipse(_box(track, frame), shape)
        return not any((own & face_ellipse(_box(other, frame), shape)).any() for other in hiding)

    def _hidden(self, track: Mapping[str, Any], frame: int) -> bool:
        told = self._told[self.tracks.index(track)]
        stretches = (stretch["frames"] for stretch in told["obscured_at"])
        there = track["first"] <= frame < track["first"] + len(track["boxes"])
        return there and any(a - self._fade <= frame <= b + self._fade for a, b in stretches)

    def _embedded(self, video: Sequence[ImageRGB], first: int, points: np.ndarray) -> np.ndarray:
        template = self._bundle.spec.identity_crop
        return self._bundle.embed(
            np.stack([template.crop(video[first + k], template.matrix(p)) for k, p in enumerate(points)])
        )

    def _inside(
        self, video: Sequence[ImageRGB], track: Mapping[str, Any], points: np.ndarray, pairs: Sequence[int]
    ) -> float:
        template, first = CropTemplate.tight(_INNER_PX), track["first"]
        crops = [template.crop(video[first + k], template.matrix(p)).astype(np.float32) for k, p in enumerate(points)]
        return float(np.mean([np.abs(crops[k + 1] - crops[k]).mean() for k in pairs]))

    def _outside(self, video: Sequence[ImageRGB], track: Mapping[str, Any], pairs: Sequence[int]) -> float:
        frames = [track["first"] + k for k in pairs]
        return float(np.mean([cv2.absdiff(video[f + 1], video[f])[self._free(f)].mean() for f in frames]))

    def _free(self, frame: int) -> np.ndarray:
        """Return the area that is more than a face's width away from every face, bool (height, width)."""
        free = np.ones(self.before[0].shape[:2], bool)
        for track in self.tracks:
            if track["first"] <= frame < track["first"] + len(track["boxes"]):
                x0, y0, x1, y1 = (round(v) for v in _box(track, frame))
                side = x1 - x0
                free[max(y0 - side, 0) : max(y1 + side, 0), max(x0 - side, 0) : max(x1 + side, 0)] = False
        return free


def _box(track: Mapping[str, Any], frame: int) -> np.ndarray:
    return np.float32(track["boxes"][frame - track["first"]])


def images(path: Path) -> list[ImageRGB]:
    """Return all frames of a video."""
    return [frame.image_rgb for frame in VideoClip(path).frames()]


# ------------------------------------------------------------------------------------------------- synthetic clip


def make_clip(path: Path, bundle: Bundle, frames: int) -> None:
    """Write a 1080p clip of two generated faces that turn, speak and move over a picture, with noise.

    The frames depend only on the bundle.
    """
    import skimage.data

    av = import_av()
    wall = cv2.GaussianBlur(cv2.resize(skimage.data.coffee(), _FULL_HD), (0, 0), 4).astype(np.float32)
    people = [(_nobody(bundle, 3, 1.0), 620, 520, 360), (_nobody(bundle, 11, 0.0), 1330, 480, 335)]
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=_RATE, options={"crf": "16", "preset": "veryfast"})
        (stream.width, stream.height), stream.pix_fmt = _FULL_HD, "yuv420p"
        for i in range(frames):
            image = wall.copy()
            for turn, (wplus, x, y, side) in enumerate(people):
                _put(image, _moving(bundle, wplus, i, turn), (x + 6 * i, y + 12 * np.sin(i / 6 + turn)), side)
            image += rng.normal(0, 2.5, image.shape)
            frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, _RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _nobody(bundle: Bundle, seed: int, female: float) -> np.ndarray:
    spec = bundle.spec
    z = np.random.default_rng(seed).standard_normal((1, spec.z)).astype(np.float32)
    attributes = np.float32([[35, female, 1, 0, 0, 0, 0]])
    return bundle.sample(z, attributes, np.zeros((1, spec.size), np.float32))


def _moving(bundle: Bundle, wplus: np.ndarray, frame: int, turn: int) -> np.ndarray:
    """Return the face in one frame. In the built-in bundle, code row 1 turns the head and row 3 moves the mouth."""
    moved, (head, _, mouth, *_) = wplus.copy(), bundle.spec.rows
    moved[0, head.first : head.first + 2] += 1.2 * np.sin(frame / 13 + turn), 0.8 * np.sin(frame / 17 + 2 * turn)
    moved[0, mouth.first : mouth.first + 2] += 1.5 * np.sin(frame / 5 + turn), np.sin(frame / 7)
    return render(bundle, moved)[0][0]


def _put(image: np.ndarray, face: np.ndarray, centre: tuple[float, float], side: int) -> None:
    large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
    opacity = np.zeros((side, side), np.float32)
    cv2.ellipse(opacity, (side // 2, side // 2), (int(side * 0.42), int(side * 0.48)), 0, 0, 360, 1, -1)
    opacity = cv2.GaussianBlur(opacity, (0, 0), 6)
    matrix = np.float32([[1, 0, centre[0] - side / 2], [0, 1, centre[1] - side / 2]])
    there = cv2.warpAffine(opacity, matrix, _FULL_HD)[..., None]
    image[:] = image * (1 - there) + cv2.warpAffine(large, matrix, _FULL_HD) * there


# --------------------------------------------------------------------------------------------------------- report


def quality_table(figures: Sequence[TrackFigures], bundle: Bundle, sizes: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table of stability and privacy."""

    def by_track(cell: Callable[[TrackFigures], str]) -> str:
        return ", ".join(cell(one) for one in figures)

    threshold = bundle.spec.thresholds[FMR].high
    yield f"| | tracks {by_track(lambda t: str(t.number))} |"
    yield "|---|---|"
    yield f"| frames with a new face / obscured | {by_track(lambda t: f'{t.frames} / {t.obscured}')} |"
    yield f"| pairs of frames that count | {by_track(lambda t: str(t.pairs))} |"
    yield (
        f"| similarity of the new face from frame to frame, lowest (threshold at FMR 1e-3: {threshold:.2f}) "
        f"| {by_track(lambda t: f'{t.steady:.2f}')} |"
    )
    yield f"| similarity to the original in the same frame, highest | {by_track(lambda t: f'{t.alike:.2f}')} |"
    yield (
        "| change from frame to frame inside the aligned face, grey levels, original / output "
        f"| {by_track(lambda t: f'{t.inside[0]:.1f} / {t.inside[1]:.1f}')} |"
    )
    yield f"| the same outside the faces | {by_track(lambda t: f'{t.outside[0]:.1f} / {t.outside[1]:.1f}')} |"
    yield f"| size of the file, source / output | {sizes[0] / 1000:.0f} / {sizes[1] / 1000:.0f} kB |"


def time_table(summary: VideoSummary) -> Iterator[str]:
    """Yield the lines of the table of times: milliseconds per frame and stage, and per choice of targets."""
    frames, people = summary.record["video"]["frames"], len({t["person"] for t in summary.record["tracks"]})
    yield "| stage | ms |"
    yield "|---|---|"
    for stage, name in _STAGES.items():
        yield f"| {name} | {1000 * summary.stage_seconds.get(stage, 0.0) / frames:,.0f} |"
    chosen = 1000 * summary.stage_seconds.get("choosing targets", 0.0) / max(people, 1)
    yield f"| choose targets, once per person | {chosen:,.0f} a person |"


def picture(path: Path, judged: Judged) -> None:
    """Write a picture of original and output side by side at evenly spaced times, in two columns."""
    count, cells = len(judged.before), []
    for frame in ((np.arange(MOMENTS) + 0.5) * count / MOMENTS).astype(int):
        pair = np.concatenate([judged.before[frame], judged.after[frame]], 1)
        width = 640
        small = cv2.resize(pair, (width, round(width * pair.shape[0] / pair.shape[1])), interpolation=cv2.INTER_AREA)
        cv2.putText(
            small,
            f"{frame / judged.rate:.2f} s",
            (6, 18),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.5,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        cells.append(small)
    half = len(cells) // 2
    sheet = np.concatenate([np.concatenate(column) for column in (cells[:half], cells[half:])], 1)
    cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def conditions(load: float) -> Iterator[str]:
    """Yield lines about the machine, versions and load."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("styleid", "av", "onnxruntime", "numpy"))
    nice = os.nice(0) if hasattr(os, "nice") else 0
    yield f"- {processor()}, {cores} cores usable; {versions}"
    yield f"- load average before the timed run {load:.2f}, niceness {nice}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=EXAMPLE, help="what is judged (default: examples/people.mp4)")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--bundle", default=DEFAULT)
    parser.add_argument("--frames", type=int, default=16, help="of the timed clip; 0 leaves it out (default: 16)")
    parser.add_argument("--keep", type=Path, help="folder that keeps the outputs")
    parser.add_argument("--picture", type=Path, help="also write originals beside outputs as a picture")
    parser.add_argument("--out", type=Path, default=RESULT, help="the Markdown file to write")
    given = parser.parse_args()
    anonymizer = Anonymizer.from_bundle(given.bundle, AnonymizeOptions(seed=given.seed))
    with tempfile.TemporaryDirectory(prefix="styleid-bench-") as name:
        work = given.keep or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        page = "\n".join([*judge_video(given, anonymizer, work), "", *time_clip(given, anonymizer, work), ""])
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page, encoding="utf-8")
    print(page)


def judge_video(given: argparse.Namespace, anonymizer: Anonymizer, work: Path) -> Iterator[str]:
    """Anonymise the video, and yield the lines of its report."""
    source, out = (
        given.video,
        work / f"{given.video.stem}-out.mkv" if given.video.suffix == ".mkv" else work / "out.mp4",
    )
    summary = run(source, anonymizer, VideoOptions(out, review=True))
    judged = Judged(source, out, summary.record, anonymizer.bundle)
    seen = summary.record["video"]
    yield f"{source.name}: {seen['frames']} frames, {seen['seconds']:.2f} s, seed {given.seed}"
    yield ""
    yield from quality_table(judged.figures(), anonymizer.bundle, [source.stat().st_size, out.stat().st_size])
    for track in summary.record["tracks"]:
        for s in track["obscured_at"]:
            yield f"- track {track['track']} obscured from {s['from_s']:.2f} to {s['to_s']:.2f} s: {s['reason']}"
    if given.picture:
        picture(given.picture, judged)


def time_clip(given: argparse.Namespace, anonymizer: Anonymizer, work: Path) -> Iterator[str]:
    """Make a clip, anonymise it with loaded networks, and yield the lines about the time of each stage."""
    if not given.frames:
        return
    source = work / "made-1080p.mp4"
    make_clip(source, anonymizer.bundle, given.frames)
    load = os.getloadavg()[0]
    summary = run(source, anonymizer, VideoOptions(work / "made-out.mp4"))
    sides = [track["side_px"] for track in summary.record["tracks"]]
    yield f"{_FULL_HD[0]} x {_FULL_HD[1]}, {given.frames} frames, faces of {sides} px:"
    yield ""
    yield from time_table(summary)
    yield ""
    yield from conditions(load)


def run(source: Path, anonymizer: Anonymizer, options: VideoOptions) -> VideoSummary:
    """Anonymise a video; exit with the reason if it fails."""
    summary = process_video(source, anonymizer, options)
    if summary.failure:
        raise SystemExit(f"{source}: {summary.failure}")
    return summary


if __name__ == "__main__":
    main()
