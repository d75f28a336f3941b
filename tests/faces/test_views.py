"""Embeddings of several views of a face are more accurate than of one."""

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer
from styleid.faces.views import embed_faces, embed_views


@pytest.fixture(scope="module")
def landmarks(astronaut, bundle):
    return Anonymizer(bundle, AnonymizeOptions()).find(astronaut).landmarks_px[:1]


@pytest.fixture(scope="module")
def seen(astronaut, bundle):
    anonymizer = Anonymizer(bundle, AnonymizeOptions())
    return anonymizer.analyse(astronaut, anonymizer.find(astronaut), np.array([0]))[0]


def test_views_and_their_mirror_images_count_alike(seen, bundle):
    views = seen.views(bundle.spec.identity_crop)[None]
    own = embed_views(bundle, views)
    assert np.linalg.norm(own, axis=1) == pytest.approx(1, abs=1e-5)
    assert embed_views(bundle, views[..., ::-1, :])[0] == pytest.approx(own[0], abs=1e-5)
    assert embed_views(bundle, views[:, ::-1])[0] == pytest.approx(own[0], abs=1e-5)


def test_a_source_has_the_views_that_its_photo_gives(seen, astronaut, bundle, landmarks):
    views = seen.views(bundle.spec.identity_crop)
    assert len(views) == 2
    assert not np.array_equal(*views)
    assert embed_views(bundle, views[None])[0] == pytest.approx(embed_faces(bundle, astronaut, landmarks)[0], abs=1e-3)


def test_a_badly_aligned_face_is_known_by_its_other_view(astronaut, bundle, landmarks):
    template = bundle.spec.identity_crop
    rng = np.random.default_rng(3)
    one, several = [], []
    clear = bundle.embed(template.crop(astronaut, template.matrix(landmarks[0]))[None])[0]
    best = embed_faces(bundle, astronaut, landmarks)[0]
    for _ in range(6):
        moved = (landmarks + rng.normal(0, 0.12, landmarks.shape) * np.ptp(landmarks[0, :, 0])).astype(np.float32)
        one.append(clear @ bundle.embed(template.crop(astronaut, template.matrix(moved[0]))[None])[0])
        several.append(best @ embed_faces(bundle, astronaut, moved)[0])
    assert np.mean(several) > np.mean(one) + 0.03, (several, one)
