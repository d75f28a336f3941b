"""Outputs do not depend on the number of workers, or on workers that die."""

import json
import multiprocessing
import os
import random
import signal
import threading
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from styleid import Action, AnonymizeOptions, Anonymizer
from styleid.core.targets import FreshTargets
from styleid.engine import executor, local
from styleid.engine.executor import Executor, ThreadExecutor, in_order
from styleid.engine.journal import NAME
from styleid.engine.local import RunOptions, process_files
from styleid.engine.photo import Done, Job, PixelBudget
from styleid.engine.pool import Death, Pool
from styleid.engine.workers import ProcessExecutor, Recipe, serve_jobs
from styleid.errors import BundleError, OptionError, OutputError, StyleIDError
from styleid.media.image import encode_photo, read_photo
from styleid.media.storage.files import remove_stale
from tests.engine.test_local import contents

COUNT = 10
POISON = "1/4.png"


@pytest.fixture(scope="module")
def photos(tmp_path_factory, astronaut) -> Path:
    """Ten small photos, the last without a face, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    small = Image.fromarray(astronaut[:256, 96:352])
    for index in range(COUNT):
        image = small.resize((112 + 8 * index,) * 2, Image.Resampling.LANCZOS)
        image = Image.new("RGB", image.size, (90, 120, 60)) if index == COUNT - 1 else image
        (folder / f"{index % 3}").mkdir(exist_ok=True)
        image.save(folder / f"{index % 3}" / f"{index}.png")
    (folder / "0/bad.png").write_bytes(b"no photo")
    return folder


@pytest.fixture(scope="module")
def usual(bundle) -> Anonymizer:
    return Anonymizer(bundle, AnonymizeOptions(seed=1, tries=2))


@pytest.fixture(scope="module")
def expected(photos, usual) -> dict[str, bytes]:
    """What each photo comes to by itself, without any engine."""
    found = {}
    for path in sorted(photos.rglob("[0-9].png")):
        name, photo = path.relative_to(photos).as_posix(), read_photo(path)
        outcome = usual.anonymize(photo.image_rgb, name=name)
        new = outcome.count(Action.ANONYMIZED) > 0
        found[name] = encode_photo(photo, outcome.image_rgb, outcome.region_mask, marked=new)
    return found


def told(folder: Path, name: str = NAME) -> list[dict[str, Any]]:
    """Return a journal's lines without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def in_order_of_inputs(expected: dict[str, bytes]) -> list[str]:
    return sorted([*expected, "0/bad.png"])


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_writes_the_same(photos, usual, expected, tmp_path, workers):
    summary = process_files([photos], usual, RunOptions(tmp_path / "out", workers=workers))
    assert contents(tmp_path / "out") == expected
    assert (summary.inputs, summary.written, summary.failed, summary.without_faces) == (COUNT + 1, COUNT, 1, 1)
    assert summary.faces.total() == COUNT - 1
    assert summary.faces["anonymised"] > COUNT // 2
    lines = told(tmp_path / "out")
    assert [line["input"] for line in lines] == in_order_of_inputs(expected)
    assert {"read", "detect", "generate", "write"} <= summary.stage_seconds.keys()
    if workers == 2:
        process_files([photos], usual, RunOptions(tmp_path / "one", workers=1))
        assert lines == told(tmp_path / "one")
    assert not multiprocessing.active_children()


@pytest.fixture
def close_behind(monkeypatch) -> None:
    """Begin no photo much before the oldest is done, so that a run has an end, a middle and a beginning."""
    monkeypatch.setattr(executor, "AHEAD", 1)


