"""Linking equals plain average linkage in any order, and never joins two faces of one photo."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styleid.people.linking import KnownPeople, link_faces


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plain(embeddings: np.ndarray, photos: list[int], above: float) -> set[frozenset[int]]:
    """Merge the two most similar groups again and again."""
    groups = [{i} for i in range(len(embeddings))]
    while True:
        best, pair = above, None
        for i, one in enumerate(groups):
            for other in groups[i + 1 :]:
                alike = np.mean([embeddings[a] @ embeddings[b] for a in one for b in other])
                apart = {photos[a] for a in one}.isdisjoint({photos[b] for b in other})
                if apart and alike > best:
                    best, pair = alike, (one, other)
        if pair is None:
            return {frozenset(g) for g in groups}
        groups.remove(pair[1])
        pair[0].update(pair[1])


def as_groups(numbers: list[int]) -> set[frozenset[int]]:
    return {frozenset(i for i, n in enumerate(numbers) if n == number) for number in numbers}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 14), st.floats(-0.2, 0.9), st.integers(1, 14))
def test_groups_are_those_of_the_plain_way_in_any_order(seed, count, above, photos):
    draw = np.random.default_rng(seed)
    embeddings, shown = unit(draw.standard_normal((count, 3))), [int(p) for p in draw.integers(0, photos, count)]
    expected = plain(embeddings, shown, above)
    assert as_groups(link_faces(embeddings, shown, above)) == expected
    order = draw.permutation(count)
    mixed = link_faces(embeddings[order], [shown[i] for i in order], above)
    assert {frozenset(int(order[i]) for i in g) for g in as_groups(mixed)} == expected


def test_people_are_numbered_after_those_who_are_known():
    axes = np.eye(4)
    known = KnownPeople(np.stack([3 * axes[0], axes[1]]), np.array([3, 1]))
    faces = unit([[0, 0, 0, 1], [1, 0.2, 0, 0], [0, 0, 1, 0], [0.1, 1, 0, 0], [0, 0, 0.9, 0.1]])
    assert link_faces(faces, "abcde", 0.6, known) == [2, 0, 3, 1, 3]
    assert link_faces(np.zeros((0, 4)), [], 0.6, known) == []
    assert link_faces(faces[:1], "a", 0.6) == [0]


def test_two_faces_of_one_photo_and_two_known_people_stay_apart():
    same = unit(np.ones((3, 4)))
    assert link_faces(same, ["a", "a", "b"], 0.5) in ([0, 1, 0], [0, 1, 1])
    known = KnownPeople(np.stack([same[0], same[0]]), np.ones(2))
    assert link_faces(same[:1], ["a"], 0.5, known) in ([0], [1])
    assert sorted(link_faces(same[:2], ["a", "a"], 0.5, known)) == [0, 1]


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_going_on_from_sums_is_as_from_faces(parts):
    draw = np.random.default_rng(3)
    people = unit(draw.standard_normal((5, 16)))
    faces = unit(np.repeat(people, 6, 0) + 0.05 * draw.standard_normal((30, 16)))[draw.permutation(30)]
    sums: list[np.ndarray] = []
    counts: list[int] = []
    numbers = []
    for part in np.array_split(faces, parts):
        known = KnownPeople(np.stack(sums), np.array(counts)) if sums else None
        for number, face in zip(link_faces(part, range(len(part)), 0.5, known), part, strict=True):
            if number == len(sums):
                sums.append(np.zeros(16))
                counts.append(0)
            sums[number], counts[number] = sums[number] + face, counts[number] + 1
            numbers.append(number)
    assert as_groups(numbers) == as_groups(link_faces(faces, range(30), 0.5))
    assert len(set(numbers)) == 5
