"""Write what a prediction gives: the mask, and for those who ask what else is known of pixels."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import MaskZYX, PixelSizeUm, ShapeZYX, UInt8
from spixgraph.io.masks import write_mask
from spixgraph.io.pyramid import PyramidWriter, channel_writer, mask_writer
from spixgraph.predict.card import Card
from spixgraph.predict.painting import Band, Painted, uncertainty_of


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


@dataclass(frozen=True, slots=True)
class Results:
    """Where the layers of a segmentation go; those that are None are not made.

    Attributes
    ----------
    mask : Path
        `.png`, `.tif`, `.tiff` or `.zarr`: class ids.
    probabilities : Path, optional
        `.tif`, `.tiff` or `.zarr`, like the next two: per class, 255 is certain.
    uncertainty : Path, optional
        0 where a pixel is sure of its class, 255 where all classes are as likely.
    outlines : Path, optional
        255 where the right or lower neighbour is another superpixel.
    """

    mask: Path
    probabilities: Path | None = None
    uncertainty: Path | None = None
    outlines: Path | None = None

    @property
    def needs_shares(self) -> bool:
        """Whether class probabilities are to be computed."""
        return self.probabilities is not None or self.uncertainty is not None

    def n_planes(self, n_classes: int) -> int:
        """Count the planes of uint8 per slice that are written."""
        extras = (self.uncertainty, self.outlines)
        shares = n_classes if self.probabilities is not None else 0
        return 1 + shares + sum(path is not None for path in extras)

    def names(self) -> dict[str, str]:
        """Give layer -> file name, of those that are made."""
        paths = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path.name for name, path in paths.items() if path is not None}


class ResultWriter:
    """Writes painted bands to the layers that are wanted.

    Parameters
    ----------
    results : Results
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
        results: Results,
        shape_zyx: ShapeZYX,
        card: Card,
        *,
        pixel_size_um: PixelSizeUm | None,
        folder: Path,
        workers: int,
    ) -> None:
        names, colours = _legend(card)
        self._card, self._n_z = card, shape_zyx[0]
        self._mask = mask_writer(
            results.mask,
            shape_zyx,
            folder=folder / "mask",
            pixel_size_um=pixel_size_um,
            class_names=names,
            colours=colours,
            workers=workers,
        )
        channels = {
            "probabilities": (results.probabilities, [c.name for c in card.classes]),
            "uncertainty": (results.uncertainty, ["uncertainty"]),
            "outlines": (results.outlines, ["outlines"]),
        }
        self._extras = {
            name: channel_writer(
                path,
                shape_zyx,
                titles,
                folder=folder / name,
                pixel_size_um=pixel_size_um,
                workers=workers,
            )
            for name, (path, titles) in channels.items()
            if path is not None
        }

    def holds(self, band: Band) -> bool:
        """Whether all strips of a band are complete."""
        return all(
            writer.holds(plane, band.row)
            for writer in (self._mask, *self._extras.values())
            for plane in self._planes(band, writer.n_planes)
        )

    def write(self, band: Band, painted: Painted, pool: ThreadPoolExecutor) -> "list[Future[None]]":
        """Let threads write a band."""
        jobs = []
        for writer, pixels in self._layers(painted):
            planes = pixels.reshape(-1, *painted.mask.shape[1:])
            jobs += [
                pool.submit(writer.write, plane, band.row, rows)
                for plane, rows in zip(self._planes(band, writer.n_planes), planes, strict=True)
            ]
        return jobs

    def _layers(self, painted: Painted) -> Iterator[tuple[PyramidWriter, UInt8]]:
        yield self._mask, painted.mask
        for name, writer in self._extras.items():
            if name == "outlines" and painted.outlines is not None:
                yield writer, painted.outlines
            elif painted.shares is not None:
                is_doubt = name == "uncertainty"
                yield writer, uncertainty_of(painted.shares) if is_doubt else painted.shares

    def finish(self) -> dict[int, int]:
        """Make the files; return the number of pixels of each class id."""
        for writer in (*self._extras.values(), self._mask):
            writer.finish()
        ids = np.array([c.id for c in self._card.classes], np.uint8)
        return dict(zip(ids.tolist(), self._mask.counts(ids), strict=True))

    def _planes(self, band: Band, n_planes: int) -> list[int]:
        """List the planes of the slices of a band, channel by channel."""
        slices = range(band.z.start, band.z.stop)
        return [c * self._n_z + z for c, z in product(range(n_planes // self._n_z), slices)]


def class_areas(
    n_pixels: Mapping[int, int], card: Card, pixel_size_um: PixelSizeUm | None, *, n_dims: int
) -> list[dict[str, Any]]:
    """Say how much of an image is of each class.

    Parameters
    ----------
    n_pixels : mapping
        Class id -> number of its pixels.
    card : Card
    pixel_size_um : (z, y, x), optional
    n_dims : int
        2 or 3.

    Returns
    -------
    list of dict
        ``id, name, colour, pixels, fraction``, and where the pixel size is known the area as
        ``um2``, for a volume ``um3``.
    """
    unit = "um2" if n_dims == 2 else "um3"
    one = None
    if pixel_size_um is not None:
        one = float(np.prod(pixel_size_um[1:] if unit == "um2" else pixel_size_um))
    total = sum(n_pixels.values())
    return [
        c.model_dump()
        | {"pixels": n_pixels[c.id], "fraction": n_pixels[c.id] / total}
        | ({} if one is None else {unit: n_pixels[c.id] * one})
        for c in card.classes
    ]
