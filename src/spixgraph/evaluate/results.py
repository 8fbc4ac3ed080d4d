"""What evaluation hands to the report: counts per image, and what a model cost."""

from dataclasses import dataclass, field, fields

from spixgraph.arrays import Int64
from spixgraph.errors import InputError
from spixgraph.evaluate.boundary import BoundaryCounts
from spixgraph.evaluate.counts import require_confusion


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """Counts of one image: all scores follow from them.

    Attributes
    ----------
    id : str
        Of the image in its data set.
    confusion : (K, K) int64
        Rows truth, columns prediction.
    boundary : BoundaryCounts
    """

    id: str
    confusion: Int64
    boundary: BoundaryCounts

    def __post_init__(self) -> None:
        require_confusion(self.confusion)


@dataclass(frozen=True, slots=True)
class TrainCost:
    """What training took; None is unknown.

    Attributes
    ----------
    seconds : float
    cpu_seconds : float
        Processor time of the process, all threads; comparable on a machine that has other work.
    peak_rss_bytes, peak_gpu_bytes : int
        Highest memory of the process. 0 GPU bytes: it ran without a GPU.
    baseline_rss_bytes : int
        Part of `peak_rss_bytes` that the process held before the work: interpreter and imports.
    """

    seconds: float | None = None
    peak_rss_bytes: int | None = None
    peak_gpu_bytes: int | None = None
    baseline_rss_bytes: int | None = None
    cpu_seconds: float | None = None

    def __post_init__(self) -> None:
        _require_not_negative(self)


@dataclass(frozen=True, slots=True)
class InferenceCost:
    """What the way from image to mask took; None is unknown.

    Attributes
    ----------
    seconds : float
        From pixels to mask; with a graph model that includes superpixels, graph and features.
    megapixels : float
        Segmented in that time (megavoxels in 3D), annotated or not.
    superpixel_seconds : float
        Part of `seconds` spent on superpixels and graph; None for a model without them.
    cpu_seconds, peak_rss_bytes, peak_gpu_bytes, baseline_rss_bytes
        As in `TrainCost`.
    """

    seconds: float | None = None
    megapixels: float | None = None
    peak_rss_bytes: int | None = None
    peak_gpu_bytes: int | None = None
    superpixel_seconds: float | None = None
    baseline_rss_bytes: int | None = None
    cpu_seconds: float | None = None

    def __post_init__(self) -> None:
        _require_not_negative(self)
        if self.superpixel_seconds is not None and self.superpixel_seconds > (self.seconds or 0):
            raise InputError(
                f"superpixel_seconds {self.superpixel_seconds} is a part of seconds "
                f"{self.seconds}; add it to seconds"
            )


@dataclass(frozen=True, slots=True)
class ModelResult:
    """One trained model on one split.

    Attributes
    ----------
    name : str
    seed : int
        Of the training; (name, seed) is unique in a report.
    n_parameters : int
    per_image : tuple of ImageResult
        The same images, in the same order, for each model of a report.
    train, inference
        Costs; the scores don't depend on them.
    """

    name: str
    seed: int
    n_parameters: int
    per_image: tuple[ImageResult, ...]
    train: TrainCost = field(default_factory=TrainCost)
    inference: InferenceCost = field(default_factory=InferenceCost)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What the most frequent true class of each superpixel reaches.

    No model that gives one class per superpixel can pass its accuracy.

    Attributes
    ----------
    recipe : str
        Kind of graph that stands on these superpixels: ``rag`` or ``paper``.
    per_image : tuple of ImageResult
        Counts of that mask.
    n_nodes : int
        Superpixels of all images together.
    megapixels : float
        Pixels of all images together (megavoxels in 3D), > 0.
    """

    recipe: str
    per_image: tuple[ImageResult, ...]
    n_nodes: int
    megapixels: float

    def __post_init__(self) -> None:
        if self.megapixels <= 0:
            raise InputError(f"megapixels of a ceiling must be > 0, got {self.megapixels}")


def _require_not_negative(cost: TrainCost | InferenceCost) -> None:
    """Raise `InputError` where a cost is below 0."""
    for item in fields(cost):
        value = getattr(cost, item.name)
        if value is not None and value < 0:
            raise InputError(f"{item.name} must be >= 0 or None, got {value}")
