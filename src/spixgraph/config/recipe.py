"""A graph recipe: all that decides how an image becomes a region graph.

It is written into every graph and every model card, so that training, evaluation and serving
build the same graph from the same pixels.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SlicParams(_Strict):
    """skimage SLIC."""

    method: Literal["slic"] = "slic"
    nodes_per_megapixel: float = Field(default=3000.0, gt=0, description="voxels in 3D")
    compactness: float = Field(default=0.15, gt=0)
    sigma_px: float = Field(default=1.0, ge=0)
    max_iterations: int = Field(default=5, gt=0)


class BasinParams(_Strict):
    """Gradient basins, merged inside barrier blocks (`spixgraph.superpixels.basins`)."""

    method: Literal["basins"] = "basins"
    nodes_per_megapixel: float = Field(default=3000.0, gt=0, description="voxels in 3D")


SuperpixelParams = Annotated[BasinParams | SlicParams, Field(discriminator="method")]


class RagParams(_Strict):
    """Region adjacency graph with the features of DESIGN 4."""

    kind: Literal["rag"] = "rag"
    n_scales: int = Field(default=5, ge=1, le=6, description="pyramid levels, one octave each")


class PaperParams(_Strict):
    """The graph of Jain et al. 2024: k nearest centroids, mean, std and nine deciles."""

    kind: Literal["paper"] = "paper"
    n_neighbours: int = Field(default=10, ge=1)
    edge_weight: Literal["pixels", "spacing"] = Field(
        default="pixels",
        description="exp(-distance) in pixels (faithful) or in units of the mean spacing",
    )


class GraphRecipe(_Strict):
    """Superpixels and graph together."""

    superpixels: SuperpixelParams = BasinParams()
    graph: Annotated[RagParams | PaperParams, Field(discriminator="kind")] = RagParams()
