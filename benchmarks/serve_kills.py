"""Kill the service (SIGKILL) at random moments, restart it, and compare its results with those of an undisturbed run.

Two services process the same job with the same seed and decisions: one undisturbed, the other killed many times during
uploads, the first run, decisions and deletion. The benchmark checks that

- every upload and decision with a response is stored, and an upload without a response is stored completely or not at
  all;
- the download contains the same files with the same bytes, and a journal with equal entries for every photo;
- no photo was written twice for the same decisions, and the job's folder contains no other files;
- a job whose deletion was interrupted is complete or completely removed.

    python benchmarks/serve_kills.py                    50 kills, some minutes
    python benchmarks/serve_kills.py --kills 6 --photos 4 --seed 3

The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

from serve_process import Desk, make_portraits, work_folder

from styleid.engine.journal import NAME as JOURNAL
from styleid.engine.report import NAME as REPORT
from styleid.serve.client import Client, ServiceError

RESULT = Path(__file__).resolve().parent / "results" / "serve_kills.json"
SETTINGS = {"seed": 7}
_WITHIN_S = 300.0
_AT_ONCE_S = 0.03
_STAMPS = ("at", "by", "seconds")
_GONE = (OSError, HTTPException)
"""What a request ends in when the service is killed."""

Decision = Callable[[Client, str], Any]
Lines = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument("--work", type=Path, help="a folder to work in; it stays")
    parser.add_argument("--record", action="store_true", help=f"write {RESULT.name}")
    args = parser.parse_args()
    with work_folder(args.work) as work:
        paths = make_portraits(work / "photos", args.photos)
        whole = unbroken(work / "whole", paths)
        broken = _Broken(work / "broken", paths, whole, random.Random(args.seed))
        result = broken.run(args.kills)
    result |= {"photos": args.photos, "seed": args.seed, "machine": platform.machine()}
    print(json.dumps(result, indent=2))
    if args.record:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


# ------------------------------------------------------------------- decisions


def decisions_for(photos: int) -> list[Decision]:
    """Return the decisions to make, in order. Repeating a decision has no further effect."""

    def add(number: int, shift: float) -> Decision:
        box = [8.0 + shift, 150.0, 48.0 + shift, 190.0]
        return lambda desk, job: desk.decide(job, number, add=[{"box": box, "do": "pixelate"}])

    def keep(desk: Client, job: str) -> Any:
        return desk.decide_person(job, "p1", "keep")

    def hide(desk: Client, job: str) -> Any:
        return desk.decide_person(job, "p1", "blur")

    def another(desk: Client, job: str) -> Any:
        face = next(photo for photo in desk.faces(job)["photos"] if photo["number"] == 1)["faces"][0]
        return desk.decide(job, 1, faces=[{"box": face["box"], "do": "replace", "target": 1}])

    steps = [another, *(add(number, float(number)) for number in range(2, photos + 1)), keep, hide]
    return [*steps, lambda desk, job: desk.approve(job)]


# ------------------------------------------------------------------------ runs


class Outcome:
    """Results of an undisturbed run.

    Attributes:
        first: Files of the download after the first run, by name.
        last: Files of the download after all decisions, by name.
        first_s: Seconds of the first run.
        last_s: Seconds of all decisions.
    """

    def __init__(self) -> None:
        self.first: dict[str, bytes] = {}
        self.last: dict[str, bytes] = {}
        self.first_s = self.last_s = 0.0


def unbroken(data: Path, paths: Sequence[Path]) -> Outcome:
    """Run a job and make all decisions with an undisturbed service."""
    outcome, desk = Outcome(), Desk(data)
    try:
        with Client(desk.address) as client:
            begun = time.monotonic()
            job = client.make_job(paths, **SETTINGS)["id"]
            outcome.first = downloaded(client, job)
            outcome.first_s = time.monotonic() - begun
            begun = time.monotonic()
            for decide in decisions_for(len(paths)):
                decide(client, job)
                settle(client, job)
            outcome.last = downloaded(client, job)
            outcome.last_s = time.monotonic() - begun
    finally:
        desk.kill()
    return outcome


class _Broken:
    """A service that is killed and restarted many times."""

    def __init__(self, data: Path, paths: Sequence[Path], whole: Outcome, rng: random.Random) -> None:
        self.data, self.paths, self.whole, self.rng = data, paths, whole, rng
        self.desk = Desk(data)
        self.kills: Counter[str] = Counter()
        self.jobs, self.repeated, self.restart_s = 0, 0, 0.0

    def run(self, kills: int) -> dict[str, Any]:
        """Run and check whole jobs until this number of kills is reached."""
        try:
            while self.kills.total() < kills:
                left = kills - self.kills.total()
                self.one_job(min(2, left), max(1, left // 2), max(1, left // 3))
        finally:
            self.desk.kill()
        return {
            "kills": dict(self.kills),
            "jobs": self.jobs,
            "decisions_that_were_not_answered": self.repeated,
            "slowest_restart_s": round(self.restart_s, 1),
        }

    def one_job(self, uploads: int, firsts: int, redos: int) -> None:
        """Run one job with at most this number of kills of each kind, check it and delete it."""
        for _ in range(uploads):
            self.kill_during("upload", self.rng.uniform(0, 0.3), lambda client: client.make_job(self.paths, **SETTINGS))
            self.check_uploads()
        with Client(self.desk.address) as client:
            job = client.make_job(self.paths, **SETTINGS)["id"]
        for _ in range(firsts):
            if self.state(job) == "done":
                break
            self.kill_during("first run", self.rng.uniform(0, self.whole.first_s * 0.6), None)
        with Client(self.desk.address) as client:
            check("the first run", self.whole.first, downloaded(client, job), self.journal(job))
        self.decide(job, redos)
        with Client(self.desk.address) as client:
            check("the decisions", self.whole.last, downloaded(client, job), self.journal(job))
            require(client.jobs() and client.jobs()[0]["id"] == job, "the job is lost")
        self.check_folder(job)
        self.delete(job)
        self.jobs += 1

    def delete(self, job: str) -> None:
        """Delete a job, and kill the service during the deletion."""
        self.kill_during("deletion", self.rng.uniform(0, 0.05), lambda client: client.delete(job))
        with Client(self.desk.address) as client:
            known = [one["id"] for one in client.jobs()]  # the service removes left-over folders before it responds
            require(self.folders() == known, f"a deleted job left {self.folders()} for the jobs {known}")
            if known:
                self.check_folder(job)
                client.delete(job)
        require(not self.folders(), f"a deleted job left {self.folders()}")

    def decide(self, job: str, kills: int) -> None:
        """Make all decisions, and kill the service during some of them."""
        steps = decisions_for(len(self.paths))
        each = self.whole.last_s / len(steps)
        at = set(self.rng.sample(range(len(steps)), min(kills, len(steps))))
        for number, decide in enumerate(steps):
            if number in at:
                soon = self.rng.uniform(0, self.rng.choice((_AT_ONCE_S, each)))  # while it is stored or applied
                answered = self.kill_during("decision", soon, lambda c, d=decide: d(c, job))
                with Client(self.desk.address) as client:
                    if answered is not None:
                        kept = wishes(client.faces(job))
                        require(kept == answered, f"an answered decision is lost: {answered} became {kept}")
                        continue
                    self.repeated += 1
            with Client(self.desk.address) as client:
                settle_decision(client, job, decide)

    def kill_during(self, kind: str, after_s: float, send: Callable[[Client], Any] | None) -> Any:
        """Send a request, kill the service after some time, and restart it.

        Args:
            kind: Name under which the kill is counted.
            after_s: Seconds between the request and the kill.
            send: Sends the request; None sends none.

        Returns:
            The response, of a review only its decisions; None without a response.
        """
        answers: list[Any] = []

        def ask(address: str) -> None:
            with suppress(*_GONE), Client(address) as client:
                answer = send(client) if send else None
                answers.append(wishes(answer) if answer and "photos" in answer else answer)

        thread = threading.Thread(target=ask, args=(self.desk.address,))
        thread.start()
        time.sleep(after_s)
        self.desk.kill()
        thread.join()
        self.kills[kind] += 1
        begun = time.monotonic()
        self.desk = Desk(self.data)
        self.restart_s = max(self.restart_s, time.monotonic() - begun)
        return answers[0] if answers else None

    def check_uploads(self) -> None:
        """Check that an interrupted upload left nothing, and delete jobs of complete uploads."""
        with Client(self.desk.address) as client:
            jobs = client.jobs()
            known = {job["id"] for job in jobs}
            require(set(self.folders()) == known, f"folders {self.folders()} for the jobs {sorted(known)}")
            for job in jobs:
                require(job["total"] == len(self.paths), f"an upload is cut: {job}")
                client.delete(job["id"])

    def state(self, job: str) -> str:
        with Client(self.desk.address) as client:
            return client.job(job)["state"]

    def folders(self) -> list[str]:
        return sorted(path.name for path in (self.data / "jobs").iterdir())

    def journal(self, job: str) -> Lines:
        return lines_of((self.data / "jobs" / job / "out" / JOURNAL).read_bytes())

    def check_folder(self, job: str) -> None:
        """Check that a job's folder has the same files as that of the undisturbed run."""
        folder = self.data / "jobs" / job
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        expected = {f"in/{path.name}" for path in self.paths} | {"decisions.json"}
        expected |= {f"out/{name}" for name in self.whole.last}
        require(names == expected, f"left over or missing: {sorted(names ^ expected)}")