@pytest.fixture
def listening() -> Iterator[None]:
    """Hear Ctrl-C, which a shell's background jobs are told to ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("close_behind")
def test_a_killed_worker_changes_nothing(photos, usual, expected, tmp_path):
    killed: list[int] = []

    def kill(done: int, total: int, name: str) -> None:
        if done in (2, 5):
            alive = (child.pid or 0 for child in multiprocessing.active_children())
            killed.append(next(pid for pid in alive if pid not in killed))
            os.kill(killed[-1], signal.SIGKILL)

    summary = process_files([photos], usual, RunOptions(tmp_path / "out", workers=2), watch=kill)
    assert len(set(killed)) == 2
    assert (summary.written, summary.failed) == (COUNT, 1)
    assert contents(tmp_path / "out") == expected
    assert [line["input"] for line in told(tmp_path / "out")] == in_order_of_inputs(expected)
    assert remove_stale(tmp_path / "out") == 0


class Deadly:
    """A connection whose reader dies of one photo."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.send = connection.send

    def recv(self) -> Any:
        job = self._connection.recv()
        if job is not None and job.name == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return job


def serve_until_poisoned(connection: Any, *rest: Any) -> None:
    serve_jobs(Deadly(connection), *rest)  # type: ignore[arg-type]


def test_a_photo_that_kills_its_worker_is_named_and_the_rest_is_done(photos, usual, expected, tmp_path, monkeypatch):
    made: list[ProcessExecutor] = []

    def poisoned(anonymizer: Anonymizer, options: RunOptions, *_: object, **__: object) -> Executor:
        made.append(ProcessExecutor(Recipe.of(anonymizer), options, 2, 1, serve_until_poisoned))
        return made[0]

    monkeypatch.setattr(local, "make_executor", poisoned)
    summary = process_files([photos], usual, RunOptions(tmp_path / "out"))
    assert dict(summary.failures).keys() == {POISON, "0/bad.png"}
    assert "3 workers died while they processed this photo alone (killed by SIGKILL)" in dict(summary.failures)[POISON]
    assert summary.exit_status == 3
    assert contents(tmp_path / "out") == {name: data for name, data in expected.items() if name != POISON}
    assert [line["input"] for line in told(tmp_path / "out")] == in_order_of_inputs(expected)


@pytest.mark.usefixtures("close_behind", "listening")
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_keeps_what_is_done_and_leaves_nothing_half_done(photos, usual, expected, tmp_path, workers):
    def interrupt(done: int, total: int, name: str) -> None:
        if done == 3:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGINT)  # a terminal sends it to all
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        process_files([photos], usual, RunOptions(out, workers=workers), watch=interrupt)
    assert not multiprocessing.active_children()
    assert remove_stale(out) == 0
    lines = told(out)
    assert 3 <= len(lines) < COUNT + 1
    assert {line["input"] for line in lines if "sha256" in line} == contents(out).keys()
    summary = process_files([photos], usual, RunOptions(out, workers=workers, resume=True))
    assert summary.resumed == sum("sha256" in line for line in lines)
    assert contents(out) == expected
    done = [line["input"] for line in told(out) if "sha256" in line]
    assert sorted(done) == sorted(expected)


def test_an_output_that_cannot_be_written_ends_the_run_with_its_error(photos, usual, expected, tmp_path):
    (tmp_path / "out" / POISON).mkdir(parents=True)
    with pytest.raises(OutputError, match="a folder of that name is in the way") as caught:
        process_files([photos], usual, RunOptions(tmp_path / "out", workers=2))
    assert caught.value.path == tmp_path / "out" / POISON
    assert not multiprocessing.active_children()
    written = contents(tmp_path / "out")
    assert written.items() <= expected.items()
    assert {line["input"] for line in told(tmp_path / "out") if "sha256" in line} == written.keys()


def test_a_bundle_that_workers_cannot_use_is_an_error(photos, usual, tmp_path):
    recipe = Recipe(tmp_path / "nowhere", usual.options, "cpu")
    pool = ProcessExecutor(recipe, RunOptions(tmp_path / "out"), 1, 1)
    try:
        with pytest.raises(BundleError, match="nowhere"):
            pool.wait()
    finally:
        pool.close()


class OtherTargets(FreshTargets):
    pass


def test_what_depends_on_other_photos_is_refused_to_several_workers(photos, usual, tmp_path):
    one = Anonymizer(usual.bundle, usual.options, targets=OtherTargets(1))
    with pytest.raises(OptionError, match="`workers=1`"):
        process_files([photos], one, RunOptions(tmp_path / "out", workers=2))
    with pytest.raises(OptionError, match="must be 0 or more"):
        RunOptions(tmp_path, workers=-1)
    assert not (tmp_path / "out").exists()


