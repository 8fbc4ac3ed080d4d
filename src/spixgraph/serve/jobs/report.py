"""How far a job is: the steps of a segmentation become one bar."""

import time
from collections import Counter
from collections.abc import Callable

from spixgraph.predict.steps import Steps
from spixgraph.serve.jobs.table import JobTable

_STARTS = {"read": 0.0, "superpixels": 0.0, "graph": 0.0, "network": 0.45, "context": 0.5,
           "mask": 0.55, "write": 0.8, "view": 0.9, "end": 0.99}  # fmt: skip
"""Where the progress stands when a step begins."""
_REPORT_S = 0.3


class CanceledError(Exception):
    """The job is no longer this worker's."""


class Report:
    """Tells the table how far a job is; raises `CanceledError` once it is no longer ours.

    Parameters
    ----------
    table : JobTable
    job_id, worker : str
    """

    def __init__(self, table: JobTable, job_id: str, worker: str) -> None:
        self._table, self._job_id, self._worker = table, job_id, worker
        self._step, self._told = "", 0.0

    def step(self, name: str, progress: float) -> None:
        """Say where the job stands, 0..1; the same step is told again after a while only."""
        now = time.monotonic()
        if name == self._step and now - self._told < _REPORT_S:
            return
        self._step, self._told = name, now
        if not self._table.report(self._job_id, self._worker, name, progress):
            raise CanceledError

    def steps(self) -> Steps:
        """Say when a step begins."""
        return Steps(lambda name: self.step(name, _STARTS.get(name, 0.0)))

    def within(self, step: str) -> Callable[[float], None]:
        """Get the share 0..1 of a step that is done."""
        names = list(_STARTS)
        start, end = _STARTS[step], _STARTS[names[names.index(step) + 1]]
        return lambda share: self.step(step, start + share * (end - start))

    def pixels(self, n_pixels: int) -> Callable[[str, int], None]:
        """Get the step and how many more of the pixels are done."""
        done: Counter[str] = Counter()

        def told(step: str, n: int) -> None:
            done[step] += n
            self.within(step)(min(1.0, done[step] / n_pixels))

        return told
