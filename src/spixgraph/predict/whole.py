"""From an image file to result files in memory, for models whose graph does not stream."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from spixgraph.arrays import PixelSizeUm
from spixgraph.io.images import ImageSource
from spixgraph.io.pyramid import STRIP_PX
from spixgraph.predict.card import Card
from spixgraph.predict.driver import Segmentation, segment_source
from spixgraph.predict.model import NodeModel
from spixgraph.predict.outputs import Results, ResultWriter
from spixgraph.predict.painting import Band, Painted, outlines_of
from spixgraph.predict.steps import Steps


def segment_whole(
    source: ImageSource, model: NodeModel, card: Card, results: Results, *, steps: Steps
) -> tuple[int, dict[int, int]]:
    """Segment an image in memory and write what `stream.segment_to_file` writes.

    Returns
    -------
    n_regions : int
    n_pixels : dict
        Class id -> number of its pixels.
    """
    found = segment_source(source, model, shares=results.needs_shares, steps=steps)
    with steps("write"):
        n_pixels = write_segmentation(found, card, results, source.info.pixel_size_um)
    return len(found.logits), n_pixels


def write_segmentation(
    found: Segmentation, card: Card, results: Results, pixel_size_um: PixelSizeUm | None
) -> dict[int, int]:
    """Write the layers of a segmentation in memory; return class id -> number of its pixels.

    Probabilities and uncertainty need a segmentation with shares.
    """
    n_z, n_y, n_x = found.mask.shape
    folder = results.mask.parent
    with (
        TemporaryDirectory(prefix=f".{results.mask.name}.", dir=folder) as strips,
        ThreadPoolExecutor(1) as pool,
    ):
        writer = ResultWriter(
            results, (n_z, n_y, n_x), card,
            pixel_size_um=pixel_size_um, folder=Path(strips), workers=1,
        )  # fmt: skip
        for band, painted in _bands(found, outlines=results.outlines is not None):
            for write in writer.write(band, painted, pool):
                write.result()
        return writer.finish()


def _bands(found: Segmentation, *, outlines: bool) -> Iterator[tuple[Band, Painted]]:
    n_z, n_y, _ = found.mask.shape
    lines = outlines_of(found.labels) if outlines else None
    for z, y in product(range(n_z), range(0, n_y, STRIP_PX)):
        place = slice(z, z + 1), slice(y, min(y + STRIP_PX, n_y))
        yield (
            Band(*place, strips=range(0)),
            Painted(
                found.mask[place],
                None if found.shares is None else found.shares[(slice(None), *place)],
                None if lines is None else lines[place],
            ),
        )