class Fickle(Pool):
    """Workers without processes that die by a drawn plan. deadly: jobs that kill for sure."""

    def __init__(self, draw: random.Random, deadly: set[int], count: int, threads: int, rate: float) -> None:
        self.draw, self.deadly, self.rate = draw, deadly, rate
        self.finished: list[int] = []
        self.hired = 0
        super().__init__(count, threads)

    def hire(self) -> Any:
        self.hired += 1
        return deque()

    def give(self, worker, job):
        worker.handle.append(job)

    def bury(self, worker):
        assert worker.jobs

    def dismiss(self):
        pass

    def news(self):
        worker = self.draw.choice([worker for worker in self.workers if worker.handle])
        job = self.draw.choice(list(worker.handle))
        if any(one.number in self.deadly for one in worker.handle) or (
            self.draw.random() < self.rate and len(worker.handle) > 1
        ):
            yield worker, Death("drawn")
            return
        worker.handle.remove(job)
        self.finished.append(job.number)
        yield worker, Done(job.number, {"input": job.name}, {})


@pytest.mark.parametrize("seed", range(40))
def test_every_job_is_done_once_or_named_whoever_dies(tmp_path, seed):
    draw = random.Random(seed)
    count, threads, n = draw.randint(1, 4), draw.randint(1, 4), draw.randint(0, 60)
    deadly = {number for number in range(n) if draw.random() < 0.05}
    pool = Fickle(draw, deadly, count, threads, draw.choice([0.0, 0.1, 0.3]))
    jobs = (Job(number, str(number), tmp_path, tmp_path) for number in range(n))
    done = [one for some in in_order(pool, jobs, {}) for one in some]
    assert [one.number for one in done] == list(range(n))
    assert {one.number for one in done if "error" in one.record} == deadly
    assert sorted(pool.finished) == sorted(set(range(n)) - deadly)


def test_workers_that_only_die_end_the_run(tmp_path):
    pool = Fickle(random.Random(0), set(range(100)), 2, 2, 0)
    with pytest.raises(StyleIDError, match="workers died in a row"):
        list(in_order(pool, (Job(n, str(n), tmp_path, tmp_path) for n in range(100)), {}))


def test_what_waits_for_its_turn_is_bounded():
    started: list[int] = []

    class Slow:
        """Finish the youngest job first, so that the oldest holds all up."""

        capacity = 2

        def __init__(self) -> None:
            self.jobs: list[Job] = []

        def start(self, job: Job) -> None:
            self.jobs.append(job)
            started.append(job.number)

        def wait(self) -> list[Done]:
            return [Done(self.jobs.pop().number, {}, {})]

        def close(self) -> list[Done]:
            return []

    held: dict[int, Done] = {}
    done = in_order(Slow(), (Job(n, "", Path(), Path()) for n in range(1000)), held)
    first = next(done)
    assert [one.number for one in first] == list(range(16))
    assert len(started) == 16
    assert [one.number for some in done for one in some] == list(range(16, 1000))


def test_a_thread_raises_what_went_wrong(usual, photos, tmp_path, monkeypatch):
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("in a thread")

    one = Anonymizer(usual.bundle, usual.options)
    monkeypatch.setattr(one, "anonymize", broken)
    threads = ThreadExecutor(one, RunOptions(tmp_path / "out"), 2)
    threads.start(Job(0, "a", photos / POISON, tmp_path / "out/a.png"))
    with pytest.raises(ZeroDivisionError, match="in a thread"):
        threads.wait()
    assert threads.close() == []


def test_large_photos_go_one_at_a_time():
    gate, inside, order = PixelBudget(100), threading.Event(), []

    def second() -> None:
        inside.wait()
        with gate.hold(60):
            order.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()
    with gate.hold(60), gate.hold(40):
        inside.set()
        waiting.join(0.05)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    with gate.hold(10**9):
        pass
