"""SQLite database of jobs, their files, decisions and tokens. The result of each photo is in the job's journal.

Every change is one transaction, which is on the disk before the response is sent, so that no change is lost if the
service is killed.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["receiving", "queued", "running", "done", "failed", "cancelled"]
Kind = Literal["photo", "video"]

_SCHEMA = """
create table if not exists jobs (
  id text primary key, owner text not null, state text not null, created real not null, expires real not null,
  settings text not null, error text not null default '', skipped text not null default '[]',
  summary text not null default '{}');
create table if not exists files (
  job text not null references jobs(id) on delete cascade, number integer not null, name text not null,
  kind text not null, bytes integer not null, sha256 text not null, primary key (job, number), unique (job, name));
create table if not exists decisions (
  job text not null references jobs(id) on delete cascade, version integer not null, body text not null,
  primary key (job, version));
create table if not exists links (
  job text primary key references jobs(id) on delete cascade, body text not null);
create table if not exists sources (
  job text primary key references jobs(id) on delete cascade, folder text not null, sub text not null);
create table if not exists notices (
  number integer primary key autoincrement, job text not null, state text not null, at real not null,
  files integer not null, version integer not null, summary text not null, tries integer not null default 0,
  due real not null default 0);
create table if not exists tokens (name text primary key, digest text not null unique, created real not null);
create table if not exists sessions (
  digest text primary key, name text not null references tokens(name) on delete cascade, expires real not null);
"""
_NOTE_ENDS = """
create trigger if not exists job_ended after update of state on jobs
when new.state in ('done', 'failed', 'cancelled') and old.state <> new.state
begin
  insert into notices (job, state, at, files, version, summary) values (
    new.id, new.state, cast(strftime('%s', 'now') as real),
    (select count(*) from files where job = new.id),
    (select coalesce(max(version), 0) from decisions where job = new.id),
    json_remove(new.summary, '$.failures'));
