"""No face stays unchanged, whatever the generator draws and wherever the face lies."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

import styleid.core.obscuring
import styleid.core.pipeline
from styleid import Action, AnonymizeOptions, Anonymizer, Bundle, Faces, Outcome
from styleid.bundles.spec import SimilarityRange
from styleid.core.boxes import with_given_boxes
from styleid.core.face import KnownFaces, face_shares
from styleid.core.gate import GateVerdict
from styleid.core.observation import Observation
from styleid.core.privacy import privacy_level
from styleid.errors import OptionError
from styleid.pixel.obscure import OBSCURINGS
from styleid.pixel.regions import SKIN, forehead_height
from styleid.types import SearchHints
from tests.core.verdicts import with_failures
from tests.tiny_bundle import likeness, looking_networks, tiny_bundle

FACE = (181, 58, 270, 178)  # the astronaut's, x0 y0 x1 y1
OWN_BOX = np.float32([[300, 300, 380, 400]])


@pytest.fixture(scope="module")
def make(tmp_path_factory) -> Callable[..., Anonymizer]:
    """Make an anonymiser with a tiny bundle's generator."""

    def of(generator: str, looking: str = "small", **options) -> Anonymizer:
        options.setdefault("seed", 1)
        return Anonymizer(Bundle(tiny_bundle(tmp_path_factory, generator, looking)), AnonymizeOptions(**options))

    return of


@pytest.fixture(scope="module")
def crowd(astronaut) -> np.ndarray:
    """Six astronauts of three sizes, half of them mirrored."""
    canvas = np.full((800, 900, 3), 96, np.uint8)
    places = [(0, 0, 400), (420, 10, 400), (10, 480, 256), (300, 500, 256), (600, 480, 128), (760, 640, 128)]
    for index, (x, y, side) in enumerate(places):
        small = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
        canvas[y : y + side, x : x + side] = small[:, ::-1] if index % 2 else small
    return canvas


def pair(astronaut: np.ndarray, apart_px: int) -> np.ndarray:
    """Two heads, the second mirrored, with their faces' centres apart_px from each other, on grey."""
    canvas = np.full((300, 460, 3), 110, np.uint8)
    half, left = apart_px // 2, 230 - apart_px // 2
    head = astronaut[0:260, 225 - half : 225 + half]  # the face's centre is at x = 225
    canvas[20:280, left - half : left + half] = head
    canvas[20:280, left + half : left + half + 2 * half] = head[:, ::-1]
    return canvas


def assert_hidden(original: np.ndarray, outcome: Outcome, faces: int, below: float = 0.35) -> None:
    assert len(outcome.faces) == faces
    for face in outcome.faces:
        assert face.action is Action.OBSCURED
        assert likeness(original, outcome.image_rgb, face.box_xyxy) < below
    assert np.array_equal(outcome.image_rgb[~outcome.region_mask], original[~outcome.region_mask])


def test_likeness_tells_faces_from_hidden_ones(astronaut):
    assert likeness(astronaut, astronaut, FACE) == pytest.approx(1)
    assert likeness(astronaut, cv2.GaussianBlur(astronaut, (0, 0), 2), FACE) > 0.7
    assert likeness(astronaut, 255 - astronaut, FACE) < -0.9
    assert abs(likeness(astronaut, astronaut[:, ::-1], FACE)) < 0.35


@pytest.mark.parametrize("looking", ["small", "built-in"])
@pytest.mark.parametrize("generator", ["copy", "noise", "flat"])
def test_what_the_gate_refuses_is_obscured(make, astronaut, crowd, generator, looking):
    if looking not in looking_networks():
        pytest.skip("no bundle is built in")
    anonymizer = make(generator, looking)
    for image, faces in ((astronaut, 1), (crowd, 6)):
        outcome = anonymizer.anonymize(image, name="photo")
        assert_hidden(image, outcome, faces)
        for face in outcome.faces:
            assert face.method == "solid"
            assert face.tries == anonymizer.options.tries
            assert face.reason
            if generator == "copy":
                assert "too like the original" in face.reason
                assert face.gate["similarity"] > 0.8
            if generator == "flat" and faces == 1 and looking == "built-in":
                assert "no face is found after the swap" in face.reason


