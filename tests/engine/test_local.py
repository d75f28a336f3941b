"""Runs over files: outputs are complete and checked, failures are named, and a killed run can be resumed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer, Bundle
from styleid.engine.journal import NAME
from styleid.engine.local import RunOptions, Summary, process_files, read_boxes
from styleid.errors import OptionError, OutputError
from styleid.media.image import read_photo
from styleid.media.storage.files import remove_stale
from styleid.types import FloatArray
from tests.tiny_bundle import tiny_bundle

KINDS = ("png", "jpg", "webp", "bmp", "tif", "gif")
KILLS = {"none": 38, "tiny": 8, "command": 4}
MOST_KILLS = 60
"""How often a run is killed at most until one was half-way, which a busy machine may put off."""
"""How many runs are killed: without a bundle, with a tiny one, and as `python -m styleid`."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    """Twelve small photos in a tree: two of each format, the last two without a face."""
    folder = tmp_path_factory.mktemp("photos")
    small = Image.fromarray(astronaut[:256, 96:352])
    for index in range(12):
        side = 112 + 8 * index
        image = small.resize((side, side), Image.Resampling.LANCZOS)
        if index >= 10:
            image = Image.new("RGB", (side, side), (90, 120, 60))
        path = folder / ("", "street", "street/deep")[index % 3] / f"{index:02d}.{KINDS[index % 6]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        (image.quantize(64) if path.suffix == ".gif" else image).save(path)
    return folder


@pytest.fixture(scope="module")
def plain() -> Anonymizer:
    return Anonymizer(None, AnonymizeOptions(method="none", seed=1))


@pytest.fixture
def run(photos, plain, tmp_path) -> Callable[..., Summary]:
    """Run over the photos into a folder of the test's own."""

    def of(*inputs: Path, boxes: dict[str, FloatArray] | None = None, by: Anonymizer = plain, **options) -> Summary:
        return process_files(inputs or (photos,), by, RunOptions(tmp_path / "out", **options), boxes)

    return of


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file below a folder but the journal, by relative name."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def journal(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def test_folders_are_mirrored_and_other_files_stay_out(run, photos, tmp_path):
    (photos / "notes.txt").write_text("a face is described here")
    try:
        summary = run()
    finally:
        (photos / "notes.txt").unlink()
    written, originals = contents(tmp_path / "out"), contents(photos)
    assert written.keys() == originals.keys()
    assert (summary.inputs, summary.written, summary.without_faces, summary.exit_status) == (12, 12, 2, 0)
    assert summary.faces == {"obscured": 10}
    for name, data in originals.items():
        before, after = read_photo(photos / name).image_rgb, read_photo(tmp_path / "out" / name).image_rgb
        assert before.shape == after.shape
        assert name.startswith(("10.", "street/10.", "street/deep/11.")) or (before != after).any(-1).mean() > 0.05
        assert data[:2] == written[name][:2]
    records = journal(tmp_path / "out")
    assert [record["input"] for record in records] == sorted(originals)
    assert all("embedding" not in json.dumps(record) for record in records)
    assert {"read", "detect", "encode", "write"} <= summary.stage_seconds.keys()


