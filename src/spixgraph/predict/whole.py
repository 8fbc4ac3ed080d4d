"""From an image file to a mask file in memory, for models whose graph does not stream."""

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from spixgraph.arrays import Float32, LabelsZYX, PixelSizeUm
from spixgraph.io.images import ImageSource
from spixgraph.io.pyramid import STRIP_PX, probability_writer
from spixgraph.predict.card import Card
from spixgraph.predict.decoder import BlockNodes, decode_probabilities
from spixgraph.predict.driver import segment_source
from spixgraph.predict.model import NodeModel
from spixgraph.predict.outputs import write_card_mask
from spixgraph.predict.steps import Steps


def segment_whole(
    source: ImageSource,
    model: NodeModel,
    card: Card,
    out: Path,
    *,
    probabilities: Path | None,
    steps: Steps,
) -> tuple[int, dict[int, int]]:
    """Segment an image in memory and write what `stream.segment_to_file` writes.

    Returns
    -------
    n_regions : int
    n_pixels : dict
        Class id -> number of its pixels.
    """
    found = segment_source(source, model, steps=steps)
    with steps("write"):
        write_card_mask(out, found.mask, card, source.info.pixel_size_um)
        if probabilities is not None:
            size = source.info.pixel_size_um
            _write_shares(probabilities, found.labels, found.logits, card, size)
    n_pixels = {c.id: int(np.count_nonzero(found.mask == c.id)) for c in card.classes}
    return len(found.logits), n_pixels


def _write_shares(
    path: Path,
    labels: LabelsZYX,
    logits: Float32,
    card: Card,
    pixel_size_um: PixelSizeUm | None,
) -> None:
    """Write the class probabilities of superpixels."""
    n_z, n_y, n_x = labels.shape
    names = [c.name for c in card.classes]
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        writer = probability_writer(
            path, (n_z, n_y, n_x), names, folder=Path(folder), pixel_size_um=pixel_size_um
        )
        for z, strip in product(range(n_z), range(-(-n_y // STRIP_PX))):
            rows = labels[z : z + 1, strip * STRIP_PX : (strip + 1) * STRIP_PX]
            shares = decode_probabilities(rows, BlockNodes(0, logits))
            for c, plane in enumerate(shares[:, 0]):
                writer.write(c * n_z + z, strip, plane)
        writer.finish()