def test_what_the_gate_passes_is_written_as_it_was_judged(make, crowd):
    anonymizer = make("other")
    outcome = anonymizer.anonymize(crowd)
    passed = [face for face in outcome.faces if face.action is Action.ANONYMIZED]
    assert len(passed) >= 5
    for face in outcome.faces:  # the detector does not see every chessboard as a face: such a one is hidden
        if face not in passed:
            assert face.action is Action.OBSCURED
            assert face.reason == "no face is found after the swap"
            assert likeness(crowd, outcome.image_rgb, face.box_xyxy) < 0.35
    assert np.array_equal(outcome.image_rgb[~outcome.region_mask], crowd[~outcome.region_mask])
    assert (outcome.image_rgb != crowd).any(-1).mean() > 0.02
    for face in passed:
        assert face.reason == ""
        assert face.method == "latent"
        assert face.tries == 1
        assert face.gate["similarity"] < 0.6


@pytest.mark.parametrize("apart_px", [96, 110, 130, 160])
def test_neighbours_do_not_bring_each_other_back(make, astronaut, apart_px):
    image = pair(astronaut, apart_px)
    anonymizer = make("other")
    faces = anonymizer.detector.detect(image)
    assert len(faces) == 2
    outcome = anonymizer.anonymize(image)
    template = anonymizer.bundle.spec.identity_crop
    for face, landmarks in zip(outcome.faces, faces.landmarks_px, strict=True):
        views = [template.crop(i, template.matrix(landmarks)) for i in (image, outcome.image_rgb)]
        before, after = anonymizer.bundle.embed(np.stack(views))
        if face.action is Action.ANONYMIZED:
            assert face.gate["similarity"] == pytest.approx(float(before @ after), abs=0.02)
            assert float(before @ after) <= 0.6
        else:
            assert likeness(image, outcome.image_rgb, face.box_xyxy) < 0.35


@pytest.mark.parametrize("refused", [0, 1])
@pytest.mark.parametrize("apart_px", [96, 120])
def test_an_obscured_face_stays_so_beside_a_new_one(make, astronaut, monkeypatch, refused, apart_px):
    image = pair(astronaut, apart_px)
    known: list[int] = []

    def refuse_one(before, after, level, error):
        if id(before) not in known:
            known.append(id(before))
        verdict = GateVerdict(before, after, level, error)
        return with_failures(verdict, ("told so",)) if known.index(id(before)) == refused else verdict

    monkeypatch.setattr(styleid.core.pipeline, "GateVerdict", refuse_one)
    outcome = make("other").anonymize(image)
    assert outcome.faces[refused].reason == "told so"
    assert likeness(image, outcome.image_rgb, outcome.faces[refused].box_xyxy) < 0.35


def test_faces_that_fail_together_are_obscured(make, astronaut, monkeypatch):
    image = pair(astronaut, 110)
    answers = iter([(), (), ("told so",), ("told so",)])  # alone both pass
    monkeypatch.setattr(styleid.core.pipeline, "GateVerdict", lambda *a: with_failures(GateVerdict(*a), next(answers)))
    outcome = make("other").anonymize(image)
    assert [face.reason for face in outcome.faces] == ["told so", "told so"]
    assert_hidden(image, outcome, 2)
    assert next(answers, None) is None


