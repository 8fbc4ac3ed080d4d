"""What a graph says about itself, and the plan that can be made from it again."""

from typing import Any

import numpy as np

from spixgraph.arrays import PixelSizeUm
from spixgraph.graph.blocks.block_graph import edge_feature_names
from spixgraph.graph.blocks.plan import BlockPlan
from spixgraph.graph.region_graph import SCHEMA
from spixgraph.graph.stream.finish import feature_names
from spixgraph.graph.stream.image_plan import ImagePlan
from spixgraph.graph.stream.region import Region
from spixgraph.io.source import ImageInfo
from spixgraph.superpixels.basins.grid import BarrierGrid, BasinPlan


def params_of(plan: ImagePlan, region: Region) -> dict[str, Any]:
    """All that decides a graph besides the pixels, as JSON values."""
    basins = plan.blocks.basins
    return {
        "block_zyx": list(basins.grid.block_zyx),
        "box_zyx": [[s.start, s.stop] for s in region.box],
        "channel_weights": list(basins.channel_weights),
        "compactness": basins.compactness,
        "dtype": plan.info.dtype.name,
        "image_shape_zyxc": list(plan.info.shape_zyxc),
        "is_volume": basins.grid.is_volume,
        "limits": plan.limits.tolist(),
        "merge_cost": basins.merge_cost,
        "method": "basins",
        "n_octaves": plan.blocks.n_octaves,
        "nodes_per_megapixel": float(plan.nodes_per_megapixel),
        "pixel_size_um": _listed(plan.info.pixel_size_um),
        "spacing_zyx": _listed(plan.info.spacing_zyx),
        "z_step": plan.blocks.z_step,
    }


def plan_of(params: dict[str, Any]) -> ImagePlan:
    """Make the plan again."""
    shape = params["image_shape_zyxc"]
    info = ImageInfo(
        (shape[0], shape[1], shape[2], shape[3]),
        np.dtype(params["dtype"]),
        _sizes(params["pixel_size_um"]),
        _sizes(params["spacing_zyx"]),
    )
    z, y, x = params["block_zyx"]
    grid = BarrierGrid((shape[0], shape[1], shape[2]), (z, y, x), params["is_volume"])
    weights, cost = tuple(params["channel_weights"]), params["merge_cost"]
    basins = BasinPlan(grid, weights, cost, params["compactness"])
    blocks = BlockPlan(basins, params["z_step"], params["n_octaves"])
    return ImagePlan(info, params["nodes_per_megapixel"], np.array(params["limits"]), blocks)


def attributes_of(plan: ImagePlan, region: Region, image_sha256: str) -> dict[str, Any]:
    """Attributes of the group, as `region_graph` wants them."""
    return {
        "edge_feature_names": list(edge_feature_names(plan.n_channels)),
        "feature_names": list(feature_names(plan)),
        "image_sha256": image_sha256,
        "params": params_of(plan, region),
        "pixel_size_um": _listed(plan.info.pixel_size_um),
        "schema": SCHEMA,
        "shape_zyx": list(region.shape_zyx),
    }


def _listed(sizes: PixelSizeUm | None) -> list[float] | None:
    return None if sizes is None else list(sizes)


def _sizes(values: list[float] | None) -> PixelSizeUm | None:
    return None if values is None else (values[0], values[1], values[2])
