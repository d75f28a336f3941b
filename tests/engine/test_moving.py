"""Motion photos: the video shows the same new face as the still, or is left out and reported."""

import hashlib
import io
import json
import sys
import tarfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.cli import main
from styleid.core.decisions import FaceDecision, PhotoDecisions
from styleid.core.options import PeopleOptions
from styleid.engine.assignment import Assignment
from styleid.engine.decisions import DecidedPhoto
from styleid.engine.journal import NAME
from styleid.engine.local import process_files
from styleid.engine.options import RunOptions
from styleid.engine.photo import anonymize_photo
from styleid.faces.detect import FaceDetector
from styleid.media.audit import find_leftovers
from styleid.media.image import read_photo_bytes
from styleid.media.provenance import SOURCE_TYPE
from tests.media import further_parts as parts

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
clips = pytest.importorskip("tests.media.clips")
from styleid.video.moving import anonymize_moving  # noqa: E402  (after PyAV is known to be there)

FRAMES = 6


@pytest.fixture(scope="module")
def portrait(astronaut) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(astronaut[:320, 60:380]), (320, 320), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def video(portrait) -> bytes:
    """The portrait, a little smaller, moving by two pixels a frame."""
    small = cv2.resize(portrait, (192, 192), interpolation=cv2.INTER_AREA)
    return clips.encode([np.roll(small, 2 * k, 1)[:160, :160] for k in range(FRAMES)], tags={"title": "Jane Doe"},
                        sound=True)  # fmt: skip


def run(data, anonymizer, name="p.jpg", **options):
    options = RunOptions(Path(), anonymize_video=anonymize_moving, **options)
    return anonymize_photo(name, read_photo_bytes(data, name), anonymizer, options)


def embedded(bundle, image):
    template = bundle.spec.identity_crop
    (face,) = FaceDetector().detect(image).landmarks_px
    return bundle.embed(template.crop(image, template.matrix(face))[None])[0]


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "motion"), ("jpg", "micro"), ("jpg", "samsung"), ("heic", "box"),
                                              ("heic", "samsung"), ("avif", "box")])  # fmt: skip
def test_both_parts_get_the_same_new_face(suffix, kind, portrait, video, bundle) -> None:
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=5))
    make = parts.motion_photo if suffix == "jpg" else partial(parts.heif_motion_photo, suffix=suffix)
    split = parts.split_motion if suffix == "jpg" else parts.split_heif_motion
    data, record = run(make(portrait, video, kind), anonymizer, f"p.{suffix}")
    assert record["faces"][0]["action"] == "anonymised"
    assert record["moving"]["tracks"][0]["anonymised"] == FRAMES
    assert find_leftovers(data, "strip") == []
    assert b"Jane Doe" not in data
    still, moving = split(data)
    assert SOURCE_TYPE.encode() in still
    assert SOURCE_TYPE.encode() in moving
    frames = clips.decode(moving)
    assert len(frames) == FRAMES
    was, now = embedded(bundle, portrait), embedded(bundle, np.asarray(Image.open(io.BytesIO(still))))
    shown = np.mean([embedded(bundle, frame) for frame in frames[1:4]], 0)
    same = bundle.spec.thresholds[1e-2].high
    assert now @ was < same
    assert shown @ was < same
    assert shown @ now > same
    with av.open(io.BytesIO(moving)) as container:
        assert [s.type for s in container.streams] == ["video"]


def test_a_gain_map_and_a_video_in_one_file(portrait, video) -> None:
    plain = Anonymizer(None, AnonymizeOptions(method="none", obscure="solid"))
    gain = cv2.resize(cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY), (160, 160))
    data, record = run(parts.motion_photo(portrait, video, gain=gain), plain)
    assert record["moving"]["tracks"][0]["obscured"] == FRAMES
    first, second = parts.mpf_pictures(data)
    assert first + second + parts.split_motion(data)[1] == data
    for image in (parts.pixels(second), *clips.decode(parts.split_motion(data)[1])):
        assert (
            len(FaceDetector().detect(np.broadcast_to(image.reshape(*image.shape[:2], -1), (*image.shape[:2], 3)))) == 0
        )


def test_a_key_gives_both_parts_their_pseudonym(portrait, video, bundle, tmp_path) -> None:
    main(["key", "new", str(tmp_path / "my.key")])
    options = PeopleOptions(targets="consistent", key_file=tmp_path / "my.key")
    assignment = Assignment(Anonymizer(bundle, AnonymizeOptions()), options, "aam128")
    photos = tmp_path / "in"
    photos.mkdir()
    (photos / "p.jpg").write_bytes(parts.motion_photo(portrait, video))
    run_options = RunOptions(tmp_path / "out", anonymize_video=anonymize_moving)
    summary = process_files([photos], assignment.anonymizer, run_options, assignment=assignment)
    assert (summary.failed, summary.unmoving) == (0, 0)
    still, moving = parts.split_motion((tmp_path / "out/p.jpg").read_bytes())
    now = embedded(bundle, np.asarray(Image.open(io.BytesIO(still))))
    assert embedded(bundle, clips.decode(moving)[2]) @ now > bundle.spec.thresholds[1e-2].high


