"""Complete runs: a person keeps one new face, the journal records what was done, and edits are carried out."""

import json
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer, Faces
from styleid.cli import main
from styleid.engine.journal import NAME
from styleid.errors import OptionError
from styleid.faces.detect import FaceDetector
from styleid.media.provenance import PACKET, MarkOptions
from styleid.media.video.reader import VideoClip
from styleid.media.video.side_tracks import TrackOptions
from styleid.media.video.writer import EncodeOptions
from styleid.video.options import VideoOptions
from styleid.video.run import assign_targets, process_video
from styleid.video.store import Workspace
from tests.video.scenes import HEAD, RATE, Actor, Scene, background

av = pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
FRAMES, CUT = 16, 9
LOSSLESS = EncodeOptions("ffv1")


def write_scene(scene: Scene, path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=RATE)
        (stream.width, stream.height), stream.pix_fmt = scene.size, "yuv444p"
        for i in range(scene.frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(scene.image(i), "rgb24").reformat(format="yuv444p")))
        out.mux(stream.encode(None))
    return path


def images(path: Path) -> list[np.ndarray]:
    return [frame.image_rgb for frame in VideoClip(path).frames()]


@pytest.fixture(scope="module")
def scene(astronaut):
    from skimage import data

    x0, y0, x1, y1 = HEAD
    wood, moon = background(data.coffee()), background(np.stack([255 - data.moon()] * 3, -1))
    path = lambda i: (110 + 3 * i, 110 + 10 * np.sin(i / 4), 84) if i < CUT else (210 - 2.5 * (i - CUT), 120, 78)  # noqa: E731
    return Scene([Actor(astronaut[y0:y1, x0:x1], path)], FRAMES, lambda i: wood if i < CUT else moon)


