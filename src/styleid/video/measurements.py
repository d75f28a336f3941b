"""Measure the faces of all tracks in every frame, and keep the measurements on disk for the second pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from styleid.core.pipeline import Anonymizer
from styleid.faces.smooth import smooth
from styleid.media.video.clip import Clip
from styleid.types import Faces, ImageRGB
from styleid.video.measuring import MeasuredFace, MeasureRequest
from styleid.video.scan import Scan, Watch
from styleid.video.store import Workspace, measurement_type
from styleid.video.tracks import Track

SAMPLES = 10
"""Largest number of sampled frames per track, and of samples per person on which targets are tried."""
_LANDMARK_FRAMES, _WPLUS_FRAMES = 1.2, 2.0
"""Standard deviations of the temporal smoothing of landmarks and W+, in frames."""
_CHUNK = 2000
"""Number of frames of a track that are smoothed at once, which bounds memory."""

Sample = tuple[int, ImageRGB, Float[np.ndarray, " 2"]]
"""Number of a frame, the image around a face in it, and that image's top left corner in the frame, (2,), pixels."""


class Measurements:
    """Measurements of every track in every frame, stored on disk as rows of `measurement_type`."""

    def __init__(self, tracks: Sequence[Track], anonymizer: Anonymizer, space: Workspace) -> None:
        """Create the empty table.

        Raises:
            OutputError: If the table cannot be created.
        """
        spec = anonymizer.bundle.spec
        side = spec.identity_crop.size_px
        width = anonymizer.bundle.embed(np.zeros((1, side, side, 3), np.uint8)).shape[1]
        self._starts = np.concatenate([[0], np.cumsum([len(t) for t in tracks])]).astype(int)
        self._tracks = tracks
        kind = measurement_type(spec.size, width)
        self.table: Any = space.table("measured", kind, int(self._starts[-1]))
        self._maps = space.shelf("maps")

    def row(self, track: int, frame: int) -> Any:
        """Return the row of a track, by index, in a frame."""
        return self.table[self._starts[track] + frame - self._tracks[track].first]

    def maps(self, row: Any) -> bytes:
        """Return the maps of a face, from `pack_maps`, by its row."""
        return self._maps.take(*row["maps"].tolist())

    def note(self, frame: int, face: MeasuredFace) -> None:
        """Store the measurements of a face.

        Args:
            frame: Number of the frame.
            face: The measurements.

        Raises:
            OutputError: If the maps cannot be written.
        """
        row, seen = self.row(face.track, frame), face.observation
        row["landmarks"], row["wplus"] = seen.landmarks, face.wplus
        row["attributes"], row["embedding"] = seen.attributes, seen.embedding
        row["shares"], row["maps"] = seen.face_shares, self._maps.put(face.maps)

    def of(self, track: int) -> Any:
        """Return all rows of a track, by index."""
        return self.table[self._starts[track] : self._starts[track + 1]]

    def steady(self, times_s: Float[np.ndarray, " frames"], rate: float) -> None:
        """Smooth landmarks and W+ of every track over time, into separate fields of the rows.

        Args:
            times_s: Times of all frames of the clip, (frames,), seconds.
            rate: Frames per second.
        """
        for index, track in enumerate(self._tracks):
            rows, times = self.of(index), np.asarray(times_s)[list(track.frames)]
            for begin in range(0, len(track), _CHUNK):
                a, b = max(begin - 64, 0), min(begin + _CHUNK + 64, len(track))
                inner = slice(begin - a, min(begin + _CHUNK, len(track)) - a)
                for name, span in (("landmarks", _LANDMARK_FRAMES), ("wplus", _WPLUS_FRAMES)):
                    made = smooth(times[a:b], rows[name][a:b], track.trust[a:b], span / rate)
                    rows[f"steady_{name}"][begin : begin + _CHUNK] = made[inner]


