"""Decisions about tracks are carried out, and only for the clip that they were made for."""

import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.cli import main
from styleid.engine.decisions import read_decisions
from styleid.engine.journal import NAME
from styleid.engine.json_value import JsonValue
from styleid.errors import OptionError
from styleid.media.video.clip import ClipInfo
from styleid.media.video.reader import VideoClip
from styleid.media.video.writer import EncodeOptions
from styleid.video.options import VideoOptions
from styleid.video.record import parse_tracks, to_record
from styleid.video.run import VideoSummary, process_video
from tests.video.scenes import HEAD, SIZE, Actor, Scene, background

FRAMES = 8
INFO = ClipInfo("clip", 640, 480, Fraction(10))


@pytest.fixture(scope="module")
def frames(astronaut, tmp_path_factory) -> Path:
    """A folder of frames with two heads that do not touch."""
    from skimage import data

    x0, y0, x1, y1 = HEAD
    head, coffee = astronaut[y0:y1, x0:x1], background(data.coffee())
    left = Actor(head, lambda i: (80 + 2 * i, 110, 64))
    right = Actor(head[:, ::-1], lambda i: (240 - 2 * i, 120, 60))
    folder = tmp_path_factory.mktemp("clip") / "frames"
    folder.mkdir()
    scene = Scene([left, right], FRAMES, lambda i: coffee)
    for index in range(FRAMES):
        Image.fromarray(scene.image(index)).save(folder / f"f{index}.png")
    return folder


@pytest.fixture(scope="module")
def done(frames, bundle, tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """The output of a first run, and the decisions that it exports."""
    out = tmp_path_factory.mktemp("first")
    options = VideoOptions(out / "frames", frames="*.png", fps=10)
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=4))
    summary = process_video(frames, anonymizer, options, export=out / "decisions.json")
    assert [track["action"] for track in summary.record["tracks"]] == ["anonymised"] * 2
    return out / "frames", json.loads((out / "decisions.json").read_text())


@pytest.fixture
def again(frames, bundle, tmp_path) -> Callable[..., VideoSummary]:
    """A function that runs with edited decisions."""

    def of(record: dict[str, Any], out: str = "out", method: str = "latent") -> VideoSummary:
        path = tmp_path / "edited.json"
        path.write_text(json.dumps(record))
        options = VideoOptions(tmp_path / out, frames="*.png", fps=10, review=True)
        own = AnonymizeOptions(method=method, seed=4)
        anonymizer = Anonymizer(bundle if method == "latent" else None, own)
        return process_video(frames, anonymizer, options, decided=read_decisions(path).video("frames"))

    return of


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def pictures(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / f"f{index}.png")) for index in range(FRAMES)])


def tracks_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    return record["videos"]["frames"]["tracks"]["tracks"]


def test_exported_decisions_make_the_same_bytes_again(done, again, frames, tmp_path):
    first, record = done
    lines = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(frames.glob("*.png"))
    )
    assert record["videos"]["frames"]["sha256"] == hashlib.sha256(lines.encode()).hexdigest()
    assert (record["seed"], record["settings"]["privacy"]) == (4, "standard")
    summary = again(record)
    assert contents(tmp_path / "out") == contents(first)
    assert any("the whole video was made again" in note for note in summary.record["notes"])
    assert summary.record["input_sha256"] == record["videos"]["frames"]["sha256"]