def test_a_face_that_is_found_twice_is_no_way_out(make, astronaut, monkeypatch):
    anonymizer = make("other")
    face = anonymizer.detector.detect(astronaut)
    x0, y0, x1, y1 = face.boxes_xyxy[0]
    inner = np.float32([[x0 + 20, y0 + 30, x1 - 20, y1 - 30]])
    twice = Faces.concatenate([face, Faces(inner, face.scores * 0.9, face.landmarks_px + 1.5)])
    monkeypatch.setattr(anonymizer.detector, "detect", lambda image, *_: twice)
    outcome = anonymizer.anonymize(astronaut)
    template = anonymizer.bundle.spec.identity_crop
    matrix = template.matrix(face.landmarks_px[0])
    views = np.stack([template.crop(i, matrix) for i in (astronaut, outcome.image_rgb)])
    before, after = anonymizer.bundle.embed(views)
    hidden = likeness(astronaut, outcome.image_rgb, FACE) < 0.35
    assert hidden or float(before @ after) <= 0.6


@pytest.mark.parametrize("how", OBSCURINGS)
def test_the_method_none_obscures_every_face(crowd, how):
    outcome = Anonymizer.from_bundle(options=AnonymizeOptions(method="none", obscure=how)).anonymize(crowd)
    assert_hidden(crowd, outcome, 6, below=0.5)
    assert {(face.method, face.reason, face.tries) for face in outcome.faces} == {(how, "", 0)}
    assert 0.03 < outcome.region_mask.mean() < 0.25


@pytest.mark.parametrize("looking", ["small", "built-in"])
@pytest.mark.parametrize("how", ["blur", "pixelate"])
def test_a_blurred_fallback_passes_the_gate_or_is_solid(make, astronaut, how, looking):
    if looking not in looking_networks():
        pytest.skip("no bundle is built in")
    anonymizer = make("copy", looking, obscure=how)
    outcome = anonymizer.anonymize(astronaut)
    (face,) = outcome.faces
    template = anonymizer.bundle.spec.identity_crop
    matrix = template.matrix(anonymizer.detector.detect(astronaut).landmarks_px[0])
    views = np.stack([template.crop(i, matrix) for i in (astronaut, outcome.image_rgb)])
    before, after = anonymizer.bundle.embed(views)
    x0, y0, x1, y1 = (round(v) for v in face.box_xyxy)
    colours = np.ptp(outcome.image_rgb[y0 + 30 : y1 - 30, x0 + 20 : x1 - 20].reshape(-1, 3), axis=0)
    if face.method == how:
        assert float(before @ after) <= anonymizer.level.strangers.high
        assert colours.max() > 0
    else:
        assert face.method == "solid"
        assert colours.max() == 0
    assert_hidden(astronaut, outcome, 1, below=0.5)


@pytest.mark.parametrize(("rounds", "method"), [(0, "blur"), (1, "blur"), (2, "blur"), (3, "solid")])
def test_a_blur_grows_until_the_face_no_longer_matches(make, astronaut, monkeypatch, rounds, method):
    anonymizer = make("copy", obscure="blur", tries=1)
    answers = iter([True, True, *[True] * rounds, *[False] * 9])  # the original, the attempt, then one per blur
    same, other = np.float32([[1, 0]]), np.float32([[0, 1]])
    monkeypatch.setattr(anonymizer.bundle, "embed", lambda crops: same if next(answers) else other)
    seen: list[float | str] = []

    def spy(image, box, how, strength=1.0):
        seen.append(strength if how == "blur" else how)
        return obscure(image, box, how, strength)

    obscure = styleid.core.pipeline.obscure_face
    for module in (styleid.core.pipeline, styleid.core.obscuring):  # the first blur, and the coarser ones
        monkeypatch.setattr(module, "obscure_face", spy)
    outcome = anonymizer.anonymize(astronaut)
    assert outcome.faces[0].method == method
    assert seen == [1.0, 1.6, 2.5, "solid"][: rounds + 1]
    assert_hidden(astronaut, outcome, 1)


