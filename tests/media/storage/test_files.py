"""Inputs are found, and outputs are written completely or not at all."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from styleid.errors import ImageError, OptionError, OutputError
from styleid.media.storage.files import (
    InputFile,
    remove_stale,
    remove_temporaries_of,
    walk_inputs,
    walk_others,
    write_atomic,
)
from styleid.media.storage.remote import RemotePath


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def relatives(*inputs: Path, exclude: Path | None = None) -> list[str]:
    return [file.relative.as_posix() for file in walk_inputs(inputs, exclude=exclude)]


def test_folders_are_walked_in_order_and_mirrored(tmp_path: Path) -> None:
    tree(tmp_path, "b.png", "a/z.JPG", "a/c/d.webp", "a.txt", "notes.md", "x.heic", "a/.hidden.jpg", ".git/e.jpg")
    assert relatives(tmp_path) == ["a/c/d.webp", "a/z.JPG", "b.png", "x.heic"]
    assert walk_inputs([tmp_path])[2] == InputFile(tmp_path / "b.png", Path("b.png"))
    assert relatives(tmp_path / "a") == ["c/d.webp", "z.JPG"]


def test_named_files_are_taken_whatever_their_name(tmp_path: Path) -> None:
    tree(tmp_path, "photo", "scan.dat", ".hidden.jpg")
    assert relatives(tmp_path / "scan.dat", tmp_path / "photo", tmp_path / ".hidden.jpg") == [
        "scan.dat",
        "photo",
        ".hidden.jpg",
    ]


def test_the_same_file_twice_is_one(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "link").symlink_to(tmp_path)
    assert relatives(tmp_path / "a.jpg", tmp_path, tmp_path / "link" / "a.jpg") == ["a.jpg", "b.jpg"]


def test_two_inputs_for_one_output_are_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "one/x/a.jpg", "two/x/a.jpg")
    with pytest.raises(OptionError, match=r"one/x/a\.jpg and .*two/x/a\.jpg would both be written to x/a\.jpg"):
        walk_inputs([tmp_path / "one", tmp_path / "two"])
    assert relatives(tmp_path) == ["one/x/a.jpg", "two/x/a.jpg"]


def test_the_output_folder_is_not_entered(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg", "out/a.jpg", "out/deep/b.jpg")
    (tmp_path / "door").symlink_to(tmp_path / "out")
    assert relatives(tmp_path, exclude=tmp_path / "out") == ["a.jpg"]
    assert relatives(tmp_path, exclude=tmp_path / "elsewhere") == ["a.jpg", "out/a.jpg", "out/deep/b.jpg"]
    for inside in (tmp_path / "out", tmp_path / "out/deep", tmp_path / "out/a.jpg", tmp_path / "door"):
        with pytest.raises(OptionError, match="out"):
            walk_inputs([inside], exclude=tmp_path / "out")


def test_links_are_followed_without_looping(tmp_path: Path) -> None:
    tree(tmp_path, "photos/a.jpg", "photos/deep/b.jpg", "other/c.jpg")
    (tmp_path / "photos/deep/up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/aaa").symlink_to(tmp_path / "photos/deep")
    (tmp_path / "photos/linked").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/one.jpg").symlink_to(tmp_path / "other/c.jpg")
    assert relatives(tmp_path / "photos") == ["a.jpg", "deep/b.jpg", "linked/c.jpg", "one.jpg"]


def test_what_cannot_be_read_is_listed_not_dropped(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert relatives(tmp_path) == ["gone.jpg", "loop.jpg", "pipe.jpg"]
    assert relatives(tmp_path / "gone.jpg") == ["gone.jpg"]


def test_what_is_no_image_is_listed_apart(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg", "notes.txt", "b/c.JSON", "b/.hidden", "out/old.txt", "no suffix")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    assert walk_others(tmp_path, exclude=tmp_path / "out") == [
        *("b/c.JSON", "gone.txt", "loop.txt", "no suffix", "notes.txt"),
    ]
    assert "out/old.txt" in walk_others(tmp_path)


def test_what_somebody_else_has_listed_is_taken_as_it_is(tmp_path: Path) -> None:
    tree(tmp_path, "set/images/a.jpg", "b.jpg")
    listed = InputFile(tmp_path / "set/images/a.jpg", Path("images/a.jpg"))
    assert listed.place() == (str(tmp_path / "set"), "images/a.jpg")
    assert walk_inputs([listed, tmp_path / "b.jpg"]) == [listed, InputFile(tmp_path / "b.jpg", Path("b.jpg"))]


def test_a_link_that_leads_nowhere_is_no_other_file(tmp_path: Path) -> None:
    tree(tmp_path, "one/a.jpg")
    (tmp_path / "two").mkdir()
    (tmp_path / "two/a.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OptionError, match=r"would both be written to a\.jpg"):
        walk_inputs([tmp_path / "one", tmp_path / "two"])


def test_a_missing_input_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="does not exist"):
        walk_inputs([tmp_path / "typo"])


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, as_nobody) -> None:
    tree(tmp_path, "locked/a.jpg")
    (tmp_path / "locked").chmod(0)
    try:
        with as_nobody(), pytest.raises(ImageError, match="cannot be listed"):
            walk_inputs([tmp_path])
    finally:
        (tmp_path / "locked").chmod(0o755)


def test_writing_returns_the_hash_and_leaves_one_file(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/photo.jpg"
    for data in (b"first", b"second" * 100_000, b""):
        assert write_atomic(path, data) == hashlib.sha256(data).hexdigest()
        assert path.read_bytes() == data
    assert [p.name for p in path.parent.iterdir()] == ["photo.jpg"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_names_that_are_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "folder.jpg", tmp_path / "file" / "photo.jpg"):
        with pytest.raises(OutputError, match="in the way") as caught:
            write_atomic(path, b"data")
        assert caught.value.path == path
    with pytest.raises(OutputError, match="too long"):
        write_atomic(tmp_path / ("x" * 300), b"data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.jpg"]


def test_a_folder_without_permission(tmp_path: Path, as_nobody) -> None:
    tmp_path.chmod(0o555)
    with as_nobody(), pytest.raises(OutputError, match="not permitted"):
        write_atomic(tmp_path / "photo.jpg", b"data")


_SOURCE = str(Path(__file__).resolve().parents[3] / "src")


def in_a_process(path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run code that has `write_atomic` and `path` in a process of its own."""
    head = (
        "import os, resource, signal, sys\nfrom pathlib import Path\n"
        "from styleid.media.storage.files import write_atomic\n"
    )
    command = [sys.executable, "-c", f"{head}path = Path(sys.argv[1])\n{body}", str(path)]
    environment = {**os.environ, "PYTHONPATH": _SOURCE}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    done = in_a_process(
        tmp_path / "photo.jpg",
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "write_atomic(path, bytes(50_000))\n",
    )
    assert done.returncode == 1
    assert "OutputError" in done.stderr
    assert "largest size" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_and_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"old")
    done = in_a_process(
        tmp_path / "photo.jpg",
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "real = os.fsync\n"
        "def fsync(descriptor):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    real(descriptor)\n"
        "os.fsync = fsync\n"
        "write_atomic(path, bytes(50_000))\n",
    )
    assert "KeyboardInterrupt" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]
    assert (tmp_path / "photo.jpg").read_bytes() == b"old"


