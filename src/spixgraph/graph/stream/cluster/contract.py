"""How much memory a worker needs, said before anything runs."""

from dataclasses import dataclass

from spixgraph.errors import ResourceError
from spixgraph.graph.stream.memory import (
    described_bytes,
    idle_bytes,
    predicted_bytes,
    shape_plan,
    thread_bytes,
)
from spixgraph.graph.stream.reader import strip_bytes
from spixgraph.graph.stream.region import Roi, region_of
from spixgraph.io.source import ImageSource

_IDLE_BYTES = 230_000_000
"""A Dask worker with compiled code, measured."""
_STRIPS = 2.5
"""Described strips of a thread that wait for their ids; measured, 8,192 to 40,960 px wide."""


@dataclass(frozen=True, slots=True)
class ClusterContract:
    """Peak memory of the processes of a run on a cluster, in bytes.

    Attributes
    ----------
    coordinator : int
        The whole process.
    worker_idle, thread : int
        A worker takes the first, and the second for each of its threads.
    """

    coordinator: int
    worker_idle: int
    thread: int

    def worker(self, threads: int) -> int:
        """Bytes of a worker."""
        return self.worker_idle + threads * self.thread


def cluster_contract(
    source: ImageSource, *, nodes_per_megapixel: float, workers: int, roi: Roi | None = None
) -> ClusterContract:
    """Predict the memory of the pass of `cluster.driver`.

    Parameters
    ----------
    source : ImageSource
    nodes_per_megapixel : float
    workers : int
        Threads of the coordinator.
    roi : (z, y, x) slices, optional
    """
    phases = predicted_bytes(
        source.info, nodes_per_megapixel=nodes_per_megapixel, workers=workers, roi=roi
    )
    plan = shape_plan(source.info, nodes_per_megapixel)
    region = region_of(plan.blocks.basins.grid, roi)
    strip = strip_bytes(plan, region) + source.held_bytes
    described = _STRIPS * len(region.x) * described_bytes(plan)
    return ClusterContract(
        idle_bytes() + max(phases.planning, phases.finishing),
        _IDLE_BYTES,
        int(strip + thread_bytes(plan, region) + described),
    )


def require_memory(contract: ClusterContract, threads: int, max_bytes: int | None) -> None:
    """Raise `ResourceError` if a process would take more than `max_bytes`.

    `threads` are those of the worker that has most.
    """
    for who, need in (
        (f"a worker of {threads} thread(s)", contract.worker(threads)),
        ("the coordinator", contract.coordinator),
    ):
        if max_bytes is not None and need > max_bytes:
            raise ResourceError(
                f"{who} needs {need / 1e6:.0f} MB, --max-memory allows {max_bytes / 1e6:.0f} MB "
                f"for each process; allow {need / 1e6:.0f} MB, start workers with fewer threads, "
                "or take a narrower region of interest (--roi)"
            )
