"""The worker process: takes jobs from the table, one after the other.

Started by `JobKeeper` as ``python -m spixgraph.serve.jobs.worker`` with its orders as JSON on
stdin. It opens the model for its first job, ends when there was nothing to do for a while, and
never outlives the service that started it.
"""

import json
import logging
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spixgraph.errors import ResourceError, SpixError
from spixgraph.files import write_json
from spixgraph.predict.outputs import write_card_mask
from spixgraph.predict.steps import Steps
from spixgraph.serve.answers import class_areas
from spixgraph.serve.headers import read_header
from spixgraph.serve.jobs.places import resolve_uri
from spixgraph.serve.jobs.table import Job, JobTable
from spixgraph.serve.jobs.tiles import TILE_PX, Levels, write_tiles
from spixgraph.serve.segmenter import Segmented, Segmenter, open_segmenter, opened, said_of

log = logging.getLogger(__name__)

_SHARE = {"read": 0.0, "superpixels": 0.1, "graph": 0.4, "network": 0.55, "mask": 0.7}
"""Where the progress stands when a step begins."""
_TILES_FROM, _TILES_TO = 0.75, 0.98
_BEAT_S = 2.0
_LOOK_S = 0.2


class CanceledError(Exception):
    """The job is no longer this worker's."""


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
    roots : list of str
        Folders below which URIs may point.
    idle_s : float
        When to end for want of work.
    """

    name: str
    state: str
    bundle: str
    version: str
    device: Any
    max_memory_bytes: int | None
    gpu_memory_bytes: int | None
    roots: list[str]
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
        while os.getppid() == parent:
            self._table.renew(self._orders.name)
            time.sleep(_BEAT_S)
        os._exit(0)

    def _work(self, job: Job) -> None:
        folder = job_folder(Path(self._orders.state), job.id) / f"attempt-{job.attempt}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            summary = self._segment(job, folder)
            if self._table.finish(job.id, self._orders.name, summary):
                return
        except CanceledError:
            self._table.end_canceled(self._orders.name)
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
        """Segment, write mask and tiles, return the summary."""
        self._report(job, "open", 0.0)
        segmenter = self._opened_segmenter()
        request = job.request
        path = self._path(request)
        if path.suffix.lower() == ".png":  # opening it decodes it
            with path.open("rb") as handle:
                segmenter.require_header_fits(read_header(handle))
        size = request.get("pixel_size_um")
        with (
            opened(path, axes=request.get("axes"), pixel_size_um=size and tuple(size)) as source,
            said_of(path),
        ):
            steps = Steps(lambda name: self._report(job, name, _SHARE.get(name, 0.0)))
            segmented = segmenter.segment(source, steps=steps)
            self._report(job, "write", _TILES_FROM)
            card = segmenter.bundle.card
            write_card_mask(
                folder / "mask.tif", segmented.found.mask, card, source.info.pixel_size_um
            )
            write_tiles(
                folder / "tiles",
                source,
                segmented.found,
                on_slice=lambda share: self._report(
                    job, "tiles", _TILES_FROM + share * (_TILES_TO - _TILES_FROM)
                ),
            )
        summary = _summary(segmented, segmenter, folder.name)
        write_json(folder / "summary.json", summary)
        return summary

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

    def _path(self, request: Any) -> Path:
        """Find the image; a URI is looked at again, since the folder may have changed."""
        if "uri" in request:
            return resolve_uri(request["uri"], [Path(root) for root in self._orders.roots])
        return Path(request["path"])

    def _report(self, job: Job, step: str, progress: float) -> None:
        if not self._table.report(job.id, self._orders.name, step, progress):
            raise CanceledError


def job_folder(state: Path, job_id: str) -> Path:
    """Where the files of a job lie."""
    return state / "jobs" / job_id


def _summary(segmented: Segmented, segmenter: Segmenter, folder: str) -> dict[str, Any]:
    mask, size = segmented.found.mask, segmented.info.pixel_size_um
    levels = Levels((mask.shape[0], mask.shape[1], mask.shape[2]))
    return {
        "folder": folder,
        "shape_zyx": list(mask.shape),
        "pixel_size_um": size,
        "classes": class_areas(mask, segmenter.bundle.card, size),
        "n_superpixels": len(segmented.found.logits),
        "seconds": segmented.found.seconds,
        "memory_predicted_bytes": segmented.predicted_bytes,
        "memory_used_bytes": segmented.used_bytes,
        "model": {"name": segmenter.bundle.card.name, "bundle_sha256": segmenter.sha256},
        "tile_px": TILE_PX,
        "levels": [list(levels.size_yx(level)) for level in range(levels.n)],
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
