"""Photos with a gain map: the map does not show replaced faces, and faces that only the map shows are found."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.engine.options import RunOptions
from styleid.engine.photo import anonymize_photo
from styleid.evaluate.side_channels import find_side_channels
from styleid.faces.detect import FaceDetector
from styleid.media.audit import find_leftovers
from styleid.media.image import read_photo_bytes
from styleid.media.provenance import SOURCE_TYPE
from tests.media import further_parts as parts


@pytest.fixture(scope="module")
def portrait(astronaut) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(astronaut[:320, 60:380]), (480, 480))


@pytest.fixture(scope="module")
def gain(portrait) -> np.ndarray:
    """Gains that follow brightness, as phones make them, of half the size."""
    return grey(portrait)


@pytest.fixture(scope="module")
def hiding() -> Anonymizer:
    return Anonymizer(None, AnonymizeOptions(method="none", obscure="solid"))


def run(data, anonymizer, **options):
    return anonymize_photo("p.jpg", read_photo_bytes(data, "p.jpg"), anonymizer, RunOptions(Path(), **options))


def grey(picture):
    return cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (240, 240), interpolation=cv2.INTER_AREA)


def alike(one, other):
    """Correlate two maps' details."""
    a, b = (x.astype(float) - cv2.GaussianBlur(x.astype(float), (0, 0), 6) for x in (one, other))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("make", ["hiding", "new"])
def test_the_map_of_an_output_shows_the_new_face_at_most(make, portrait, gain, hiding, bundle) -> None:
    anonymizer = hiding if make == "hiding" else Anonymizer(bundle, AnonymizeOptions(seed=2))
    source = parts.ultra_hdr(portrait, gain)
    data, record = run(source, anonymizer)
    (face,) = record["faces"]
    assert face["action"] == {"hiding": "obscured", "new": "anonymised"}[make]
    assert (SOURCE_TYPE.encode() in data) == (make == "new") == ("mark" in record)
    assert "notes" not in record
    before, after = (parts.pixels(parts.mpf_pictures(d)[1]) for d in (source, data))
    x0, y0, x1, y1 = (round(v / 2) for v in face["box"])
    inset_y, inset_x = (y1 - y0) // 5, (x1 - x0) // 5  # a box holds hair and neck, which stay
    inside = np.s_[y0 + inset_y : y1 - inset_y, x0 + inset_x : x1 - inset_x]
    around = np.s_[:, : max(8, x0 - 40)]
    assert alike(before[around], after[around]) > 0.9
    old, new = (grey(picture)[inside] for picture in (portrait, np.asarray(Image.open(io.BytesIO(data)))))
    # eyes and mouth stay where they were, so that photos are alike to some degree; the maps may be no more
    assert alike(before[inside], after[inside]) < alike(old, new) + 0.05 < 0.8
    assert find_leftovers(data, "strip") == []
    found = find_side_channels(data, np.asarray(Image.open(io.BytesIO(data))), source, portrait)
    assert not found.may_identify
    assert found.thumbnails == 0


def test_a_map_that_still_shows_the_face_is_told(portrait, gain, hiding) -> None:
    source = parts.ultra_hdr(portrait, gain)
    data, _ = run(source, hiding)
    shown = np.asarray(Image.open(io.BytesIO(data)))
    wrong = parts.ultra_hdr(shown, gain)
    found = find_side_channels(wrong, shown, source, portrait)
    assert found.showing_original == 1
    assert found.thumbnails == 1  # the one in its EXIF


def test_a_face_in_the_map_alone_is_hidden(gain, hiding) -> None:
    source = parts.ultra_hdr(np.full((480, 480, 3), 90, np.uint8), gain)
    assert len(FaceDetector().detect(np.dstack([gain] * 3))) == 1
    data, record = run(source, hiding)
    (face,) = record["faces"]
    assert (face["action"], face["box"][2] > face["box"][0] + 60) == ("obscured", True)
    after = parts.pixels(parts.mpf_pictures(data)[1])
    assert len(FaceDetector().detect(np.dstack([after] * 3))) == 0


def test_its_reason_is_told(gain, bundle) -> None:
    source = parts.ultra_hdr(np.full((480, 480, 3), 90, np.uint8), gain)
    _, record = run(source, Anonymizer(bundle, AnonymizeOptions(seed=1)))
    assert record["faces"][0]["reason"] == "it shows in the gain map only"
