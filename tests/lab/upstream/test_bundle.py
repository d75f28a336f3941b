"""A bundle built from the release's files, through the command line and on a photo."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from styleid import AnonymizeOptions, Anonymizer, RankOptions, rank_units
from styleid.bundles.bundle import Bundle
from styleid.bundles.registry import load_bundle, verify
from styleid.cli import main
from styleid.core.methods import choose_method
from styleid.core.privacy import privacy_level
from styleid.core.swap import swap_units
from styleid.errors import CheckpointError, OptionError
from styleid.faces.align import ffhq_matrix, transform_points
from styleid.faces.detect import FaceDetector
from styleid.lab.upstream import thresholds
from styleid.lab.upstream.rankings import read_rankings
from styleid.ranking.spaces import StyleSpace
from styleid.types import Action
from tests.lab.upstream.checkpoints import ROWS, SIDE, WIDTH

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(built: Path) -> Bundle:
    return Bundle(built)


def test_the_bundle_verifies_and_is_described(built: Path, bundle: Bundle, checkpoints: dict[str, Path]) -> None:
    assert verify(built) == []
    spec = bundle.spec
    assert (spec.resolution, spec.layers, spec.size, spec.crop.rule) == (SIDE, ROWS, ROWS * WIDTH, "ffhq")
    assert spec.levels == {"coarse": (0, 4), "identity": (5, 7), "medium": (8, 9)}
    assert [step.rows for step in spec.swaps] == [(5, 6, 7), (5, 6, 7, 8, 9)]
    assert spec.pixel is not None
    assert spec.pixel.steps == ((5, 6, 7, 8, 9), (5, 6, 7, 8, 9))
    paper = spec.presets["paper"]
    assert paper.pixel is not None
    assert (paper.pixel.steps, paper.pixel.region) == (((5, 6, 7, 8, 9),), "inner")
    card = (built / "CARD.md").read_text()
    assert all(path.name in card for path in checkpoints.values())
    assert spec.thresholds[1e-3].high == pytest.approx(3.0902 / 24**0.5, abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "latent"},
        {"method": "latent", "units": "channels:100"},
        {"method": "pixel"},
        {"method": "pixel", "region": "inner", "preset": "paper"},
        {"method": "swapper"},
        {"preset": "paper"},
    ],
    ids=str,
)
def test_a_photo_runs_end_to_end_and_no_face_of_random_networks_passes(
    bundle: Bundle, astronaut, options: dict
) -> None:
    outcome = Anonymizer(bundle, AnonymizeOptions(seed=1, tries=2, **options)).anonymize(astronaut, name="a")
    assert [face.action for face in outcome.faces] == [Action.OBSCURED]
    assert outcome.faces[0].tries == 2
    assert outcome.faces[0].reason
    assert np.array_equal(outcome.image_rgb[~outcome.region_mask], astronaut[~outcome.region_mask])


def test_the_built_in_networks_work_on_the_new_crop(bundle: Bundle, astronaut) -> None:
    own, other = load_bundle(), bundle
    face = FaceDetector().detect(astronaut).landmarks_px[0]
    matrices = [spec.crop.matrix(face) for spec in (own.spec, other.spec)]
    crops = [spec.crop.crop(astronaut, m)[None] for spec, m in zip((own.spec, other.spec), matrices, strict=True)]
    points = [
        transform_points(one.parse(crop)[1][0], np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2])
        for one, crop, matrix in zip((own, other), crops, matrices, strict=True)
    ]
    eyes = np.linalg.norm(points[0][36:42].mean(0) - points[0][42:48].mean(0))
    # the small bundle's crop has a third of the pixels, so that landmarks agree roughly
    assert np.linalg.norm(points[0] - points[1], axis=1).mean() < 0.15 * eyes
    assert other.describe(crops[1]).shape == (1, 7)
    assert np.allclose(other.run("attributes", crop=crops[1].transpose(0, 3, 1, 2) / 127.5 - 1)[1].shape, (1, 40))


def test_units_take_the_channels_with_the_highest_scores(bundle: Bundle) -> None:
    way = choose_method(AnonymizeOptions(units="channels:40"), bundle, privacy_level("low", bundle.spec.thresholds))
    assert way.steps[0].channels == tuple(range(ROWS * WIDTH - 40, ROWS * WIDTH))
    source, target = np.zeros((1, ROWS * WIDTH), np.float32), np.ones((1, ROWS * WIDTH), np.float32)
    swapped = swap_units(source, target, way.steps[0], bundle.spec)
    assert np.nonzero(swapped[0])[0].tolist() == list(way.steps[0].channels)
    assert not source.any()


def test_units_of_s_are_ranked_without_to_rgb_styles(bundle: Bundle) -> None:
    ranking = rank_units(bundle, RankOptions(units="layers", space="s", pairs=1, people=10))
    space = StyleSpace(bundle)
    grid = ranking.arrays()["s.layers@d_id"][:, 0]
    assert len(grid) == len(space.sizes) == 3 * (ROWS // 2) - 1
    assert np.nonzero(np.isnan(grid))[0].tolist() == list(range(1, len(grid), 3))
    assert (grid[space.ranked] > 0).all()


def test_codes_of_s_draw_what_w_plus_draws(bundle: Bundle) -> None:
    wplus = np.random.default_rng(0).standard_normal((2, ROWS * WIDTH)).astype(np.float32)
    space = StyleSpace(bundle)
    assert np.allclose(space.render(space.codes(wplus))[0], bundle.render(wplus)[0], atol=0.05)


def test_the_swapper_takes_identity_rows_completely_from_the_target(bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    source, target = (rng.standard_normal((2, ROWS * WIDTH)).astype(np.float32) for _ in range(2))
    way = choose_method(AnonymizeOptions(method="swapper"), bundle, privacy_level("low", bundle.spec.thresholds))
    swapped = way.swap(bundle, source, target, [0, 2])
    share = bundle.weigh(source, target)
    assert np.allclose(share[:, 5 * WIDTH : 8 * WIDTH], 1)
    assert ((share[:, : 5 * WIDTH] > 0) & (share[:, : 5 * WIDTH] < 1)).all()
    assert np.allclose(swapped[0], source[0] + share[0] * (target[0] - source[0]), atol=1e-5)
    assert np.allclose(swapped[1, 5 * WIDTH : 10 * WIDTH], target[1, 5 * WIDTH : 10 * WIDTH], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"units": "groups:3"}, "no such ranking"),
        ({"units": "channels:0"}, f"1 to {ROWS * WIDTH}"),
        ({"units": "channels:x"}, f"1 to {ROWS * WIDTH}"),
        ({"preset": "other"}, "its presets: paper"),
        ({"region": "inner"}, "only `method=pixel` uses it"),
        ({"method": "pixel", "units": "layers:5"}, "only `method=latent` uses it"),
    ],
)
def test_unsuitable_options_are_named(bundle: Bundle, options: dict, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Anonymizer(bundle, AnonymizeOptions(**options))


@pytest.mark.parametrize(("method", "needs"), [("pixel", "mask_encoder"), ("swapper", "swapper")])
def test_a_missing_network_is_named(method: str, needs: str) -> None:
    bundle = load_bundle()
    networks = {role: file for role, file in bundle.spec.networks.items() if role != needs}
    bundle.spec = replace(bundle.spec, networks=networks)
    with pytest.raises(OptionError, match=rf"{needs}\.onnx, which the bundle .* does not have"):
        Anonymizer(bundle, AnonymizeOptions(method=method))


def test_the_bundle_is_selected_by_one_flag(built: Path, tmp_path: Path, astronaut) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    Image.fromarray(astronaut).save(tmp_path / "in" / "a.png")
    command = ["anonymize", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--tries", "1"]
    assert main([*command, "--bundle", str(built)]) == 3
    line = json.loads((tmp_path / "out" / "styleid-journal.jsonl").read_text().splitlines()[-1])
    assert line["settings"]["bundle"] == built.name


def test_a_failed_build_leaves_nothing_behind(checkpoints: dict[str, Path], tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    files = ["--generator", str(checkpoints["parser"]), "--inverter", str(checkpoints["inverter"])]
    assert main(["bundles", "build", "ffhq1024", *files, "--out", str(out)]) == 1
    assert "give it with --parser" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    (out / "mine.txt").write_text("not a bundle")
    assert main(["bundles", "build", "ffhq1024", *files, "--out", str(out)]) == 1
    assert "is not a bundle" in capsys.readouterr().err
    assert (out / "mine.txt").exists()


def test_rankings_are_identified_by_their_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "channels_rank.npy", rng.random(18 * 512))
    np.save(tmp_path / "group_256_rank.npy", rng.random((18, 2)))
    found = read_rankings((tmp_path,), 18, 512)
    assert {name: scores.shape for name, scores in found.items()} == {"channels": (18, 512), "groups": (18, 2)}
    np.save(tmp_path / "group_256_rank.npy", rng.random((18, 512)))
    with pytest.raises(CheckpointError, match="download script"):
        read_rankings((tmp_path,), 18, 512)
    np.save(tmp_path / "odd.npy", rng.random(7))
    with pytest.raises(CheckpointError, match="9216 channels and 36 groups"):
        read_rankings((tmp_path / "odd.npy",), 18, 512)


def test_thresholds_are_measured_if_there_are_enough_people() -> None:
    rng = np.random.default_rng(0)
    people = rng.standard_normal((400, 64))
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    measured, spread = thresholds.measured(people), thresholds.evenly_spread(64)
    assert set(measured) == {"0.1", "0.01", "0.001"}
    for rate, bounds in measured.items():  # these vectors are evenly spread
        assert bounds["high"] == pytest.approx(spread[rate]["high"], rel=0.06)
        assert bounds["low"] == pytest.approx(spread[rate]["low"], rel=0.06)
    with pytest.raises(OptionError, match="at least 246 people"):
        thresholds.measured(people[:100])


def test_people_are_embedded_from_their_photos(built: Path, bundle: Bundle, tmp_path: Path, astronaut) -> None:
    from PIL import Image

    for name, image in {"a.png": astronaut, "b.jpg": astronaut[:, ::-1], "none.png": astronaut[:60, :60]}.items():
        Image.fromarray(image).save(tmp_path / name)
    crop = bundle.spec.identity_crop
    found = thresholds.embed_people(tmp_path, bundle.session("identity"), crop)
    assert found.shape == (2, 24)
    matrix = crop.matrix(FaceDetector().detect(astronaut).landmarks_px[0])
    assert np.allclose(found[0], bundle.embed(crop.crop(astronaut, matrix)[None])[0], atol=1e-5)
    with pytest.raises(OptionError, match="no face was found"):
        (tmp_path / "a.png").unlink()
        (tmp_path / "b.jpg").unlink()
        thresholds.embed_people(tmp_path, bundle.session("identity"), crop)


def test_the_crop_is_that_of_ffhq() -> None:
    rng = np.random.default_rng(0)
    face = np.array([[40.0, 50], [72, 51], [56, 70], [45, 90], [70, 91]]) + rng.normal(0, 3, (5, 2))
    across, mouth = face[1] - face[0], face[3:].mean(0) - face[:2].mean(0)
    x = across - np.flipud(mouth) * [-1, 1]  # as upstream's alignment has it
    x *= max(np.hypot(*across) * 2.0, np.hypot(*mouth) * 1.8) / np.hypot(*x)
    y, centre = np.flipud(x) * [-1, 1], face[:2].mean(0) + mouth * 0.1
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    corners = np.array([[0, 0], [0, 256], [256, 256], [256, 0]]) - 0.5
    assert np.allclose(transform_points(quad, ffhq_matrix(face, 256)), corners, atol=1e-3)
    for wrong in (np.full((5, 2), np.nan), np.zeros((5, 2))):
        with pytest.raises(ValueError, match="Landmarks"):
            ffhq_matrix(wrong, 256)