@pytest.fixture(scope="module")
def done(scene, bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("video")
    source = write_scene(scene, folder / "in.mkv")
    anonymizer = Anonymizer(bundle, AnonymizeOptions(seed=4))
    options = VideoOptions(folder / "out.mkv", review=True)
    return source, options.out, process_video(source, anonymizer, options, LOSSLESS)


def embeddings(pictures: list[np.ndarray], bundle, landmarks) -> np.ndarray:
    template = bundle.spec.identity_crop
    crops = [template.crop(image, template.matrix(points)) for image, points in zip(pictures, landmarks, strict=True)]
    return bundle.embed(np.stack(crops))


def test_one_person_has_one_new_face_across_a_cut(done, bundle):
    source, out, summary = done
    before, after = images(source), images(out)
    assert len(before) == len(after) == FRAMES
    tracks = summary.record["tracks"]
    assert [t["frames"] for t in tracks] == [[0, CUT - 1], [CUT, FRAMES - 1]]
    assert [t["person"] for t in tracks] == [1, 1]
    assert sum(t["anonymised"] for t in tracks) == FRAMES
    found = [FaceDetector().detect(image)[0].landmarks_px[0] for image in before]
    was, now = embeddings(before, bundle, found), embeddings(after, bundle, found)
    same = bundle.spec.thresholds[1e-3].high
    assert (now[1:] * now[:-1]).sum(1).min() > same  # also across the cut
    assert (was * now).sum(1).max() < same


def test_new_faces_do_not_flicker(done):
    """The new face, aligned, changes from frame to frame little more than the original."""
    source, out, _ = done
    record = json.loads((out.parent / f"{out.name}.review" / "tracks.json").read_text())
    old, new = (flicker(images(path), record["tracks"]) for path in (source, out))
    assert new < 1.6 * old + 0.5


def flicker(pictures: list[np.ndarray], tracks) -> float:
    """Return the mean change of aligned crops of the face from frame to frame, in grey levels."""
    from styleid.faces.align import CropTemplate

    template, changes = CropTemplate.tight(64), []
    for track in tracks:
        points = np.float32(track["landmarks"]).reshape(-1, 5, 2)
        crops = [
            template.crop(pictures[track["first"] + i], template.matrix(p)).astype(np.float32)
            for i, p in enumerate(points)
        ]
        changes += [np.abs(a - b).mean() for a, b in zip(crops[1:], crops[:-1], strict=True)]
    return float(np.mean(changes))


def test_the_journal_is_complete_and_contains_nothing_private(done):
    _, out, summary = done
    (line,) = (out.parent / NAME).read_text().splitlines()
    record = json.loads(line)
    assert record["input"] == "in.mkv"
    assert len(record["sha256"]) == 64
    assert record["video"]["cuts"] == 1
    track = record["tracks"][0]
    assert (track["action"], track["from_s"], track["to_s"]) == ("anonymised", 0.0, CUT / RATE)
    assert track["gate"]["similarity_max"] <= 1
    assert all(round(v, 2) == v for v in track["gate"].values())
    assert "embedding" not in line
    assert record["mark"] == record["settings"]["mark"] == "iptc"
    assert "marking" not in record["settings"]
    assert len(line) < 6000
    assert summary.exit_status == 0


def test_the_review_shows_every_track(done):
    _, out, _ = done
    folder = out.parent / f"{out.name}.review"
    page = (folder / "index.html").read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["index.html", "track-001.jpg", "track-002.jpg", "tracks.json"]
    assert f"--tracks {folder.name}/tracks.json" in page
    assert "Track 2, person 1" in page
    assert page.count('<div class="lane"') == page.count('<img class="sheet"') == 2
    assert all(PACKET in sheet.read_bytes() for sheet in folder.glob("*.jpg"))


def test_frames_are_marked_one_by_one(scene, bundle, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.fromarray(scene.image(0)).save(folder / "f1.png")
    Image.new("RGB", scene.size, (90, 120, 60)).save(folder / "f2.png")
    for mark, expected in (("iptc", [True, False]), ("none", [False, False])):
        options = VideoOptions(tmp_path / mark, frames="f%d.png", marking=MarkOptions(mark=mark))
        summary = process_video(folder, Anonymizer(bundle, AnonymizeOptions(seed=4)), options)
        assert [PACKET in (tmp_path / mark / f"f{i}.png").read_bytes() for i in (1, 2)] == expected
        assert summary.record.get("mark", "none") == mark


def edited(done, tmp_path: Path, edit) -> Path:
    record = json.loads((done[1].parent / f"{done[1].name}.review" / "tracks.json").read_text())
    edit(record)
    path = tmp_path / "tracks.json"
    path.write_text(json.dumps(record))
    return path


def test_edits_are_carried_out(done, tmp_path):
    source = done[0]

    def edit(record):
        record["tracks"][0]["drop"] = True
        record["tracks"].append({"id": 9, "keys": [[2, 10, 20, 50, 70], [6, 30, 20, 70, 70]]})

    options = VideoOptions(tmp_path / "out.mkv", tracks=edited(done, tmp_path, edit))
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    summary = process_video(source, anonymizer, options, LOSSLESS)
    before, after = images(source), images(options.out)
    changed = [np.abs(a.astype(int) - b).max(-1) > 0 for a, b in zip(before, after, strict=True)]
    assert [bool(c.any()) for c in changed] == [2 <= i <= 6 or i >= CUT for i in range(FRAMES)]
    assert changed[4][35:55, 30:50].mean() > 0.9  # half-way between the key frames
    assert not changed[4][:, 160:].any()
    assert [t["action"] for t in summary.record["tracks"]] == ["kept", "obscured", "obscured"]


def test_joined_tracks_become_one(done, tmp_path):
    def edit(record):
        record["tracks"][1]["id"] = record["tracks"][0]["id"]

    options = VideoOptions(tmp_path / "out.mkv", tracks=edited(done, tmp_path, edit))
    summary = process_video(done[0], Anonymizer(None, AnonymizeOptions(method="none")), options, LOSSLESS)
    assert [t["frames"] for t in summary.record["tracks"]] == [[0, FRAMES - 1]]


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda r: r.update(frames=5), "is for 5 frames"),
        (lambda r: r["tracks"][0].pop("boxes"), "lacks 'boxes'"),
        (lambda r: r["tracks"][0]["boxes"].pop(), "8 boxes"),
        (lambda r: r["tracks"][0].update(first=20), "has 16 frames"),
        (lambda r: r["tracks"].append({"id": 3, "keys": []}), "no key frame"),
        (lambda r: r["tracks"].append({"id": 3, "keys": [[0, 5, 5, 2, 9]]}), "has an empty box"),
    ],
)
def test_invalid_edits_are_named(done, tmp_path, edit, why):
    options = VideoOptions(tmp_path / "out.mkv", tracks=edited(done, tmp_path, edit))
    with pytest.raises(OptionError, match=why):
        process_video(done[0], Anonymizer(None, AnonymizeOptions(method="none")), options, LOSSLESS)
    assert not options.out.exists()


