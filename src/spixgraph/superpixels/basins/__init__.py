"""Gradient basins, merged inside barrier blocks: superpixels whose tiles are exact.

1. `smoothing`: binomial filters and the gradient, in integers; the halo of 5 px ends here.
2. `descent`: every pixel points to its lowest neighbour; the trees are the basins.
3. `contacts`: sums of each basin, and the pixel sides where two of them touch.
4. `merging`: rounds of mutual-best merging up to one cost for the whole image.
5. `refining`, `refining_volume`: border pixels go to the region that they fit best.
6. `grid`, `plan`: barrier blocks and that cost, from the shape and a sample of the image.
7. `block`, `image`: the steps above for one block, and for all blocks of an image.
"""

from spixgraph.superpixels.basins.image import basin_labels

__all__ = ["basin_labels"]