def test_unreadable_inputs_are_named_counted_and_not_copied(run, photos, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(photos, folder)
    whole = (folder / "06.png").read_bytes()
    bad = {
        "zero.png": b"",
        "street/cut.png": whole[: len(whole) // 2],
        "street/text.jpg": b"this is no photo",
        "street/deep/page.webp": b"<html>not found</html>",
        "zz.tif": whole[8:],
    }
    for name, data in bad.items():
        (folder / name).write_bytes(data)
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    summary = run(folder)
    assert {name for name, _ in summary.failures} == {*bad, "gone.jpg"}
    assert all(reason and "\n" not in reason for _, reason in summary.failures)
    assert (summary.inputs, summary.written, summary.exit_status) == (18, 12, 3)
    assert contents(tmp_path / "out").keys() == contents(photos).keys()
    errors = {record["input"]: record["error"] for record in journal(tmp_path / "out") if "error" in record}
    assert errors == dict(summary.failures)
    assert {entry["input"] for entry in summary.to_json()["failures"]} == errors.keys()

    again = run(folder, resume=True)  # what failed is tried again and fails again
    assert (again.resumed, again.written, len(again.failures), again.exit_status) == (12, 12, 6, 3)
    for name in bad:
        (folder / name).write_bytes(whole)
    (folder / "gone.jpg").unlink()
    mended = run(folder, resume=True)
    assert (mended.resumed, mended.written, mended.exit_status) == (12, 17, 0)


def test_a_misnamed_photo_keeps_its_format_and_is_noted(run, photos, tmp_path):
    named = tmp_path / "photo.jpg"
    shutil.copy(photos / "06.png", named)
    summary = run(named)
    assert summary.exit_status == 0
    assert len(summary.notes) == 1
    assert (tmp_path / "out/photo.jpg").read_bytes().startswith(b"\x89PNG")


def test_resuming_does_nothing_twice_and_redoes_what_was_changed(run, photos, tmp_path, plain, monkeypatch):
    out = tmp_path / "out"
    run()
    first = contents(out)
    stamps = {name: (out / name).stat().st_mtime_ns for name in first}
    done: list[str] = []
    anonymize = plain.anonymize
    monkeypatch.setattr(plain, "anonymize", lambda i, *, name, boxes_xyxy: done.append(name) or anonymize(i, name=name))

    assert (again := run(resume=True)).resumed == 12
    assert (again.written, again.without_faces, again.faces["obscured"]) == (12, 2, 10)
    assert done == []
    assert {name: (out / name).stat().st_mtime_ns for name in first} == stamps

    (out / "00.png").write_bytes((photos / "00.png").read_bytes())  # somebody put the original there
    (out / "street/01.jpg").unlink()
    (out / "street/04.tif").write_bytes(first["street/04.tif"] + b"x")
    assert run(resume=True).resumed == 9
    assert sorted(done) == ["00.png", "street/01.jpg", "street/04.tif"]
    assert contents(out) == first

    lines = (out / NAME).read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["input"] != "03.bmp"]
    (out / NAME).write_text("\n".join(kept) + '\n{"input": "03.bmp", "sha')
    assert run(resume=True).resumed == 11
    assert done[3:] == ["03.bmp"]
    assert run(resume=True).resumed == 12
    assert run().resumed == 0
    assert contents(out) == first


def test_resuming_redoes_a_photo_that_is_newer_than_its_output(photos, plain, tmp_path):
    own, out = tmp_path / "own", tmp_path / "out"
    shutil.copytree(photos, own)
    first = process_files([own], plain, RunOptions(out))
    name = next(iter(contents(out)))
    image = np.asarray(Image.open(own / name).convert("RGB"))
    Image.fromarray(image[:, ::-1]).save(own / name)
    later = (out / name).stat().st_mtime_ns + 10**6
    os.utime(own / name, ns=(later, later))
    again = process_files([own], plain, RunOptions(out, resume=True))
    assert (again.written, again.resumed) == (first.written, first.written - 1)
    assert np.asarray(Image.open(out / name)).shape == image.shape
    assert journal(out)[-1]["input"] == name
    assert process_files([own], plain, RunOptions(out, resume=True)).resumed == first.written


@pytest.mark.parametrize(
    ("options", "metadata", "named"),
    [
        ({"obscure": "blur"}, "strip", "obscure"),
        ({"seed": 2}, "strip", "seed"),
        ({"tries": 3, "strength": 0.5}, "strip", "strength, tries"),
        ({}, "safe", "metadata"),
    ],
)
def test_other_settings_are_refused(run, tmp_path, options, metadata, named):
    run()
    before = (contents(tmp_path / "out"), (tmp_path / "out" / NAME).read_bytes())
    other = Anonymizer(None, AnonymizeOptions(**{"method": "none", "seed": 1} | options))
    with pytest.raises(OptionError, match=named):
        run(by=other, metadata=metadata, resume=True)
    assert (contents(tmp_path / "out"), (tmp_path / "out" / NAME).read_bytes()) == before
    assert run(by=other, metadata=metadata).resumed == 0


def test_another_bundle_is_refused(run, photos, tmp_path, tmp_path_factory, astronaut):
    options = AnonymizeOptions(seed=1, tries=1)
    anonymizers = [Anonymizer(Bundle(tiny_bundle(tmp_path_factory, name)), options) for name in ("other", "copy")]
    first, second = (tmp_path / "first.png", photos / "06.png")
    Image.fromarray(astronaut).save(first)
    assert run(first, by=anonymizers[0]).faces == {"anonymised": 1}
    with pytest.raises(OptionError, match="bundle, bundle_sha256"):
        run(second, by=anonymizers[1], resume=True)
    summary = run(second, by=anonymizers[1])
    assert summary.faces == {"obscured": 1}
    assert summary.exit_status == 3
    assert summary.fallbacks == [("06.png", "too like the original")]


def test_photos_without_a_face_can_be_errors(run, tmp_path):
    summary = run(require_faces=True)
    assert (summary.written, summary.without_faces, summary.exit_status) == (10, 0, 3)
    assert sorted(name for name, _ in summary.failures) == ["street/10.tif", "street/deep/11.gif"]
    assert all("`require_faces`" in reason for _, reason in summary.failures)
    assert not {name for name, _ in summary.failures} & contents(tmp_path / "out").keys()


def test_own_boxes_are_obscured_whatever_the_detector_sees(run, photos, tmp_path):
    name, box = "street/10.tif", [20, 30, 80, 100]
    summary = run(boxes={name: np.float32([box]), "00.png": np.zeros((0, 4), np.float32)})
    assert (summary.faces, summary.without_faces) == ({"obscured": 11}, 1)
    record = next(r for r in journal(tmp_path / "out") if r["input"] == name)
    assert record["faces"][0]["box"] == box
    assert record["own_boxes"] == [box]


def test_boxes_that_came_later_are_not_skipped(run, photos, tmp_path):
    run()
    name, rows = "street/deep/02.webp", np.float32([[2, 2, 30, 40]])
    assert run(resume=True, boxes={name: rows}).resumed == 11
    assert run(resume=True, boxes={name: rows}).resumed == 12
    assert run(resume=True, boxes={name: rows + 1}).resumed == 11
    assert run(resume=True).resumed == 11


def test_boxes_for_no_input_are_an_error(run, tmp_path):
    with pytest.raises(OptionError, match=r"'10\.tif' is not an input"):
        run(boxes={"10.tif": np.float32([[0, 0, 9, 9]])})
    assert not (tmp_path / "out").exists()


def test_a_box_outside_its_photo_withholds_it(run, tmp_path):
    summary = run(boxes={"00.png": np.float32([[500, 10, 600, 90]]), "06.png": np.float32([[50, 10, 5, 90]])})
    assert [name for name, _ in summary.failures] == ["00.png", "06.png"]
    assert (summary.written, summary.exit_status) == (10, 3)
    assert not (tmp_path / "out/00.png").exists()


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "7", '{"a": 1}', '{"a": [1, 2, 3]}', '{"a": [[1, 2, 3, "x"]]}', '{"a": [[1, 2], [3]]}', "\udcff"],
)
def test_boxes_are_read_strictly(tmp_path, text):
    path = tmp_path / "boxes.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OptionError, match=r"^boxes: .*boxes\.json must hold JSON"):
        read_boxes(path)