def test_a_face_that_fails_the_gate_is_obscured_with_its_times(done, bundle, tmp_path, monkeypatch):
    from styleid import Bundle
    from tests.tiny_bundle import edit_bundle

    nobody = {f"{fmr:g}": {"low": -0.9, "high": -0.8} for fmr in (1e-1, 1e-2, 1e-3, 1e-4)}  # no face is so dissimilar
    refusing = Bundle(edit_bundle(bundle.folder, tmp_path / "bundle", thresholds=nobody))
    options, tries = VideoOptions(tmp_path / "out.mkv"), []

    def noted(*given):
        chosen = assign_targets(*given)
        tries.extend(part.tries for part in chosen.values())
        return chosen

    monkeypatch.setattr("styleid.video.run.assign_targets", noted)
    summary = process_video(done[0], Anonymizer(refusing, AnonymizeOptions(seed=1, tries=1)), options, LOSSLESS)
    assert tries == [3]  # while samples fail, three times as many targets as for a photo are tried
    assert summary.exit_status == 3
    for track in summary.record["tracks"]:
        assert track["anonymised"] == 0
        (stretch,) = track["obscured_at"]
        assert (stretch["from_s"], stretch["to_s"]) == (track["from_s"], track["to_s"])
        assert "too like the original" in stretch["reason"]


def test_frames_in_a_folder(scene, tmp_path):

    folder, out = tmp_path / "frames", tmp_path / "out"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(scene.image(i)).save(folder / f"f{i + 8}.png")  # f10 comes after f9
    summary = process_video(
        folder, Anonymizer(None, AnonymizeOptions(method="none")), VideoOptions(out, frames="f%d.png", fps=10)
    )
    assert sorted(p.name for p in out.iterdir()) == ["f10.png", "f11.png", "f8.png", "f9.png"]
    assert summary.record["tracks"][0]["to_s"] == pytest.approx(0.4)
    for i in range(4):
        now = np.asarray(Image.open(out / f"f{i + 8}.png"))
        assert 0.01 < (np.abs(now.astype(int) - scene.image(i)).max(-1) > 0).mean() < 0.3
    with pytest.raises(OptionError, match="exists already"):
        process_video(folder, Anonymizer(None, AnonymizeOptions(method="none")), VideoOptions(out, frames="*.png"))


def test_a_face_in_the_alpha_of_frames_is_hidden(scene, tmp_path):
    folder, out = tmp_path / "frames", tmp_path / "out"
    folder.mkdir()
    for i in range(3):
        grey = Image.fromarray(scene.image(i)).convert("L")
        Image.merge("LA", (Image.new("L", grey.size, 120), grey)).save(folder / f"f{i}.png")
    anonymizer = Anonymizer(None, AnonymizeOptions(method="none"))
    summary = process_video(folder, anonymizer, VideoOptions(out, frames="f%d.png"))
    (track,) = summary.record["tracks"]
    assert track["frames"] == [0, 2]
    for i in range(3):
        before, after = (np.asarray(Image.open(place / f"f{i}.png"))[..., 1] for place in (folder, out))
        x, y = 110 + 3 * i, int(110 + 10 * np.sin(i / 4))
        assert np.ptp(after[y - 20 : y + 20, x - 15 : x + 15]) == 0
        assert np.array_equal(before[:, 250:], after[:, 250:])


