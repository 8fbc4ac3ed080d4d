"""Sees to it that a worker runs while there are jobs, and that none runs longer than it may."""

import json
import logging
import shutil
import signal
import subprocess
import threading
import time
import uuid
from dataclasses import asdict
from pathlib import Path

from spixgraph.serve.child import child_command, child_environment
from spixgraph.serve.jobs.table import JobTable
from spixgraph.serve.jobs.worker import Orders, job_folder

log = logging.getLogger(__name__)

_LOOK_S = 0.25
_CLEAN_S = 60.0
_STOP_S = 5.0


class JobKeeper:
    """One worker process at a time, started when there is work.

    Parameters
    ----------
    table : JobTable
    orders : Orders
        For each worker; `name` is made up anew for each.
    keep_hours : float
        How long jobs that have ended are kept.
    """

    def __init__(self, table: JobTable, orders: Orders, *, keep_hours: float) -> None:
        self._table, self._orders, self._keep_s = table, orders, 3600 * keep_hours
        self._state = Path(orders.state)
        self._process: subprocess.Popen[bytes] | None = None
        self._worker = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="job-keeper", daemon=True)

    def start(self) -> None:
        """Begin to look after the jobs."""
        self._thread.start()

    def stop(self) -> None:
        """End the worker; the job that it holds is free for the next service."""
        self._stop.set()
        self._thread.join()
        self._end_worker()
        self._table.end_canceled(self._worker)
        self._table.give_back(self._worker)

    def _keep(self) -> None:
        cleaned = 0.0
        while not self._stop.wait(_LOOK_S):
            try:
                self._look()
                if time.monotonic() - cleaned > _CLEAN_S:
                    self._clean()
                    cleaned = time.monotonic()
            except Exception:  # the thread must outlive a locked database; it looks again
                log.exception("looking after the jobs failed; it is tried again")

    def _look(self) -> None:
        """Bury a dead worker, stop one whose job is canceled, start one if there is work."""
        self._table.sweep()
        process = self._process
        if process is not None and (status := process.poll()) is not None:
            self._process = None
            self._table.end_canceled(self._worker)
            if status == -signal.SIGTERM:  # somebody wanted it to end
                self._table.give_back(self._worker)
            elif status != 0:
                log.warning("the worker ended with status %d", status)
            self._table.release(
                self._worker,
                f"the worker was killed again and again (status {status}), most likely for want of "
                "memory; use a smaller image or a machine with more memory",
            )
        if process is not None and (job := self._table.held_by(self._worker)) and job.cancel:
            self._end_worker()
            self._table.end_canceled(self._worker)
            self._table.give_back(self._worker)  # it may have taken the next one meanwhile
            shutil.rmtree(job_folder(self._state, job.id), ignore_errors=True)
        if self._process is None and self._table.has_free():
            self._start_worker()

    def _start_worker(self) -> None:
        self._worker = uuid.uuid4().hex
        orders = asdict(self._orders) | {"name": self._worker}
        self._process = subprocess.Popen(
            child_command("spixgraph.serve.jobs.worker"),
            env=child_environment(),
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if self._process.stdin is not None:
            self._process.stdin.write(json.dumps(orders).encode())
            self._process.stdin.close()

    def _end_worker(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _clean(self) -> None:
        """Forget jobs that ended long ago, and folders of no job."""
        for job in self._table.ended_before(time.time() - self._keep_s):
            self._table.delete(job.id)
        known = {job.id for job in self._table.all()}
        jobs = self._state / "jobs"
        for folder in jobs.iterdir() if jobs.is_dir() else ():
            young = time.time() - folder.stat().st_mtime < _CLEAN_S
            if folder.name not in known and not young:
                shutil.rmtree(folder, ignore_errors=True)
