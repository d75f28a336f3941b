"""Searching tiles in two steps finds what looking at all tiles in float32 finds."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from styleid.faces import screen
from styleid.faces.detect import FaceDetector, views_of
from styleid.faces.parts import look_at_part, shown, suppress_overlaps
from styleid.types import Faces

HEAD = (slice(0, 240), slice(110, 340))  # rows and columns of the astronaut's head
FACE_PX = 88.4
MIN_FACE_PX = 16.0
Place = tuple[int, int, int]
"""x, y of a head's corner, and the width of its face, pixels."""


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def photo_of(astronaut: np.ndarray, places: list[Place], width: int = 2400, height: int = 1800) -> np.ndarray:
    """Return a textured photo with heads."""
    noise = np.random.default_rng(1).integers(60, 150, (height // 8, width // 8, 3)).astype(np.uint8)
    photo = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    for x, y, face_px in places:
        scale = face_px / FACE_PX
        filter_ = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        head = cv2.resize(astronaut[HEAD], None, fx=scale, fy=scale, interpolation=filter_)
        photo[y : y + len(head), x : x + head.shape[1]] = head[: height - y, : width - x]
    return photo


def in_all_tiles(detector: FaceDetector, photo: np.ndarray) -> Faces:
    """Return what float32 finds in all views: the reference."""
    views = views_of(*photo.shape[:2], MIN_FACE_PX)
    return suppress_overlaps(Faces.concatenate([look_at_part(photo, detector.look, *view, 0.35) for view in views]))


def matched(wanted: Faces, given: Faces) -> np.ndarray:
    """Return the best intersection over union of each wanted face with a given one."""
    low = np.maximum(wanted.boxes_xyxy[:, None, :2], given.boxes_xyxy[None, :, :2])
    high = np.minimum(wanted.boxes_xyxy[:, None, 2:], given.boxes_xyxy[None, :, 2:])
    both = (high - low).clip(0).prod(-1)
    areas = [(faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2]).prod(-1) for faces in (wanted, given)]
    return (both / (areas[0][:, None] + areas[1][None] - both)).max(1, initial=0.0)


PLACES: dict[str, list[Place]] = {
    "none": [],
    "one": [(1100, 900, 30)],
    "at the corners": [(0, 0, 44), (2285, 1680, 44), (0, 1680, 44), (2285, 0, 44)],
    "across borders of blocks": [(1100 + 70 * k, 800 + 70 * k, 26) for k in range(6)],
    "of many sizes": [(200, 300, 22), (400, 1500, 24), (1200, 300, 60), (900, 1000, 150), (1700, 500, 240)],
    "side by side": [(400 + 90 * k, 900, 28) for k in range(8)],
    "a crowd": [(40 + 150 * k, 40 + 150 * j, 44) for k in range(15) for j in range(11)],
}
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda photo: photo,
    "dark": lambda photo: photo // 3,
    "mirrored": lambda photo: np.ascontiguousarray(photo[:, ::-1]),
}


@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_two_steps_find_what_float32_in_all_tiles_finds(detector, astronaut, places):
    photo = photo_of(astronaut, places)
    wanted, given = in_all_tiles(detector, photo), detector.detect(photo)
    assert len(wanted) >= 0.9 * len(places)
    assert len(given) == len(wanted)
    assert (matched(wanted, given) > 0.8).all()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_small_faces_are_found_in_changed_photos(detector, astronaut, change):
    photo = change(photo_of(astronaut, PLACES["of many sizes"]))
    wanted, given = in_all_tiles(detector, photo), detector.detect(photo)
    assert len(given) == len(wanted) >= 3
    assert (matched(wanted, given) > 0.8).all()


def test_only_the_surroundings_of_places_are_shown_to_the_accurate_detector(detector, astronaut):
    tiles = list(views_of(1800, 2400, MIN_FACE_PX))[1:]
    shapes: list[tuple[int, ...]] = []

    def look(view_rgb: np.ndarray, threshold: float) -> Faces:
        shapes.append(view_rgb.shape[:2])
        return detector.look(view_rgb, threshold)

    assert not screen.look_in_tiles(photo_of(astronaut, []), tiles, look, detector.eight_bit.look, 0.35)
    assert not shapes
    found = screen.look_in_tiles(photo_of(astronaut, [(1100, 900, 30)]), tiles, look, detector.eight_bit.look, 0.35)
    assert sum(map(len, found)) == len(shapes)  # once in each tile that shows the face
    assert all(max(shape) <= 384 for shape in shapes)


def test_where_the_score_is_close_to_the_threshold_the_whole_tile_decides():
    view = screen.TileView(np.zeros((1600, 1600, 3), np.uint8), (0, 0, 1536, 1536), 0.625)
    looked: list[tuple[tuple[int, ...], float]] = []

    def look(view_rgb: np.ndarray, threshold: float) -> Faces:
        looked.append((view_rgb.shape[:2], threshold))
        height, width = view_rgb.shape[:2]
        score = 0.34 if len(looked) == 1 else 0.36
        corner = np.array([width / 2 - 10, height / 2 - 10, width / 2 + 10, height / 2 + 10])
        return Faces(corner[None], np.array([score]), np.zeros((1, 5, 2)))

    found = screen.look_near(view, np.array([[470.0, 470, 490, 490]]), look, 0.35)
    assert [shape for shape, _ in looked] == [(320, 320), (960, 960)]
    assert looked[0][1] < 0.3 < looked[1][1] == 0.35
    assert found.scores.tolist() == pytest.approx([0.36])


@pytest.mark.parametrize(
    ("tiles", "threshold", "worthwhile"), [(9, 0.35, True), (9, 0.06, False), (2, 0.35, False), (0, 0.35, False)]
)
def test_small_photos_and_low_thresholds_are_searched_in_one_step(tiles, threshold, worthwhile):
    assert screen.worthwhile([((0, 0, 9, 9), 0.625)] * tiles, threshold) is worthwhile


@pytest.mark.parametrize(
    ("box", "scale"),
    [((732, 464, 2268, 2000), 0.625), ((0, 0, 1600, 1600), 0.6), ((0, 0, 1001, 1003), 0.625), ((9, 5, 905, 901), 1.0)],
)
def test_a_part_of_a_view_has_the_pixels_of_the_whole_view(box, scale):
    image = np.random.default_rng(0).integers(0, 256, (2000, 3000, 3)).astype(np.uint8)
    view = screen.TileView(image, box, scale)
    whole = shown(image, box, scale)
    assert (view.height, view.width) == whole.shape[:2]
    for x0, y0, x1, y1 in ((32, 64, 320, 352), (0, 0, 96, view.height), (view.width - 90, 64, view.width, 128)):
        assert np.array_equal(view.part((x0, y0, x1, y1)), whole[y0:y1, x0:x1])
