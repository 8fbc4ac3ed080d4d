"""Hand out the strips of a pass, number what comes back in order, and keep the journal."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import uuid4

from spixgraph.arrays import PixelSizeUm
from spixgraph.errors import ResourceError
from spixgraph.graph.stream.cluster import tasks
from spixgraph.graph.stream.cluster.connection import require_able
from spixgraph.graph.stream.cluster.interrupts import interrupts_noted
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.joins import finish_strip
from spixgraph.graph.stream.reader import digest_place
from spixgraph.graph.stream.region import Region
from spixgraph.graph.stream.store import FolderStore
from spixgraph.graph.stream.work import n_pixels
from spixgraph.io.images import is_address
from spixgraph.io.source import ImageSource

log = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
_INTERRUPT_SECONDS = 0.5
"""Ctrl-C waits no longer than that."""


@dataclass(frozen=True, slots=True)
class ClusterPass:
    """Does what `work.run_pass` does, on the workers of a Dask cluster.

    A strip is one task; its pixels and described blocks stay on the worker that read them. When a
    worker dies, the scheduler gives its strips to others. Whatever is written twice is written
    with the same bytes.

    Attributes
    ----------
    client : distributed.Client
        See `connection.connected`.
    image : Path or str
        What every worker opens; a path on storage that all machines see, or an address.
    axes, pixel_size_um
        As for `open_image`.
    """

    client: Any
    image: Path | str
    axes: str | None = None
    pixel_size_um: PixelSizeUm | None = None

    def __call__(
        self,
        source: ImageSource,
        plan: ImagePlan,
        region: Region,
        store: FolderStore,
        workers: int,
        progress: Callable[[int], None],
        block_px: int | None = None,
    ) -> None:
        """Work through the strips of a region that a store lacks.

        `source` and `workers` are of the coordinator, which reads no strip.

        Raises
        ------
        ResourceError
            If a worker sees neither image nor output, or has other versions; if the scheduler
            goes away, or a strip takes several workers down.
        """
        image = str(self.image if is_address(self.image) else Path(self.image).resolve())
        job = tasks.Job.of(
            plan, region, image=image, axes=self.axes, pixel_size_um=self.pixel_size_um,
            part=str(store.folder.resolve()), block_px=block_px,
        )  # fmt: skip
        require_able(self.client, job)
        with interrupts_noted() as raise_noted:
            _Strips(self.client, job, region, store, progress, raise_noted).run()


class _Strips:
    """The strips of one pass that are under way."""

    def __init__(
        self,
        client: Any,
        job: tasks.Job,
        region: Region,
        store: FolderStore,
        progress: Callable[[int], None],
        raise_noted: Callable[[], None],
    ) -> None:
        self._client, self._job, self._region = client, job, region
        self._store, self._progress, self._raise_noted = store, progress, raise_noted
        self._run = uuid4().hex[:8]
        self._described: deque[tuple[Any, Any]] = deque()
        self._joined: deque[tuple[list[int], Any]] = deque()
        self._first = {s: list(record.first) for s, record in enumerate(store.records)}

    def run(self) -> None:
        """Work through the strips; on an error nothing stays under way."""
        try:
            self._run_all()
        except BaseException:  # Ctrl-C too
            futures = [f for pair in self._described for f in pair] + [f for _, f in self._joined]
            self._client.cancel(futures, force=True)
            raise

    def _run_all(self) -> None:
        """Keep twice as many strips under way as there are threads; finish them in order."""
        begin, end = len(self._store.records), self._region.n_strips
        self._progress(sum(n_pixels(self._region, strip) for strip in range(begin)))
        asked = begin
        for strip in range(begin, end):
            ahead = 2 * max(1, sum(self._client.nthreads().values()))
            while asked < min(end, strip + ahead):
                self._describe(asked)
                asked += 1
            self._join(strip)
            while self._joined and (len(self._joined) > ahead // 2 or self._joined[0][1].done()):
                self._finish()
        while self._joined:
            self._finish()

    def _describe(self, strip: int) -> None:
        described = self._submit("describe", strip, tasks.describe_strip, self._job, strip)
        summary = self._submit("summary", strip, tasks.summarise, described, priority=1)
        self._described.append((described, summary))

    def _join(self, strip: int) -> None:
        """Give a strip its ids, and let its worker go on with it."""
        described, future = self._described.popleft()
        summary: tasks.Summary = self._result(future)
        self._store.digests.put(*digest_place(self._region, strip), summary.bands)
        before = self._first[strip - 1][-1] if strip else 0
        self._first[strip] = list(accumulate(summary.n_regions, initial=before))
        others = (self._region.above(strip), self._region.behind(strip))
        first_of = {s: self._first[s] for s in others if s is not None}
        contacts = self._submit(
            "join", strip, tasks.join_strip, self._job, strip, described, self._first[strip],
            first_of, priority=2,
        )  # fmt: skip
        self._joined.append((self._first[strip], contacts))

    def _finish(self) -> None:
        first, future = self._joined.popleft()
        strip = len(self._store.records)
        finish_strip(self._store, self._region, first, self._result(future))
        self._first.pop(strip - len(self._region.y) - 1, None)
        self._progress(n_pixels(self._region, strip))

    def _submit(self, what: str, strip: int, function: Any, *args: Any, priority: int = 0) -> Any:
        key = f"{what}-{self._run}-{strip}"
        return self._client.submit(function, *args, key=key, priority=priority)

    def _result(self, future: Any) -> Any:
        """Wait for a task; say so when nobody is left to do it."""
        from distributed import CancelledError, KilledWorker

        look, failed = time.monotonic() + _LOOK_SECONDS, False
        while True:
            self._raise_noted()
            try:
                return future.result(timeout=None if failed else _INTERRUPT_SECONDS)
            except TimeoutError:
                if failed:
                    raise  # of the task itself
                failed = future.status == "error"  # maybe since the timeout: ask for its error
                if time.monotonic() > look:
                    self._say_if_nobody_works()
                    look = time.monotonic() + _LOOK_SECONDS
            except KilledWorker as error:
                raise ResourceError(
                    f"{error.task} took {error.allowed_failures + 1} workers down, one after the "
                    "other, most likely for want of memory; give workers more memory or fewer "
                    "threads, then go on with --resume"
                ) from error
            except CancelledError as error:
                raise ResourceError(
                    "the Dask scheduler went away; start it again and go on with --resume"
                ) from error

    def _say_if_nobody_works(self) -> None:
        if not self._client.nthreads():
            log.warning("no Dask worker is connected any more; waiting for one")
