"""Generators that fill faces into a photo: their inputs, and bad outputs, which end in obscured faces."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer, Bundle
from styleid.bundles.steps import SwapStep
from styleid.core.rendering import draw, render
from styleid.errors import OptionError
from styleid.types import Action
from tests.bundles.tiny_format2 import tiny_format2


@pytest.fixture(scope="module")
def group() -> np.ndarray:
    return np.asarray(Image.open(Path(__file__).parents[2] / "examples/group.jpg").convert("RGB"))


def drawing_with(bundle: Bundle, image) -> Bundle:
    """Return the bundle with a generator of another kind. image: makes images in [0, 255] of the maps."""
    other = copy.copy(bundle)
    other.draw = lambda generator, wplus, maps: image(maps)  # type: ignore[method-assign]
    return other


def unchanged_context(maps) -> np.ndarray:
    return ((maps["context"].transpose(0, 2, 3, 1) + 1) * 127.5).astype(np.float32)


def noise(maps) -> np.ndarray:
    n, _, side, _ = maps["context"].shape
    return np.random.default_rng(0).uniform(0, 255, (n, side, side, 3)).astype(np.float32)


@pytest.mark.parametrize("image", [unchanged_context, noise])
def test_a_generator_that_draws_no_face_leaves_every_face_obscured(bundle, astronaut, group, image):
    anonymizer = Anonymizer(drawing_with(bundle, image), AnonymizeOptions(seed=1))
    for photo in (astronaut, group):
        outcome = anonymizer.anonymize(photo)
        assert len(outcome.faces)
        assert {face.action for face in outcome.faces} == {Action.OBSCURED}


def test_the_default_bundle_gives_every_face_of_a_group_a_new_one(bundle, group):
    outcome = Anonymizer(bundle, AnonymizeOptions(seed=3)).anonymize(group)
    assert [face.action for face in outcome.faces] == [Action.ANONYMIZED] * 4
    assert np.array_equal(outcome.image_rgb[~outcome.region_mask], group[~outcome.region_mask])


def test_a_kept_face_stays_in_what_its_neighbours_generator_sees(bundle, group):
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=3))
    faces = anonymizer.find(group)
    size = bundle.spec.crop.size_px
    middle = int(np.argsort(faces.boxes_xyxy[:, 0])[1])
    moved = faces.boxes_xyxy.copy()  # a neighbour, close by
    beside = (middle + 1) % len(faces)
    width = moved[middle, 2] - moved[middle, 0]
    moved[beside] = moved[middle] + np.float32([width, 0, width, 0])
    close = dataclasses.replace(faces, boxes_xyxy=moved)
    seen = {}
    for name, kept in (("hidden", None), ("kept", np.arange(len(faces)) == beside)):
        (source,) = anonymizer.analyse(group, close, np.array([middle]), kept)
        seen[name] = source.others
        assert source.others.shape == (size, size)
    assert seen["hidden"].any()
    assert not seen["kept"].any()


@pytest.mark.parametrize(("box_px", "side"), [(60, 128), (200, 256)])
def test_the_generator_goes_by_the_faces_width_in_the_photo(tmp_path, astronaut, box_px, side):
    bundle = Bundle(tiny_format2(tmp_path / "tiny", "built-in"))
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    faces = anonymizer.find(astronaut)
    (source,) = anonymizer.analyse(astronaut, faces, np.array([0]))
    boxes = faces.boxes_xyxy.copy()
    boxes[0, 2] = boxes[0, 0] + box_px
    wide = dataclasses.replace(source, detection=dataclasses.replace(faces, boxes_xyxy=boxes)[0])
    (drawing,) = draw(bundle, [wide], source.wplus[None], [SwapStep((4, 5, 6))])
    assert drawing.image.shape == (side, side, 3)
    assert drawing.region is not None
    assert drawing.region.shape == (side, side)
    assert drawing.landmarks.shape == (68, 2)


def test_a_step_that_covers_draws_over_what_lies_before_the_face(bundle, astronaut):
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    (source,) = anonymizer.analyse(astronaut, anonymizer.find(astronaut), np.array([0]))
    steps = [SwapStep((3,)), SwapStep((3,), cover=0.06)]
    plain, covering = draw(bundle, [source] * 2, np.stack([source.wplus] * 2), steps)
    assert (covering.region > 0.5).sum() > (plain.region > 0.5).sum()
    assert (covering.region - plain.region).min() > -0.1


def test_w_plus_alone_is_drawn_into_the_surroundings_of_nobody(bundle):
    z = np.random.default_rng(0).standard_normal((2, bundle.spec.z)).astype(np.float32)
    people = np.repeat(np.float32([[30, 0.9, 1, 0, 0, 0, 0]]), 2, axis=0)
    wplus = bundle.sample(z, people, np.zeros((2, bundle.spec.size), np.float32))
    images, landmarks = render(bundle, wplus)
    size, neutral = bundle.spec.crop.size_px, bundle.neutral()
    assert images.shape == (2, size, size, 3)
    assert landmarks.shape == (2, 68, 2)
    assert np.array_equal(images[0][0], neutral.crop[0].astype(np.float32))
    assert np.abs(images[0] - images[1]).max() > 30


def test_an_inverted_face_is_drawn_as_itself_and_a_swapped_one_is_not(bundle, astronaut):
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    (source,) = anonymizer.analyse(astronaut, anonymizer.find(astronaut), np.array([0]))
    (own,) = draw(bundle, [source], source.wplus[None], [SwapStep((3,))])
    patch, _ = source.composite(astronaut, own)
    view = bundle.spec.identity_crop.crop(patch, source.local(source.identity_matrix))
    alike = float(bundle.embed(view[None])[0] @ source.observation.embedding)
    outcome = anonymizer.anonymize(astronaut)
    assert alike > bundle.spec.thresholds[1e-3].high
    assert outcome.faces[0].gate["similarity"] < bundle.spec.thresholds[1e-3].high


def test_pixel_draws_from_labels_and_has_no_choice_of_region(bundle, astronaut):
    outcome = Anonymizer(bundle, AnonymizeOptions(seed=2, method="pixel")).anonymize(astronaut)
    assert [face.action for face in outcome.faces] == [Action.ANONYMIZED]
    with pytest.raises(OptionError, match=r"^region: the generator of the bundle 'context128' determines"):
        Anonymizer(bundle, AnonymizeOptions(method="pixel", region="inner"))
