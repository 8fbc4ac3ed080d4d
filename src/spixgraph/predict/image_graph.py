"""From an image to its superpixels and region graph, as a recipe says.

Training, evaluation, the command line and the service all come through here, so that the same
pixels give the same graph everywhere.
"""

import os

import numpy as np

from spixgraph.arrays import ImageZYXC, LabelsZYX
from spixgraph.config.recipe import BasinParams, GraphRecipe, PaperParams, RagParams, SlicParams
from spixgraph.errors import InputError
from spixgraph.graph.paper import paper_graph
from spixgraph.graph.region_graph import GraphSource, RegionGraph
from spixgraph.graph.stream import image_graph
from spixgraph.io.images import ImageSource, image_sha256
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.predict.steps import Steps
from spixgraph.superpixels.slic import slic_labels

_ALL = slice(None)


def graph_of_image(
    source: ImageSource,
    recipe: GraphRecipe,
    *,
    workers: int | None = None,
    steps: Steps | None = None,
) -> tuple[LabelsZYX, RegionGraph]:
    """Cut an image into superpixels and build their graph.

    Parameters
    ----------
    source : ImageSource
    recipe : GraphRecipe
    workers : int, optional
        Threads; all processors by default. The result does not depend on it.
    steps : Steps, optional
        Gets the seconds of "graph"; of "read", "superpixels" and "graph" where these are apart.

    Returns
    -------
    labels : (Z, Y, X) int32
    graph : RegionGraph
        Node i is the superpixel with label i.
    """
    steps = steps or Steps()
    paper = _paper_settings(recipe)
    if paper is None:
        with steps("graph"):
            return image_graph(
                source,
                nodes_per_megapixel=recipe.nodes_per_megapixel,
                workers=workers or os.cpu_count() or 1,
            )
    with steps("read"):
        image = _scaled(source)
    with steps("superpixels"):
        labels = _slic(source, image, recipe.nodes_per_megapixel, paper[0])
    with steps("graph"):
        graph = _paper_graph(source, image, labels, recipe, paper[1], image_sha256(source))
    return labels, graph


def labels_of_image(source: ImageSource, recipe: GraphRecipe) -> LabelsZYX:
    """Return the first half of `graph_of_image`: (Z, Y, X) int32 superpixel ids."""
    paper = _paper_settings(recipe)
    if paper is None:
        return graph_of_image(source, recipe)[0]
    return _slic(source, _scaled(source), recipe.nodes_per_megapixel, paper[0])


def graph_of_labels(
    source: ImageSource, labels: LabelsZYX, recipe: GraphRecipe, *, image_hash: str
) -> RegionGraph:
    """Return the second half of `graph_of_image`; `image_hash` is `image_sha256(source)`.

    Raises
    ------
    InputError
        If the labels are not those that the recipe makes of the image.
    """
    paper = _paper_settings(recipe)
    if paper is not None:
        return _paper_graph(source, _scaled(source), labels, recipe, paper[1], image_hash)
    again, graph = graph_of_image(source, recipe)
    if not np.array_equal(again, labels):
        raise InputError("the labels are not those of this image and recipe; make them again")
    return graph


def wanted_segments(n_pixels: int, nodes_per_megapixel: float) -> int:
    """Turn a density into a number of superpixels, at least 2."""
    return max(2, round(nodes_per_megapixel * n_pixels / 1e6))


def _scaled(source: ImageSource) -> ImageZYXC:
    return read_scaled(source, intensity_limits(source), _ALL, _ALL, _ALL)


def _paper_settings(recipe: GraphRecipe) -> tuple[SlicParams, PaperParams] | None:
    """Return the settings of the paper's superpixels and graph; None if it is streamed."""
    if isinstance(recipe.superpixels, BasinParams) or isinstance(recipe.graph, RagParams):
        return None
    return recipe.superpixels, recipe.graph


def _slic(
    source: ImageSource, image: ImageZYXC, nodes_per_megapixel: float, params: SlicParams
) -> LabelsZYX:
    return slic_labels(
        image,
        n_segments=wanted_segments(image[..., 0].size, nodes_per_megapixel),
        compactness=params.compactness,
        sigma_px=params.sigma_px,
        max_iterations=params.max_iterations,
        spacing_zyx=source.info.pixel_size_um or (1.0, 1.0, 1.0),
    )


def _paper_graph(
    source: ImageSource,
    image: ImageZYXC,
    labels: LabelsZYX,
    recipe: GraphRecipe,
    params: PaperParams,
    image_hash: str,
) -> RegionGraph:
    z, y, x, _ = source.info.shape_zyxc
    return paper_graph(
        image,
        labels,
        n_neighbours=params.n_neighbours,
        edge_weight=params.edge_weight,
        source=GraphSource(
            image_sha256=image_hash,
            shape_zyx=(z, y, x),
            pixel_size_um=source.info.pixel_size_um,
            params=recipe.model_dump(mode="json"),
        ),
    )
