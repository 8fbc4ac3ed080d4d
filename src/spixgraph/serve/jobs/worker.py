"""The worker process: takes jobs from the table, one after the other.

Started by `JobKeeper` as ``python -m spixgraph.serve.jobs.worker`` with its orders as JSON on
stdin. It opens the model for its first job, ends when there was nothing to do for a while, and
never outlives the service that started it.
"""

import json
import logging
import math
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from spixgraph.errors import ResourceError, SpixError
from spixgraph.files import write_json
from spixgraph.graph.stream.memory import idle_bytes
from spixgraph.io.images import ImageInfo, ImageSource
from spixgraph.io.pyramid import level_shapes
from spixgraph.predict.contract import plan_segment
from spixgraph.predict.outputs import Results, class_areas
from spixgraph.predict.stream import OtherRunError, part_of, segment_to_file
from spixgraph.predict.whole import write_segmentation
from spixgraph.resources import PeakMemory, available_memory_bytes
from spixgraph.serve.headers import read_header
from spixgraph.serve.jobs.places import resolve_uri
from spixgraph.serve.jobs.report import CanceledError, Report
from spixgraph.serve.jobs.table import Job, JobTable
from spixgraph.serve.jobs.tiles import TILE_PX, results_in, write_view
from spixgraph.serve.segmenter import (
    Segmenter,
    open_segmenter,
    opened,
    require_pixels_of_job,
    said_of,
)

log = logging.getLogger(__name__)

_BEAT_S = 2.0
_LOOK_S = 0.2
_VIEW_BYTES = 3  # per pixel and channel shown: strips, and the file that is made of them


@dataclass(frozen=True, slots=True)
class Orders:
    """What the keeper tells a worker.

    Attributes
    ----------
    name : str
        Of the worker.
    state, bundle : str
        Folders of jobs and of the model.
    version, device, max_memory_bytes, gpu_memory_bytes
        As of `open_segmenter`.
    max_pixels : int
        Of an image.
    roots, remote_roots : list of str
        Folders and addresses below which URIs may point.
    idle_s : float
        When to end for want of work.
    """

    name: str
    state: str
    bundle: str
    version: str
    device: Any
    max_memory_bytes: int | None
    max_pixels: int
    gpu_memory_bytes: int | None
    roots: list[str]
    remote_roots: list[str]
    idle_s: float


