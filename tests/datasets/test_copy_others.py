"""Files beside photos in plain folders."""

import base64
import json

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from styleid.cli import main
from styleid.datasets.copy_others import OtherFileOptions, find_others
from styleid.engine.journal import NAME
from styleid.engine.shards import Shard
from styleid.errors import OptionError
from styleid.media.storage.remote import RemotePath
from tests.datasets.folders import contents, errors, write

NONE = ("--method", "none", "--seed", "1")


@pytest.fixture
def root(tmp_path, portrait):
    write(tmp_path / "in", {"a.png": portrait, "notes.md": "by somebody", "deep/b.json": "{}"})
    portrait.save(tmp_path / "in/deep/c.jp2")
    portrait.save(tmp_path / "in/d.ppm")
    portrait.save(tmp_path / "in/e.tga")
    portrait.save(tmp_path / "in/raster", "PPM")
    np.save(tmp_path / "in/f.npy", np.asarray(portrait))
    write(tmp_path / "in", {"g.dng": b"II*\0", "h.mp4": b"\0\0\0\x18ftypmp42"})
    return tmp_path / "in"


UNREAD = {"deep/c.jp2", "d.ppm", "e.tga", "g.dng", "raster"}


def test_pictures_that_are_not_read_are_named_by_number_and_kind(root, tmp_path, capsys):
    assert main(["anonymize", str(root), "--out", str(tmp_path / "out"), *NONE, "--json"]) == 3
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert (summary["inputs"], summary["written"], summary["failed"]) == (6, 1, 5)
    assert errors(tmp_path / "out").keys() == UNREAD
    assert contents(tmp_path / "out").keys() == {"a.png"}
    assert (
        "styleid: 6 files of kinds that are not read: 1 JPEG 2000 picture (.jp2), 1 MP4 or QuickTime video (.mp4), "
        "1 PPM picture (.ppm), 1 PPM picture (no ending), 1 TGA picture (.tga), 1 camera's raw file (.dng)"
    ) in told.err
    assert "--carry jp2 copies it" in told.err


def test_a_folder_of_unread_pictures_alone(root, tmp_path, capsys):
    (root / "a.png").unlink()
    assert main(["anonymize", str(root), "--out", str(tmp_path / "out"), *NONE]) == 3
    assert "0 of 5 files written" in capsys.readouterr().out
    assert contents(tmp_path / "out") == {}


def test_what_is_harmless_is_copied_and_the_rest_is_named(root, tmp_path):
    call = ["anonymize", str(root), "--out", str(tmp_path / "out"), *NONE, "--copy-others"]
    assert main(call) == 3
    assert contents(tmp_path / "out").keys() == {"a.png", "notes.md", "deep/b.json"}
    assert errors(tmp_path / "out").keys() == {*UNREAD, "f.npy", "h.mp4"}
    carried = ["jp2", ".ppm", "TGA", "npy", "dng,mp4"]
    assert main([*call, "--resume", "--carry", *carried]) == 3
    assert errors(tmp_path / "out").keys() == {"raster"}
    for name in UNREAD - {"raster"}:
        assert contents(tmp_path / "out")[name] == (root / name).read_bytes()
    assert main([*call, "--resume"]) == 3
    assert contents(tmp_path / "out").keys() == {"a.png", "notes.md", "deep/b.json"}


def test_endings_alone_are_carried_without_the_rest(root, tmp_path):
    (root / "raster").unlink()
    call = ["anonymize", str(root), "--out", str(tmp_path / "out"), *NONE]
    assert main([*call, "--carry", "jp2", "ppm", "tga", "dng"]) == 0
    assert contents(tmp_path / "out").keys() == {"a.png", "deep/c.jp2", "d.ppm", "e.tga", "g.dng"}


@pytest.mark.parametrize("ending", ["jpg", ".PNG", "seg.png", "heic"])
def test_photos_are_never_carried(root, tmp_path, capsys, ending):
    assert main(["anonymize", str(root), "--out", str(tmp_path / "out"), *NONE, "--carry", ending]) == 2
    assert "--carry: files that end in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_videos_alone_are_told_of_but_no_error(tmp_path, portrait, capsys):
    write(tmp_path / "in", {"a.png": portrait, "b.mov": b"", "c.txt": "", "thumb.dat": b"\xff\xd8\xff\xe0"})
    assert main(["anonymize", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *NONE]) == 0
    assert "1 MP4 or QuickTime video (.mov), 1 picture under another name (.dat)" in capsys.readouterr().err


def test_pictures_in_text_stay(tmp_path, portrait):
    text = json.dumps({"p": base64.urlsafe_b64encode(np.asarray(portrait).tobytes()).decode()})
    write(tmp_path / "in", {"a.png": portrait, "a.json": text, "b.json": "{}"})
    assert main(["anonymize", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *NONE, "--copy-others"]) == 3
    assert contents(tmp_path / "out").keys() == {"a.png", "b.json"}


def test_each_part_of_a_run_treats_its_own(root, tmp_path):
    for part in ("1/2", "2/2"):
        main(["anonymize", str(root), "--out", str(tmp_path / "out"), *NONE, "--shard", part])
    lines = [line for path in (tmp_path / "out").glob("styleid-journal-*") for line in path.read_text().splitlines()]
    assert sorted(json.loads(line)["input"] for line in lines) == sorted([*UNREAD, "a.png"])
    assert find_others([root], tmp_path / "out", OtherFileOptions(), Shard(1, 2)) != []


def test_two_files_for_one_place_are_refused_where_they_would_be_copied(root, tmp_path):
    other = write(tmp_path / "other", {"notes.md": "by another"})
    assert len(find_others([root, other], tmp_path / "out", OtherFileOptions())) == 7
    with pytest.raises(OptionError, match=r"both be copied to notes\.md"):
        find_others([root, other], tmp_path / "out", OtherFileOptions(copy=True))


def test_the_output_in_the_input_and_what_is_no_file_are_left_out(root, tmp_path):
    import os

    write(root, {"out/x.jp2": b"", ".hidden.jp2": b"", NAME: "{}"})
    (root / "gone.txt").symlink_to("nowhere")
    os.mkfifo(root / "pipe.jp2")
    found = {file.name for file in find_others([root], root / "out", OtherFileOptions(copy=True))}
    assert found == {*UNREAD, "notes.md", "deep/b.json", "f.npy", "h.mp4", "gone.txt"}


def test_pictures_at_urls_are_known_by_their_endings(root, tmp_path, capsys):
    MemoryFileSystem.store.clear()
    bucket = RemotePath("memory://others")
    for name, data in contents(root).items():
        (bucket / "in" / name).write_whole(data)
    call = ["anonymize", "memory://others/in", "--out", "memory://others/out", *NONE]
    assert main(call) == 3
    assert "5 files of kinds that are not read" in capsys.readouterr().err
    lines = [json.loads(line) for line in (bucket / "out" / NAME).read_bytes().splitlines()]
    assert {line["input"] for line in lines if "error" in line} == UNREAD - {"raster"}
    assert main([*call, "--copy-others"]) == 2
    assert main([*call, "--carry", "jp2"]) == 2
