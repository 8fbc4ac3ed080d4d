"""The table of jobs, in sqlite: who takes which, how far it is, and what became of it.

Every change is one statement in a transaction of its own, so a process may be killed anywhere. A
worker that holds a job renews its lease; a lease that ran out means that the worker is gone, and
the job is free again. What a worker reports counts only while the job is still its own.
"""

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["queued", "running", "done", "failed", "canceled"]
STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "canceled")
LEASE_S = 20.0
MAX_ATTEMPTS = 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    owner TEXT,
    state TEXT NOT NULL,
    request TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    step TEXT,
    progress REAL NOT NULL DEFAULT 0,
    error TEXT,
    summary TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    lease REAL,
    cancel INTEGER NOT NULL DEFAULT 0
)
"""


@dataclass(frozen=True, slots=True)
class Job:
    """One row.

    Attributes
    ----------
    id : str
    owner : str or None
        Name of the API key that made it.
    state : {"queued", "running", "done", "failed", "canceled"}
    request : mapping
        What to segment: `name`, `path` and options.
    created, started, finished : float
        Seconds since 1970.
    step : str or None
    progress : float
        0..1.
    error : str or None
    summary : mapping or None
        What the worker tells of the result.
    attempt : int
        How often it was taken.
    cancel : bool
        Whether somebody asked the worker to stop.
    """

    id: str
    owner: str | None
    state: State
    request: Mapping[str, Any]
    created: float
    started: float | None
    finished: float | None
    step: str | None
    progress: float
    error: str | None
    summary: Mapping[str, Any] | None
    attempt: int
    cancel: bool


_COLUMNS = ", ".join(Job.__dataclass_fields__)


class JobTable:
    """Jobs in one sqlite file; may be used by threads and processes of one machine.

    Parameters
    ----------
    path : Path
        Made if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(_SCHEMA)

    def add(self, request: Mapping[str, Any], *, owner: str | None, job_id: str = "") -> Job:
        """Put a job at the end of the queue."""
        job_id = job_id or uuid.uuid4().hex
        row = (job_id, owner, "queued", json.dumps(request), time.time())
        with self._transaction() as db:
            made = db.execute(
                "INSERT INTO jobs (id, owner, state, request, created) VALUES (?, ?, ?, ?, ?) "
                f"RETURNING {_COLUMNS}",
                row,
            ).fetchone()
        return _job(made)

    def get(self, job_id: str) -> Job | None:
        """Return a job; None where there is none."""
        found = self._select("WHERE id = ?", job_id)
        return found[0] if found else None

    def all(self) -> list[Job]:
        """All jobs, the newest first."""
        return self._select("ORDER BY created DESC, id")

    def counts(self) -> dict[str, int]:
        """Count the jobs by state."""
        with self._transaction() as db:
            found = dict(db.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in STATES}

    def take(self, worker: str) -> Job | None:
        """Give the oldest free job to `worker`, to nobody else; None if there is none."""
        now = time.time()
        with self._transaction() as db:
            row = db.execute(
                "UPDATE jobs SET state = 'running', worker = ?, lease = ?, started = ?, "
                "attempt = attempt + 1, step = NULL, progress = 0 WHERE id = (SELECT id FROM jobs "
                "WHERE cancel = 0 AND attempt < ? AND (state = 'queued' OR (state = 'running' AND "
                f"lease < ?)) ORDER BY created, id LIMIT 1) RETURNING {_COLUMNS}",
                (worker, now + LEASE_S, now, MAX_ATTEMPTS, now),
            ).fetchone()
        return None if row is None else _job(row)

    def held_by(self, worker: str) -> Job | None:
        """Return the job that a worker holds."""
        found = self._select("WHERE state = 'running' AND worker = ?", worker)
        return found[0] if found else None

    def renew(self, worker: str) -> None:
        """Say that a worker lives."""
        self._change("lease = ? WHERE state = 'running' AND worker = ?", time.time() + LEASE_S,
                     worker)  # fmt: skip

    def report(self, job_id: str, worker: str, step: str, progress: float) -> bool:
        """Note how far a job is; False if the job is no longer this worker's, or is canceled."""
        return self._change(
            "step = ?, progress = ? WHERE id = ? AND worker = ? AND state = 'running' "
            "AND cancel = 0",
            step, progress, job_id, worker,
        )  # fmt: skip

    def finish(self, job_id: str, worker: str, summary: Mapping[str, Any]) -> bool:
        """Publish a result; False if the job is no longer this worker's, or is canceled."""
        return self._change(
            "state = 'done', progress = 1, step = NULL, finished = ?, summary = ? "
            "WHERE id = ? AND worker = ? AND state = 'running' AND cancel = 0",
            time.time(), json.dumps(summary), job_id, worker,
        )  # fmt: skip

    def fail(self, job_id: str, worker: str, error: str) -> bool:
        """Note why a job failed; False if it is no longer this worker's, or is canceled."""
        return self._change(
            "state = 'failed', finished = ?, error = ? "
            "WHERE id = ? AND worker = ? AND state = 'running' AND cancel = 0",
            time.time(), error, job_id, worker,
        )  # fmt: skip

    def release(self, worker: str, error: str) -> None:
        """Free the job of a worker that is known to be dead; after its last attempt it failed."""
        self._change("lease = 0 WHERE state = 'running' AND worker = ?", worker)
        self.sweep(error)

    def give_back(self, worker: str) -> None:
        """Put the job of a worker that was stopped on purpose back into the queue."""
        self._change(
            "state = 'queued', attempt = attempt - 1, step = NULL, progress = 0 "
            "WHERE state = 'running' AND worker = ?",
            worker,
        )

    def has_free(self) -> bool:
        """Whether a worker would find a job."""
        return bool(
            self._select(
                "WHERE cancel = 0 AND (state = 'queued' OR (state = 'running' AND lease < ?)) "
                "LIMIT 1",
                time.time(),
            )
        )

    def ask_to_cancel(self, job_id: str) -> None:
        """Cancel a queued job at once; mark a running one for its worker to stop."""
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET state = 'canceled', finished = ? WHERE id = ? AND "
                "state = 'queued'",
                (time.time(), job_id),
            )
            db.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'", (job_id,))

    def end_canceled(self, worker: str) -> bool:
        """Note that a worker has stopped the job that it was asked to stop; False if none was."""
        return self._change(
            "state = 'canceled', finished = ? WHERE worker = ? AND state = 'running' "
            "AND cancel = 1",
            time.time(), worker,
        )  # fmt: skip

    def sweep(self, error: str = "its worker was lost again and again") -> None:
        """Settle running jobs whose worker is gone: canceled, failed, or free for another."""
        now = time.time()
        self._change(
            "state = 'canceled', finished = ? WHERE state = 'running' AND lease < ? "
            "AND cancel = 1",
            now, now,
        )  # fmt: skip
        self._change(
            "state = 'failed', finished = ?, error = ? WHERE state = 'running' AND lease < ? "
            "AND attempt >= ?",
            now, error, now, MAX_ATTEMPTS,
        )  # fmt: skip

    def ended_before(self, moment: float) -> list[Job]:
        """List the jobs that ended before a moment."""
        return self._select(
            "WHERE state IN ('done', 'failed', 'canceled') AND finished < ?", moment
        )

    def delete(self, job_id: str) -> bool:
        """Take out a job that has ended; False if it has not."""
        with self._transaction() as db:
            done = db.execute(
                "DELETE FROM jobs WHERE id = ? AND state IN ('done', 'failed', 'canceled')",
                (job_id,),
            )
        return done.rowcount == 1

    def _change(self, what: str, *values: object) -> bool:
        with self._transaction() as db:
            return db.execute(f"UPDATE jobs SET {what}", values).rowcount > 0

    def _select(self, where: str, *values: object) -> list[Job]:
        with self._transaction() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM jobs {where}", values).fetchall()
        return [_job(row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a connection for one transaction; others wait for it up to 30 s."""
        db = sqlite3.connect(self._path, timeout=30, isolation_level="IMMEDIATE")
        try:
            with db:
                yield db
        finally:
            db.close()


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(Job.__dataclass_fields__, row, strict=True))
    values["request"] = json.loads(values["request"])
    values["summary"] = None if values["summary"] is None else json.loads(values["summary"])
    values["cancel"] = bool(values["cancel"])
    return Job(**values)