end;
"""
"""Records each end of a job with its new state, without names of files."""


@dataclass(frozen=True)
class JobFile:
    """One input of a job.

    Attributes:
        number: Its position, from 1.
        name: Its relative path.
        kind: Whether it is a photo or a video.
        bytes: Size of the original, in bytes.
        sha256: SHA-256 hash of the original, hexadecimal.
    """

    number: int
    name: str
    kind: Kind
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        id: Identifier, also the name of the job's folder.
        owner: Name of the user.
        state: State of the job.
        created: When the job was made, in seconds since 1970.
        expires: When the job is removed, in seconds since 1970.
        settings: Settings of the job.
        error: Why the job failed, or an empty string.
        skipped: Names of files that are neither photos nor videos.
        summary: Counts and failures of the last run.
    """

    id: str
    owner: str
    state: State
    created: float
    expires: float
    settings: dict[str, Any]
    error: str = ""
    skipped: tuple[str, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Notice:
    """The end of a job that the webhook has not been notified of yet.

    Attributes:
        number: Identifier of the notice.
        job: Identifier of the job.
        state: done, failed or cancelled.
        at: When the job ended, in seconds since 1970.
        files: Number of the job's inputs.
        version: Version of the job's decisions, or 0 if there are none.
        summary: The job's summary, without names of files.
        tries: Number of failed attempts to send the notice.
    """

    number: int
    job: str
    state: State
    at: float
    files: int
    version: int
    summary: dict[str, Any]
    tries: int


class Store:
    """The service's database; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.execute("pragma foreign_keys = on")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    # ------------------------------------------------------------------- jobs

    def add_job(self, job: Job) -> None:
        """Add a job."""
        self._do(
            "insert into jobs (id, owner, state, created, expires, settings) values (?, ?, ?, ?, ?, ?)",
            (job.id, job.owner, job.state, job.created, job.expires, json.dumps(job.settings)),
        )

    def set_settings(self, job: str, settings: dict[str, Any]) -> None:
        """Store a job's settings."""
        self._do("update jobs set settings = ? where id = ?", (json.dumps(settings), job))

    def receive(self, job: str, files: Iterable[JobFile], skipped: Iterable[str]) -> None:
        """Store the inputs of a job's upload, and queue the job."""
        rows = [(job, one.number, one.name, one.kind, one.bytes, one.sha256) for one in files]
        with self._lock, self._db:
            self._db.execute("begin immediate")
            self._db.executemany("insert into files values (?, ?, ?, ?, ?, ?)", rows)
            self._db.execute(
                "update jobs set state = 'queued', skipped = ? where id = ?", (json.dumps(list(skipped)), job)
            )

    def set_source(self, job: str, folder: str, sub: str) -> None:
        """Store that a job's originals lie in a named folder of the server, or in a subfolder of it."""
        self._do("insert or replace into sources values (?, ?, ?)", (job, folder, sub))

    def source(self, job: str) -> tuple[str, str] | None:
        """Return the named folder and subfolder of a job's originals; None if they were uploaded."""
        rows = self._read("select folder, sub from sources where job = ?", (job,))
        return (rows[0][0], rows[0][1]) if rows else None

    def job(self, job: str) -> Job | None:
        """Return a job; None if there is none."""
        rows = self._read("select * from jobs where id = ?", (job,))
        return _job(rows[0]) if rows else None

    def jobs(self, owner: str | None = None) -> list[Job]:
        """Return the jobs of an owner, or all, the newest first."""
        rows = self._read("select * from jobs where ?1 is null or owner = ?1 order by created desc", (owner,))
        return [_job(row) for row in rows]

    def files(self, job: str) -> list[JobFile]:
        """Return a job's inputs."""
        rows = self._read("select number, name, kind, bytes, sha256 from files where job = ? order by number", (job,))
        return [JobFile(*row) for row in rows]

    def count_files(self, job: str) -> int:
        """Return the number of a job's inputs."""
        return self._read("select count(*) from files where job = ?", (job,))[0][0]

    def next_job(self) -> Job | None:
        """Take the oldest job from the queue, and mark it as running."""
        with self._lock, self._db:
            self._db.execute("begin immediate")
            row = self._db.execute("select * from jobs where state = 'queued' order by created limit 1").fetchone()
            if row is not None:
                self._db.execute("update jobs set state = 'running', error = '' where id = ?", (row[0],))
        return None if row is None else _job(row)

    def move(self, job: str, state: State, *, among: Iterable[State], error: str = "") -> bool:
        """Change a job's state if it is in one of these states; return whether it was."""
        states = list(among)
        marks = ", ".join("?" * len(states))
        done = self._do(
            f"update jobs set state = ?, error = ? where id = ? and state in ({marks})", (state, error, job, *states)
        )
        return done > 0

    def note_summary(self, job: str, summary: dict[str, Any]) -> None:
        """Store the summary of a job's files."""
        self._do("update jobs set summary = ? where id = ?", (json.dumps(summary), job))

    def expire(self, job: str, at: float) -> None:
        """Make a job expire at this time, unless it expires earlier."""
        self._do("update jobs set expires = min(expires, ?) where id = ?", (at, job))

    def keep_until(self, job: str, at: float) -> None:
        """Make a job expire no earlier than at this time."""
        self._do("update jobs set expires = max(expires, ?) where id = ?", (at, job))

    def remove_job(self, job: str) -> None:
        """Remove a job."""
        self._do("delete from jobs where id = ?", (job,))

    def remove_expired(self, now: float) -> list[str]:
        """Remove the expired jobs that are not running, and return their names."""
        over = "expires < ? and state in ('queued', 'done', 'failed', 'cancelled')"
        with self._lock, self._db:
            self._db.execute("begin immediate")
            found = [row[0] for row in self._db.execute(f"select id from jobs where {over}", (now,)).fetchall()]
            self._db.execute(f"delete from jobs where {over}", (now,))
        return found

    def requeue(self) -> None:
        """Queue jobs that were running when the service ended."""
        self._do("update jobs set state = 'queued' where state = 'running'", ())

    # -------------------------------------------------------------- decisions

    def decisions(self, job: str) -> tuple[dict[str, Any], int]:
        """Return a job's present decisions, and their number of versions."""
        rows = self._read("select body, version from decisions where job = ? order by version desc limit 1", (job,))
        return (json.loads(rows[0][0]), rows[0][1]) if rows else ({}, 0)

    def decide(self, job: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Store a new version of a job's decisions, and queue the job if it is done.

        Args:
            job: Identifier of the job.
            change: Called with the current decisions; returns the new ones. If it raises an exception, nothing is
                stored.
        """
        with self._lock, self._db:
            self._db.execute("begin immediate")
            body, version = self.decisions(job)
            text = json.dumps(change(body))
            self._db.execute("insert into decisions values (?, ?, ?)", (job, version + 1, text))
            self._db.execute("update jobs set state = 'queued' where id = ? and state = 'done'", (job,))

    def undo(self, job: str) -> bool:
        """Remove the last version of a job's decisions; return whether there was one."""
        with self._lock, self._db:
            self._db.execute("begin immediate")
            _, version = self.decisions(job)
            self._db.execute("delete from decisions where job = ? and version = ?", (job, version))
            self._db.execute("update jobs set state = 'queued' where id = ? and state = 'done'", (job,))
        return version > 0

    def finish(self, job: str, body: dict[str, Any]) -> None:
        """Mark a running job as done, or queue it again if its decisions changed since it started."""
        with self._lock, self._db:
            self._db.execute("begin immediate")
            state = "done" if self.decisions(job)[0] == body else "queued"
            self._db.execute("update jobs set state = ? where id = ? and state = 'running'", (state, job))

    def links(self, job: str) -> dict[str, list[tuple[list[float], str]]]:
        """Return the people of the faces in a job's photos."""
        rows = self._read("select body from links where job = ?", (job,))
        return json.loads(rows[0][0]) if rows else {}

    def has_links(self, job: str) -> bool:
        """Return whether a job's faces were linked to people."""
        return bool(self._read("select 1 from links where job = ?", (job,)))

    def set_links(self, job: str, links: Mapping[str, Any]) -> None:
        """Store the people of the faces."""
        self._do("insert or replace into links values (?, ?)", (job, json.dumps(links)))

    # ---------------------------------------------------------------- notices

    def note_ends(self, wanted: bool) -> None:
        """Record the ends of jobs from now on, or remove the records and stop."""
        with self._lock:
            self._db.executescript(_NOTE_ENDS if wanted else "drop trigger if exists job_ended; delete from notices;")

    def due_notices(self, now: float) -> list[Notice]:
        """Return the ends of jobs to notify of now, the oldest first."""
        rows = self._read(
            "select number, job, state, at, files, version, summary, tries from notices where due <= ? order by number",
            (now,),
        )
        return [_notice(row) for row in rows]

    def put_off_notice(self, number: int, until: float) -> None:
        """Postpone the notice of an end."""
        self._do("update notices set tries = tries + 1, due = ? where number = ?", (until, number))

    def remove_notice(self, number: int) -> None:
        """Remove the record of an end."""
        self._do("delete from notices where number = ?", (number,))

    # ----------------------------------------------------------------- tokens

    def add_token(self, name: str, digest: str) -> bool:
        """Add a token's hash; return whether the name was free."""
        done = self._do("insert or ignore into tokens values (?, ?, ?)", (name, digest, time.time()))
        return done > 0

    def tokens(self) -> dict[str, float]:
        """Return the time at which each token was made, by its owner."""
        return dict(self._read("select name, created from tokens order by name", ()))

    def remove_token(self, name: str) -> bool:
        """Remove a token and its sessions; return whether there was one."""
        return self._do("delete from tokens where name = ?", (name,)) > 0

    def name_of_token(self, digest: str) -> str | None:
        """Return the owner of the token with a hash; None if there is none."""
        rows = self._read("select name from tokens where digest = ?", (digest,))
        return rows[0][0] if rows else None

    def add_session(self, digest: str, name: str, expires: float) -> None:
        """Store a session, and remove expired ones."""
        self._do("delete from sessions where expires < ?", (time.time(),))
        self._do("insert into sessions values (?, ?, ?)", (digest, name, expires))

    def name_of_session(self, digest: str) -> str | None:
        """Return the user of a session; None if there is none."""
        rows = self._read("select name from sessions where digest = ? and expires > ?", (digest, time.time()))
        return rows[0][0] if rows else None

    def remove_session(self, digest: str) -> None:
        """Remove a session."""
        self._do("delete from sessions where digest = ?", (digest,))

    def _do(self, statement: str, values: tuple[Any, ...]) -> int:
        with self._lock:
            return self._db.execute(statement, values).rowcount

    def _read(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()


def _job(row: tuple[Any, ...]) -> Job:
    one, owner, state, created, expires, settings, error, skipped, summary = row
    skipped_names = tuple(json.loads(skipped))
    return Job(one, owner, state, created, expires, json.loads(settings), error, skipped_names, json.loads(summary))


def _notice(row: tuple[Any, ...]) -> Notice:
    number, job, state, at, files, version, summary, tries = row
    return Notice(number, job, state, at, files, version, json.loads(summary), tries)