class Worker:
    """Takes jobs until there are none for a while."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._table = JobTable(Path(orders.state) / "jobs.sqlite")
        self._segmenter: Segmenter | None = None

    def run(self) -> None:
        """Work until idle."""
        threading.Thread(target=self._beat, args=(os.getppid(),), daemon=True).start()
        last = time.monotonic()
        while time.monotonic() - last < self._orders.idle_s:
            job = self._table.take(self._orders.name)
            if job is None:
                time.sleep(_LOOK_S)
                continue
            self._work(job)
            last = time.monotonic()

    def _beat(self, parent: int) -> None:
        """Renew the lease; end at once when the service is gone."""
        renewed = -math.inf
        while os.getppid() == parent:
            if time.monotonic() - renewed >= _BEAT_S:
                self._table.renew(self._orders.name)
                renewed = time.monotonic()
            time.sleep(_LOOK_S)
        os._exit(0)

    def _work(self, job: Job) -> None:
        folder = _claim(job_folder(Path(self._orders.state), job.id), job.attempt)
        try:
            summary = self._segment(job, folder)
            if self._table.finish(job.id, self._orders.name, summary):
                return
        except CanceledError:
            if self._table.end_canceled(self._orders.name):
                folder = folder.parent
        except SpixError as error:
            self._table.fail(job.id, self._orders.name, str(error))
        except MemoryError:
            self._table.fail(job.id, self._orders.name, "the machine ran out of memory")
        except Exception:  # one bad job must not end the worker; the log has the trace
            log.exception("job %s failed", job.id)
            self._table.fail(job.id, self._orders.name, "internal error; see the log of the server")
        shutil.rmtree(folder, ignore_errors=True)

    def _segment(self, job: Job, folder: Path) -> dict[str, Any]:
        """Segment, write the layers and the view, return the summary."""
        report = Report(self._table, job.id, self._orders.name)
        report.step("open", 0.0)
        segmenter = self._opened_segmenter()
        request = job.request
        image = self._image(request)
        if isinstance(image, Path) and image.suffix.lower() == ".png":  # opening it decodes it
            with image.open("rb") as handle:
                segmenter.require_job_fits(read_header(handle), self._orders.max_pixels)
        size = request.get("pixel_size_um")
        with (
            opened(image, axes=request.get("axes"), pixel_size_um=size and tuple(size)) as source,
            said_of(image),
        ):
            require_pixels_of_job(math.prod(source.info.shape_zyxc[:3]), self._orders.max_pixels)
            results = results_in(folder, probabilities=bool(request.get("probabilities")))
            make = self._stream if segmenter.streams else self._hold
            summary = make(segmenter, source, results, report)
            write_view(folder, source, report.within("view"))
        summary |= _described(source.info, segmenter, folder.name)
        write_json(folder / "summary.json", summary)
        return summary

    def _stream(
        self, segmenter: Segmenter, source: ImageSource, results: Results, report: Report
    ) -> dict[str, Any]:
        """Segment from file to file; what an earlier attempt has left is gone on with."""
        card, limit = segmenter.bundle.card, self._max_bytes()
        plan = plan_segment(
            source, segmenter.bundle.recipe, card,
            workers=os.cpu_count() or 1, results=results, max_bytes=limit,
        )  # fmt: skip
        _require_disk(plan.disk_bytes + _VIEW_BYTES * math.prod(source.info.shape_zyxc), results)
        run = partial(
            segment_to_file, source, segmenter.model, results,
            workers=plan.workers, max_bytes=limit, resume=True,
            progress=report.pixels(math.prod(source.info.shape_zyxc[:3])), steps=report.steps(),
        )  # fmt: skip
        with PeakMemory() as memory:
            try:
                done = run()
            except OtherRunError:  # the image at this URI is another one now
                shutil.rmtree(part_of(results.mask))
                done = run()
        info = source.info
        return {
            "classes": class_areas(done.n_pixels, card, info.pixel_size_um, n_dims=info.n_dims),
            "n_superpixels": done.n_regions,
            "seconds": done.seconds,
            "memory_predicted_bytes": done.plan.peak_bytes - done.plan.idle_bytes,
            "memory_used_bytes": memory.above_baseline_bytes,
        }

    def _hold(
        self, segmenter: Segmenter, source: ImageSource, results: Results, report: Report
    ) -> dict[str, Any]:
        """Segment in memory, as models whose graph does not stream need."""
        steps = report.steps()
        made = segmenter.segment(source, shares=results.needs_shares, steps=steps)
        card, info = segmenter.bundle.card, made.info
        with steps("write"):
            n_pixels = write_segmentation(made.found, card, results, info.pixel_size_um)
        return {
            "classes": class_areas(n_pixels, card, info.pixel_size_um, n_dims=info.n_dims),
            "n_superpixels": len(made.found.logits),
            "seconds": steps.seconds,
            "memory_predicted_bytes": made.predicted_bytes,
            "memory_used_bytes": made.used_bytes,
        }

    def _max_bytes(self) -> int:
        """Memory that the process may have: what it has, and what one image may take."""
        limit = self._orders.max_memory_bytes
        free = available_memory_bytes()
        return idle_bytes() + (free if limit is None else min(free, limit))

    def _opened_segmenter(self) -> Segmenter:
        if self._segmenter is None:
            orders = self._orders
            self._segmenter = open_segmenter(
                Path(orders.bundle),
                version=orders.version,
                device=orders.device,
                max_memory_bytes=orders.max_memory_bytes,
                gpu_memory_bytes=orders.gpu_memory_bytes,
            )
        return self._segmenter

    def _image(self, request: Any) -> Path | str:
        """Find the image; a URI is looked at again, since the folder may have changed."""
        if "uri" in request:
            roots = [Path(root) for root in self._orders.roots]
            return resolve_uri(request["uri"], roots, self._orders.remote_roots)
        return Path(request["path"])


def _claim(folder: Path, attempt: int) -> Path:
    """Take over what the last attempt has made, so that its worker, should it live, writes no more.

    A worker that only seemed to be dead finds its folder gone.
    """
    own = folder / f"attempt-{attempt}"
    folder.mkdir(parents=True, exist_ok=True)
    earlier = sorted(folder.glob("attempt-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    if earlier and not own.exists():
        earlier.pop().rename(own)
    for path in earlier:
        if path != own:
            shutil.rmtree(path, ignore_errors=True)
    own.mkdir(exist_ok=True)
    return own


def _require_disk(needed: int, results: Results) -> None:
    free = shutil.disk_usage(results.mask.parent).free
    if needed > free:
        raise ResourceError(
            f"the job needs about {needed / 1e6:,.0f} MB of disk, {free / 1e6:,.0f} MB are free; "
            "remove jobs that are done, or let the operator set SPIXGRAPH_STATE to a larger disk"
        )


def job_folder(state: Path, job_id: str) -> Path:
    """Where the files of a job lie."""
    return state / "jobs" / job_id


def _described(info: ImageInfo, segmenter: Segmenter, folder: str) -> dict[str, Any]:
    """Say what the result is of."""
    z, y, x, _ = info.shape_zyxc
    return {
        "folder": folder,
        "shape_zyx": [z, y, x],
        "pixel_size_um": info.pixel_size_um,
        "model": {"name": segmenter.bundle.card.name, "bundle_sha256": segmenter.sha256},
        "tile_px": TILE_PX,
        "levels": [list(shape) for shape in level_shapes((y, x))],
    }


def main() -> None:
    """Read the orders and work."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    orders = Orders(**json.loads(sys.stdin.read()))
    try:
        Worker(orders).run()
    except ResourceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
