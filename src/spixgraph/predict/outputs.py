"""Write what a prediction gives: the mask, and class probabilities for those who ask."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import tifffile

from spixgraph.arrays import Array, Float32, LabelsZYX, MaskZYX, PixelSizeUm, ShapeZYX
from spixgraph.files import atomic_path
from spixgraph.io.masks import write_mask
from spixgraph.io.pyramid import PyramidWriter, mask_writer, probability_writer, require_suffix
from spixgraph.predict.card import Card
from spixgraph.predict.painting import Band, Painted


def write_card_mask(
    path: Path, mask: MaskZYX, card: Card, pixel_size_um: PixelSizeUm | None
) -> None:
    """Write a mask with the names and colours of the card; errors as of `io.masks.write_mask`."""
    names, colours = _legend(card)
    write_mask(path, mask, pixel_size_um=pixel_size_um, class_names=names, colours=colours)


def _legend(card: Card) -> tuple[list[str], list[str]]:
    """Return names and colours of the ids 0, 1, ..., gaps filled up."""
    by_id = {c.id: c for c in card.classes}
    ids = range(max(by_id) + 1)
    return (
        [by_id[i].name if i in by_id else f"class_{i}" for i in ids],
        [by_id[i].colour if i in by_id else "#000000" for i in ids],
    )


class BandWriter:
    """Writes painted bands to a mask and, if wanted, to class probabilities.

    Parameters
    ----------
    mask : Path
    probabilities : Path, optional
    shape_zyx : three int
    card : Card
    pixel_size_um : (z, y, x), optional
    folder : Path
        Where strips wait; those that it holds are kept.
    workers : int
        Threads of `finish`.

    Raises
    ------
    InputError
        If a format cannot hold it.
    """

    def __init__(
        self,
        mask: Path,
        probabilities: Path | None,
        shape_zyx: ShapeZYX,
        card: Card,
        *,
        pixel_size_um: PixelSizeUm | None,
        folder: Path,
        workers: int,
    ) -> None:
        names, colours = _legend(card)
        self._card, self._n_z, self._n_classes = card, shape_zyx[0], len(card.classes)
        self._mask = mask_writer(
            mask,
            shape_zyx,
            folder=folder / "mask",
            pixel_size_um=pixel_size_um,
            class_names=names,
            colours=colours,
            workers=workers,
        )
        self._shares: PyramidWriter | None = None
        if probabilities is not None:
            self._shares = probability_writer(
                probabilities,
                shape_zyx,
                [c.name for c in card.classes],
                folder=folder / "probabilities",
                pixel_size_um=pixel_size_um,
                workers=workers,
            )

    def holds(self, band: Band) -> bool:
        """Whether all strips of a band are complete."""
        masks = all(self._mask.holds(plane, band.row) for plane in self._planes(band, 1))
        return masks and (
            self._shares is None
            or all(
                self._shares.holds(plane, band.row) for plane in self._planes(band, self._n_classes)
            )
        )

    def write(self, band: Band, painted: Painted, pool: ThreadPoolExecutor) -> "list[Future[None]]":
        """Let threads write a band."""
        jobs = [
            pool.submit(self._mask.write, plane, band.row, rows)
            for plane, rows in zip(self._planes(band, 1), painted.mask, strict=True)
        ]
        if self._shares is not None and painted.shares is not None:
            shares = painted.shares.reshape(-1, *painted.mask.shape[1:])
            jobs += [
                pool.submit(self._shares.write, plane, band.row, rows)
                for plane, rows in zip(self._planes(band, self._n_classes), shares, strict=True)
            ]
        return jobs

    def finish(self) -> dict[int, int]:
        """Make the files; return the number of pixels of each class id."""
        if self._shares is not None:
            self._shares.finish()
        self._mask.finish()
        ids = np.array([c.id for c in self._card.classes], np.uint8)
        return dict(zip(ids.tolist(), self._mask.counts(ids), strict=True))

    def _planes(self, band: Band, n_classes: int) -> list[int]:
        """List the planes of the slices of a band, class by class."""
        slices = range(band.z.start, band.z.stop)
        return [c * self._n_z + z for c, z in product(range(n_classes), slices)]


def write_probabilities(path: Path, labels: LabelsZYX, probabilities: Float32, card: Card) -> None:
    """Write the class probabilities of superpixels as a float32 BigTIFF with axes ZCYX.

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
    require_suffix(path, (".tif", ".tiff"))
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
