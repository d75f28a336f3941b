"""Who is kept in a video, and which target a key gives to a person."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.bundles.registry import DEFAULT
from styleid.bundles.spec import SimilarityRange
from styleid.cli import main
from styleid.core.options import PeopleOptions
from styleid.engine.assignment import Assignment
from styleid.errors import OptionError
from styleid.faces.detect import FaceDetector
from styleid.media.image import read_photo
from styleid.people.keep import Keep
from styleid.video.keep import kept_as
from styleid.video.options import VideoOptions
from styleid.video.run import process_video
from tests.engine.test_assignment import ANN, GROUP, key
from tests.video.scenes import HEAD, Actor, Scene, background
from tests.video.test_run import LOSSLESS, embeddings, images, write_scene

pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
FRAMES = 12
THRESHOLDS = {1e-1: 0.2, 1e-2: 0.3, 1e-3: 0.4, 1e-4: 0.5}


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def two_people() -> tuple[Keep, np.ndarray, np.ndarray, np.ndarray]:
    """Two people to keep, ann and eve, and the embeddings of both and of a stranger."""
    ann, eve, stranger = np.eye(64)[:3]
    bundle = SimpleNamespace(
        spec=SimpleNamespace(thresholds={rate: SimilarityRange(-1.0, high) for rate, high in THRESHOLDS.items()})
    )
    return Keep(bundle, {"ann": ann[None], "eve": eve[None]}, ""), ann, eve, stranger  # type: ignore[arg-type]


def looks(*shares: tuple[np.ndarray, float, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return times, ten per second, and unit embeddings of consecutive segments.

    Args:
        shares: For each segment, a direction, the cosine similarity to it, and the number of frames.
    """
    draw, rows = np.random.default_rng(0), []
    for direction, alike, count in shares:
        away = unit(draw.standard_normal((count, 64)) * (direction == 0))
        rows.append(alike * direction + np.sqrt(1 - alike**2) * away)
    embeddings = np.concatenate(rows)
    return np.arange(len(embeddings)) / 10, embeddings


def test_a_track_is_kept_only_if_it_is_one_person_from_end_to_end(two_people):
    keep, ann, eve, stranger = two_people
    assert kept_as(*looks((ann, 0.8, 30)), keep).person == 0
    assert kept_as(*looks((ann, 0.8, 20), (ann, 0.35, 5)), keep) is not None  # turned away for half a second
    assert kept_as(*looks((eve, 0.8, 2)), keep).person == 1
    assert kept_as(*looks((stranger, 0.8, 30)), keep) is None
    assert kept_as(*looks((ann, 0.45, 30)), keep) is None
    assert kept_as(*looks((ann, 0.9, 40), (stranger, 0.9, 5)), keep) is None
    assert kept_as(*looks((ann, 0.9, 40), (eve, 0.9, 5)), keep) is None
    assert kept_as(*looks((unit(ann + 0.9 * eve), 0.9, 30)), keep) is None


@pytest.fixture(scope="module")
def source(tmp_path_factory, astronaut):
    """A video of two people side by side, eve on the left."""
    from skimage import data

    x0, y0, x1, y1 = HEAD
    eve = astronaut[y0:y1, x0:x1]
    ann = cv2.resize(read_photo(GROUP).image_rgb[ANN], (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    wood = background(data.coffee())
    scene = Scene(
        [Actor(eve, lambda i: (84 + i, 110, 70)), Actor(ann, lambda i: (236 - i, 120, 70))], FRAMES, lambda i: wood
    )
    return write_scene(scene, tmp_path_factory.mktemp("pair") / "in.mkv")


@pytest.fixture(scope="module")
def staff(tmp_path_factory, astronaut):
    """A folder with photos of eve."""
    folder = tmp_path_factory.mktemp("staff")
    for name, image in (("1", astronaut), ("2", astronaut[:, ::-1]), ("3", astronaut[20:400, 60:420])):
        (folder / "eve").mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image)).save(folder / "eve" / f"{name}.png")
    return folder