def sides(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the left and right halves of frames; each shows one head."""
    middle = images.shape[2] // 2
    return images[:, :, :middle], images[:, :, middle:]


@pytest.mark.parametrize("by_person", [False, True])
@pytest.mark.parametrize("do", ["keep", "solid", "blur", "pixelate"])
def test_one_track_is_treated_as_decided_and_the_other_as_before(done, again, frames, tmp_path, do, by_person):
    first, record = done
    record = json.loads(json.dumps(record))
    at = next(k for k, track in enumerate(tracks_of(record)) if track["boxes"][0][0] < 150)
    entry = {"do": do, "by": "anna", "at": "2026-11-30"}
    if by_person:
        record["videos"]["frames"]["tracks"]["people"] = {str(tracks_of(record)[at]["person"]): entry}
    else:
        tracks_of(record)[at] |= entry
    summary = again(record)
    before, was, now = (sides(pictures(folder)) for folder in (frames, first, tmp_path / "out"))
    assert np.array_equal(now[1], was[1])
    told, other = summary.record["tracks"][at], summary.record["tracks"][1 - at]
    assert told["decision"] == entry
    assert "decision" not in other
    if do == "keep":
        assert told["action"] == "kept"
        assert np.array_equal(now[0], before[0])
    else:
        assert (told["action"], told["obscured"], summary.exit_status) == ("obscured", FRAMES, 0)
        assert not np.array_equal(now[0], was[0])
        assert (np.abs(now[0].astype(int) - before[0]).max((1, 2, 3)) > 20).all()


def test_another_target_differs_and_is_repeatable(done, again, tmp_path):
    first, record = done
    record = json.loads(json.dumps(record))
    at = next(k for k, track in enumerate(tracks_of(record)) if track["boxes"][0][0] < 150)
    tracks_of(record)[at]["target"] = 1
    for out in ("one", "two"):
        assert again(record, out).record["tracks"][at]["decision"] == {"do": "replace", "target": 1}
    was, now = sides(pictures(first)), sides(pictures(tmp_path / "one"))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not np.array_equal(now[0], was[0])
    assert np.array_equal(now[1], was[1])


def test_without_a_bundle_each_track_is_obscured_as_decided(done, again, frames, tmp_path):
    _, record = done
    record = json.loads(json.dumps(record))
    tracks_of(record)[0]["do"] = "pixelate"
    tracks_of(record)[1] |= {"drop": True, "by": "bea"}
    summary = again(record, method="none")
    assert [track["action"] for track in summary.record["tracks"]] == ["obscured", "kept"]
    assert summary.record["tracks"][1]["decision"] == {"do": "remove", "by": "bea"}
    assert summary.page is not None
    page = summary.page.read_text()
    assert "8 obscured; decided: do pixelate</p>" in page
    assert "0 obscured; decided: do remove, by bea</p>" in page
    assert summary.exit_status == 0


def test_decisions_about_another_clip_write_no_output(done, again, tmp_path):
    _, record = done
    record = json.loads(json.dumps(record))
    record["videos"]["frames"]["sha256"] = "0" * 64
    summary = again(record)
    assert summary.exit_status == 3
    assert "it is not the video that the decisions were made about" in summary.failure
    assert not (tmp_path / "out").exists()


def test_decisions_about_a_video_file_are_exported_and_applied(frames, tmp_path):
    """The decisions name the SHA-256 of the file; another file is refused."""
    av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
    source, made = tmp_path / "clip.mkv", tmp_path / "made.json"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv444p"
        for picture in pictures(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv444p")))
        out.mux(stream.encode(None))
    hide = Anonymizer(None, AnonymizeOptions(method="none", seed=1))
    lossless = EncodeOptions("ffv1")
    process_video(source, hide, VideoOptions(tmp_path / "a.mkv"), lossless, export=made)
    decisions = read_decisions(made)
    assert decisions.video("clip.mkv").sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    decided = {"decided": decisions.video("clip.mkv")}
    summary = process_video(source, hide, VideoOptions(tmp_path / "b.mkv"), lossless, **decided)
    assert summary.failure == ""
    one, two = ([frame.image_rgb for frame in VideoClip(tmp_path / name).frames()] for name in ("a.mkv", "b.mkv"))
    assert np.array_equal(one, two)
    source.write_bytes(source.read_bytes() + b"\0")
    summary = process_video(source, hide, VideoOptions(tmp_path / "c.mkv"), lossless, **decided)
    assert "its SHA-256 differs" in summary.failure


def test_a_video_is_found_by_the_end_of_its_path(tmp_path):
    path = tmp_path / "d.json"
    names = ("a/clip.mp4", "b/clip.mp4", "b/other.mp4", "clip.mkv", "sub/clip.mkv")
    videos = {name: {"sha256": f"{number}" * 64} for number, name in enumerate(names)}
    path.write_text(json.dumps({"format": 1, "videos": videos}))
    decisions = read_decisions(path)
    assert decisions.video("other.mp4").sha256 == "2" * 64
    assert decisions.video("clip.mkv").sha256 == "3" * 64
    for name, says in (("clip.mp4", "several videos named 'clip.mp4'"), ("d.mp4", "no video named 'd.mp4'")):
        with pytest.raises(OptionError, match=says):
            decisions.video(name)


# ------------------------------------------------------------- the tracks


def track(number: int = 1, **entry: Any) -> dict[str, Any]:
    own = {"id": number, "person": number, "first": 0, "boxes": [[10, 20, 60, 90]] * 2}
    return own | {"landmarks": [[float(k) for k in range(10)]] * 2} | entry


def parse(*tracks: dict[str, Any], **record: Any) -> list[Any]:
    record = {"format": 1, "frames": 2, "size": [640, 480], "tracks": list(tracks)} | record
    return parse_tracks(JsonValue(record, "decisions", "d.json", "videos['clip'].tracks"), INFO, 2)


@pytest.mark.parametrize(
    ("entries", "people", "expected"),
    [
        (({},), {}, [(None, False, 0)]),
        (({"do": "blur"}, {"do": "keep"}), {}, [("blur", False, 0), (None, True, 0)]),
        (({}, {}), {"2": {"do": "solid"}}, [(None, False, 0), ("solid", False, 0)]),
        (({"do": "replace"}, {"target": 3}), {"1": {"do": "blur"}}, [(None, False, 0), (None, False, 3)]),
        (({"drop": True, "do": "blur"},), {}, [(None, True, 0)]),
    ],
)
def test_decisions_are_read_from_tracks_and_written_back(entries, people, expected):
    read = parse(*(track(number, **entry) for number, entry in enumerate(entries, 1)), people=people)
    assert [(one.hide, one.left, one.other) for one in read] == expected
    again = parse(*to_record(INFO, 2, read)["tracks"])
    assert [(one.hide, one.left, one.other, one.decision) for one in again] == [
        (one.hide, one.left, one.other, one.decision) for one in read
    ]


@pytest.mark.parametrize(
    ("tracks", "record", "says"),
    [
        ([track(do="hide")], {}, r"tracks\[0\].do must be one of replace, keep, solid, blur, pixelate, not \"hide\""),
        ([track(do="keep", target=1)], {}, r"tracks\[0\].target must be left out"),
        ([track(target=0.5)], {}, r"tracks\[0\].target must be a whole number"),
        ([track(at="noon")], {}, r"tracks\[0\].at must be a time"),
        ([track()], {"people": {"1": {}}}, r"people\['1'\] lacks 'do'"),
        ([track(), track(2, person=1, target=1)], {}, "person 1 has tracks with different values of 'target'"),
        ([track(), track(do="blur")], {}, "track 1 has parts with different decisions"),
        ([track()], {"format": 2}, "format 2 is not 1"),
        ([3], {}, "d.json: videos"),
        ({}, {}, "tracks must be a list"),
    ],
)
def test_invalid_tracks_are_refused(tracks, record, says):
    with pytest.raises(OptionError, match=says) as error:
        parse(*(tracks or ()), **record, **({"tracks": tracks} if isinstance(tracks, dict) else {}))
    assert str(error.value).startswith("decisions: d.json: videos['clip'].tracks")


# ---------------------------------------------------------------- commands


def test_the_command_exports_and_applies_decisions(frames, tmp_path, capsys):
    """Seed and options come from the file. Contradicting options, and tracks from two sources, are refused."""
    source, made = str(frames), tmp_path / "made.json"
    common = ["--frames", "*.png", "--fps", "10"]
    hide = [*common, "--method", "none", "--obscure", "pixelate"]
    assert main(["video", source, "--out", str(tmp_path / "a"), *hide, "--export-decisions", str(made)]) == 0
    record = json.loads(made.read_text())
    assert isinstance(record["seed"], int)
    assert main(["video", source, "--out", str(tmp_path / "b"), *common, "--decisions", str(made)]) == 0
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    told = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert [("decisions" in line, line["settings"]["seed"]) for line in told] == [
        (False, record["seed"]), (True, record["seed"])
    ]  # fmt: skip
    capsys.readouterr()
    for more, says in (
        (["--obscure", "blur"], 'settings.obscure is "pixelate", but --obscure is blur'),
        (["--tracks", str(made)], "defines the tracks, too. Give only one of the two"),
    ):
        assert main(["video", source, "--out", str(tmp_path / "c"), *common, "--decisions", str(made), *more]) == 2
        assert says in capsys.readouterr().err
    record["settings"] |= {"metadata": "safe", "bundle": "other"}
    made.write_text(json.dumps(record))
    assert main(["video", source, "--out", str(tmp_path / "c"), *common, "--decisions", str(made)]) == 2
    assert 'settings.bundle is "other", and this run has nothing' in capsys.readouterr().err
