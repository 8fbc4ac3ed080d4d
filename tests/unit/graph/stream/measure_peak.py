"""Write the peak memory of one run above that of the idle process, compiled code loaded.

``measure_peak.py Z Y X C DTYPE KIND NODES WORKERS``, then what the source says that it keeps.
KIND is plane, stack, volume, or tiff: a plane in the tiles of a file, which the source keeps.
"""

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from spixgraph.graph.stream import stream_graph
from spixgraph.graph.stream.heap import give_back
from spixgraph.io.images import open_image
from spixgraph.io.source import ImageInfo, ImageSource, resolve_box
from spixgraph.resources import PeakMemory
from tests.unit.graph.stream.images import pixels_of


class TiledSource(ImageSource):
    """A large image, made of one small one, that takes no memory."""

    def __init__(self, shape, dtype, size):
        self.info = ImageInfo(shape, np.dtype(dtype), size)
        small = [min(n, m) for n, m in zip(shape[:3], (32, 256, 256), strict=True)]
        self._pixels = pixels_of((*small, shape[3]), dtype)

    def read(self, z, y, x):
        box = resolve_box(z, y, x, self.info.shape_zyxc)
        places = [np.arange(*b) % n for b, n in zip(box, self._pixels.shape, strict=False)]
        return self._pixels[np.ix_(*places)]


def size_of(is_volume):
    """Pixel size that makes a stack or a volume."""
    return (1.0, 1.0, 1.0) if is_volume else None


@contextmanager
def source_of(shape, dtype, kind, folder):
    """Open the image."""
    tiled = TiledSource(shape, dtype, size_of(kind == "volume"))
    if kind != "tiff":
        yield tiled
        return
    path = Path(folder) / "image.tif"
    tifffile.imwrite(path, tiled.read(*(slice(None),) * 3)[0, ..., 0], tile=(512, 512))
    with open_image(path) as source:
        yield source


def main(shape, dtype, kind, nodes, workers):
    size = size_of(kind == "volume")
    n_z = min(shape[0], 40)
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"nodes_per_megapixel": nodes, "workers": workers}
        warm = TiledSource((n_z, 100, 100, shape[3]), dtype, size)
        several = (20 if kind == "volume" else 1, 64, 64)  # so that seams are compiled, too
        stream_graph(warm, Path(folder) / "warm.zarr", block_zyx=several, **options)
        with source_of(shape, dtype, kind, folder) as source:
            give_back()
            with PeakMemory() as memory:
                stream_graph(source, Path(folder) / "g.zarr", **options)
            sys.stdout.write(f"{memory.above_baseline_bytes} {source.held_bytes}\n")


if __name__ == "__main__":
    main(
        tuple(int(n) for n in sys.argv[1:5]),
        sys.argv[5],
        sys.argv[6],
        float(sys.argv[7]),
        int(sys.argv[8]),
    )
