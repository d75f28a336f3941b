"""Ray actors write the same outputs and journal as one process, also if actors die."""

import os
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from styleid import AnonymizeOptions, Anonymizer
from styleid.datasets.options import ShardOptions
from styleid.datasets.shards import process_shards
from styleid.engine import executor
from styleid.engine.local import RunOptions, process_files
from styleid.errors import OutputError
from styleid.media.storage.files import remove_stale
from tests.engine.test_local import contents
from tests.engine.test_workers import told
from tests.ray_cluster import actors, two_cores

pytest.importorskip("ray", reason="Ray is not installed: pip install 'styleid[ray]'")


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    small = Image.fromarray(astronaut[:256, 96:352])
    for index in range(8):
        small.resize((112 + 8 * index,) * 2, Image.Resampling.LANCZOS).save(folder / f"{index}.png")
    (folder / "bad.png").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def usual(bundle) -> Anonymizer:
    return Anonymizer(bundle, AnonymizeOptions(seed=1, tries=2))


@pytest.fixture(scope="module")
def once(photos, usual, tmp_path_factory) -> Path:
    """What one process of this machine writes."""
    out = tmp_path_factory.mktemp("once") / "out"
    process_files([photos], usual, RunOptions(out, workers=1))
    return out


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One small cluster for all tests, since to start one takes seconds."""
    with two_cores():
        yield


@pytest.mark.filterwarnings("default")
def test_actors_write_the_same_and_the_run_is_resumed_by_its_journal(photos, usual, once, tmp_path):
    out = tmp_path / "out"
    summary = process_files([photos], usual, RunOptions(out, engine="ray", workers=2))
    assert (summary.written, summary.failed) == (8, 1)
    assert contents(out) == contents(once)
    assert told(out) == told(once)
    assert summary.stage_seconds["detect"] > 0
    (out / "3.png").unlink()
    # more than there are cores, so fewer actors are started
    again = process_files([photos], usual, RunOptions(out, engine="ray", workers=9, resume=True))
    assert (again.resumed, again.written, again.failed) == (7, 8, 1)
    assert contents(out) == contents(once)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the actors' processes are found through /proc")
@pytest.mark.filterwarnings("default")
def test_an_actor_that_is_killed_changes_nothing(photos, usual, once, tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "AHEAD", 1)
    killed: list[int] = []

    def kill(done: int, total: int, name: str) -> None:
        if done == 2:
            killed.append(next(actors("_Actor")))
            os.kill(killed[0], signal.SIGKILL)

    out = tmp_path / "out"
    summary = process_files([photos], usual, RunOptions(out, engine="ray", workers=2), watch=kill)
    assert len(killed) == 1
    assert (summary.written, summary.failed) == (8, 1)
    assert contents(out) == contents(once)
    assert told(out) == told(once)
    remove_stale(out)


@pytest.mark.filterwarnings("default")
def test_an_actor_raises_what_went_wrong(photos, usual, tmp_path):
    (tmp_path / "out/3.png").mkdir(parents=True)
    with pytest.raises(OutputError, match="a folder of that name is in the way"):
        process_files([photos], usual, RunOptions(tmp_path / "out", engine="ray", workers=1))


@pytest.mark.filterwarnings("default")
def test_actors_do_the_photos_of_shards(photos, usual, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(2):
        with tarfile.open(tmp_path / f"in/{number}.tar", "w") as tar:
            for index in range(4):
                tar.add(photos / f"{4 * number + index}.png", arcname=f"{index}.png")
    process_shards(tmp_path / "in", usual, RunOptions(tmp_path / "here"), ShardOptions())
    there = RunOptions(tmp_path / "there", engine="ray", workers=2)
    assert process_shards(tmp_path / "in", usual, there, ShardOptions()).photos.written == 8
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert told(tmp_path / "there") == told(tmp_path / "here")