@pytest.mark.parametrize("method", ["latent", "none"])
def test_own_boxes_without_landmarks_are_obscured(make, astronaut, method):
    anonymizer = make("other", method=method)
    boxes = np.concatenate([OWN_BOX, np.float32([[0, 400, 60, 9000]]), np.float32([FACE])])
    outcome = anonymizer.anonymize(astronaut, boxes_xyxy=boxes)
    assert len(outcome.faces) == 3  # the last is the face that the detector finds itself
    found, *own = outcome.faces
    assert found.action is (Action.ANONYMIZED if method == "latent" else Action.OBSCURED)
    assert sorted(face.box_xyxy for face in own) == [(0, 400, 60, 511.5), tuple(OWN_BOX[0])]
    for face in own:
        assert face.action is Action.OBSCURED
        assert face.reason == ("no landmarks were found in the given box" if method == "latent" else "")
        x0, y0, x1, y1 = (round(v) for v in face.box_xyxy)
        middle = outcome.image_rgb[y0 + 20 : y1 - 20, x0 + 15 : x1 - 15]
        assert np.ptp(middle.reshape(-1, 3), axis=0).max() == 0
    assert np.array_equal(outcome.image_rgb[~outcome.region_mask], astronaut[~outcome.region_mask])


@pytest.mark.parametrize(
    "box", [(600, 10, 700, 90), (10, 10, 10, 90), (80, 10, 20, 90), (-90, -90, -10, -10), (float("nan"), 0, 10, 10)]
)
def test_boxes_that_hold_nothing_are_refused(astronaut, box):
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    with pytest.raises(ValueError, match="512 x 512"):
        anonymizer.anonymize(astronaut, boxes_xyxy=np.float32([OWN_BOX[0], box]))


def test_what_an_earlier_pass_found_counts_for_the_same_photo_only(astronaut):
    none = np.zeros((0, 4), np.float32)
    known = KnownFaces.of(astronaut, Faces(none, np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)))
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"), seen={"a.png": known})
    assert anonymizer.anonymize(astronaut, name="a.png").faces == ()
    darker = astronaut - np.minimum(astronaut, 1)
    everywhere = SearchHints(none, none)
    for image, name, search in ((astronaut, "b.png", None), (darker, "a.png", None), (astronaut, "a.png", everywhere)):
        assert len(anonymizer.anonymize(image, name=name, search=search).faces) == 1


@pytest.mark.parametrize(
    ("boxes", "heads", "expected"),
    [
        (None, None, [FACE]),
        (OWN_BOX, None, [FACE, tuple(OWN_BOX[0])]),
        (None, [(20, 300, 90, 380)], [FACE, (20, 300, 90, 380)]),
        (OWN_BOX, [(20, 300, 90, 380)], [FACE, tuple(OWN_BOX[0]), (20, 300, 90, 380)]),
        (None, [FACE], [FACE]),
        ([FACE], None, [FACE]),
    ],
)
def test_boxes_and_heads_count_where_no_face_was_found(boxes, heads, expected):
    found = Faces(np.float32([FACE]), np.ones(1, np.float32), np.full((1, 5, 2), 100, np.float32))
    hints = None if heads is None else SearchHints(np.zeros((0, 4), np.float32), np.float32(heads))
    together = with_given_boxes(found, (512, 512, 3), None if boxes is None else np.float32(boxes), hints)
    assert sorted(map(tuple, together.boxes_xyxy.tolist())) == sorted(map(tuple, np.float32(expected).tolist()))