@pytest.mark.parametrize("method", ["latent", "none"])
def test_people_to_keep_stay_as_they_are(source, staff, bundle, tmp_path, method):
    anonymizer = Anonymizer(None if method == "none" else bundle, AnonymizeOptions(seed=4, method=method))
    assignment = Assignment(anonymizer, PeopleOptions(keep=staff), DEFAULT)
    options = VideoOptions(tmp_path / "out.mkv", review=True)
    summary = process_video(source, anonymizer, options, LOSSLESS, assignment=assignment)
    before, after = images(source), images(options.out)
    left, right = (np.s_[:, : 160 + 4 - 20], np.s_[:, 160 + 20 :])
    assert all(np.array_equal(old[left], new[left]) for old, new in zip(before, after, strict=True))
    assert all((old[right] != new[right]).any() for old, new in zip(before, after, strict=True))
    told = {track["action"]: track for track in summary.record["tracks"]}
    assert told.keys() == {"kept", "anonymised" if method == "latent" else "obscured"}
    assert told["kept"]["gate"]["kept_similarity"] > told["kept"]["gate"]["kept_from"] > 0.4
    assert (told["kept"]["anonymised"], told["kept"]["obscured"]) == (0, 0)
    assert len(summary.record["settings"]["keep"]) == 16
    edited = json.loads((tmp_path / "out.mkv.review/tracks.json").read_text())
    assert not any(track["drop"] for track in edited["tracks"])  # tracks.json alone keeps nobody


def test_strangers_are_not_kept(source, tmp_path, bundle):
    folder = tmp_path / "staff"
    folder.mkdir()
    Image.fromarray(read_photo(GROUP).image_rgb[200:490, 60:350]).save(folder / "somebody.png")
    if not len(FaceDetector().detect(read_photo(folder / "somebody.png").image_rgb)):
        pytest.skip("the group's picture has nobody there")
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=4))
    assignment = Assignment(anonymizer, PeopleOptions(keep=folder), DEFAULT)
    summary = process_video(source, anonymizer, VideoOptions(tmp_path / "out.mkv"), LOSSLESS, assignment=assignment)
    assert "kept" not in {track["action"] for track in summary.record["tracks"]}


def test_one_key_gives_a_person_one_face_in_every_video(source, scene_of_eve, bundle, tmp_path):
    whole = []
    for number in range(8):  # with some keys, frames are obscured and cannot be compared
        secret = key(tmp_path, f"{number}.key")
        faces = [eve_under(secret, clip, bundle, tmp_path / f"{number}-{i}.mkv") for i, clip in
                 enumerate((source, scene_of_eve))]  # fmt: skip
        whole += [faces] * all(face is not None for face in faces)
        if len(whole) == 2:
            break
    (first, again), (other, _) = whole
    assert first @ again > 0.6
    assert first @ other < first @ again - 0.15


def eve_under(secret, clip, bundle, out) -> np.ndarray | None:
    """Return the mean embedding of the leftmost person's new face, None if it is obscured in some frames."""
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=1))
    assignment = Assignment(anonymizer, PeopleOptions(targets="consistent", key_file=secret), DEFAULT)
    summary = process_video(clip, anonymizer, VideoOptions(out), LOSSLESS, assignment=assignment)
    assert summary.record["settings"]["targets"] == "consistent"
    if min(summary.record["tracks"], key=lambda track: track["box_range"][0])["obscured"]:
        return None
    points = [min(FaceDetector().detect(image).landmarks_px, key=lambda p: p[0, 0]) for image in images(clip)]
    return unit(embeddings(images(out), bundle, points).mean(0))


@pytest.fixture(scope="module")
def scene_of_eve(tmp_path_factory, astronaut):
    from skimage import data

    x0, y0, x1, y1 = HEAD
    moon = background(np.stack([255 - data.moon()] * 3, -1))
    scene = Scene([Actor(astronaut[y0:y1, x0:x1], lambda i: (150 - i, 116, 80))], FRAMES, lambda i: moon)
    return write_scene(scene, tmp_path_factory.mktemp("eve") / "in.mkv")


def test_the_command_takes_people_and_refuses_groups(source, staff, tmp_path, capsys):
    out = str(tmp_path / "out.mkv")
    assert main(["video", str(source), "--out", out, "--method", "none", "--keep", str(staff), "--quiet"]) == 0
    assert "1 track kept as in the original" in capsys.readouterr().out
    assert main(["video", str(source), "--out", out, "--targets", "k=5", "--quiet"]) == 2
    assert "not from a video" in capsys.readouterr().err
    with pytest.raises(OptionError, match=r"^key_file: "):
        PeopleOptions(targets="consistent")
