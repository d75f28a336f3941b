"""Tracks are linked to people."""

import numpy as np

from styleid.video.linking import link_people


def test_similar_tracks_are_linked_unless_they_share_a_frame():
    a, b = np.eye(4)[0], np.eye(4)[1]
    near = (a + 0.2 * b) / np.linalg.norm(a + 0.2 * b)
    spans = [set(range(10)), set(range(10)), set(range(20, 30)), set(range(20, 30)), set()]
    assert link_people([a, b, near, near, np.zeros(0)], spans, 0.6) in ([0, 1, 0, 2, 3], [0, 1, 2, 0, 3])
    assert link_people([a, near], [{1}, {1}], 0.6) == [0, 1]
    assert link_people([a, b], [{1}, {2}], 0.6) == [0, 1]