def test_a_kill_leaves_a_temporary_that_is_removed_later(tmp_path: Path) -> None:
    done = in_a_process(
        tmp_path / "deep/photo.jpg",
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\nwrite_atomic(path, bytes(50_000))\n",
    )
    assert done.returncode == -signal.SIGKILL
    left = [p.name for p in (tmp_path / "deep").iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".styleid-")
    tree(tmp_path, "deep/.styleid-notes.part", "photo.jpg", "deep/.styleid-0123456789abcdef.jpg")
    assert relatives(tmp_path) == ["photo.jpg"]
    assert remove_stale(tmp_path) == 1
    assert remove_stale(tmp_path) == 0
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == [
        ".styleid-0123456789abcdef.jpg",
        ".styleid-notes.part",
    ]
    assert remove_stale(tmp_path / "missing") == 0


def test_temporaries_that_may_be_in_use_stay(tmp_path: Path) -> None:
    tree(tmp_path, ".styleid-0123456789abcdef.part", "deep/.styleid-fedcba9876543210.part")
    os.utime(tmp_path / "deep/.styleid-fedcba9876543210.part", (0, 0))
    assert remove_stale(tmp_path, older_than_s=3600) == 1
    assert [path.name for path in tmp_path.rglob(".*")] == [".styleid-0123456789abcdef.part"]


def test_a_temporary_that_cannot_be_removed_is_named(tmp_path: Path, as_nobody) -> None:
    tree(tmp_path, ".styleid-0123456789abcdef.part")
    tmp_path.chmod(0o555)
    with as_nobody(), pytest.raises(OutputError, match=r"0123456789abcdef\.part: writing there is not permitted"):
        remove_stale(tmp_path)


def test_only_the_temporaries_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    done = in_a_process(
        tmp_path / "photo.jpg",
        "print(os.getpid(), flush=True)\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\nwrite_atomic(path, b'pixels')\n",
    )
    tree(tmp_path, ".styleid-0123456789abcdef.part", "deep/a.jpg")
    (own,) = {path.name for path in tmp_path.glob(".styleid-*")} - {".styleid-0123456789abcdef.part"}
    killed = int(done.stdout)
    remove_temporaries_of(killed + 1, [tmp_path])
    assert (tmp_path / own).exists()
    remove_temporaries_of(killed, [tmp_path / "gone", RemotePath("memory://bucket"), tmp_path])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".styleid-0123456789abcdef.part", "deep"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_says_so() -> None:
    from styleid.media.storage.files import os_reason

    with pytest.raises(OSError, match="No space left") as caught:
        os.write(os.open("/dev/full", os.O_WRONLY), b"data")
    assert caught.value.errno == errno.ENOSPC
    assert "the disk is full" in os_reason(caught.value)
