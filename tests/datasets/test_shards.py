"""Tar shards: samples are complete and in order; hostile and damaged shards are reported."""

import base64
import io
import json
import shutil
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.datasets.options import ShardOptions
from styleid.datasets.run import DatasetSummary
from styleid.datasets.shards import process_shards
from styleid.engine.journal import NAME
from styleid.engine.local import RunOptions
from styleid.errors import OptionError
from styleid.media.image import read_photo_bytes
from styleid.media.storage.remote import RemotePath
from tests.datasets.folders import contents, errors

Member = tuple[str, bytes]


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def pack(path: Path, *members: Member | tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form, pax_headers={"comment": "ours"}) as tar:
        for number, member in enumerate(members):
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            data = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size, info.mtime, info.mode, info.uname = len(data), 1000 + number, 0o640, "bigdata"
            tar.addfile(info, io.BytesIO(data))
    return path


def unpack(path: Path) -> list[tuple[str, int, int, str, bytes]]:
    with tarfile.open(path) as tar:
        found = []
        for info in tar:
            file = tar.extractfile(info)
            found.append((info.name, int(info.mtime), info.mode, info.uname, file.read() if file else b""))
        return found


@pytest.fixture
def root(tmp_path, portrait, meadow) -> Path:
    jpeg, png = encoded(portrait, "JPEG"), encoded(meadow)
    folder = tarfile.TarInfo("part")
    folder.type = tarfile.DIRTYPE
    pack(tmp_path / "in/000.tar", ("a.json", b'{"x": 1.50}'), ("a.JPG", jpeg), ("a.cls", b"7"), ("b.png", png),
         ("b.boxes.csv", b"1,2,3,4\n" * 400))  # fmt: skip
    pack(tmp_path / "in/sub/001.tar", folder, ("part/é" + "x" * 150 + ".webp", encoded(portrait, "WEBP")),
         ("part/é" + "x" * 150 + ".txt", "ça".encode()), ("empty.txt", b""), form=tarfile.GNU_FORMAT)  # fmt: skip
    return tmp_path / "in"


@pytest.fixture
def run_over(plain, tmp_path) -> Callable[..., DatasetSummary]:
    def of(source: Path, *, resume: bool = False, by: Anonymizer = plain, **options) -> DatasetSummary:
        return process_shards(source, by, RunOptions(tmp_path / "out", resume=resume), ShardOptions(**options))

    return of


def same_but_photos(before: Path, after: Path) -> None:
    """Check that a shard has the same members in the same order, photos changed and the rest as it was."""
    pairs = list(zip(unpack(before), unpack(after), strict=True))
    for old, new in pairs:
        assert old[:4] == new[:4]
        if not old[0].lower().endswith((".jpg", ".png", ".webp")):
            assert old[4] == new[4]
        else:
            images = [read_photo_bytes(one[4], one[0]).image_rgb for one in (old, new)]
            assert images[0].shape == images[1].shape
            assert (images[0] != images[1]).any() == ("b.png" not in old[0])


def test_shards_come_out_whole_and_in_order(root, run_over, tmp_path):
    summary = run_over(root)
    assert contents(tmp_path / "out").keys() == contents(root).keys()
    for name in contents(root):
        same_but_photos(root / name, tmp_path / "out" / name)
        with tarfile.open(tmp_path / "out" / name) as tar:
            tar.next()
            assert tar.pax_headers.get("comment") == ("ours" if name == "000.tar" else None)
    assert (summary.photos.inputs, summary.photos.written, summary.carried, summary.exit_status) == (3, 3, 5, 0)
    lines = [json.loads(line) for line in (tmp_path / "out" / NAME).read_text().splitlines()]
    assert [line["input"] for line in lines][:3] == ["000.tar/a.JPG", "000.tar/b.png", "000.tar"]
    assert all("sha256" in line for line in lines)


