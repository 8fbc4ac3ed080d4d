"""What a bundle does on the frozen test split: counts, seconds and bytes, measured."""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from spixgraph.arrays import Int64, PixelSizeUm
from spixgraph.errors import InputError, ResourceError
from spixgraph.evaluate.counts import confusion
from spixgraph.files import sha256_json
from spixgraph.io.images import ImageSource, image_sha256, open_image
from spixgraph.io.masks import MaskSource, whole_mask
from spixgraph.io.parts import part_of_source
from spixgraph.io.records import Part
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.driver import open_model, segment_source
from spixgraph.predict.memory import predict_peak_bytes
from spixgraph.resources import PeakMemory

_REPEATS = 2  # the quicker one counts


@dataclass(frozen=True, slots=True)
class TestImage:
    """One image of the test split, or a part of one, with its truth."""

    __test__ = False  # no test of pytest

    id: str
    image: Path
    mask: Path
    pixel_size_um: PixelSizeUm | None = None
    part: Part | None = None

    def open(self) -> ImageSource:
        """Open the pixels; errors as of `io.images.open_image`."""
        return part_of_source(open_image(self.image, pixel_size_um=self.pixel_size_um), self.part)

    def open_truth(self) -> ImageSource:
        """Open the mask; errors as of `io.masks.MaskSource`."""
        return part_of_source(MaskSource(self.mask), self.part)


@dataclass(frozen=True, slots=True, eq=False)
class Exam:
    """What one bundle did.

    Attributes
    ----------
    test_sha256 : str
        Of ids, pixels and masks of the test split.
    ids : tuple of str
        Of the images.
    classes : tuple of str
    confusions : (n, K, K) int64
        One per image, rows truth, columns prediction.
    seconds, megapixels : float
    predicted_bytes, measured_bytes : int
        Peak memory above the idle process for the image that is predicted to need most.
    """

    test_sha256: str
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    confusions: Int64
    seconds: float
    megapixels: float
    predicted_bytes: int
    measured_bytes: int


def sit_exam(bundle: Path, images: Sequence[TestImage]) -> Exam:
    """Let a bundle segment the test split on the CPU, in a fresh process.

    Raises
    ------
    InputError
        If there are no images, or the model does not suit them.
    ResourceError
        If the process is killed, as by the out-of-memory killer.
    """
    if not images:
        raise InputError("the test split is empty; give images the split 'test' in the manifest")
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_sit, bundle, tuple(images)).result()
        except BrokenProcessPool as error:
            raise ResourceError(
                f"the process that tried {bundle.name} was killed, most likely for want of memory"
            ) from error


def _sit(path: Path, images: tuple[TestImage, ...]) -> Exam:
    bundle = load_bundle(path)
    model = open_model(bundle, device="cpu")
    n_classes = max(c.id for c in bundle.card.classes) + 1
    counts, hashes, seconds, megapixels = [], [], 0.0, 0.0
    predicted = measured = 0
    for number, item in enumerate(images):
        with item.open() as source, item.open_truth() as truth:
            if number == 0:
                segment_source(source, model)  # compiles what is compiled on first use
            took = np.inf
            with PeakMemory() as memory:
                for _ in range(_REPEATS):
                    start = time.perf_counter()
                    mask = segment_source(source, model).mask
                    took = min(took, time.perf_counter() - start)
            seconds += took
            need = predict_peak_bytes(source.info.shape_zyxc, bundle.card.memory)
            if need > predicted:
                predicted, measured = need, memory.above_baseline_bytes
            hashes.append([item.id, image_sha256(source), image_sha256(truth)])
            counts.append(confusion(whole_mask(truth), mask, n_classes=n_classes))
        megapixels += mask.size / 1e6
    return Exam(
        test_sha256=sha256_json(sorted(hashes)),
        ids=tuple(item.id for item in images),
        classes=tuple(c.name for c in bundle.card.classes),
        confusions=np.stack(counts),
        seconds=seconds,
        megapixels=megapixels,
        predicted_bytes=predicted,
        measured_bytes=measured,
    )
