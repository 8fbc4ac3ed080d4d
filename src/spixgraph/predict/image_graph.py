"""From an image to its superpixels and region graph, as a recipe says.

Training, evaluation, the command line and the service all come through here, so that the same
pixels give the same graph everywhere.
"""

import os

from spixgraph.arrays import ImageZYXC, LabelsZYX, PixelSizeUm
from spixgraph.config.recipe import BasinParams, GraphRecipe, RagParams, SuperpixelParams
from spixgraph.graph.build import paper_graph, rag_graph
from spixgraph.graph.region_graph import GraphSource, RegionGraph
from spixgraph.io.images import ImageSource, image_sha256
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.predict.steps import Steps
from spixgraph.superpixels.basins import basin_labels
from spixgraph.superpixels.slic import slic_labels

_ALL = slice(None)


def graph_of_image(
    source: ImageSource, recipe: GraphRecipe, *, steps: Steps | None = None
) -> tuple[LabelsZYX, RegionGraph]:
    """Cut an image into superpixels and build their graph.

    Parameters
    ----------
    source : ImageSource
    recipe : GraphRecipe
    steps : Steps, optional
        Gets the seconds of "read", "superpixels" and "graph".

    Returns
    -------
    labels : (Z, Y, X) int32
    graph : RegionGraph
        Node i is the superpixel with label i.
    """
    steps = steps or Steps()
    with steps("read"):
        image = _scaled(source)
    with steps("superpixels"):
        labels = _superpixels(image, recipe.superpixels, source.info.pixel_size_um)
    with steps("graph"):
        graph = _graph(image, labels, recipe, _source_of(source, recipe, image_sha256(source)))
    return labels, graph


def labels_of_image(source: ImageSource, recipe: GraphRecipe) -> LabelsZYX:
    """Return the first half of `graph_of_image`: (Z, Y, X) int32 superpixel ids."""
    return _superpixels(_scaled(source), recipe.superpixels, source.info.pixel_size_um)


def graph_of_labels(
    source: ImageSource, labels: LabelsZYX, recipe: GraphRecipe, *, image_hash: str
) -> RegionGraph:
    """Return the second half of `graph_of_image`; `image_hash` is `image_sha256(source)`."""
    return _graph(_scaled(source), labels, recipe, _source_of(source, recipe, image_hash))


def wanted_segments(n_pixels: int, nodes_per_megapixel: float) -> int:
    """Turn a density into a number of superpixels, at least 2."""
    return max(2, round(nodes_per_megapixel * n_pixels / 1e6))


def _scaled(source: ImageSource) -> ImageZYXC:
    return read_scaled(source, intensity_limits(source), _ALL, _ALL, _ALL)


def _superpixels(
    image: ImageZYXC, params: SuperpixelParams, pixel_size_um: PixelSizeUm | None
) -> LabelsZYX:
    """Dispatch on the method; the one place that knows them all."""
    if isinstance(params, BasinParams):
        return basin_labels(
            image,
            nodes_per_megapixel=params.nodes_per_megapixel,
            spacing_zyx=pixel_size_um,
            workers=os.cpu_count() or 1,
        )
    return slic_labels(
        image,
        n_segments=wanted_segments(image[..., 0].size, params.nodes_per_megapixel),
        compactness=params.compactness,
        sigma_px=params.sigma_px,
        max_iterations=params.max_iterations,
        spacing_zyx=pixel_size_um or (1.0, 1.0, 1.0),
    )


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
