"""Write what a prediction gives: the mask, and class probabilities for those who ask."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from spixgraph.arrays import Array, Float32, LabelsZYX, MaskZYX, PixelSizeUm
from spixgraph.errors import InputError
from spixgraph.files import atomic_path
from spixgraph.io.masks import write_mask
from spixgraph.predict.card import Card

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".zarr")
PROBABILITY_SUFFIXES = (".tif", ".tiff")


def write_card_mask(
    path: Path, mask: MaskZYX, card: Card, pixel_size_um: PixelSizeUm | None
) -> None:
    """Write a mask with the names and colours of the card; errors as of `io.masks.write_mask`."""
    by_id = {c.id: c for c in card.classes}
    ids = range(max(by_id) + 1)
    write_mask(
        path,
        mask,
        pixel_size_um=pixel_size_um,
        class_names=[by_id[i].name if i in by_id else f"class_{i}" for i in ids],
        colours=[by_id[i].colour if i in by_id else "#000000" for i in ids],
    )


def write_probabilities(path: Path, labels: LabelsZYX, probabilities: Float32, card: Card) -> None:
    """Write class probabilities per pixel as a float32 BigTIFF with axes ZCYX, plane by plane.

    Parameters
    ----------
    path : Path
        `.tif` or `.tiff`.
    labels : (Z, Y, X) int32
    probabilities : (n, K) float32
        Per superpixel, columns in the order of the card's classes.

    Raises
    ------
    InputError
        If the suffix is another.
    """
    if path.suffix.lower() not in PROBABILITY_SUFFIXES:
        raise InputError(f"{path} must end in {' or '.join(PROBABILITY_SUFFIXES)}")
    n_z, n_y, n_x = labels.shape

    def planes() -> Iterator[Array]:
        for plane in labels:
            for column in probabilities.T:
                yield column[plane]

    with atomic_path(path) as part:
        tifffile.imwrite(
            part,
            planes(),
            bigtiff=True,
            shape=(n_z, probabilities.shape[1], n_y, n_x),
            dtype=np.float32,
            photometric="minisblack",
            metadata={"axes": "ZCYX", "channels": [c.name for c in card.classes]},
        )