def test_the_video_of_a_photo_with_added_boxes_is_left_out(portrait, video) -> None:
    """The detector missed a face in the photo, and nobody has looked for it in the video."""
    data = parts.motion_photo(portrait, video)
    added = PhotoDecisions(added=(FaceDecision((5, 5, 40, 50), "solid"),))
    decided = DecidedPhoto(hashlib.sha256(data).hexdigest(), added)
    options = RunOptions(Path(), anonymize_video=anonymize_moving)
    plain = Anonymizer(None, AnonymizeOptions(method="none"))
    made, record = anonymize_photo("p.jpg", read_photo_bytes(data, "p.jpg"), plain, options, decided=decided)
    assert "a person added boxes" in record["moving"]["left_out"]
    assert b"ftyp" not in made
    assert find_leftovers(made, "strip") == []


def test_groups_have_no_videos(portrait, video, bundle) -> None:
    assignment = Assignment(Anonymizer(bundle, AnonymizeOptions(seed=1)), PeopleOptions(targets="k=2"), "aam128")
    data, record = run(parts.motion_photo(portrait, video), assignment.anonymizer)
    assert "groups of k" in record["moving"]["left_out"]
    assert b"MotionPhoto" not in data


@pytest.mark.parametrize("name", ["p.jpg", "p.heic", "p.avif"])
def test_without_pyav_the_video_is_left_out_and_named(name, portrait, video, tmp_path, capsys, monkeypatch) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    data = (
        parts.motion_photo(portrait, video)
        if name == "p.jpg"
        else parts.heif_motion_photo(portrait, video, suffix=name[2:])
    )
    (photos / name).write_bytes(data)
    monkeypatch.setitem(sys.modules, "av", None)
    out = tmp_path / "out"
    assert main(["anonymize", str(photos), "--out", str(out), "--method", "none"]) == 0
    told = capsys.readouterr()
    assert f"{name}: its moving part was left out: PyAV" in told.err
    assert "pip install 'styleid[video]'" in told.err
    (line,) = map(json.loads, (out / NAME).read_text().splitlines())
    assert "styleid[video]" in line["moving"]["left_out"]
    data = (out / name).read_bytes()
    assert find_leftovers(data, "strip") == []
    assert data.count(b"ftyp") == (name != "p.jpg")
    assert b"mpvd" not in data


def test_a_damaged_video_is_left_out_with_its_reason(portrait, video) -> None:
    plain = Anonymizer(None, AnonymizeOptions(method="none"))
    broken = video[:40] + bytes(len(video) - 40)
    data, record = run(parts.motion_photo(portrait, broken, "micro"), plain)
    assert "damaged" in record["moving"]["left_out"]
    assert b"ftyp" not in data


def test_a_run_that_knows_no_videos_leaves_them_out(portrait, video) -> None:
    plain = Anonymizer(None, AnonymizeOptions(method="none"))
    photo = read_photo_bytes(parts.motion_photo(portrait, video), "p.jpg")
    data, record = anonymize_photo("p.jpg", photo, plain, RunOptions(Path()))
    assert record["moving"] == {"left_out": "this run processes photos only"}
    assert b"ftyp" not in data


def test_a_pipe_treats_both_parts(portrait, video, monkeypatch, capsysbinary) -> None:
    source = io.TextIOWrapper(io.BytesIO(parts.motion_photo(portrait, video)))
    monkeypatch.setattr("sys.stdin", source)
    assert main(["anonymize", "-", "--out", "-", "--method", "none", "--obscure", "solid"]) == 0
    data = capsysbinary.readouterr().out
    assert len(clips.decode(parts.split_motion(data)[1])) == FRAMES
    assert find_leftovers(data, "strip") == []


@pytest.mark.parametrize("form", ["coco", "shards"])
def test_motion_photos_in_data_sets_keep_their_video(form, portrait, video, tmp_path) -> None:
    data, source = parts.heif_motion_photo(portrait, video), tmp_path / "in"
    (source / "images").mkdir(parents=True)
    if form == "coco":
        record = {"images": [{"id": 1, "file_name": "p.heic"}], "annotations": [], "categories": []}
        (source / "images/p.heic").write_bytes(data)
        (source / "x.json").write_text(json.dumps(record))
    else:
        with tarfile.open(source / "0.tar", "w") as tar:
            info = tarfile.TarInfo("000.heic")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    command = ["dataset", form, str(source), str(tmp_path / "out"), "--method", "none", "--obscure", "solid"]
    assert main(command) == 0
    if form == "coco":
        made = (tmp_path / "out/images/p.heic").read_bytes()
    else:
        with tarfile.open(tmp_path / "out/0.tar") as tar:
            made = tar.extractfile("000.heic").read()
    frames = clips.decode(parts.split_heif_motion(made)[1])
    assert len(frames) == FRAMES
    assert not len(FaceDetector().detect(frames[2]))
    assert find_leftovers(made, "strip") == []