def test_any_number_of_workers_writes_the_same(root, run_over, tmp_path, plain):
    for number in range(3):
        shutil.copy(root / "000.tar", root / f"00{number + 1}.tar")
    run_over(root)
    process_shards(root, plain, RunOptions(tmp_path / "two", workers=2), ShardOptions())
    assert contents(tmp_path / "two") == contents(tmp_path / "out")
    told = [
        [json.loads(line) | {"seconds": 0} for line in (tmp_path / out / NAME).read_text().splitlines()]
        for out in ("out", "two")
    ]
    assert told[0] == told[1]


def test_parts_of_the_shards_go_into_one_folder(root, run_over, tmp_path, plain):
    for number in range(6):
        shutil.copy(root / "000.tar", root / f"{number + 1:03d}.tar")
    done = [
        process_shards(root, plain, RunOptions(tmp_path / "out", shard=f"{part}/2"), ShardOptions()) for part in (1, 2)
    ]
    assert all(0 < one.photos.inputs < 15 for one in done)
    names = {name for name in contents(tmp_path / "out") if name.endswith(".tar")}
    assert names == contents(root).keys()
    assert run_over(root, resume=True).photos.resumed == 15


@pytest.mark.parametrize("protocol", ["memory", "local"])
def test_shards_at_urls(root, run_over, tmp_path, plain, protocol):
    MemoryFileSystem.store.clear()
    bucket = RemotePath("memory://shards" if protocol == "memory" else f"local://{tmp_path}/shards")
    run_over(root)
    for name, data in contents(root).items():
        (bucket / "in" / name).write_whole(data)
    (bucket / "in/bad.tar").write_whole(b"this is no tar file" * 60)
    summary = process_shards(bucket / "in", plain, RunOptions(bucket / "out"), ShardOptions())
    assert [name for name, _ in summary.photos.failures] == ["bad.tar"]
    found = {entry.name: (bucket / "out" / entry.name).read_bytes() for entry in (bucket / "out").walk()}
    assert found.pop(NAME)
    assert found == contents(tmp_path / "out")
    again = process_shards(bucket / "in", plain, RunOptions(bucket / "out", resume=True), ShardOptions())
    assert (again.photos.resumed, again.photos.written) == (3, 3)
    (bucket / "out/000.tar").write_whole(b"short")
    again = process_shards(bucket / "in", plain, RunOptions(bucket / "out", resume=True), ShardOptions())
    assert (again.photos.resumed, (bucket / "out/000.tar").read_bytes()) == (1, found["000.tar"])
    one = process_shards(bucket / "in/000.tar", plain, RunOptions(tmp_path / "one"), ShardOptions())
    assert one.photos.written == 2
    assert contents(tmp_path / "one") == {"000.tar": found["000.tar"]}
    with pytest.raises(OptionError, match=r"^out: "):
        process_shards(bucket / "in", plain, RunOptions(bucket / "in/out"), ShardOptions())
    (bucket / "other/notes.txt").write_whole(b"mine")
    with pytest.raises(OptionError, match=r"such as 'notes\.txt'"):
        process_shards(bucket / "in", plain, RunOptions(bucket / "other"), ShardOptions())
    with pytest.raises(OptionError, match="does not exist"):
        process_shards(bucket / "nowhere", plain, RunOptions(tmp_path / "none"), ShardOptions())


def test_one_shard_can_be_named(root, run_over, tmp_path):
    run_over(root / "000.tar")
    assert contents(tmp_path / "out").keys() == {"000.tar"}


