"""The wanted number of superpixels on real images."""

import pytest

from spixgraph.graph.stream import image_graph
from spixgraph.io.dataset import read_dataset
from spixgraph.io.images import open_image
from tests.real_data import real_data

SETS = [
    "nist_hesc_colonies", "usiigaci_phase", "axon_sem", "axon_tem", "nasa_meltpool_strips",
    "dsb2018", "pyimsegm_ovary", "plantseg_nuclei3d", "flyem_medulla3d",
]  # fmt: skip


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("nodes", [1000, 8000])
def test_the_budget_is_met_within_ten_per_cent(name, nodes):
    for item in read_dataset(real_data(name)).items[:2]:
        with open_image(item.image, pixel_size_um=item.pixel_size_um) as source:
            labels, graph = image_graph(source, nodes_per_megapixel=nodes)
        assert graph.n_regions / labels.size * 1e6 == pytest.approx(nodes, rel=0.1)