def test_a_heic_live_photo_is_paired_too(portrait, bundle, tmp_path) -> None:
    small = cv2.resize(portrait, (192, 192), interpolation=cv2.INTER_AREA)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "IMG_3.HEIC").write_bytes(parts.apple_photo(portrait, "33333333", heic=True))
    frames = [np.roll(small, 2 * k, 1)[:160, :160] for k in range(FRAMES)]
    (folder / "IMG_3.MOV").write_bytes(clips.apple_video(frames, "33333333"))
    out = tmp_path / "out"
    assert main(["anonymize", str(folder), "--out", str(out), "--seed", "5"]) == 0
    still, movie = (out / "IMG_3.HEIC").read_bytes(), (out / "IMG_3.MOV").read_bytes()
    assert b"33333333" not in still + movie
    assert find_leftovers(still, "strip") == []
    now = embedded(bundle, np.asarray(Image.open(io.BytesIO(still)).convert("RGB")))
    assert embedded(bundle, clips.decode(movie)[2]) @ now > bundle.spec.thresholds[1e-2].high
    assert now @ embedded(bundle, portrait) < bundle.spec.thresholds[1e-2].high


@pytest.fixture
def live(portrait, tmp_path):
    """A Live Photo and, beside it, a video of the same name stem that is none of its own."""
    small = cv2.resize(portrait, (192, 192), interpolation=cv2.INTER_AREA)
    frames = [np.roll(small, 2 * k, 1)[:160, :160] for k in range(FRAMES)]
    folder = tmp_path / "in" / "2024"
    folder.mkdir(parents=True)
    (folder / "IMG_1.JPG").write_bytes(parts.apple_photo(portrait, "0D7BD6A3"))
    (folder / "IMG_1.MOV").write_bytes(clips.apple_video(frames, "0D7BD6A3"))
    (folder / "IMG_2.JPG").write_bytes(parts.apple_photo(portrait, "11111111"))
    (folder / "IMG_2.MOV").write_bytes(clips.apple_video(frames, "22222222"))
    return tmp_path / "in"


def lines(out):
    return {line["input"]: line for line in map(json.loads, (out / NAME).read_text().splitlines())}


def test_live_photos_keep_their_video_with_the_same_new_face(live, bundle, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["anonymize", str(live), "--out", str(out), "--seed", "5"]) == 0
    told = capsys.readouterr()
    assert "1 file of kinds that are not read" in told.err
    assert "IMG_1" not in told.err
    assert sorted(p.name for p in (out / "2024").iterdir()) == ["IMG_1.JPG", "IMG_1.MOV", "IMG_2.JPG"]
    moving = lines(out)["2024/IMG_1.JPG"]["moving"]
    assert moving["file"] == "IMG_1.MOV"
    assert moving["tracks"][0]["anonymised"] == FRAMES
    data = (out / "2024/IMG_1.MOV").read_bytes()
    assert b"+52.52" not in data
    assert b"0D7BD6A3" not in data + (out / "2024/IMG_1.JPG").read_bytes()
    now = embedded(bundle, np.asarray(Image.open(out / "2024/IMG_1.JPG")))
    assert embedded(bundle, clips.decode(data)[2]) @ now > bundle.spec.thresholds[1e-2].high


def test_resume_does_a_pair_again_whose_video_is_gone(live, tmp_path) -> None:
    out = tmp_path / "out"
    command = ["anonymize", str(live), "--out", str(out), "--method", "none"]
    assert main(command) == 0
    before = (out / "2024/IMG_1.MOV").read_bytes()
    assert main([*command, "--resume"]) == 0
    (out / "2024/IMG_1.MOV").unlink()
    assert main([*command, "--resume"]) == 0
    assert len(clips.decode((out / "2024/IMG_1.MOV").read_bytes())) == FRAMES == len(clips.decode(before))
    (out / "2024/IMG_1.MOV").write_bytes(b"another")
    assert main([*command, "--resume"]) == 0
    assert (out / "2024/IMG_1.MOV").read_bytes() != b"another"


@pytest.mark.parametrize(("carry", "there"), [([], False), (["--carry", "mov"], True)])
def test_without_pyav_a_live_photos_video_stays_out(live, tmp_path, capsys, monkeypatch, carry, there) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    out = tmp_path / "out"
    assert main(["anonymize", str(live), "--out", str(out), "--method", "none", *carry]) == 0
    assert "2024/IMG_1.JPG: its moving part was left out: PyAV" in capsys.readouterr().err
    assert (out / "2024/IMG_1.MOV").exists() == there
    assert lines(out)["2024/IMG_1.JPG"]["moving"]["file"] == "IMG_1.MOV"


def test_what_is_carried_is_no_live_photos_video(live, tmp_path) -> None:
    out = tmp_path / "out"
    command = ["anonymize", str(live), "--out", str(out), "--method", "none", "--carry", "mov"]
    assert main(command) == 0
    assert (out / "2024/IMG_1.MOV").read_bytes() != (live / "2024/IMG_1.MOV").read_bytes()
    assert (out / "2024/IMG_2.MOV").read_bytes() == (live / "2024/IMG_2.MOV").read_bytes()