def test_finished_shards_are_not_done_again(root, run_over, tmp_path, plain, monkeypatch):
    run_over(root)
    first = contents(tmp_path / "out")
    done: list[str] = []
    anonymize = plain.anonymize
    monkeypatch.setattr(
        plain, "anonymize", lambda i, *, name, **more: done.append(name) or anonymize(i, name=name, **more)
    )
    summary = run_over(root, resume=True)
    assert (done, summary.photos.resumed, summary.photos.written, summary.carried) == ([], 3, 3, 5)
    with (tmp_path / "out/000.tar").open("ab") as file:
        file.write(bytes(512))
    assert run_over(root, resume=True).photos.resumed == 1
    assert sorted(done) == ["000.tar/a.JPG", "000.tar/b.png"]
    assert contents(tmp_path / "out") == first
    with pytest.raises(OptionError, match=r"made with other settings .drop_withheld"):
        run_over(root, resume=True, drop_withheld=True)


def test_a_broken_off_run_leaves_no_half_shard_and_resumes(root, run_over, tmp_path, plain, monkeypatch):
    run_over(root)
    expected = contents(tmp_path / "out")
    for stop in range(3):
        shutil.rmtree(tmp_path / "out")
        left = iter(range(stop))
        anonymize = plain.anonymize

        def broken(image, *, left=left, anonymize=anonymize, **more):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return anonymize(image, **more)

        with monkeypatch.context() as patch:
            patch.setattr(plain, "anonymize", broken)
            with pytest.raises(KeyboardInterrupt):
                run_over(root)
        assert contents(tmp_path / "out").keys() == ({"000.tar"} if stop == 2 else set())
        assert run_over(root, resume=True).photos.resumed == (2 if stop == 2 else 0)
        assert contents(tmp_path / "out") == expected


def test_a_killed_run_leaves_a_temporary_that_goes(root, run_over, tmp_path):
    stale = tmp_path / "out/sub/.styleid-0123456789abcdef.part"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"half")
    run_over(root)
    assert not stale.exists()


@pytest.mark.parametrize("drop", [False, True])
def test_withheld_photos_leave_their_sample_unless_dropped(run_over, tmp_path, meadow, drop):
    png = encoded(meadow)
    pack(tmp_path / "in/0.tar", ("a.txt", b"1"), ("a.jpg", b"bad"), ("a.json", b"{}"), ("b.png", png), ("b.txt", b"2"))
    summary = run_over(tmp_path / "in", drop_withheld=drop)
    assert summary.exit_status == 3
    assert errors(tmp_path / "out").keys() == {"0.tar/a.jpg"}
    names = [member[0] for member in unpack(tmp_path / "out/0.tar")]
    assert names == (["b.png", "b.txt"] if drop else ["a.txt", "a.json", "b.png", "b.txt"])
    assert (summary.dropped, summary.photos.inputs, summary.photos.written) == (2 if drop else 0, 2, 1)
    again = run_over(tmp_path / "in", drop_withheld=drop, resume=True)
    assert (again.exit_status, again.photos.failures, again.dropped) == (3, summary.photos.failures, summary.dropped)


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (("../x.txt", b"1"), "would be unpacked outside the folder"),
        (("/etc/x", b"1"), "would be unpacked outside the folder"),
        (("a/../../x", b"1"), "would be unpacked outside the folder"),
        (("a\\..\\x", b"1"), "would be unpacked outside the folder"),
        (link("x.jpg", "/etc/passwd"), "is a link to '/etc/passwd'"),
        (link("x.jpg", "a.txt", tarfile.LNKTYPE), "is a link to 'a.txt'"),
        (link("x", "", tarfile.FIFOTYPE), "is not a regular file"),
        (link("x", "", tarfile.CHRTYPE), "is not a regular file"),
    ],
)
def test_hostile_members_withhold_their_shard(run_over, tmp_path, meadow, member, says):
    png = encoded(meadow)
    pack(tmp_path / "in/0.tar", ("a.txt", b"1"), ("a.png", png), member)
    pack(tmp_path / "in/1.tar", ("a.png", png))
    summary = run_over(tmp_path / "in")
    ((name, reason),) = summary.photos.failures
    assert name == "0.tar"
    assert says in reason
    assert contents(tmp_path / "out").keys() == {"1.tar"}
    assert (summary.photos.written, summary.carried, summary.exit_status) == (1, 0, 3)
    assert errors(tmp_path / "out").keys() == {"0.tar"}


