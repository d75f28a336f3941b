"""Runs between URLs give the same outputs as runs between folders, and can be resumed."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.cli import main
from styleid.engine.inputs import Inputs
from styleid.engine.journal import NAME
from styleid.engine.local import RunOptions, Summary, process_files
from styleid.engine.remote_journal import RemoteJournal, open_journal
from styleid.engine.shards import Shard
from styleid.errors import ImageError, OptionError, OutputError
from styleid.media.storage.files import InputFile
from styleid.media.storage.remote import RemotePath, place
from tests.engine.test_local import contents

pytestmark = pytest.mark.versions

PLAIN = Anonymizer(None, AnonymizeOptions(method="none", seed=1))


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    """Six small photos in a tree, the last without a face, a file that is none, and things that are not taken."""
    folder = tmp_path_factory.mktemp("photos")
    small = Image.fromarray(astronaut[:256, 96:352])
    for index in range(6):
        image = small.resize((112 + 8 * index,) * 2, Image.Resampling.LANCZOS)
        path = folder / ("", "street/deep")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (image if index < 5 else Image.new("RGB", image.size, (90, 120, 60))).save(path)
    (folder / "street/bad.png").write_bytes(b"no photo")
    for name in ("notes.txt", ".hidden.png", ".trash/0.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.fixture
def store() -> Iterator[RemotePath]:
    """An empty folder in a store that writes whole objects."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield RemotePath("memory://bucket")
    MemoryFileSystem.store.clear()


@pytest.fixture(params=["memory", "local"])
def bucket(request, store, tmp_path) -> RemotePath:
    """An empty folder in such a store, and on a file system that writes piece by piece."""
    return store if request.param == "memory" else RemotePath(f"local://{tmp_path}/bucket")


def upload(folder: Path, to: RemotePath) -> RemotePath:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            (to / path.relative_to(folder)).write_whole(path.read_bytes())
    return to


def download(folder: RemotePath, to: Path) -> Path:
    for entry in folder.walk():
        (to / entry.name).parent.mkdir(parents=True, exist_ok=True)
        (to / entry.name).write_bytes((folder / entry.name).read_bytes())
    return to


def lines(journal: bytes) -> list[dict]:
    """Return a journal's lines without what differs from run to run."""
    return [json.loads(line) | {"seconds": 0} for line in journal.splitlines()]


def run(given, out, **options) -> Summary:
    return process_files([given], PLAIN, RunOptions(out, **options))


def test_a_run_between_urls_writes_what_one_between_folders_does(photos, bucket, tmp_path):
    here = run(photos, tmp_path / "here")
    there = run(upload(photos, bucket / "in"), bucket / "out")
    assert (there.inputs, there.written, there.failures) == (here.inputs, here.written, here.failures) != (0, 0, [])
    got = download(bucket / "out", tmp_path / "there")
    assert contents(got) == contents(tmp_path / "here")
    assert lines((got / NAME).read_bytes()) == lines((tmp_path / "here" / NAME).read_bytes())
    assert sorted(bucket.names()) == ["in", "out"]
    assert [name for name in (bucket / "out").names() if "styleid" in name] == [NAME]


def test_from_a_url_to_a_folder_and_back(photos, bucket, tmp_path):
    run(photos, tmp_path / "here")
    run(upload(photos, bucket / "in"), tmp_path / "there")
    run(photos, bucket / "out")
    for folder in (tmp_path / "there", download(bucket / "out", tmp_path / "back")):
        assert contents(folder) == contents(tmp_path / "here")


def test_only_what_is_missing_or_changed_is_done_again(photos, bucket, tmp_path):
    upload(photos, bucket / "in")
    assert run(bucket / "in", bucket / "out").resumed == 0
    assert run(bucket / "in", bucket / "out", resume=True).resumed == 6
    (bucket / "out/0.png").unlink()
    time.sleep(0.01)
    (bucket / "in/2.png").write_whole((photos / "4.png").read_bytes())
    (bucket / "out/street/deep/1.png").write_whole(b"another length")
    again = run(bucket / "in", bucket / "out", resume=True)
    assert (again.resumed, again.written) == (3, 6)
    got = download(bucket / "out", tmp_path / "got")
    run(download(bucket / "in", tmp_path / "in"), tmp_path / "fresh")
    assert contents(got) == contents(tmp_path / "fresh")


def test_the_output_folder_is_no_input(photos, bucket):
    upload(photos, bucket)
    run(bucket, bucket / "out")
    assert len(Inputs([bucket], exclude=bucket / "out")) == 7
    with pytest.raises(OptionError, match="is or contains the input"):
        run(bucket / "street", bucket)