def replaceable(track: Track) -> bool:
    """Return whether all landmarks of a track are known. Without them, its face cannot be aligned."""
    return bool(np.isfinite(track.landmarks_px).all())


def faces_at(tracks: Sequence[Track], frame: int) -> tuple[list[int], Faces]:
    """Return the faces that the tracks show in a frame.

    Args:
        tracks: The tracks; those that are kept or dropped are left out.
        frame: Number of the frame.

    Returns:
        Indices of the n tracks that show a face, and the n faces. Their scores are the tracks' trust.
    """
    which = [i for i, t in enumerate(tracks) if t.first <= frame <= t.last and not t.left]
    if not which:
        return which, Faces.empty()
    at = [(tracks[i], frame - tracks[i].first) for i in which]
    boxes = np.stack([t.boxes_xyxy[k] for t, k in at])
    points = np.stack([t.landmarks_px[k] for t, k in at])
    return which, Faces(boxes, np.array([t.trust[k] for t, k in at], np.float32), points)


class MeasureEngine(Protocol):
    """Measures the faces of frames; see `styleid.video.segments.Engine`."""

    def measured(
        self, clip: Clip, requests: Callable[[int], MeasureRequest | None]
    ) -> Iterator[tuple[int, list[MeasuredFace]]]:
        """Yield the number of each frame and its measured faces, in order."""
        ...


def measure(
    clip: Clip,
    scan: Scan,
    tracks: Sequence[Track],
    anonymizer: Anonymizer,
    space: Workspace,
    engine: MeasureEngine,
    watch: Watch | None = None,
) -> tuple[Measurements, dict[int, list[Sample]]]:
    """Measure every face of every track that has landmarks.

    Attributes are measured only in frames that are sampled for one of their tracks; in other frames they are NaN.

    Args:
        clip: The clip.
        scan: The scan of the clip.
        tracks: The tracks.
        anonymizer: Has the bundle.
        space: Stores the measurements and samples.
        engine: Measures faces.
        watch: Called with the stage, the number of finished frames, and their total.

    Returns:
        The measurements, and the samples of each track that has landmarks, by its index.

    Raises:
        VideoError: If a frame cannot be read.
        OutputError: If the measurements cannot be stored.
    """
    measured = Measurements(tracks, anonymizer, space)
    wanted = {i: _sample_frames(track) for i, track in enumerate(tracks) if replaceable(track)}
    samples: dict[int, list[Sample]] = {i: [] for i in wanted}

    def request(frame: int) -> MeasureRequest | None:
        which, faces = faces_at(tracks, frame)
        rows = np.array([k for k, i in enumerate(which) if i in wanted], int)
        sampled = frozenset(which[k] for k in rows if frame in wanted[which[k]])
        return MeasureRequest(which, faces, rows, sampled) if len(rows) else None

    for index, seen in engine.measured(clip, request):
        for face in seen:
            measured.note(index, face)
            if face.patch is not None:
                path = space.folder / f"sample-{face.track}-{index}.npy"
                samples[face.track].append(_sample(face.patch, face.corner, index, path))
        if watch is not None:
            watch("measuring faces", index + 1, scan.frames)
    measured.steady(scan.times_s, float(clip.info.rate))
    return measured, samples


def _sample(patch: ImageRGB, corner: tuple[int, int], frame: int, path: Path) -> Sample:
    """Return a sample whose image is stored in a file and read from there on use."""
    np.save(path, patch)
    return frame, np.load(path, mmap_mode="r"), np.array(corner, np.float32)


def _sample_frames(track: Track) -> set[int]:
    """Return up to SAMPLES frames spread over a track, preferring those in which the face was detected."""
    seen = np.nonzero(track.seen)[0]
    places = seen if len(seen) else np.arange(len(track))
    picked = places[np.linspace(0, len(places) - 1, min(SAMPLES, len(places))).round().astype(int)]
    return {track.first + int(at) for at in picked}