def test_damaged_shards_are_named_and_not_written(root, run_over, tmp_path):
    whole = (root / "000.tar").read_bytes()
    second = whole.index(b"a.JPG")
    damaged = {
        "cut.tar": whole[: len(whole) // 2],
        "cut-at-member.tar": whole[:second] + whole[second : second + 100],
        "header.tar": whole[:second] + b"b" + whole[second + 1 :],
        "text.tar": b"this is no tar file" * 60,
        "empty.tar": b"",
        "zip.tar": b"PK\x03\x04" + bytes(1000),
    }
    run_over(root)
    for name, data in damaged.items():
        (root / name).write_bytes(data)
    summary = run_over(root)
    assert dict(summary.photos.failures).keys() == damaged.keys()
    assert contents(tmp_path / "out").keys() == {"000.tar", "sub/001.tar"}
    (root / "000.tar").write_bytes(damaged["header.tar"])
    assert "000.tar" in dict(run_over(root).photos.failures)
    assert contents(tmp_path / "out").keys() == {"sub/001.tar"}


def test_compressed_shards_are_refused(root, run_over, tmp_path):
    (root / "x.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(OptionError, match=r"x\.tar\.gz is compressed"):
        run_over(root)
    with pytest.raises(OptionError, match="contains none"):
        run_over(tmp_path / "in/sub", resume=False) if (root / "sub/001.tar").unlink() is None else None
    assert not (tmp_path / "out").exists()


def test_what_shows_persons_is_not_carried_under_another_name(run_over, tmp_path, portrait, meadow):
    png = encoded(portrait)
    pack(tmp_path / "in/0.tar", ("a.bin", png), ("a.mp4", b"\0\0\0\x18ftypmp42"), ("a.seg.png", encoded(meadow)),
         ("a.zip", b"PK\x03\x04"))  # fmt: skip
    summary = run_over(tmp_path / "in", carry=("seg.png,zip",))
    ((name, reason),) = summary.photos.failures
    assert name == "0.tar/a.mp4"
    assert "`carry=mp4`" in reason
    before, after = (dict(zip((m[0] for m in x), (m[4] for m in x), strict=True)) for x in
                     (unpack(tmp_path / "in/0.tar"), unpack(tmp_path / "out/0.tar")))  # fmt: skip
    assert after.keys() == {"a.bin", "a.seg.png", "a.zip"}
    assert after["a.seg.png"] == before["a.seg.png"]
    assert (read_photo_bytes(after["a.bin"], "x").image_rgb != read_photo_bytes(png, "x").image_rgb).any()


@pytest.mark.parametrize("where", ["shard", "member"])
def test_headers_that_hold_a_picture_withhold_their_shard(run_over, tmp_path, portrait, where):
    text = base64.b64encode(encoded(portrait, "JPEG")).decode()
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in/0.tar", "w", pax_headers={"comment": text} if where == "shard" else {}) as tar:
        info = tarfile.TarInfo("a.txt")
        info.pax_headers = {"thumbnail": text} if where == "member" else {}
        tar.addfile(info)
    summary = run_over(tmp_path / "in")
    assert "it contains a picture in base64" in dict(summary.photos.failures)["0.tar"]
    assert contents(tmp_path / "out") == {}


def test_the_last_part_of_an_extension_is_enough_where_it_is_no_photo(run_over, tmp_path, portrait):
    png = encoded(portrait)
    pack(tmp_path / "in/0.tar", ("a.seg.npy", b"\x93NUMPY"), ("a.seg.png", png), ("a.png", png))
    assert run_over(tmp_path / "in", carry=("npy", "seg.png")).exit_status == 0
    after = {m[0]: m[4] for m in unpack(tmp_path / "out/0.tar")}
    assert (after["a.seg.npy"], after["a.seg.png"]) == (b"\x93NUMPY", png)
    assert after["a.png"] != png
    run_over(tmp_path / "in", carry=("npy",))
    after = {m[0]: m[4] for m in unpack(tmp_path / "out/0.tar")}
    assert after["a.seg.png"] != png


def test_own_boxes_by_member(root, run_over, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"000.tar/b.png": [[10, 10, 40, 50]]}')
    run_over(root)
    summary = run_over(root, boxes=boxes, resume=True)
    assert (summary.photos.resumed, summary.photos.faces["obscured"]) == (1, 3)
    boxes.write_text('{"002.tar/b.png": [[10, 10, 40, 50]]}')
    with pytest.raises(OptionError, match="is in no shard"):
        run_over(root, boxes=boxes)


def test_members_of_one_name_are_both_kept(run_over, tmp_path, portrait):
    png = encoded(portrait)
    pack(tmp_path / "in/0.tar", ("a.png", png), ("a.png", png))
    assert run_over(tmp_path / "in").photos.written == 2
    assert len(unpack(tmp_path / "out/0.tar")) == 2
    assert run_over(tmp_path / "in", resume=True).photos.resumed == 2


def test_foreign_files_and_bad_places_are_refused(root, run_over, tmp_path, plain):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"such as 'notes\.txt'"):
        run_over(root)
    for out in (root, root / "deep", root.parent):
        with pytest.raises(OptionError, match=r"^out: "):
            process_shards(root, plain, RunOptions(out), ShardOptions())
    with pytest.raises(OptionError, match=r"^out: "):
        process_shards(root / "000.tar", plain, RunOptions(root), ShardOptions())
    with pytest.raises(OptionError, match=r"^source: .* does not exist"):
        run_over(tmp_path / "nowhere")


def test_no_shard_is_held_in_memory(tmp_path, run_over, meadow):
    path = tmp_path / "in/0.tar"
    pack(path, ("a.png", encoded(meadow)))
    with tarfile.open(path, "a") as tar:
        for number in range(12):
            info = tarfile.TarInfo(f"b{number}.npy")
            info.size = 2 << 20
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    run_over(tmp_path / "in", carry=("npy",))
    tracemalloc.start()
    run_over(tmp_path / "in", carry=("npy",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20
    assert (tmp_path / "out/0.tar").stat().st_size > 24 << 20


NAMES = st.sampled_from(["a", "b", "c.d", "é", "x" * 120])
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=40)
MEMBERS = st.lists(st.tuples(NAMES, st.sampled_from([".txt", ".png", ".json", ".cls"]), WORDS), min_size=1, max_size=6)


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(MEMBERS, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_any_shard_comes_out_whole(tmp_path_factory, plain, meadow, members, form):
    root = tmp_path_factory.mktemp("shards")
    png = encoded(meadow)
    packed = [(stem + end, png if end == ".png" else b"." + data.encode()) for stem, end, data in members]
    pack(root / "in/0.tar", *packed, form=form)
    summary = process_shards(root / "in", plain, RunOptions(root / "out"), ShardOptions())
    assert summary.exit_status == 0
    before, after = unpack(root / "in/0.tar"), unpack(root / "out/0.tar")
    assert [one[:4] for one in before] == [one[:4] for one in after]
    for old, new in zip(before, after, strict=True):
        if old[0].endswith(".png"):
            images = [read_photo_bytes(one[4], "x").image_rgb for one in (old, new)]
            np.testing.assert_array_equal(*images)
        else:
            assert old[4] == new[4]


def test_settings_of_the_anonymiser_are_held_to(root, run_over):
    run_over(root)
    other = Anonymizer(None, AnonymizeOptions(method="none", seed=1, obscure="blur"))
    with pytest.raises(OptionError, match="obscure"):
        run_over(root, by=other, resume=True)
