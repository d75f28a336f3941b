"""Runs over data sets: resuming, foreign files, bad places, and files beside photos."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.cli import main
from styleid.datasets.formats.coco.layout import Coco
from styleid.datasets.formats.yolo.layout import Yolo
from styleid.datasets.options import AnnotationOptions
from styleid.datasets.run import process_dataset
from styleid.engine.journal import NAME
from styleid.engine.local import RunOptions
from styleid.errors import OptionError
from tests.datasets.folders import contents, errors, write

NONE = ("--method", "none", "--seed", "1")


@pytest.fixture
def root(tmp_path, portrait, meadow) -> Path:
    photos = {"images/a.png": portrait, "images/b.png": meadow, "images/c.png": meadow}
    labels = {f"labels/{name}.txt": "0 0.5 0.5 0.2 0.2\n" for name in "abc"}
    return write(tmp_path / "in", {**photos, **labels, "data.yaml": "names: [face]\n", "notes.md": "by somebody"})


@pytest.mark.parametrize("stop", [0, 2, 3, 5])
def test_a_run_that_breaks_off_goes_on(root, run_over, tmp_path, plain, monkeypatch, stop):
    """The first three stops lie before a photo, the others between carried files."""
    run_over(root, Yolo(), boxes="from-annotations")
    expected = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    left = iter(range(stop))

    def until(function):
        def of(*args, **more):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return function(*args, **more)

        return of

    import styleid.datasets.run as module

    with monkeypatch.context() as patch:
        patch.setattr(plain, "anonymize", until(plain.anonymize))
        patch.setattr(module, "put_text", until(module.put_text))
        with pytest.raises(KeyboardInterrupt):
            run_over(root, Yolo(), boxes="from-annotations")
        assert contents(tmp_path / "out").items() <= expected.items()
        assert len(contents(tmp_path / "out")) == stop
    summary = run_over(root, Yolo(), boxes="from-annotations", resume=True)
    assert summary.photos.resumed == min(stop, 3)
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize("options", [{}, {"boxes": "from-annotations"}, {"add_faces": True, "face_class": "new"}])
def test_photos_that_parts_of_an_anonymize_run_have_done_are_joined(root, run_over, tmp_path, options):
    run_over(root, Yolo(), **options)
    expected = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    for part in ("1/2", "2/2"):
        assert main(["anonymize", str(root), "--out", str(tmp_path / "out"), *NONE, "--shard", part, "--quiet"]) == 0
    summary = run_over(root, Yolo(), resume=True, **options)
    assert summary.photos.resumed == (0 if options else 3)
    for journal in (tmp_path / "out").glob("styleid-journal-*"):
        journal.unlink()
    assert contents(tmp_path / "out") == expected


def test_carried_files_that_are_whole_are_left_alone(root, run_over, tmp_path):
    run_over(root, Yolo())
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.name != NAME}
    (tmp_path / "out/labels/a.txt").write_text("changed")
    run_over(root, Yolo(), resume=True)
    assert (tmp_path / "out/labels/a.txt").read_text() == (root / "labels/a.txt").read_text()
    del stamps[tmp_path / "out/labels/a.txt"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_foreign_files_and_bad_places_are_refused(root, run_over, tmp_path, plain):
    for out in (root, root / "out", tmp_path):
        with pytest.raises(OptionError, match=r"^out: .* is, contains or lies in"):
            process_dataset(root, Yolo(), plain, RunOptions(out), AnnotationOptions())
    with pytest.raises(OptionError, match=r"^source: .*data\.yaml is not a folder"):
        run_over(root / "data.yaml", Yolo())
    write(tmp_path / "out", {"images/a.png": b"somebody's copy of the original"})
    with pytest.raises(OptionError, match=r"^out: .*'images/a\.png', but no journal"):
        run_over(root, Yolo())
    (tmp_path / "out/images/a.png").unlink()
    run_over(root, Yolo())
    write(tmp_path / "out", {"images/other.png": b"x"})
    with pytest.raises(OptionError, match=r"not belong to this data set, such as 'images/other\.png'"):
        run_over(root, Yolo(), resume=True)


def test_a_photo_that_is_withheld_now_does_not_stay_from_before(root, run_over, tmp_path):
    run_over(root, Yolo())
    assert (tmp_path / "out/images/b.png").exists()
    write(root, {"labels/b.txt": "0 nan 1 1 1\n"})
    run_over(root, Yolo(), boxes="from-annotations", resume=True)
    assert not (tmp_path / "out/images/b.png").exists()


def test_other_files_are_asked_for_and_looked_at(root, run_over, tmp_path, portrait):
    summary = run_over(root, Yolo())
    assert (summary.left, "notes.md" in contents(tmp_path / "out")) == (1, False)
    portrait.save(root / "thumbs.db", "PNG")
    summary = run_over(root, Yolo(), copy_others=True, resume=True)
    assert summary.left == 0
    assert contents(tmp_path / "out")["notes.md"] == b"by somebody"
    assert dict(summary.photos.failures).keys() == {"thumbs.db"}
    assert "it is a picture, whatever its name says. `carry=db`" in dict(summary.photos.failures)["thumbs.db"]
    assert "thumbs.db" not in contents(tmp_path / "out")


def test_named_endings_are_carried_unseen(root, run_over, tmp_path, portrait):
    portrait.save(root / "thumbs.db", "PNG")
    write(root, {"annotations/x.pkl": b"\x80\x04", "labels/a.cache": b"\0"})
    summary = run_over(root, Yolo(), carry=("db",))
    assert (summary.left, summary.exit_status) == (3, 0)
    assert contents(tmp_path / "out")["thumbs.db"] == (root / "thumbs.db").read_bytes()
    assert run_over(root, Yolo(), copy_others=True, resume=True).exit_status == 3
    assert errors(tmp_path / "out").keys() == {"thumbs.db", "annotations/x.pkl", "labels/a.cache"}
    assert "thumbs.db" not in contents(tmp_path / "out")
    assert run_over(root, Yolo(), copy_others=True, carry=("db,pkl", ".cache"), resume=True).exit_status == 0
    assert errors(tmp_path / "out") == {}


def test_pictures_that_are_not_read_and_caches_are_named(root, run_over, tmp_path, portrait):
    portrait.save(root / "images/a.jp2")
    np.save(root / "images/b.npy", np.asarray(portrait))
    summary = run_over(root, Yolo())
    assert dict(summary.photos.failures).keys() == {"images/a.jp2"}
    assert "a JPEG 2000 picture, which is not read" in dict(summary.photos.failures)["images/a.jp2"]
    assert summary.unread == {"JPEG 2000 picture (.jp2)": 1}
    assert [name for name, _ in summary.notes] == ["images/b.npy"]
    assert not {"images/a.jp2", "images/b.npy"} & contents(tmp_path / "out").keys()


def test_label_maps_that_show_a_face_are_withheld(root, run_over, tmp_path, portrait):
    from tests.datasets.test_passthrough import enlarged

    write(root, {"segments/a.png": enlarged(portrait)})
    summary = run_over(root, Yolo(), masks=(Path("segments"),))
    assert "a face is found in it" in dict(summary.photos.failures)["segments/a.png"]
    assert "segments/a.png" not in contents(tmp_path / "out")
    assert run_over(root, Yolo(), masks=(Path("segments"),), carry=("png",), resume=True).exit_status == 0
    assert contents(tmp_path / "out")["segments/a.png"] == (root / "segments/a.png").read_bytes()


def test_own_boxes_from_a_file(root, run_over, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"images/b.png": [[10, 10, 40, 40]]}')
    assert run_over(root, Yolo(), boxes=str(boxes)).photos.faces["obscured"] == 2
    boxes.write_text('{"b.png": [[10, 10, 40, 40]]}')
    with pytest.raises(OptionError, match=r"'b\.png' is not an input"):
        run_over(root, Yolo(), boxes=str(boxes))


def test_label_maps_in_named_folders(root, run_over, tmp_path, portrait):
    from tests.datasets.formats.test_voc import label_map

    write(root, {"segments/a.png": label_map((128, 112)), "segments/b.png": portrait})
    run_over(root, Yolo(), masks=(Path("segments"),))
    before, after = contents(root), contents(tmp_path / "out")
    assert after["segments/a.png"] == before["segments/a.png"]
    assert after["segments/b.png"] != before["segments/b.png"]


def test_hidden_files_and_linked_folders(root, run_over, tmp_path, portrait):
    write(tmp_path / "elsewhere", {"d.png": portrait})
    (root / "images/linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "aaa").symlink_to(root / "images", target_is_directory=True)
    (root / "labels/gone.txt").symlink_to("nowhere")
    write(root, {".hidden.png": portrait, ".git/x.png": portrait})
    summary = run_over(root, Yolo())
    names = contents(tmp_path / "out").keys()
    assert {"images/linked/d.png", "images/a.png"} <= names
    assert not [name for name in names if ".hidden" in name or ".git" in name or "aaa" in name]
    assert dict(summary.photos.failures).keys() == {"labels/gone.txt"}


def test_the_command_says_what_it_did(root, tmp_path, capsys, portrait):
    out = tmp_path / "out"
    image = {"id": 1, "file_name": "a.png", "width": 128, "height": 112}
    gone = {"id": 2, "file_name": "z.png"}
    write(root, {"annotations/x.json": json.dumps({"images": [image, gone]})})
    assert main(["dataset", "coco", str(root), str(out), *NONE, "--json"]) == 3
    told = capsys.readouterr()
    summary = json.loads(told.out)
    assert (summary["written"], summary["inputs"], summary["files_carried"], summary["exit_status"]) == (3, 3, 1, 3)
    assert told.err == "styleid: images/z.png: not written: annotations name it, but it is not there\n"
    assert main(["dataset", "coco", str(root), str(out), *NONE, "--resume"]) == 3
    told = capsys.readouterr()
    assert "3 of 3 photos written" in told.out
    assert "(3 of them earlier)" in told.out
    assert "--drop-withheld" in told.out
    shutil.rmtree(out)
    assert (
        main(["dataset", "yolo", str(root), str(out), *NONE, "--classes", "face", "--boxes", "from-annotations"]) == 0
    )
    assert "annotations and label maps: 4 copied" in capsys.readouterr().out
    assert main(["dataset", "voc", str(root), str(root), *NONE]) == 2
    assert "OUT: " in capsys.readouterr().err
    assert main(["dataset", "shards", str(root), str(tmp_path / "tars"), *NONE]) == 2
    assert "contains none: no file name ends in .tar" in capsys.readouterr().err


def test_plain_folders_keep_their_sidecars_only_when_asked(tmp_path, capsys, portrait):
    write(tmp_path / "in", {"a.png": portrait, "a.xmp": "<x>Anna</x>", "deep/b.txt": "B", "deep/c.dat": "", ".x": ""})
    portrait.save(tmp_path / "in/deep/c.dat", "JPEG")
    call = ["anonymize", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *NONE]
    assert main(call) == 0
    assert contents(tmp_path / "out").keys() == {"a.png"}
    assert main([*call, "--copy-others", "--resume"]) == 3
    assert contents(tmp_path / "out").keys() == {"a.png", "a.xmp", "deep/b.txt"}
    assert "deep/c.dat: it is a picture" in capsys.readouterr().err
    inside = ["anonymize", str(tmp_path / "in"), "--out", str(tmp_path / "in/out"), *NONE, "--copy-others"]
    (tmp_path / "in/deep/c.dat").unlink()
    for _ in range(2):
        assert main(inside) == 0
        assert contents(tmp_path / "in/out").keys() == {"a.png", "a.xmp", "deep/b.txt"}
    other = write(tmp_path / "other", {"a.xmp": "y"})
    assert main([*call[:2], str(other), *call[2:], "--copy-others"]) == 2


@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "shards"])
def test_help_is_there(form, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["dataset", form, "--help"])
    told = capsys.readouterr().out
    assert "IN OUT" in told
    assert "--out " not in told
    assert "--resume" in told


def test_faces_are_replaced_where_heads_are_marked(tmp_path, bundle, astronaut):
    """A head in which a face is seen is not hidden: the face gets a new one, and that alone changes."""
    image = {"id": 1, "file_name": "a.png", "width": 256, "height": 256}
    head = {"id": 1, "image_id": 1, "category_id": 5, "bbox": [65, 10, 130, 190]}
    record = {"images": [image], "annotations": [head], "categories": [{"id": 5, "name": "head"}]}
    photo = Image.fromarray(astronaut[:256, 96:352])
    root = write(tmp_path / "in", {"a.png": photo, "a.json": json.dumps(record)})
    by = Anonymizer(bundle, AnonymizeOptions(seed=1))
    options = AnnotationOptions("from-annotations", add_faces=True)
    summary = process_dataset(root, Coco(), by, RunOptions(tmp_path / "out"), options)
    assert summary.photos.faces == {"anonymised": 1}
    assert len(json.loads((tmp_path / "out/a.json").read_text())["annotations"]) == 2


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).resolve().parents[2] / "docs/datasets.md").read_text(encoding="utf-8")
    (code, command) = re.findall(r"<<'PYTHON'\n(.*?)\nPYTHON\nstyleid (.*?)\n```", text, re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "datasets.md", "exec"), {})
    assert main(shlex.split(command)) == 0
    assert "faces: 1 anonymised" in capsys.readouterr().out
    record = json.loads((tmp_path / "anonymised/annotations.json").read_text())
    assert [one["name"] for one in record["categories"]] == ["person", "face"]
    assert len(record["annotations"]) == 2
