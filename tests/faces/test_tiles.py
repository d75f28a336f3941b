"""Faces of all sizes are found on large canvases, wherever the borders of tiles lie."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from styleid.faces.detect import DetectorOptions, FaceDetector, tile_spans, views_of

HEAD = (slice(0, 240), slice(110, 340))  # rows and columns of the astronaut's head
FACE_WIDTH_PX, FACE_CENTRE = 88.4, (225.2 - 110, 117.5)
WIDTH, HEIGHT = 3000, 2000


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def canvas_with(astronaut: np.ndarray, faces: list[tuple[int, int, int]]) -> np.ndarray:
    """Return a large canvas with faces of a width about a centre, each (x, y, width)."""
    canvas = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
    for index, (x, y, width) in enumerate(faces):
        scale = width / FACE_WIDTH_PX
        head = astronaut[HEAD]
        size = (round(head.shape[1] * scale), round(head.shape[0] * scale))
        head = cv2.resize(head, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        centre_x, centre_y = (c * scale for c in FACE_CENTRE)
        if index % 2:
            head, centre_x = head[:, ::-1], size[0] - centre_x
        x0, y0 = round(x - centre_x), round(y - centre_y)
        assert x0 >= 0
        assert y0 >= 0
        canvas[y0 : y0 + size[1], x0 : x0 + size[0]] = head[: HEIGHT - y0, : WIDTH - x0]
    return canvas


def assert_found_once(detector: FaceDetector, image: np.ndarray, faces: list[tuple[int, int, int]]) -> None:
    found = detector.detect(image)
    centres = found.boxes_xyxy.reshape(-1, 2, 2).mean(1)
    widths = found.boxes_xyxy[:, 2] - found.boxes_xyxy[:, 0]
    taken = set()
    for x, y, width in faces:
        away = np.linalg.norm(centres - [x, y], axis=1) / width
        near = np.nonzero(away < 0.5)[0]
        assert len(near) == 1, f"the face of {width} px at {x}, {y} is found {len(near)} times"
        assert away[near[0]] < 0.15
        assert widths[near[0]] == pytest.approx(width, rel=0.25)
        eyes = found.landmarks_px[near[0], :2]
        assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(0.49 * width, rel=0.25)
        taken.add(int(near[0]))
    assert len(taken) == len(found) == len(faces)


def test_small_faces_are_found_across_every_border(detector, astronaut):
    columns = [0.0, *_tile_borders(WIDTH), WIDTH / 2]
    rows = [60, *_tile_borders(HEIGHT), HEIGHT - 80]
    faces = []
    for row, y in enumerate(rows):
        for column, x in enumerate(columns):
            faces.append((round(max(x, 70)), round(y), (24, 40)[(row + column) % 2]))
    faces = [face for k, face in enumerate(faces) if not any(_close(face, other) for other in faces[:k])]
    assert len(faces) > 15
    assert_found_once(detector, canvas_with(astronaut, faces), faces)


@pytest.mark.parametrize("shift", [-14, -7, 7, 14])
def test_a_face_beside_a_border_is_found_once(detector, astronaut, shift):
    faces = [(round(x) + shift, round(y) + shift, 28) for x in _tile_borders(WIDTH) for y in _tile_borders(HEIGHT)]
    faces = [face for k, face in enumerate(faces) if not any(_close(face, other) for other in faces[:k])]
    assert_found_once(detector, canvas_with(astronaut, faces), faces)


def test_large_and_small_faces_are_found_together(detector, astronaut):
    faces = [
        (700, 800, 460),
        (1600, 500, 240),
        (2300, 900, 120),
        (2700, 300, 40),
        (2700, 500, 24),
        (1500, 1700, 60),
        (200, 1800, 24),
    ]
    assert_found_once(detector, canvas_with(astronaut, faces), faces)


def test_a_face_that_fills_the_photo_is_found(detector, astronaut):
    faces = [(1500, 960, 720)]
    assert_found_once(detector, canvas_with(astronaut, faces), faces)


def test_coarser_options_look_less_closely():
    looked = [
        sum((x1 - x0) * (y1 - y0) * scale**2 for (x0, y0, x1, y1), scale in views_of(HEIGHT, WIDTH, px))
        for px in (10, 16, 40, 200)
    ]
    assert looked == sorted(looked, reverse=True)
    assert len(list(views_of(HEIGHT, WIDTH, DetectorOptions().min_face_px))) > 4
    assert len(list(views_of(HEIGHT, WIDTH, 200))) == 1


@pytest.mark.parametrize("shape", [(1025, 900), (2000, 3000), (3000, 700), (641, 9000), (12000, 12000), (5, 20000)])
def test_tiles_cover_every_pixel_and_overlap_by_a_face(shape):
    height, width = shape
    (whole, overview), *tiles = views_of(height, width, 16)
    assert whole == (0, 0, width, height)
    for length, low, high in ((width, 0, 2), (height, 1, 3)):
        spans = sorted({(box[low], box[high]) for box, _ in tiles})
        assert spans[0][0] == 0
        assert spans[-1][1] == length
        for (_, end), (start, _) in pairwise(spans):
            assert end - start >= min(16 / 10 * 960 // 3, 30 / overview) - 1  # what is larger, the overview shows


@pytest.mark.parametrize(
    ("length", "side", "overlap"), [(1, 9, 3), (9, 9, 3), (10, 9, 3), (100, 9, 3), (3000, 1536, 141)]
)
def test_spans_lie_inside_and_leave_no_gap(length, side, overlap):
    spans = tile_spans(length, side, overlap)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(0 <= a < b <= length for a, b in spans)
    assert all(end - start >= overlap for (_, end), (start, _) in pairwise(spans))


def _tile_borders(length: int) -> list[float]:
    """Return where tiles begin and end inside a length."""
    low = 0 if length == WIDTH else 1
    boxes = [box for box, _ in views_of(HEIGHT, WIDTH, DetectorOptions().min_face_px)][1:]
    return sorted({float(edge) for box in boxes for edge in (box[low], box[low + 2])} - {0.0, float(length)})


def _close(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) < 2.9 * max(one[2], other[2])
