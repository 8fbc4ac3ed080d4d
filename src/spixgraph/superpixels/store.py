"""Label images on disk: one chunked, compressed Zarr v3 array."""

from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from spixgraph.arrays import LabelsZYX, require_labels
from spixgraph.errors import StoredDataError
from spixgraph.files import atomic_path

_CHUNK_ZYX = (16, 512, 512)


def save_labels(labels: LabelsZYX, path: Path) -> None:
    """Write (Z, Y, X) int32 labels, atomically; same labels, same bytes."""
    require_labels(labels)
    chunks = tuple(min(c, s) for c, s in zip(_CHUNK_ZYX, labels.shape, strict=True))
    with atomic_path(path) as part:
        array = zarr.create_array(
            str(part),
            shape=labels.shape,
            chunks=chunks,
            dtype=labels.dtype,
            compressors=ZstdCodec(level=3),
            dimension_names=("z", "y", "x"),
            zarr_format=3,
        )
        array[...] = labels


def load_labels(path: Path) -> LabelsZYX:
    """Read labels again; raises `StoredDataError` where there are none."""
    try:
        labels = np.asarray(zarr.open_array(str(path), mode="r", zarr_format=3)[...])
        require_labels(labels)
    except (OSError, KeyError, ValueError) as error:
        raise StoredDataError(f"{path} holds no label image: {error}; make it again") from error
    return labels