@pytest.mark.parametrize("generator", ["copy", "noise", "other"])
@pytest.mark.parametrize(
    "window",
    [
        (0, 512, 225, 512),
        (0, 512, 0, 225),
        (110, 512, 0, 512),
        (0, 125, 0, 512),
        (95, 140, 190, 260),
        (0, 512, 240, 512),
    ],
)
def test_faces_at_the_border_do_not_escape(make, astronaut, generator, window):
    y0, y1, x0, x1 = window
    image = np.ascontiguousarray(astronaut[y0:y1, x0:x1])
    outcome = make(generator).anonymize(image)
    assert outcome.image_rgb.shape == image.shape
    assert np.array_equal(outcome.image_rgb[~outcome.region_mask], image[~outcome.region_mask])
    for face in outcome.faces:
        if generator != "other":
            assert face.action is Action.OBSCURED
        assert face.action is Action.ANONYMIZED or likeness(image, outcome.image_rgb, face.box_xyxy) < 0.35


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (2, 3), (9, 9), (33, 31)])
def test_images_too_small_for_a_face_stay_as_they_are(make, shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    outcome = make("copy").anonymize(image)
    assert outcome.faces == ()
    assert np.array_equal(outcome.image_rgb, image)
    assert not outcome.region_mask.any()


@pytest.mark.parametrize("side_px", [40, 56, 80])
@pytest.mark.parametrize("generator", ["copy", "noise", "other"])
def test_tiny_faces_are_handled(make, astronaut, generator, side_px):
    image = np.full((200, 200, 3), 120, np.uint8)
    small = cv2.resize(astronaut, (side_px, side_px), interpolation=cv2.INTER_AREA)
    image[20 : 20 + side_px, 30 : 30 + side_px] = small
    outcome = make(generator).anonymize(image)
    assert len(outcome.faces) >= (side_px > 50)  # the face is 10 px wide in the second
    assert np.array_equal(outcome.image_rgb[~outcome.region_mask], image[~outcome.region_mask])
    for face in outcome.faces:
        assert face.action is Action.OBSCURED or generator == "other"


def test_tiny_own_boxes_are_obscured():
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3)).astype(np.uint8)
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    outcome = anonymizer.anonymize(image, boxes_xyxy=np.float32([[20, 20, 21, 21]]))
    assert outcome.region_mask[20, 20]
    assert outcome.region_mask.sum() < 20


@pytest.mark.parametrize(
    "box", [[0.04, 0.13, 0.27, 0.37], [0, 0, 1, 1], [20, 20, 20.5, 30], [30, 20, 20, 40], [np.nan, 1, 9, 9]]
)
def test_own_boxes_that_hold_no_pixel_are_refused(box):
    """Such as shares of the image where pixels are meant."""
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    with pytest.raises(ValueError, match="covers less than a pixel of an image of 60 x 50 px"):
        anonymizer.anonymize(np.zeros((50, 60, 3), np.uint8), boxes_xyxy=np.float32([box]))


def test_the_input_is_left_as_it_is(make, astronaut):
    image = astronaut.copy()
    image.setflags(write=False)
    outcome = make("other").anonymize(image, boxes_xyxy=OWN_BOX)
    assert np.array_equal(image, astronaut)
    assert not np.shares_memory(outcome.image_rgb, image)
    assert not np.array_equal(outcome.image_rgb, image)


def test_views_of_other_memory_orders_give_the_same(make, astronaut):
    anonymizer = make("other")
    straight = anonymizer.anonymize(astronaut).image_rgb
    flipped = np.ascontiguousarray(astronaut[::-1, ::-1])[::-1, ::-1]
    assert np.array_equal(anonymizer.anonymize(flipped).image_rgb, straight)
    assert np.array_equal(anonymizer.anonymize(np.asfortranarray(astronaut)).image_rgb, straight)


def _targets(anonymizer: Anonymizer, image: np.ndarray, name: str, monkeypatch) -> np.ndarray:
    """Return the z that a run draws, in order."""
    drawn = []

    def spy(z, attributes, source):
        drawn.append(z)
        return source

    monkeypatch.setattr(anonymizer.bundle, "sample", spy)
    anonymizer.anonymize(image, name=name)
    return np.concatenate(drawn)


def test_a_seed_repeats_targets_and_no_seed_does_not(make, astronaut, monkeypatch):
    image = pair(astronaut, 160)
    first, again = (_targets(make("copy", seed=7), image, "a.jpg", monkeypatch) for _ in range(2))
    assert np.array_equal(first, again)
    assert len(first) == 2 * make("copy").options.tries
    assert len(np.unique(first.round(5), axis=0)) == len(first)  # each face and each attempt has its own
    for other in (
        _targets(make("copy", seed=8), image, "a.jpg", monkeypatch),
        _targets(make("copy", seed=7), image, "b.jpg", monkeypatch),
        _targets(make("copy", seed=None), image, "a.jpg", monkeypatch),
        _targets(make("copy", seed=None), image, "a.jpg", monkeypatch),
    ):
        assert not (first[:, None] == other[None]).all(-1).any()


