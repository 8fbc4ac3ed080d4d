"""Data sets of one training image of any size: a real image with its mask, mirrored and tiled."""

import math
from pathlib import Path

import numpy as np
import tifffile

from benchmarks.engine.mosaic import mosaic, write_mosaic
from spixgraph.arrays import Array
from spixgraph.io.dataset import read_dataset
from spixgraph.io.images import open_image
from spixgraph.io.masks import read_mask
from spixgraph.io.phantoms import write_phantom_dataset

_STEP_PX = 256
"""Edges are multiples of it, so that a U-Net can take an image whole."""
_SMALL_PX, _MOVE_PX = 256, 100
"""Validation and test image: there because they must be, small so that they cost nothing."""


def edge_of(megapixels: float) -> int:
    """Side of a square of about so many megapixels."""
    return max(1, round(math.sqrt(megapixels * 1e6) / _STEP_PX)) * _STEP_PX


def base_pair(data: Path | None, name: str, work: Path) -> tuple[str, Array, Array]:
    """Return the name, the (Y, X) pixels and the (Y, X) mask of the first training image.

    Without `data`, of a made-up set.
    """
    folder = data / name if data else work / "phantom"
    if data is None and not folder.is_dir():
        write_phantom_dataset(folder, kind="colonies", n_images=3, shape_zyx=(1, 512, 512), seed=0)
    item = next(i for i in read_dataset(folder).items if i.split == "train")
    with open_image(item.image) as source:
        pixels = source.read(*(slice(None),) * 3)[0, ..., 0]
    label = f"{item.image.stem} of {name}" if data else "a phantom"
    return label, np.ascontiguousarray(pixels), read_mask(item.mask)[0]


def write_set(pixels: Array, mask: Array, edge: int, folder: Path) -> None:
    """Write a data set with a training image of this edge; one that is there stays."""
    if (folder / "manifest.csv").is_file():
        return
    rows = ["id,image,mask,group,split"]
    for number, split in enumerate(("train", "val", "test")):
        size = edge if split == "train" else _SMALL_PX
        for kind, plane in (("images", pixels), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            # moved by some pixels: two images of one content in two splits are refused
            moved = np.roll(plane, -_MOVE_PX * number, axis=1)
            path = folder / kind / f"{split}.tif"
            if split == "train":
                write_mosaic(moved, size, path)
            else:
                tifffile.imwrite(path, mosaic(moved, size))
        rows.append(f"{split},images/{split}.tif,masks/{split}.tif,{split},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