# -------------------------------------------------------------------- checking


def settle_decision(client: Client, job: str, decide: Decision) -> None:
    """Make a decision, and wait until it is applied. A refusal with status 409 is repeated for a while."""
    until = time.monotonic() + _WITHIN_S
    while True:
        try:
            decide(client, job)
        except ServiceError as error:
            require(error.status == 409 and time.monotonic() < until, f"a decision is refused: {error}")
            time.sleep(0.1)
            continue
        settle(client, job)
        return


def settle(client: Client, job: str) -> None:
    """Wait until a job is done."""
    until = time.monotonic() + _WITHIN_S
    while (found := client.job(job))["state"] != "done":
        require(found["state"] in ("queued", "running") and time.monotonic() < until, f"the job ended as {found}")
        time.sleep(0.05)


def downloaded(client: Client, job: str) -> dict[str, bytes]:
    """Wait until a job is done, and return the members of its download."""
    settle(client, job)
    with tempfile.TemporaryDirectory() as folder:
        path = client.download(job, Path(folder) / "results.zip")
        with zipfile.ZipFile(path) as archive:
            require(archive.testzip() is None, "the download is damaged")
            return {name: archive.read(name) for name in archive.namelist()}


def check(what: str, whole: Mapping[str, bytes], broken: Mapping[str, bytes], journal: Lines) -> None:
    """Compare a download with that of the undisturbed run; journal and report contain times, so not by bytes."""
    require(set(whole) == set(broken), f"{what}: files {sorted(set(whole) ^ set(broken))} are missing or too many")
    differ = [name for name in whole if name not in (JOURNAL, REPORT) and whole[name] != broken[name]]
    require(not differ, f"{what}: {differ} have other bytes")
    require(broken[REPORT].rstrip().endswith(b"</html>"), f"{what}: the report is cut")
    expected, found = (last_lines(lines_of(one[JOURNAL])) for one in (whole, broken))
    require(expected == found, f"{what}: the journal says {found} instead of {expected}")
    marks = Counter((one["input"], one.get("decisions", ""), bool(one.get("approved"))) for one in journal)
    twice = [mark for mark, count in marks.items() if count > 1]
    require(not twice, f"{what}: written twice: {twice}")


def lines_of(journal: bytes) -> Lines:
    """Return the complete lines of a journal; a kill may leave an incomplete one."""
    lines = []
    for line in journal.decode(errors="replace").splitlines():
        with suppress(ValueError):
            lines.append(json.loads(line))
    return lines


def last_lines(lines: Lines) -> dict[str, Any]:
    """Return the last line of each photo, without times, users and hashes of decisions."""
    return {one["input"]: bare(one) for one in lines}


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: bare(one) for name, one in value.items() if name not in (*_STAMPS, "decisions")}
    return [bare(one) for one in value] if isinstance(value, list) else value


def wishes(review: Mapping[str, Any]) -> Any:
    """Return the decisions in a review, without users and times."""
    return bare([review["people"], {one["number"]: one["wishes"] for one in review["photos"]}])


def require(holds: Any, problem: str) -> None:
    if not holds:
        raise SystemExit(f"FAILED: {problem}")


if __name__ == "__main__":
    main()