def test_boxes_are_read(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text('{"a/b.jpg": [[1, 2, 3.5, 4], [5, 6, 7, 8]], "c.png": []}')
    boxes = read_boxes(path)
    assert {name: rows.tolist() for name, rows in boxes.items()} == {
        "a/b.jpg": [[1, 2, 3.5, 4], [5, 6, 7, 8]],
        "c.png": [],
    }
    with pytest.raises(OptionError, match="cannot be read"):
        read_boxes(tmp_path / "typo.json")


@pytest.mark.parametrize(
    "name", ["фото.png", "日本 1.png", "a\u2028b\u0085c.png", 'q"\\.png', os.fsdecode(b"caf\xe9.png")]
)
def test_files_of_any_name_are_done_once(run, photos, tmp_path, tmp_path_factory, name):
    try:
        shutil.copy(photos / "06.png", tmp_path / name)
    except (OSError, UnicodeError):
        pytest.skip("this file system does not take the name")
    for by in (None, Anonymizer(Bundle(tiny_bundle(tmp_path_factory, "copy")), AnonymizeOptions(seed=1, tries=1))):
        chosen = {} if by is None else {"by": by}
        assert run(tmp_path / name, **chosen).written == 1
        assert (tmp_path / "out" / name).is_file()
        assert run(tmp_path / name, resume=True, **chosen).resumed == 1
        shutil.rmtree(tmp_path / "out")


def test_an_output_folder_that_cannot_be_is_an_error(photos, plain, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="in the way"):
        process_files([photos], plain, RunOptions(tmp_path / "file" / "out"))


def test_progress_is_told(photos, plain, tmp_path):
    told: list[tuple[int, int, str]] = []
    process_files([photos], plain, RunOptions(tmp_path / "out"), watch=lambda *news: told.append(news))
    assert [(done, total) for done, total, _ in told] == [(n, 12) for n in range(1, 13)]


_FORKER = """
import json, os, signal, sys, time
import cv2
from styleid.cli import main
import styleid.commands.anonymize  # so that no child needs to import
cv2.setNumThreads(1)
print("ready", flush=True)
for line in sys.stdin:
    arguments, delay_s = json.loads(line)
    child = os.fork()
    if not child:
        silent = os.open(os.devnull, os.O_WRONLY)  # nobody reads what the runs say, and a full pipe would stop them
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        status = 99
        try:
            status = main(arguments)
        finally:
            os._exit(status)
    if delay_s is not None:
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def fork_run() -> Iterator[Callable[..., int]]:
    """Run the command in a child of a process that has imported everything already; delay_s: when to kill it."""
    quiet = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", _FORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=quiet,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"

    def of(arguments: list[str], delay_s: float | None = None) -> int:
        print(json.dumps([arguments, delay_s]), file=process.stdin, flush=True)
        return int(process.stdout.readline())

    yield of
    process.communicate(timeout=60)


def _spawn_run(arguments: list[str], delay_s: float | None = None) -> int:
    process = subprocess.Popen(
        [sys.executable, "-m", "styleid", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    if delay_s is not None:
        time.sleep(delay_s)
        process.kill()
    return process.wait(timeout=120)


def assert_whole(out: Path, expected: dict[str, bytes]) -> int:
    """Check what a killed run left, and return how many photos are finished."""
    finished = {name: data for name, data in contents(out).items() if not Path(name).name.startswith(".styleid-")}
    for name, data in finished.items():
        assert data == expected[name], f"{name} is not what an unbroken run writes"
        read_photo(out / name)
    return len(finished)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("kind", KILLS)
def test_killed_runs_leave_no_half_file_and_resume(photos, tmp_path, tmp_path_factory, fork_run, kind):
    method = ["--bundle", str(tiny_bundle(tmp_path_factory, "other"))] if kind == "tiny" else ["--method", "none"]
    start = _spawn_run if kind == "command" else fork_run

    def command(out: Path) -> list[str]:
        return ["anonymize", str(photos), "--out", str(out), "--seed", "1", "--quiet", "--resume", *method]

    begun = time.time()
    usual = start(command(tmp_path / "unbroken"))
    assert usual in (0, 3)
    whole_s = time.time() - begun
    expected = contents(tmp_path / "unbroken")
    assert len(expected) == 12
    first_s = min((tmp_path / "unbroken" / name).stat().st_mtime for name in expected) - begun

    draw, out = random.Random(kind), tmp_path / "out"
    killed, counts = 0, []
    early, late = 0.9 * first_s, whole_s
    while killed < KILLS[kind] or (killed < MOST_KILLS and not any(0 < count < 12 for count in counts)):
        delay_s = draw.uniform(early, late)
        status = start(command(out), delay_s)
        assert status in (usual, -signal.SIGKILL)
        killed += status != usual
        counts.append(assert_whole(out, expected) if out.is_dir() else 0)
        # the first run may have been slower or faster than others: this machine has other work
        if status == usual:
            late = (late + delay_s) / 2
            early = min(early, 0.9 * late)
        elif counts[-1] == 0:
            late *= 1.05
        if counts[-1] == 12:
            assert start(command(out)) == usual  # the journal's last line may be missing or cut
            assert contents(out) == expected
            shutil.rmtree(out)
    assert start(command(out)) == usual
    assert contents(out) == expected
    assert {record["input"] for record in journal(out) if "sha256" in record} == expected.keys()
    assert remove_stale(out) == 0
    assert any(0 < count < 12 for count in counts), "no run was killed half-way: the test says nothing"
