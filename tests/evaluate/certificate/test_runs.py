"""Finished runs of photos, shards and videos are read."""

import io
import itertools
import json
import shutil
import tarfile
from pathlib import Path

import av
import pytest

from styleid.cli import main
from styleid.errors import OptionError, VideoError
from styleid.evaluate.certificate.certify import CertifyOptions, certify
from styleid.evaluate.certificate.runs import open_run
from tests.evaluate.certificate import rigged
from tests.evaluate.rig import draw_people

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FEW = {"recognisers": "gate", "workers": 1, "photos": 6, "regions": 4}
FRAMES = 8
SOLID = ("--method", "none", "--obscure", "solid", "--quiet")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[bytes]:
    folder = draw_people(tmp_path_factory.mktemp("runs") / "people", 3)
    return [path.read_bytes() for path in sorted(folder.rglob("*.png"))]


def pack(path: Path, members: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def unpack(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar]


@pytest.fixture
def shards(photos, tmp_path) -> tuple[Path, Path]:
    source, outputs = tmp_path / "shards", tmp_path / "outputs"
    for number in range(2):
        three = photos[3 * number : 3 * number + 3]
        pack(source / f"{number}.tar", [(f"{k}.png", content) for k, content in enumerate(three)])
    assert main(["dataset", "shards", str(source), str(outputs), *SOLID]) == 0
    return source, outputs


def test_shards_are_unpacked_and_compared(shards, tmp_path):
    record = certify(*shards, CertifyOptions(tmp_path / "certificate", **FEW)).record
    assert record["run"]["kind"] == "shards"
    assert record["photos"]["compared"] == record["photos"]["total"] == 6
    assert record["faces"]["obscured"] == 6
    assert record["findings"] == []
    assert sorted(record["outputs"]["sha256"]) == ["0.tar", "1.tar", "styleid-journal.jsonl"]


def test_a_member_that_was_restored_or_slipped_in_is_found(shards, tmp_path):
    source, outputs = shards
    before, after = unpack(source / "0.tar"), unpack(outputs / "0.tar")
    pack(outputs / "0.tar", [before[0], *after[1:], ("more.png", before[1][1])])
    record = certify(source, outputs, CertifyOptions(tmp_path / "certificate", **FEW)).record
    texts = {one["what"]: one["names"] for one in record["findings"]}
    assert texts["faces that were left unchanged, but not on purpose"] == ["0.tar/0.png"]
    assert texts["outputs that the journal does not list, or lists as withheld"] == ["0.tar/more.png"]
    assert texts["outputs that cannot be compared with an original"] == ["0.tar/more.png: original: there is none"]


def test_one_shard_may_be_certified_alone(shards, tmp_path):
    source, outputs = shards
    with open_run(source / "0.tar", outputs / "0.tar") as run:
        assert {item.name for item in run.items} >= {"0.tar/0.png", "0.tar/1.png", "0.tar/2.png"}


def cut(path: Path, frames: int) -> Path:
    """Write the first frames of the example."""
    with av.open(str(EXAMPLES / "people.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=25)
        stream.width, stream.height = source.streams.video[0].width, source.streams.video[0].height
        for frame in itertools.islice(source.decode(video=0), frames):
            target.mux(stream.encode(frame.reformat(format="yuv420p")))
        target.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return cut(tmp_path_factory.mktemp("video") / "people.mp4", FRAMES)


@pytest.fixture(scope="module")
def video(clip, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("video") / "outputs" / "people.mp4"
    out.parent.mkdir()
    assert main(["video", str(clip), "--out", str(out), *SOLID]) == 0
    return out


def test_frames_of_a_video_are_compared(clip, video, tmp_path):
    record = certify(clip, video, CertifyOptions(tmp_path / "certificate", **FEW)).record
    assert record["run"]["unit"] == "frames"
    assert record["photos"]["total"] == record["photos"]["compared"] == FRAMES
    assert record["faces"]["found_or_listed"] >= FRAMES
    assert record["faces"]["left_as_they_were"] == 0
    assert not [one for one in record["findings"] if "as they were" in one["what"]]
    assert list(record["outputs"]["sha256"]) == ["people.mp4"]
    assert any("the sound" in line for line in record["not_tested"])


def test_a_video_that_shows_its_original_is_called_that(clip, video, tmp_path):
    copied = tmp_path / "outputs" / "people.mp4"
    shutil.copytree(video.parent, copied.parent)
    shutil.copy(clip, copied)
    record = certify(clip, copied, CertifyOptions(tmp_path / "certificate", **FEW)).record
    assert record["faces"]["left_as_they_were"] >= record["photos"]["total"]
    out = tmp_path / "certificate"
    sample = rigged.sample_of(out)
    frames = {q.photo for q in sample.questions}
    file = rigged.answers_file(tmp_path / "answers", sample, rigged.truthful(sample, frames))
    options = CertifyOptions(out, **FEW, answers=file)
    assert certify(clip, copied, options).record["audit"]["at_most_share"] == 1.0


def test_faces_of_kept_tracks_count_as_kept(clip, video, tmp_path):
    kept = tmp_path / "outputs" / "people.mp4"
    shutil.copytree(video.parent, kept.parent)
    lines = rigged.lines_of(kept.parent)
    tracks = [track | {"action": "kept", "box_range": [-1e4, -1e4, 1e4, 1e4]} for track in lines[0]["tracks"]]
    rigged.write_lines(kept.parent, [lines[0] | {"tracks": tracks}])
    record = certify(clip, kept, CertifyOptions(tmp_path / "certificate", **FEW)).record
    assert record["faces"]["kept_on_purpose"] == record["faces"]["found_or_listed"] > 0


def test_a_video_without_a_journal_or_an_original_is_refused(clip, video, tmp_path):
    alone = tmp_path / "alone" / "people.mp4"
    alone.parent.mkdir()
    shutil.copy(video, alone)
    with pytest.raises(OptionError, match="has no journal"), open_run(clip, alone):
        pass
    with pytest.raises(OptionError, match="is not a video"), open_run(EXAMPLES, video):
        pass


def test_two_videos_that_differ_in_length_are_refused(video, tmp_path):
    long = tmp_path / "outputs" / "people.mp4"
    shutil.copytree(video.parent, long.parent)
    short = cut(tmp_path / "short.mp4", FRAMES - 3)
    with pytest.raises(VideoError, match="cannot be compared"), open_run(short, long):
        pass


def test_a_data_set_is_a_run_of_photos(photos, tmp_path):
    source, outputs = tmp_path / "voc", tmp_path / "outputs"
    for k, content in enumerate(photos[:2]):
        for place, data in ((f"JPEGImages/{k}.png", content), (f"ImageSets/Main/{k}.txt", str(k).encode())):
            path = source / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    xml = (
        "<annotation><filename>{0}.png</filename><size><width>224</width><height>224</height><depth>3</depth></size>"
        "<object><name>person</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>200</xmax><ymax>200</ymax></bndbox>"
        "</object></annotation>"
    )
    (source / "Annotations").mkdir()
    for k in range(2):
        (source / "Annotations" / f"{k}.xml").write_text(xml.format(k))
    assert main(["dataset", "voc", str(source), str(outputs), *SOLID]) == 0
    record = certify(source, outputs, CertifyOptions(tmp_path / "certificate", **FEW)).record
    assert record["photos"]["compared"] == 2
    assert record["findings"] == []
    assert record["side_channels"]["other_files"] >= 3
    assert json.dumps(record["outputs"]).count("Annotations/") == 2
