"""Files whose face shows in alpha, in an extra channel, in faint samples or in dots, and two small contradictions.

That inputs of these kinds are handled is tested in tests/engine/test_finding.py with files made there; here the small
files of the shared folder are run through the command.
"""

import cv2
import numpy as np
import pytest
from PIL import Image

from styleid.faces.detect import FaceDetector
from styleid.media.image import read_photo
from tests.cases.runner import pixels, share_changed

tifffile = pytest.importorskip("tifffile")

pytestmark = pytest.mark.shared


@pytest.fixture
def anonymized(case, styleid, tmp_path):
    """Run the command over one file of a case; return the result, and the paths of the file and of its output."""

    def of(folder, file):
        source = case(folder) / file
        result = styleid("anonymize", source, "--seed", "7")
        return result, source, result.out / file

    return of


def only_face(result):
    (record,) = [record for record in result.records if "input" in record]
    (face,) = record["faces"]
    return face, tuple(round(v) for v in face["box"])


def test_the_face_in_alpha_is_hidden(anonymized):
    result, before, after = anonymized("alpha-holds-the-face", "alpha_face.png")
    face, box = only_face(result)
    assert (result.status, face["action"]) == (3, "obscured")
    first, second = pixels(before), pixels(after)
    assert share_changed(first[..., 3:], second[..., 3:], box) > 0.8
    over_white = Image.new("RGBA", second.shape[1::-1], "white")
    over_white.alpha_composite(Image.fromarray(second))
    assert not len(FaceDetector().detect(np.asarray(over_white.convert("RGB"))))


def test_the_fourth_channel_is_flat_in_the_face(anonymized):
    result, before, after = anonymized("fourth-channel-is-a-picture", "rgbnir.tif")
    _, box = only_face(result)
    assert result.status == 0
    first, second = (tifffile.imread(path)[..., 3:] for path in (before, after))
    assert share_changed(first, second, box) > 0.9
    with tifffile.TiffFile(after) as file:
        assert file.pages[0].extrasamples == (0,)


@pytest.mark.parametrize("file", ["low10_gray.png", "low10_rgb.tif"])
def test_ten_bits_in_sixteen_are_seen(anonymized, file):
    result, before, after = anonymized("low-range-16-bit", file)
    face, box = only_face(result)
    assert (result.status, face["action"]) == (0, "anonymised")
    first, second = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (before, after))
    assert second.dtype == np.uint16 and second.max() <= 1100
    assert share_changed(first, second, box) > 0.5
    x0, y0, x1, y1 = box
    assert second[y0:y1, x0:x1].mean() == pytest.approx(first[y0:y1, x0:x1].mean(), rel=0.5)


@pytest.mark.parametrize("file", ["ordered200.png", "dither1.png", "fax.tif"])
def test_dots_are_seen_from_afar(anonymized, file):
    result, before, after = anonymized("one-bit-halftone", file)
    face, box = only_face(result)
    assert (result.status, face["action"]) == (0, "anonymised")
    first, second = pixels(before), pixels(after)
    assert (second.dtype, second.shape) == (bool, first.shape)
    assert share_changed(first, second, box) > 0.1


def test_cmyk_in_a_jpeg_tiff_is_written_with_deflate(anonymized):
    result, before, after = anonymized("small-contradictions", "jpeg_cmyk.tif")
    _, box = only_face(result)
    assert result.status == 0
    with tifffile.TiffFile(after) as file:
        assert (file.pages[0].photometric.name, file.pages[0].compression.name) == ("SEPARATED", "ADOBE_DEFLATE")
    assert np.array_equal(pixels(before)[:20], pixels(after)[:20])
    assert share_changed(pixels(before), pixels(after), box) > 0.5


def test_an_animation_of_one_frame_is_a_still(anonymized):
    result, before, after = anonymized("small-contradictions", "apng_1frame.png")
    _, box = only_face(result)
    assert result.status == 0
    assert share_changed(read_photo(before).image_rgb, read_photo(after).image_rgb, box) > 0.5
    assert not any(mark in after.read_bytes() for mark in (b"acTL", b"fcTL", b"fdAT"))
