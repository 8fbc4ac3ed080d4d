"""Standardising of the columns of one image, halfway between the training images and its own.

Few training images show few exposures and few kinds of noise, and a network on columns that are
standardised by them alone fails on the next image (decision 020). Standardised by the image alone,
it no longer knows whether an image is full or empty. So columns are first brought to the mean and
spread of the intensity of the image; those of the nodes then go halfway to mean 0 and deviation 1
within the image. All of it needs nothing but sums over the node table, and gives a `Scaling`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Float32, Float64
from spixgraph.errors import InputError
from spixgraph.graph.exposure import Exposure
from spixgraph.graph.partitions import StoredArray
from spixgraph.graph.scaling import Scaling
from spixgraph.graph.stored_graph import row_chunks

OWN_SHARE = 0.5
"""How far columns of nodes go to those of their own image; training draws it from 0..1."""
SMALLEST_SPREAD = 0.25
"""Least deviation within an image, in units of that of the training images: an empty image is not
blown up."""
_MEAN = re.compile(r"c\d+_intensity_mean")
_SMALLEST_EXPOSURE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class TableSums:
    """What is known of the columns of a node table; ``a + b`` holds the rows of both.

    Every superpixel counts alike: they are large where the image is empty, so that the figures
    depend little on how much of it is.

    Attributes
    ----------
    names : tuple of str
        Columns.
    count : int
        Rows.
    total, total_sq : (F,) float64
        Sums of the columns and of their squares.
    """

    names: tuple[str, ...]
    count: int
    total: Float64
    total_sq: Float64

    @classmethod
    def of(cls, x: Float32, names: Sequence[str]) -> "TableSums":
        """Add up some rows of a table, raw (n, F).

        Raises
        ------
        InputError
            If the number of columns differs.
        """
        if x.ndim != 2 or x.shape[1] != len(names):
            raise InputError(f"x must be (n, {len(names)}), got {x.shape}")
        total_sq = np.einsum("nf,nf->f", x, x, dtype=np.float64)
        return cls(tuple(names), len(x), x.sum(0, dtype=np.float64), total_sq)

    @classmethod
    def of_table(cls, x: StoredArray, names: Sequence[str]) -> "TableSums":
        """Add up all rows of a table that may be on disk, in pieces."""
        first, *others = (cls.of(rows, names) for rows in row_chunks(x))
        return sum(others, start=first)

    def __add__(self, other: "TableSums") -> "TableSums":
        if self.names != other.names:
            raise InputError(
                f"sums of {len(self.names)} and of {len(other.names)} columns do not add up; "
                "make both with one recipe"
            )
        return TableSums(
            self.names,
            self.count + other.count,
            self.total + other.total,
            self.total_sq + other.total_sq,
        )

    def exposure(self) -> Exposure:
        """Mean and spread of the intensities; (0, 1) where the table has none."""
        means = [i for i, name in enumerate(self.names) if _MEAN.fullmatch(name)]
        spreads = [self.names.index(self.names[i].replace("_mean", "_std")) for i in means]
        n = self.count * len(means)
        if n == 0:
            return Exposure()
        mean = self.total[means].sum() / n
        variance = (self.total_sq[means].sum() + self.total_sq[spreads].sum()) / n - mean**2
        return Exposure(float(mean), max(float(max(variance, 0)) ** 0.5, _SMALLEST_EXPOSURE))

    def own_scaling(self, scaling: Scaling) -> Scaling:
        """Standardise by the table itself; a deviation far below that of `scaling` is not used."""
        n = max(1, self.count)
        mean = self.total / n
        deviation = np.sqrt(np.maximum(self.total_sq / n - mean**2, 0))
        return Scaling(self.names, mean, np.maximum(deviation, SMALLEST_SPREAD * scaling.scale))


@dataclass(frozen=True, slots=True, eq=False)
class Scalings:
    """How the columns of graphs are standardised.

    Attributes
    ----------
    nodes, edges : Scaling
    pixels : Scaling or None
        None for a network without a pixel decoder, whose columns are standardised as they are. With
        one, all three are of columns whose exposure has been taken out, and `at` makes those of an
        image of them.
    """

    nodes: Scaling
    edges: Scaling
    pixels: Scaling | None = None

    def at(self, sums: TableSums, *, own_share: float = OWN_SHARE) -> "Scalings":
        """Return the scalings of the raw columns of an image.

        Parameters
        ----------
        sums : TableSums
            Of all its superpixels.
        own_share : float
            0..1.
        """
        if self.pixels is None:
            return self
        exposure = sums.exposure()
        nodes = exposure.of_scaling(self.nodes)
        return Scalings(
            between(nodes, sums.own_scaling(nodes), own_share),
            exposure.of_scaling(self.edges),
            exposure.of_scaling(self.pixels),
        )


def between(a: Scaling, b: Scaling, share: float) -> Scaling:
    """Return the scaling whose values are ``(1 - share) * a(values) + share * b(values)``."""
    factor = (1 - share) / a.scale + share / b.scale
    shift = (1 - share) * a.mean / a.scale + share * b.mean / b.scale
    return Scaling(a.names, shift / factor, 1 / factor)
