"""The pass on dask.distributed.

`connection` finds a cluster, `driver` hands out strips, `tasks` is what a worker does, `contract`
what memory that takes. Workers read the image and write labels and node columns; the coordinator
numbers the superpixels, keeps the contacts and writes the journal, as `work` does for threads.
"""

from spixgraph.graph.stream.cluster.connection import connected
from spixgraph.graph.stream.cluster.contract import cluster_contract, require_memory
from spixgraph.graph.stream.cluster.driver import ClusterPass

__all__ = ["ClusterPass", "cluster_contract", "connected", "require_memory"]