def test_a_killed_run_leaves_parts_that_the_next_one_reads(bucket):
    settings = {"seed": 1}
    killed = RemoteJournal(bucket, every_s=0)
    for name in "abc":
        (bucket / f"{name}.png").write_whole(b"pixels")
        killed.append({"input": f"{name}.png", "faces": [], "sha256": "", "bytes": 6, "settings": settings})
    assert len([name for name in bucket.names() if ".part-" in name]) == 3
    del killed
    journal = open_journal(bucket)
    for name in "abc":
        assert journal.finished(InputFile(bucket / "in.png", Path(f"{name}.png")), settings) is not None
    assert journal.finished(InputFile(bucket / "in.png", Path("d.png")), settings) is None
    with pytest.raises(OptionError, match=rf"{bucket}/{NAME} was made with other settings \(seed\)"):
        journal.require_settings({"seed": 2})
    journal.close()
    assert [name for name in bucket.names() if "styleid" in name] == [NAME]
    assert [line["input"] for line in lines((bucket / NAME).read_bytes())] == ["a.png", "b.png", "c.png"]


def test_shards_write_into_one_folder(photos, bucket, tmp_path):
    upload(photos, bucket / "in")
    done = [run(bucket / "in", bucket / "out", shard=f"{index}/2") for index in (1, 2)]
    assert sum(one.written for one in done) == 6
    assert run(bucket / "in", bucket / "out", resume=True).resumed == 6
    run(photos, tmp_path / "here")
    got = {n: data for n, data in contents(download(bucket / "out", tmp_path / "got")).items() if "styleid" not in n}
    assert got == contents(tmp_path / "here")


def test_parts_that_another_machine_joins_meanwhile(bucket, monkeypatch):
    other = RemoteJournal(bucket, Shard(1, 2), every_s=0)
    for name in "ab":
        other.append({"input": name, "faces": [], "settings": {}})
    stale = bucket.names()
    other.close()
    names = RemotePath.names
    left = iter([stale])
    monkeypatch.setattr(RemotePath, "names", lambda self: next(left, None) or names(self))
    mine = RemoteJournal(bucket, Shard(2, 2))
    left = iter([stale])
    assert [record["input"] for record in mine.records()] == ["a", "b"]
    monkeypatch.setattr(RemotePath, "names", lambda self: stale)
    with pytest.raises(OutputError, match="changed each time"):
        RemoteJournal(bucket, Shard(2, 2)).records()


def test_several_processes(photos, tmp_path):
    bucket = RemotePath(f"local://{tmp_path}/bucket")
    run(photos, tmp_path / "here")
    done = run(upload(photos, bucket / "in"), bucket / "out", workers=2)
    assert (done.written, done.failed) == (6, 1)
    assert contents(download(bucket / "out", tmp_path / "got")) == contents(tmp_path / "here")


def names(given: str, out: str = "out") -> list[tuple[str, str]]:
    return [(str(file.path), file.relative.as_posix()) for file in Inputs([place(given)], exclude=place(out))]


def test_lists_name_files_at_urls(photos, store, tmp_path):
    upload(photos, store / "in")
    below = [(f"{store}/in/2.png", "2.png"), (f"{store}/in/street/deep/1.png", "street/deep/1.png")]
    (store / "in/list.txt").write_whole(f"2.png\n{store}/in/street/deep/1.png\n2.png\n".encode())
    assert names(f"@{store}/in/list.txt") == below
    (tmp_path / "list.txt").write_text(f"{store}/in/2.png\nown.png\n")
    whole = f"{store}/in/2.png"
    assert names(f"@{tmp_path}/list.txt") == [
        (whole, whole.partition("://")[2].strip("/")),
        (f"{tmp_path}/own.png", "own.png"),
    ]
    for text, says in (
        ("../up.png", "does not lie below"),
        ("sftp://me:secret@host/a.png", "contains a URL with a password"),
        (f"{store}/in/out/1.png", "lies in the output folder"),
    ):
        (store / "in/list.txt").write_whole(text.encode())
        with pytest.raises(OptionError, match=says) as caught:
            names(f"@{store}/in/list.txt", f"{store}/in/out")
        assert "secret" not in str(caught.value)
    with pytest.raises(OptionError, match=r"missing\.txt cannot be read"):
        names(f"@{store}/missing.txt")


def test_a_parquet_list_at_a_url(photos, store):
    arrow = pytest.importorskip("pyarrow", reason="Parquet files are read with pyarrow")
    from pyarrow import parquet

    buffer = arrow.BufferOutputStream()
    parquet.write_table(arrow.table({"path": ["2.png", "4.png"]}), buffer)
    (store / "list.parquet").write_whole(buffer.getvalue().to_pybytes())
    assert [name for _, name in names(f"@{store}/list.parquet")] == ["2.png", "4.png"]


