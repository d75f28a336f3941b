"""Measure the faces of all tracks in every frame, and keep the measurements on disk for the second pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from styleid.core.analysis import pack_maps, unpack_maps
from styleid.core.face import SourceFace
from styleid.core.observation import Observation
from styleid.core.pipeline import Anonymizer
from styleid.faces.smooth import smooth
from styleid.media.video.clip import Clip, ClipFrame
from styleid.types import Faces, ImageRGB
from styleid.video.ahead import ONE_BY_ONE, FramePool
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
        self._maps, self._side = space.shelf("maps"), spec.crop.size_px

    def row(self, track: int, frame: int) -> Any:
        """Return the row of a track, by index, in a frame."""
        return self.table[self._starts[track] + frame - self._tracks[track].first]

    def note(self, track: int, frame: int, source: SourceFace, packed: bytes) -> None:
        """Store the measurements of a face.

        Args:
            track: Index of the track.
            frame: Number of the frame.
            source: The measured face.
            packed: Its maps, from `pack_maps`.

        Raises:
            OutputError: If the maps cannot be written.
        """
        row, seen = self.row(track, frame), source.observation
        row["landmarks"], row["wplus"] = seen.landmarks, source.wplus
        row["attributes"], row["embedding"] = seen.attributes, seen.embedding
        row["shares"], row["maps"] = seen.face_shares, self._maps.put(packed)

    def recall(self, anonymizer: Anonymizer, image_rgb: ImageRGB, faces: Faces, index: int, row: Any) -> SourceFace:
        """Return a face as it was measured, without running a network.

        Args:
            anonymizer: The anonymiser that measured it.
            image_rgb: The frame, uint8 (h, w, 3).
            faces: All faces of the frame.
            index: Position of the face among them.
            row: The row of its measurements; see `row`.
        """
        shares = float(row["shares"][0]), float(row["shares"][1])
        landmarks, embedding, attributes = (np.array(row[name]) for name in ("landmarks", "embedding", "attributes"))
        seen = Observation(True, landmarks, embedding, attributes, shares)
        maps = unpack_maps(self._maps.take(*row["maps"].tolist()), self._side)
        return anonymizer.recall(image_rgb, faces, index, seen, maps, np.array(row["wplus"]))

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


def measure(
    clip: Clip,
    scan: Scan,
    tracks: Sequence[Track],
    anonymizer: Anonymizer,
    space: Workspace,
    watch: Watch | None = None,
    pool: FramePool = ONE_BY_ONE,
) -> tuple[Measurements, dict[int, list[Sample]]]:
    """Measure every face of every track that has landmarks.

    Attributes are measured only in frames that are sampled for one of their tracks; in other frames they are NaN.

    Args:
        clip: The clip.
        scan: The scan of the clip.
        tracks: The tracks.
        anonymizer: Measures faces.
        space: Stores the measurements and samples.
        watch: Called with the stage, the number of finished frames, and their total.
        pool: Runs the work on frames.

    Returns:
        The measurements, and the samples of each track that has landmarks, by its index.

    Raises:
        VideoError: If a frame cannot be read.
        OutputError: If the measurements cannot be stored.
    """
    measured = Measurements(tracks, anonymizer, space)
    wanted = {i: _sample_frames(track) for i, track in enumerate(tracks) if replaceable(track)}
    samples: dict[int, list[Sample]] = {i: [] for i in wanted}

    def look(frame: ClipFrame) -> tuple[int, list[tuple[int, SourceFace, bytes]]]:
        which, faces = faces_at(tracks, frame.index)
        rows = np.array([k for k, i in enumerate(which) if i in wanted], int)
        if not len(rows):
            return frame.index, []
        sampled = any(frame.index in wanted[which[k]] for k in rows)
        sources = anonymizer.analyse(frame.image_rgb, faces, rows, attributes=sampled)
        return frame.index, [(which[source.index], source, pack_maps(source)) for source in sources]

    for index, seen in pool.in_order(look, clip.frames()):
        for track, source, packed in seen:
            measured.note(track, index, source, packed)
            if index in wanted[track]:
                samples[track].append(_sample(source, index, space.folder / f"sample-{track}-{index}.npy"))
        if watch is not None:
            watch("measuring faces", index + 1, scan.frames)
    measured.steady(scan.times_s, float(clip.info.rate))
    return measured, samples


def _sample(source: SourceFace, frame: int, path: Path) -> Sample:
    """Return a sample whose image is stored in a file and read from there on use."""
    x0, y0, x1, y1 = source.window
    np.save(path, source.photo_rgb[y0:y1, x0:x1])
    return frame, np.load(path, mmap_mode="r"), np.array([x0, y0], np.float32)


def _sample_frames(track: Track) -> set[int]:
    """Return up to SAMPLES frames spread over a track, preferring those in which the face was detected."""
    seen = np.nonzero(track.seen)[0]
    places = seen if len(seen) else np.arange(len(track))
    picked = places[np.linspace(0, len(places) - 1, min(SAMPLES, len(places))).round().astype(int)]
    return {track.first + int(at) for at in picked}


def steady(source: SourceFace, row: Any) -> SourceFace:
    """Return a face with the landmarks and W+ that were smoothed over its track.

    Args:
        source: The face.
        row: Its row in `Measurements`, after `Measurements.steady`.
    """
    observation = replace(source.observation, landmarks=np.asarray(row["steady_landmarks"]))
    return replace(source, observation=observation, wplus=np.asarray(row["steady_wplus"]))
