"""Jobs of unusual files give the same results as the command line.

Some files are made here; tests that are marked `shared` use the small files of the shared folder's `cases/`.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from styleid.cli import main
from styleid.engine.journal import NAME
from styleid.engine.report import NAME as REPORT
from styleid.media.formats.parse.sniff import IMAGE_SUFFIXES
from styleid.serve.names import VIDEO_SUFFIXES, video_output

NONE = {"method": "none", "seed": 7}
KINDS = [
    "alpha-holds-the-face", "coco-added-faces-no-segmentation", "coco-annotations-folder", "coco-names-unresolved",
    "copy-others-foreign-files", "fourth-channel-is-a-picture", "low-range-16-bit", "mkv-cover-in-tags",
    "mkv-start-offset", "normalised-boxes", "one-bit-halftone", "shard-foreign-members", "small-contradictions",
    "unread-picture-kinds", "video-alpha-revealed", "video-concatenated", "video-crop-revealed",
    "video-main-track-not-first", "yolo-landmarks-without-kpt_shape", "yolo-layouts", "yolo-npy-cache",
]  # fmt: skip


def own_files(folder: Path, face: Image.Image) -> None:
    """Write pictures with a face in an unusual place, such as an alpha channel, and files that are not read."""
    folder.mkdir()
    negative = face.convert("L").point(lambda value: 255 - value)
    hidden = Image.new("RGBA", face.size)
    hidden.putalpha(negative)
    hidden.save(folder / "alpha.png")
    face.convert("1").save(folder / "dots.png")
    face.convert("L").point(lambda value: value // 16).save(folder / "dark.png")
    face.convert("CMYK").save(folder / "inks.tif")
    face.save(folder / "plain.jpg")
    for suffix in ("ppm", "jp2", "tga"):
        face.save(folder / f"unread.{suffix}")
    (folder / "renamed.jpg").write_bytes((folder / "unread.ppm").read_bytes())
    (folder / "notes.txt").write_text("hello")


@pytest.fixture
def ended(client, tmp_path):
    """Return a function that runs a job of a folder's ZIP, and returns the job and the members of its download."""

    def of(folder: Path, *, archives: bool = False) -> tuple[dict, dict[str, bytes]]:
        path = tmp_path / "upload.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(one for one in folder.rglob("*") if one.is_file()):
                if archives or file.suffix != ".tar":
                    archive.write(file, file.relative_to(folder))
        files = [("file", ("upload.zip", path.read_bytes()))]
        made = client.post("/v1/jobs", files=files, data={"settings": json.dumps(NONE)})
        if made.status_code == 422:
            return made.json(), {}
        assert made.status_code == 201, made.text
        body = client.ended(made.json()["id"], 300)
        answer = client.get(f"/v1/jobs/{body['id']}/download")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        assert client.delete(f"/v1/jobs/{body['id']}").status_code == 204
        return body, members

    return of


def by_suffix(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """Yield the relative paths of a folder's files with these suffixes."""
    yield from (p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.suffix.lower() in suffixes)


def is_result(name: str) -> bool:
    """Return whether a member is a photo or video, not the journal, the report or part of a review."""
    return ".review/" not in name and not name.endswith((NAME, REPORT))


def shapes(video: bytes) -> list[tuple[int, ...]]:
    """Return the shape of each frame of a video, and its brightness within a few levels."""
    import av

    with av.open(io.BytesIO(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [(*frame.shape, round(float(frame.mean()) / 8)) for frame in frames]


def as_the_command_line_does(folder: Path, work: Path, ended) -> None:
    """Check that a job of a folder gives the same files and errors as the command line."""
    photos, videos = (list(by_suffix(folder, frozenset(kinds))) for kinds in (IMAGE_SUFFIXES, VIDEO_SUFFIXES))
    for photo in photos:
        (work / "in" / photo).parent.mkdir(parents=True, exist_ok=True)
        (work / "in" / photo).write_bytes((folder / photo).read_bytes())
    settings = ["--method", "none", "--seed", "7", "--quiet"]
    files: dict[str, bytes] = {}
    reasons: dict[str, str] = {}
    if photos:
        assert main(["anonymize", str(work / "in"), "--out", str(work / "out"), *settings]) in (0, 3)
        lines = [json.loads(line) for line in (work / "out" / NAME).read_text().splitlines()]
        reasons = {line["input"]: line["error"] for line in lines if "error" in line}
        files = {
            p.relative_to(work / "out").as_posix(): p.read_bytes() for p in (work / "out").rglob("*") if p.is_file()
        }
    for video in videos:
        out = work / "videos" / video_output(video)
        out.parent.mkdir(parents=True, exist_ok=True)
        assert main(["video", str(folder / video), "--out", str(out), *settings]) in (0, 3)
        files[f"videos/{video_output(video).as_posix()}"] = out.read_bytes()
    if any(folder.rglob("*.tar")):
        assert "another archive" in ended(folder, archives=True)[0]["detail"]
    body, members = ended(folder)
    if not photos and not videos:
        assert body["detail"] == "The upload holds no photo and no video."
        return
    assert body["state"] == "done", body
    assert {one["input"]: one["error"] for one in body["withheld"]} == reasons
    done, expected = ({name: data for name, data in one.items() if is_result(name)} for one in (members, files))
    assert set(done) == set(expected)
    for name, data in done.items():
        if name.startswith("videos/"):  # encoders with several threads are not deterministic
            assert shapes(data) == shapes(expected[name]), name
        else:
            assert data == expected[name], name
    others = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.suffix != ".tar"}
    assert set(body["skipped"]) == others - {p.as_posix() for p in (*photos, *videos)}


def test_made_files(ended, astronaut, tmp_path) -> None:
    own_files(tmp_path / "case", Image.fromarray(astronaut[:256, 96:352]))
    as_the_command_line_does(tmp_path / "case", tmp_path / "work", ended)


@pytest.mark.shared
@pytest.mark.parametrize("kind", KINDS)
def test_shared_files(shared, ended, tmp_path, kind) -> None:
    folder = shared / "cases" / kind
    if not folder.is_dir():
        pytest.skip(f"the shared folder holds no case {kind}")
    if any(by_suffix(folder, VIDEO_SUFFIXES)):
        pytest.importorskip("av", reason="videos need PyAV: pip install 'styleid[video]'")
    as_the_command_line_does(folder, tmp_path / "work", ended)


@pytest.mark.shared
def test_all_shared_cases_are_tested(shared) -> None:
    if not (shared / "cases").is_dir():
        pytest.skip("the shared folder holds no cases")
    assert {path.name for path in (shared / "cases").iterdir() if path.is_dir()} == set(KINDS)