def test_the_method_pixel_draws_from_labels_alone(crowd):
    """Each face is new or obscured, and of the face's own codes nothing gets into the new ones."""
    anonymizer = Anonymizer.from_bundle(options=AnonymizeOptions(method="pixel", seed=3))
    outcome = anonymizer.anonymize(crowd)
    new = [face for face in outcome.faces if face.action is Action.ANONYMIZED]
    assert len(new) >= len(outcome.faces) - 1 > 0
    assert {face.method for face in new} == {"pixel"}
    assert np.array_equal(outcome.image_rgb[~outcome.region_mask], crowd[~outcome.region_mask])
    faces = anonymizer.find(crowd)
    for source in anonymizer.analyse(crowd, faces, np.arange(len(faces))):
        labels = anonymizer.bundle.parse(source.crop[None])[0].argmax(1).astype(np.uint8)
        assert np.allclose(source.wplus, anonymizer.bundle.encode_labels(labels)[0], atol=1e-4)


def test_a_seed_repeats_the_pixels(crowd):
    one, two, other = (
        Anonymizer.from_bundle(options=AnonymizeOptions(seed=seed, tries=2)).anonymize(crowd, name="x").image_rgb
        for seed in (5, 5, 6)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 8, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint16),
        np.zeros((8, 8, 3), bool),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 0, 3), np.uint8),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_other_arrays_are_refused(wrong):
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    with pytest.raises(ValueError, match="uint8 \\(height, width, 3\\)"):
        anonymizer.anonymize(wrong)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"units": "levels:nothing"}, "levels are light, rest"),
        ({"units": "layers:1-3"}, "layers 0 to 2"),
        ({"privacy": "huge"}, "unknown; choose low, standard, high, max"),
        ({"privacy": 0.5}, "0.0001 to 0.1"),
    ],
)
def test_options_are_checked_against_the_bundle(make, options, says):
    with pytest.raises(OptionError, match=says):
        make("copy", **options)


def test_a_method_without_its_bundle_is_refused():
    with pytest.raises(ValueError, match="needs a bundle"):
        Anonymizer(None)


def test_skin_that_stays_does_not_make_up_for_what_is_no_face(bundle, astronaut):
    """Nor does a face make up for a forehead that is none."""
    anonymizer = Anonymizer(bundle)
    (source,) = anonymizer.analyse(astronaut, anonymizer.find(astronaut), np.array([0]))
    forehead = forehead_height(source.observation.landmarks, bundle.spec.crop.size_px) > 0.35

    def shares(face: np.ndarray) -> tuple[float, float]:
        return face_shares(source.shown, 8 * np.eye(19, dtype=np.float32)[np.where(face, SKIN, 0)].transpose(2, 0, 1))

    whole, below = shares(forehead)
    assert 0.02 < whole < 0.4
    assert below < 0.05
    whole, below = shares(~forehead)
    assert 0.6 < whole < 0.98
    assert below > 0.95
    assert min(shares(np.ones_like(forehead))) > 0.95


@pytest.mark.parametrize("kept", [(0.8, 1.0), (1.0, 0.8), (np.nan, 1.0)], ids=str)
def test_both_shares_of_a_face_must_be_one(kept):
    def measured(shares: tuple[float, float]) -> Observation:
        embedding = np.float32([1, 0]) if shares == (1.0, 1.0) else np.float32([0, 1])
        return Observation(True, np.arange(136, dtype=np.float32).reshape(68, 2), embedding, np.zeros(7), shares)

    level = privacy_level("standard", {1e-3: SimilarityRange(-0.3, 0.4), 1e-2: SimilarityRange(-0.2, 0.3)})
    before = measured((1.0, 1.0))
    assert "what is found does not look like a face" in GateVerdict(before, measured(kept), level, 0.16).failures
    assert not GateVerdict(before, measured((0.95, 0.95)), level, 0.16).failures