def test_the_workspace_is_private_and_removed_on_an_interrupt(done, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    seen = []

    class Interrupting:
        def detect(self, image_rgb):
            (folder,) = (tmp_path / "temporary").iterdir()
            seen.append(stat.S_IMODE(folder.stat().st_mode))
            if len(seen) == 3:
                raise KeyboardInterrupt
            return Faces.empty()

    with pytest.raises(KeyboardInterrupt):
        process_video(
            done[0],
            Anonymizer(None, AnonymizeOptions(method="none")),
            VideoOptions(tmp_path / "out.mkv"),
            LOSSLESS,
            detector=Interrupting(),
        )
    assert seen == [0o700] * 3
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "out.mkv").exists()
    with Workspace() as space:
        assert space.folder.is_dir()
    assert not space.folder.exists()


def test_an_interrupted_rendering_leaves_no_file(done, tmp_path):
    out = tmp_path / "to" / "out.mkv"

    def interrupt(stage, frame, total):
        if stage == "rendering" and frame == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process_video(
            done[0], Anonymizer(None, AnonymizeOptions(method="none")), VideoOptions(out), LOSSLESS, watch=interrupt
        )
    assert list(out.parent.iterdir()) == []


def test_an_interrupted_command_reports_it(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("styleid.commands.video.anonymize_video", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["video", "in.mp4", "--out", str(tmp_path / "out.mp4"), "--method", "none"]) == 1
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_command(tmp_path, capsys):
    from tests.media.video.test_video import make_video

    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    make_video(source, sound=True)
    given = ["video", str(source), "--out", str(out), "--method", "none"]
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 24
    assert main(given) == 0
    assert "a voice identifies" in capsys.readouterr().out
    assert main([*given, "--require-faces"]) == 3
    assert "no face was found" in capsys.readouterr().err
    assert main(["video", str(tmp_path / "no.mp4"), "--out", str(out), "--method", "none"]) == 3
    assert "does not exist" in capsys.readouterr().err
    assert main(["video", str(source), "--out", str(source), "--method", "none"]) == 2
    lines = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert ["error" in line for line in lines] == [False, False, True, True]


def test_sound_of_a_run(tmp_path):
    from tests.media.video.test_video import make_video

    source = tmp_path / "in.mp4"
    make_video(source, sound=True)
    process_video(
        source,
        Anonymizer(None, AnonymizeOptions(method="none")),
        VideoOptions(tmp_path / "out.mp4"),
        side=TrackOptions("keep"),
    )
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [s.type for s in container.streams] == ["video", "audio"]


@pytest.mark.parametrize(("given", "kept"), [([], ["video"]), (["--allow", "subtitles"], ["video", "subtitle"])])
def test_subtitles_of_a_run(tmp_path, given, kept, capsys):
    from tests.media.video.test_side_tracks import SPOKEN, kinds, make_with

    source, out = make_with(tmp_path / "in.mkv", spoken=SPOKEN), tmp_path / "out.mkv"
    assert main(["video", str(source), "--out", str(out), "--method", "none", *given]) == 0
    assert kinds(out) == kept
    assert ("left out: subtitle track" in capsys.readouterr().out) == (not given)


def test_one_frame_after_the_other_makes_the_same_bytes(done, bundle, tmp_path, monkeypatch):
    source, out, summary = done
    monkeypatch.setattr("styleid.video.engines.frames_at_once", lambda: 1)
    again = process_video(
        source, Anonymizer(bundle, AnonymizeOptions(seed=4)), VideoOptions(tmp_path / out.name), LOSSLESS
    )
    assert again.record["sha256"] == summary.record["sha256"]
