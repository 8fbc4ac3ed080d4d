"""What a running service holds: the model, the jobs, the figures, and who may ask."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from spixgraph.serve.admission import Admission
from spixgraph.serve.jobs.keeper import JobKeeper
from spixgraph.serve.jobs.table import JobTable
from spixgraph.serve.jobs.worker import Orders
from spixgraph.serve.keys import ApiKeys, load_keys
from spixgraph.serve.metrics import Metrics
from spixgraph.serve.segmenter import Segmenter, open_segmenter
from spixgraph.serve.settings import ServeSettings

WORKER_IDLE_S = 120.0


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of a started service; made by `start_running`.

    Attributes
    ----------
    settings : ServeSettings
    segmenter : Segmenter
    keys : ApiKeys, optional
    metrics : Metrics
    admission : Admission
    state : Path
        Folder of the jobs.
    table : JobTable
    keeper : JobKeeper
    """

    settings: ServeSettings
    segmenter: Segmenter
    keys: ApiKeys | None
    metrics: Metrics
    admission: Admission
    state: Path
    table: JobTable
    keeper: JobKeeper
    _temporary: bool = field(default=False, repr=False)

    def stop(self) -> None:
        """End the worker; without a configured folder the jobs are forgotten."""
        self.keeper.stop()
        if self._temporary:
            shutil.rmtree(self.state, ignore_errors=True)


def start_running(
    settings: ServeSettings, bundle: Path, *, version: str, metrics: Metrics
) -> Running:
    """Open the model, try it out, and begin to look after the jobs.

    Raises
    ------
    InputError, StoredDataError, ResourceError
        If the bundle, the keys, the folder of the jobs or the device cannot be used.
    """
    keys = None if settings.keys is None else load_keys(settings.keys)
    segmenter = open_segmenter(
        bundle,
        version=version,
        device=settings.device,
        max_memory_bytes=settings.max_memory_bytes,
        gpu_memory_bytes=settings.gpu_memory_bytes,
    )
    state = settings.state or Path(tempfile.mkdtemp(prefix="spixgraph-jobs-"))
    table = JobTable(state / "jobs.sqlite")
    orders = Orders(
        name="",
        state=str(state.resolve()),
        bundle=str(bundle.resolve()),
        version=version,
        device=settings.device,
        max_memory_bytes=settings.max_memory_bytes,
        max_pixels=settings.max_job_pixels,
        gpu_memory_bytes=settings.gpu_memory_bytes,
        roots=[str(root) for root in settings.roots],
        remote_roots=list(settings.remote_roots),
        idle_s=WORKER_IDLE_S,
    )
    keeper = JobKeeper(table, orders, keep_hours=settings.keep_hours)
    keeper.start()
    admission = Admission(settings.queue)
    metrics.watch_queue(lambda: admission.inside, lambda: admission.running)
    metrics.say_model(segmenter.describe())
    return Running(
        settings, segmenter, keys, metrics, admission, state, table, keeper, settings.state is None
    )
