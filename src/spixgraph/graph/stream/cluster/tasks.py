"""What a worker does with a strip; a task knows all it needs, so any worker can do it again."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import Array, PixelSizeUm
from spixgraph.errors import InputError, ResourceError
from spixgraph.files import code_sha256
from spixgraph.graph.blocks.block_graph import BlockGraph
from spixgraph.graph.stream.attributes import params_of, plan_of
from spixgraph.graph.stream.faces import FileFaces
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.joins import (
    Contacts,
    contacts_of_strip,
    join_block,
    keep_faces,
    left_of,
)
from spixgraph.graph.stream.reader import core_of, read_pixels, strip_box
from spixgraph.graph.stream.region import Region, region_of
from spixgraph.graph.stream.spool import write_rows
from spixgraph.graph.stream.store import DTYPES, WORK, label_chunk, label_writer
from spixgraph.graph.stream.work import NODE_COLUMNS, describe
from spixgraph.io.images import band_digests, is_address, open_image
from spixgraph.superpixels.basins.block import Workspace

_PACKAGES = ("numpy", "numba", "scipy", "zarr", "numcodecs", "dask", "distributed")


@dataclass(frozen=True, slots=True)
class Job:
    """What all strips of an image have in common.

    Attributes
    ----------
    image : str
        Path or address; every worker opens it.
    axes, pixel_size_um
        As for `open_image`.
    part : str
        Folder that coordinator and workers fill.
    params : dict
        Of `params_of`: the plan and the region.
    block_px : int or None
    versions : dict
        Of the coordinator; workers with other ones might write other bytes.
    """

    image: str
    axes: str | None
    pixel_size_um: PixelSizeUm | None
    part: str
    params: dict[str, Any]
    block_px: int | None
    versions: dict[str, str]

    @classmethod
    def of(cls, plan: ImagePlan, region: Region, **options: Any) -> "Job":
        """Make the job of a plan and a region."""
        return cls(params=params_of(plan, region), versions=versions(), **options)

    def planned(self) -> tuple[ImagePlan, Region]:
        """Make plan and region again."""
        plan = plan_of(self.params)
        z, y, x = (slice(*span) for span in self.params["box_zyx"])
        return plan, region_of(plan.blocks.basins.grid, (z, y, x))


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """A strip without ids: stays on its worker. `bands` are those of `band_digests`."""

    blocks: list[BlockGraph]
    bands: Array


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """What the coordinator needs to number a strip: superpixels of each block, digests."""

    n_regions: list[int]
    bands: Array


@cache
def versions() -> dict[str, str]:
    """Return the versions of all that decides the bytes of a graph."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    found["python"] = ".".join(platform.python_version_tuple()[:2])
    found["spixgraph code"] = code_sha256("graph", "superpixels", "io")[:12]
    return found


def check(job: Job) -> str | None:
    """Say what keeps this worker from working on a job; None if nothing does."""
    other = {k: v for k, v in versions().items() if job.versions.get(k) != v}
    if other:
        name, here = next(iter(other.items()))
        return f"it has {name} {here}, the coordinator {job.versions.get(name)}"
    if not is_address(job.image) and not Path(job.image).exists():
        return f"{job.image} is not there"
    if not (Path(job.part) / WORK / "journal").exists():
        return f"{job.part} is not there"
    if not os.access(job.part, os.W_OK):
        return f"{job.part} cannot be written"
    return None


def describe_strip(job: Job, strip: int) -> Described:
    """Read and describe a strip, and keep the faces that later strips will touch."""
    if (trouble := check(job)) is not None:
        raise ResourceError(f"the worker on {platform.node()} cannot work: {trouble}")
    plan, region = job.planned()
    pixels, box = _read(job, plan, region, strip)
    faces, work, blocks = FileFaces(Path(job.part) / WORK / "faces", region), Workspace(), []
    for k in range(len(region.x)):
        block = describe(pixels, box, plan, region.number(strip, k), work)
        keep_faces(faces, region, strip, k, block)
        blocks.append(block)
    return Described(blocks, band_digests(pixels[core_of(region, box, strip)], plan.info.dtype))


def _read(job: Job, plan: ImagePlan, region: Region, strip: int) -> tuple[Array, Any]:
    """Read a strip with its halo."""
    box = strip_box(plan, region, strip)
    shape = (*(s.stop - s.start for s in box), plan.n_channels)
    pixels = np.empty(shape, plan.info.dtype)
    image = job.image if is_address(job.image) else Path(job.image)
    with open_image(image, axes=job.axes, pixel_size_um=job.pixel_size_um) as source:
        if source.info != plan.info:
            raise InputError(
                f"{job.image} is another image on {platform.node()}: {source.info}, for the "
                f"coordinator it is {plan.info}; give a path that is the same file everywhere"
            )
        read_pixels(source, box, pixels, job.block_px)
    return pixels, box


def summarise(strip: Described) -> Summary:
    """Return what the coordinator needs."""
    return Summary([len(block.n_pixels) for block in strip.blocks], strip.bands)


def join_strip(
    job: Job,
    strip: int,
    described: Described,
    first: Sequence[int],
    first_of: dict[int, Sequence[int]],
) -> Contacts:
    """Write labels and node columns of a strip; find its contacts with what is before it.

    `first` holds the first id of each block and of the next strip, `first_of` the same of the
    strips above and behind.
    """
    _, region = job.planned()
    folder = Path(job.part)
    labels, faces = label_writer(folder, region), FileFaces(folder / WORK / "faces", region)
    left, found = None, []
    for k, (block, begin) in enumerate(zip(described.blocks, first[:-1], strict=True)):
        labels.write(label_chunk(region, strip, k), block.labels, begin)
        found.append(join_block(faces, region, strip, k, block, begin, left, first_of.__getitem__))
        left = left_of(region, k, block, begin)
    for name in NODE_COLUMNS:
        rows = np.concatenate([getattr(block, name) for block in described.blocks])
        write_rows(folder / WORK / name, rows.astype(DTYPES[name], copy=False), first[0])
    return contacts_of_strip(found)
