"""A graph recipe: all that decides how an image becomes a region graph.

It is written into every graph and every model card, so that training, evaluation and serving
build the same graph from the same pixels.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spixgraph.errors import InputError

NodeBudget = Annotated[float, Field(gt=0)] | Literal["auto"]
"""Superpixels per million pixels (voxels in 3D); auto: from the size of the annotated objects."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SlicParams(_Strict):
    """skimage SLIC."""

    method: Literal["slic"] = "slic"
    nodes_per_megapixel: NodeBudget = "auto"
    compactness: float = Field(default=0.15, gt=0)
    sigma_px: float = Field(default=1.0, ge=0)
    max_iterations: int = Field(default=5, gt=0)


class BasinParams(_Strict):
    """Gradient basins, merged inside barrier blocks (`spixgraph.superpixels.basins`)."""

    method: Literal["basins"] = "basins"
    nodes_per_megapixel: NodeBudget = "auto"


SuperpixelParams = Annotated[BasinParams | SlicParams, Field(discriminator="method")]


class RagParams(_Strict):
    """The region adjacency graph of basins; nothing of it can be set."""

    kind: Literal["rag"] = "rag"


class PaperParams(_Strict):
    """The graph of Jain et al. 2024: k nearest centroids, mean, std and nine deciles."""

    kind: Literal["paper"] = "paper"
    n_neighbours: int = Field(default=10, ge=1)
    edge_weight: Literal["pixels", "spacing"] = Field(
        default="pixels",
        description="exp(-distance) in pixels (faithful) or in units of the mean spacing",
    )


class GraphRecipe(_Strict):
    """Superpixels and graph together: basins and their adjacency, or SLIC and the paper's graph."""

    superpixels: SuperpixelParams = BasinParams()
    graph: Annotated[RagParams | PaperParams, Field(discriminator="kind")] = RagParams()

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.is_streamed != (self.graph.kind == "rag"):
            raise ValueError(
                f"superpixels {self.superpixels.method} do not go with graph {self.graph.kind}; "
                "take basins with rag, or slic with paper"
            )
        return self

    @property
    def is_streamed(self) -> bool:
        """Whether labels and graph are made block by block, in one pass (`graph.stream`)."""
        return self.superpixels.method == "basins"

    @property
    def nodes_per_megapixel(self) -> float:
        """The node budget, as a number.

        Raises
        ------
        InputError
            If it is still "auto": nobody has looked at annotations.
        """
        budget = self.superpixels.nodes_per_megapixel
        if budget == "auto":
            raise InputError(
                "nodes_per_megapixel is auto, which is settled from the masks of a data set; "
                "give a number"
            )
        return budget

    def settled(self, nodes_per_megapixel: float) -> "GraphRecipe":
        """Return a copy where this number stands for "auto"."""
        if self.superpixels.nodes_per_megapixel != "auto":
            return self
        found = {"nodes_per_megapixel": nodes_per_megapixel}
        return self.model_copy(update={"superpixels": self.superpixels.model_copy(update=found)})
