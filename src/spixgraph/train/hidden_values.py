"""How many hidden values of a pixel the decoders of superpixels see."""

from typing import Literal

N_HIDDEN = 8
FEW_PIXELS = 300
"""Most pixels of a superpixel that may hold several objects, on average."""


def hidden_values(asked: int | Literal["auto"], *, nodes_per_megapixel: float) -> int:
    """Settle what "auto" stands for: `N_HIDDEN` for small superpixels, none for large ones.

    Small superpixels are those of data sets whose objects are small or thin, where one superpixel
    holds parts of several. Large ones are few, and what pixels of theirs have in common is learned
    by heart (docs/decisions/039).

    Parameters
    ----------
    asked : int or "auto"
    nodes_per_megapixel : float
        Of the graphs; of volumes, per million voxels.
    """
    if asked != "auto":
        return asked
    return N_HIDDEN if 1e6 / nodes_per_megapixel <= FEW_PIXELS else 0
