"""OME-Zarr 0.4 and 0.5, and plain Zarr arrays, read by rows of chunks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from spixgraph.arrays import Array, PixelSizeUm
from spixgraph.errors import InputError, StoredDataError
from spixgraph.io._axes import find_layout
from spixgraph.io._chunks import ChunkReader
from spixgraph.io._faults import stored_data_errors
from spixgraph.io._pixel_size import ome_zarr_pixel_size
from spixgraph.io.sample import slice_step
from spixgraph.io.source import ImageInfo, ImageSource, as_pixels, pixel_dtype, resolve_box

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def is_zarr(path: Path) -> bool:
    """Whether `path` is a folder with a Zarr group or array."""
    return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)


class ZarrSource(ImageSource):
    """Level 0 of an OME-Zarr image, or a Zarr array; `path` is a folder or an address."""

    def __init__(
        self, path: Path | str, axes: str | None, pixel_size_um: PixelSizeUm | None
    ) -> None:
        self._path = path
        if isinstance(path, str):
            _require_file_system(path)
        with stored_data_errors(path):
            array, meta_axes, scale = _level_0(path)
        names = "".join(str(a.get("name", "?"))[:1].upper() for a in meta_axes)
        self._layout = find_layout(
            names or ("YX" if array.ndim == 2 else "Q" * array.ndim),
            array.shape,
            override=axes,
            name=str(path),
        )
        shape = self._layout.shape_zyxc
        size = pixel_size_um or ome_zarr_pixel_size(meta_axes, scale, n_z=shape[0])
        alone = shape[0] == 1 or (size is not None and slice_step(shape[0], size) is None)
        self._reader = ChunkReader(array, self._layout, hang_together=not alone)
        self.held_bytes = self._reader.held_bytes
        self.info = ImageInfo(shape, pixel_dtype(np.dtype(array.dtype), str(path)), size)

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """See `ImageSource.read`."""
        box = resolve_box(z, y, x, self.info.shape_zyxc)
        with stored_data_errors(self._path):
            block = self._reader.read(box)
        return as_pixels(block, self.info.dtype, str(self._path))


def _require_file_system(address: str) -> None:
    """Refuse an address whose protocol nobody here speaks."""
    protocol = address.partition("://")[0]
    try:
        import fsspec

        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"{address} cannot be opened ({error}); pip install 'spixgraph[remote]' reads http, "
            "https and s3 addresses"
        ) from error


def _level_0(path: Path | str) -> tuple[zarr.Array[Any], list[Mapping[str, Any]], list[float]]:
    """Open the finest level; return it with the axes and the scale that OME metadata give."""
    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return node, [], []
    attributes: Mapping[str, Any] = node.attrs.asdict()
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales") or []
    if not scales:
        raise StoredDataError(_no_multiscales(path, node))
    if len(scales) > 1:
        raise InputError(f"{path} holds {len(scales)} multiscales images; save one per folder")
    first = scales[0]
    level = first["datasets"][0]
    array = node[level["path"]]
    if not isinstance(array, zarr.Array):
        raise StoredDataError(f"{path}: {level['path']} is not an array; save it again")
    scale = np.ones(array.ndim)
    for transform in (*level.get("coordinateTransformations", ()),
                      *first.get("coordinateTransformations", ())):  # fmt: skip
        scale = scale * np.asarray(transform.get("scale", 1.0))
    return array, first.get("axes") or [], scale.tolist()


def _no_multiscales(path: Path | str, node: zarr.Group) -> str:
    """Say what the group holds instead of an image."""
    group = node.get("labels")
    names = sorted(group.keys()) if isinstance(group, zarr.Group) else []
    hint = f"name one of {[f'{path}/labels/{k}' for k in names]}" if names else "save as OME-Zarr"
    inside = sorted(node.keys())[:5]
    return f"{path} is a Zarr group without OME multiscales metadata, it holds {inside}; {hint}"
