"""Files at URLs behave like paths, and errors of any library become OSError without secrets."""

import errno
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from styleid.errors import MissingDependencyError, OptionError
from styleid.media.storage.remote import RemotePath, holds_password, place

fsspec = pytest.importorskip("fsspec", reason="URLs are read with fsspec: pip install 'styleid[remote]'")


@pytest.fixture
def store():
    """An empty folder in memory, whose file system writes whole objects."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    yield RemotePath("memory://bucket")
    MemoryFileSystem.store.clear()


def test_names_are_taken_apart_as_those_of_paths() -> None:
    path = RemotePath("s3://bucket/photos") / Path("deep/a.tar.gz")
    assert (path.url, path.name, path.suffix) == ("s3://bucket/photos/deep/a.tar.gz", "a.tar.gz", ".gz")
    assert path.parent.parent.parent == path.parent.parent.parent.parent == RemotePath("s3://bucket")
    assert path.is_within(RemotePath("s3://bucket/photos"))
    assert path.is_within(path)
    assert not RemotePath("s3://bucket/photos2").is_within(RemotePath("s3://bucket/photos"))


def test_passwords_are_not_shown() -> None:
    url = "ftp://anna:secret@host/a"
    assert str(RemotePath(url)) == "ftp://host/a"
    assert holds_password(url)
    assert not holds_password("abfs://container@account/a")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("photos/a.jpg", Path("photos/a.jpg")),
        ("@list.txt", Path("@list.txt")),
        ("file:///photos/a.jpg", Path("/photos/a.jpg")),
        ("@local:///list.txt", Path("@/list.txt")),
        ("memory://bucket/in/", RemotePath("memory://bucket/in")),
        ("@memory://bucket/list.txt", RemotePath("@memory://bucket/list.txt")),
    ],
)
def test_texts_name_paths_and_urls(text: str, found: Path | RemotePath) -> None:
    assert place(text) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("zip://a.zip::memory://b", "chained URLs are not supported"),
        ("nowhere://bucket/a", "nowhere://bucket: fsspec cannot open such URLs"),
    ],
)
def test_urls_that_cannot_be_read_are_refused(text: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        place(text)


@pytest.mark.parametrize("url", ["memory://elsewhere", "MEMORY://elsewhere"])
def test_without_fsspec_the_error_says_what_to_install(monkeypatch, url: str) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'styleid\[remote\]'"):
        place(f"{url}{os.getpid()}/a")


def test_files_are_read_in_pieces_and_from_anywhere(store: RemotePath) -> None:
    (store / "a").write_whole(b"0123456789")
    assert (store.is_dir(), (store / "a").is_dir(), (store / "a").exists(), (store / "b").exists()) == (
        *(True, False, True, False),
    )
    assert (store / "a").size() == 10
    with (store / "a").open() as file:
        assert file.read(3) == b"012"
        assert file.tell() == 3
        assert file.seek(-2, os.SEEK_END) == 8
        assert file.read() == b"89"
        assert file.seekable()
    file.close()


def test_what_is_not_there_is_an_error_or_nothing(store: RemotePath) -> None:
    missing = store / "gone"
    assert missing.names() == []
    missing.unlink(missing_ok=True)
    for use in (missing.unlink, missing.read_bytes, missing.size, missing.open):
        with pytest.raises(OSError, match="gone") as caught:
            use()
        assert caught.value.errno == errno.ENOENT


def test_a_whole_write_that_fails_leaves_no_part(tmp_path, monkeypatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    there = RemotePath(f"local://{tmp_path}/deep/a")
    there.write_whole(b"old")

    def broken(self, *_, **__):
        raise RuntimeError("ftp://anna:secret@host is away")

    monkeypatch.setattr(LocalFileSystem, "mv", broken)
    with pytest.raises(OSError, match=r"RuntimeError: ftp://host is away"):
        there.write_whole(b"new")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a"]
    assert there.read_bytes() == b"old"


def test_a_file_of_this_machine_is_uploaded_whole(store: RemotePath, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"pixels")
    (store / "deep/a").upload(tmp_path / "a")
    assert (store / "deep/a").read_bytes() == b"pixels"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ({"mtime": 12.5}, 12.5),
        ({"LastModified": datetime(1970, 1, 1, 0, 1, tzinfo=UTC)}, 60.0),
        ({"updated": "1970-01-01T00:02:00+00:00"}, 120.0),
        ({"updated": "yesterday"}, None),
        ({}, None),
    ],
)
def test_times_are_understood_as_file_systems_tell_them(store: RemotePath, monkeypatch, told, seconds) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    (store / "a.jpg").write_whole(b"")
    (store / ".hidden").write_whole(b"")
    files = {"a.jpg": {"size": 3, **told}, "": {"size": 0}, ".hidden": {"size": 1}}
    monkeypatch.setattr(MemoryFileSystem, "walk", lambda *_, **__: iter([("/bucket", {}, files)]))
    (entry,) = store.walk()
    assert (entry.name, entry.size) == ("a.jpg", 3)
    assert entry.modified == seconds or (seconds is None and entry.modified != entry.modified)
