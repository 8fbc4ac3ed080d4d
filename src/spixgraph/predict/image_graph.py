"""From an image to its superpixels and region graph, as a recipe says.

Training, evaluation, the command line and the service all come through here, so that the same
pixels give the same graph everywhere.
"""

import os

import numpy as np

from spixgraph.arrays import ImageZYXC, LabelsZYX
from spixgraph.config.recipe import BasinParams, GraphRecipe, RagParams
from spixgraph.errors import InputError
from spixgraph.graph.build import paper_graph, rag_graph
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
    if is_streamed(recipe):
        with steps("graph"):
            return image_graph(
                source, nodes_per_megapixel=recipe.nodes_per_megapixel, workers=_threads(workers)
            )
    with steps("read"):
        image = _scaled(source)
    with steps("superpixels"):
        labels = _superpixels(source, image, recipe)
    with steps("graph"):
        graph = _graph(image, labels, recipe, _source_of(source, recipe, image_sha256(source)))
    return labels, graph


def is_streamed(recipe: GraphRecipe) -> bool:
    """Whether the graph is one that `graph.stream` makes, block by block."""
    return isinstance(recipe.superpixels, BasinParams) and isinstance(recipe.graph, RagParams)


def labels_of_image(source: ImageSource, recipe: GraphRecipe) -> LabelsZYX:
    """Return the first half of `graph_of_image`: (Z, Y, X) int32 superpixel ids."""
    if is_streamed(recipe):
        return graph_of_image(source, recipe)[0]
    return _superpixels(source, _scaled(source), recipe)


def graph_of_labels(
    source: ImageSource, labels: LabelsZYX, recipe: GraphRecipe, *, image_hash: str
) -> RegionGraph:
    """Return the second half of `graph_of_image`; `image_hash` is `image_sha256(source)`.

    Raises
    ------
    InputError
        If the labels are not those that the recipe makes of the image.
    """
    if not is_streamed(recipe):
        return _graph(_scaled(source), labels, recipe, _source_of(source, recipe, image_hash))
    again, graph = graph_of_image(source, recipe)
    if not np.array_equal(again, labels):
        raise InputError("the labels are not those of this image and recipe; make them again")
    return graph


def wanted_segments(n_pixels: int, nodes_per_megapixel: float) -> int:
    """Turn a density into a number of superpixels, at least 2."""
    return max(2, round(nodes_per_megapixel * n_pixels / 1e6))


def _scaled(source: ImageSource) -> ImageZYXC:
    return read_scaled(source, intensity_limits(source), _ALL, _ALL, _ALL)


def _superpixels(source: ImageSource, image: ImageZYXC, recipe: GraphRecipe) -> LabelsZYX:
    """Dispatch on the method; the one place that knows them all."""
    params, nodes_per_megapixel = recipe.superpixels, recipe.nodes_per_megapixel
    if isinstance(params, BasinParams):
        labels, _ = image_graph(
            source, nodes_per_megapixel=nodes_per_megapixel, workers=_threads(None)
        )
        return labels
    return slic_labels(
        image,
        n_segments=wanted_segments(image[..., 0].size, nodes_per_megapixel),
        compactness=params.compactness,
        sigma_px=params.sigma_px,
        max_iterations=params.max_iterations,
        spacing_zyx=source.info.pixel_size_um or (1.0, 1.0, 1.0),
    )


def _threads(workers: int | None) -> int:
    return workers or os.cpu_count() or 1


def _graph(
    image: ImageZYXC, labels: LabelsZYX, recipe: GraphRecipe, source: GraphSource
) -> RegionGraph:
    if isinstance(recipe.graph, RagParams):
        return rag_graph(image, labels, n_scales=recipe.graph.n_scales, source=source)
    return paper_graph(
        image,
        labels,
        n_neighbours=recipe.graph.n_neighbours,
        edge_weight=recipe.graph.edge_weight,
        source=source,
    )


def _source_of(source: ImageSource, recipe: GraphRecipe, image_hash: str) -> GraphSource:
    z, y, x, _ = source.info.shape_zyxc
    return GraphSource(
        image_sha256=image_hash,
        shape_zyx=(z, y, x),
        pixel_size_um=source.info.pixel_size_um,
        params=recipe.model_dump(mode="json"),
    )