def test_the_command_takes_urls(photos, store, capsys):
    upload(photos, store / "in")
    command = ["anonymize", f"{store}/in/", "--out", f"{store}/out/", "--method", "none", "--report", "--quiet"]
    assert main(command) == 3  # one file is no photo
    told = capsys.readouterr()
    assert f"6 of 7 files written to {store}/out" in told.out
    assert "street/bad.png" in told.err
    assert b"6 of 7" in (store / "out/styleid-report.html").read_bytes()
    assert main([*command, "--resume", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["resumed"] == 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["anonymize", "nowhere://a", "--out", "o"], "nowhere://a: fsspec cannot open such URLs"),
        (["anonymize", "a", "--out", "zip://a.zip::memory://b"], "chained URLs are not supported"),
        (["anonymize", "a", "--out", "memory://o", "--keep", "memory://k"], "give a path on this machine"),
        (["video", "memory://a.mp4", "--out", "b.mp4"], "give a path on this machine"),
        (["dataset", "coco", "memory://a", "b"], "give a path on this machine"),
        (["anonymize", "memory://nothing", "--out", "o", "--method", "none"], "memory://nothing does not exist"),
        (["anonymize", "memory://a", "--out", "o", "--method", "none", "--copy-others"], "of this machine only"),
    ],
)
def test_urls_that_cannot_work_are_named(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status: object = main(arguments)
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


class Moody(LocalFileSystem):
    """A file system whose library raises errors of its own."""

    protocol = "moody"

    @classmethod
    def _strip_protocol(cls, path):
        """Take off its own protocol, which older versions of fsspec do for their own file systems only."""
        return super()._strip_protocol(str(path).removeprefix("moody://"))

    def cat_file(self, path, *args, **options):
        if path.endswith("2.png"):
            raise RuntimeError("quota of moody://me:secret@host exceeded")
        return super().cat_file(path, *args, **options)

    def pipe_file(self, path, value, *args, **options):
        if "full" in path:
            raise RuntimeError("no room")
        return super().pipe_file(path, value, *args, **options)


def test_what_a_store_refuses_is_named_and_nothing_else_is_lost(photos, tmp_path):
    fsspec.register_implementation("moody", Moody, clobber=True)
    given = f"moody://{photos}"
    done = run(place(given), tmp_path / "out")
    assert done.written == 5
    assert [name for name, _ in done.failures] == ["2.png", "street/bad.png"]
    reason = done.failures[0][1]
    assert "RuntimeError: quota of moody://host exceeded" in reason
    assert "secret" not in reason
    with pytest.raises(OutputError, match="no room"):
        run(photos, place(f"moody://{tmp_path}/full"))
    assert not list((tmp_path / "full").rglob("*.p*"))
    with pytest.raises(ImageError, match="cannot be listed"):
        Moody.clear_instance_cache()
        broken = place("moody:///proc/self/mem/x")
        assert isinstance(broken, RemotePath)
        Moody.isdir = lambda *_: (_ for _ in ()).throw(RuntimeError("no network"))  # type: ignore[method-assign]
        list(Inputs([broken], exclude=tmp_path))


def test_half_files_of_a_killed_run_go(photos, tmp_path):
    out = RemotePath(f"local://{tmp_path}/out")
    half = tmp_path / "out/deep" / f".styleid-{'0' * 16}.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    run(photos, out, shard="1/2")
    assert half.exists()  # another machine may be writing it
    os.utime(half, (0, 0))
    run(photos, out, shard="1/2")
    assert not half.exists()


def test_a_url_is_a_path():
    file = RemotePath("sftp://me:secret@host/photos/a b#1?.jpg")
    assert (file.name, file.suffix, str(file)) == ("a b#1?.jpg", ".jpg", "sftp://host/photos/a b#1?.jpg")
    assert file.parent.url == "sftp://me:secret@host/photos"
    assert file.parent / "a b#1?.jpg" == file
    assert RemotePath("s3://bucket").parent == RemotePath("s3://bucket")
    assert file.is_within(file.parent)
    assert not RemotePath("s3://bucket/photos2").is_within(RemotePath("s3://bucket/photos"))
    assert place("file:///a/b") == place("local:///a/b") == Path("/a/b")
    assert str(RemotePath("abfs://photos@account.host/in")) == "abfs://photos@account.host/in"
    assert place("MEMORY://a/b/") == RemotePath("memory://a/b")
    assert place("C:/a") == Path("C:/a")
