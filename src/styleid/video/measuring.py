"""Measure the faces of one frame: all that the second pass needs of them, so that no network measures them again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from styleid.core.analysis import pack_maps, unpack_maps
from styleid.core.face import SourceFace
from styleid.core.observation import Observation
from styleid.core.pipeline import Anonymizer
from styleid.media.video.clip import ClipFrame
from styleid.types import Faces, ImageRGB


@dataclass(frozen=True, eq=False)
class MeasureRequest:
    """What is to be measured in a frame.

    Attributes:
        which: Index of the track of each face.
        faces: All n faces of the frame.
        rows: Positions of the k faces to measure, (k,).
        sampled: Tracks of which the frame is a sample.
    """

    which: list[int]
    faces: Faces
    rows: Int[np.ndarray, " k"]
    sampled: frozenset[int]


@dataclass(frozen=True, eq=False)
class MeasuredFace:
    """The measurements of a face.

    Attributes:
        track: Index of its track.
        observation: What networks measured. Attributes are NaN unless the frame is a sample of a track.
        wplus: Latent code, (size,).
        maps: Its maps, from `pack_maps`.
        patch: The image around the face, uint8 (h, w, 3), if the frame is a sample of its track; otherwise None.
        corner: The top left corner of the image around the face, (x, y), pixels of the frame.
    """

    track: int
    observation: Observation
    wplus: Float[np.ndarray, " size"]
    maps: bytes
    patch: ImageRGB | None
    corner: tuple[int, int]


def measure_faces(anonymizer: Anonymizer, frame: ClipFrame, request: MeasureRequest) -> list[MeasuredFace]:
    """Measure faces of a frame.

    Args:
        anonymizer: Measures them.
        frame: The frame.
        request: The faces.
    """
    sampled = bool(request.sampled)
    sources = anonymizer.analyse(frame.image_rgb, request.faces, request.rows, attributes=sampled)
    return [_measured(source, request) for source in sources]


def _measured(source: SourceFace, request: MeasureRequest) -> MeasuredFace:
    track, (x0, y0, x1, y1) = request.which[source.index], source.window
    patch = source.photo_rgb[y0:y1, x0:x1].copy() if track in request.sampled else None
    return MeasuredFace(track, source.observation, source.wplus, pack_maps(source), patch, (x0, y0))


def recall(anonymizer: Anonymizer, image_rgb: ImageRGB, faces: Faces, index: int, row: Any, maps: bytes) -> SourceFace:
    """Return a face as it was measured, without running a network.

    Args:
        anonymizer: An anonymiser like the one that measured it.
        image_rgb: The frame, uint8 (h, w, 3).
        faces: All faces of the frame.
        index: Position of the face among them.
        row: The record of its measurements; see `store.measurement_type`.
        maps: Its maps, from `pack_maps`.
    """
    shares = float(row["shares"][0]), float(row["shares"][1])
    landmarks, embedding, attributes = (np.array(row[name]) for name in ("landmarks", "embedding", "attributes"))
    seen = Observation(True, landmarks, embedding, attributes, shares)
    unpacked = unpack_maps(maps, anonymizer.bundle.spec.crop.size_px)
    return anonymizer.recall(image_rgb, faces, index, seen, unpacked, np.array(row["wplus"]))


def steady(source: SourceFace, row: Any) -> SourceFace:
    """Return a face with the landmarks and W+ that were smoothed over its track.

    Args:
        source: The face.
        row: Its row in `Measurements`, after `Measurements.steady`.
    """
    observation = replace(source.observation, landmarks=np.asarray(row["steady_landmarks"]))
    return replace(source, observation=observation, wplus=np.asarray(row["steady_wplus"]))
