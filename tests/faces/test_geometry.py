import numpy as np

from styleid.faces import geometry


def neutral_face() -> np.ndarray:
    """A schematic face: eyes 100 px apart, mouth closed."""
    points = np.zeros((68, 2), np.float32)
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([100 + 95 * np.cos(angle), 90 + 110 * np.sin(angle)], 1)
    points[17:22] = np.stack([np.linspace(25, 75, 5), np.full(5, 70)], 1)
    points[22:27] = np.stack([np.linspace(125, 175, 5), np.full(5, 70)], 1)
    points[27:31] = np.stack([np.full(4, 100), np.linspace(95, 135, 4)], 1)
    points[31:36] = np.stack([np.linspace(85, 115, 5), np.full(5, 142)], 1)
    for start, x in ((36, 50), (42, 150)):
        points[start : start + 6] = [[x - 15, 90], [x - 5, 85], [x + 5, 85], [x + 15, 90], [x + 5, 95], [x - 5, 95]]
    points[48:55] = [[70, 170], [80, 166], [90, 164], [100, 165], [110, 164], [120, 166], [130, 170]]
    points[55:60] = [[120, 176], [110, 178], [100, 179], [90, 178], [80, 176]]
    points[60:68] = [[75, 170], [90, 170], [100, 170], [110, 170], [125, 170], [110, 171], [100, 171], [90, 171]]
    return points


def test_inter_ocular_distance_is_between_eye_centres():
    assert geometry.inter_ocular(neutral_face()) == 100


def test_expression_does_not_depend_on_place_size_and_turn():
    points = neutral_face()
    angle = 0.4
    turned = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * 1.7 + 30
    first, second = geometry.expression(points), geometry.expression(turned.astype(np.float32))
    for name in ("mouth_opening", "smile", "eye_opening", "brow_height", "yaw", "pitch"):
        assert np.isclose(getattr(first, name), getattr(second, name), atol=1e-4), name
    assert np.isclose(second.roll - first.roll, angle, atol=1e-4)


def test_open_mouth_smile_and_turn_are_seen():
    points = neutral_face()
    assert not geometry.expression(points).mouth_is_open
    opened = points.copy()
    opened[65:68, 1] += 20
    assert geometry.expression(opened).mouth_is_open
    smiling = points.copy()
    smiling[[48, 54], 1] -= 10
    assert geometry.expression(smiling).smile > geometry.expression(points).smile + 0.05
    right = points.copy()
    right[27:36, 0] += 15
    assert geometry.expression(right).yaw > 0.05 > abs(geometry.expression(points).yaw)


def test_forehead_lies_above_the_brows():
    points = geometry.with_forehead(neutral_face())
    assert points.shape == (78, 2)
    assert np.array_equal(points[:68], neutral_face())
    assert (points[68:, 1] < points[17:27, 1] - 20).all()


def test_landmark_error_counts_in_eye_distances():
    points = neutral_face()
    assert np.isclose(geometry.landmark_error(points + np.float32([3, 4]), points), 0.05)
