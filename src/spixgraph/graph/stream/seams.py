"""Contacts across barriers: two planes of pixels that face each other."""

import numpy as np

from spixgraph.arrays import Array, Int64
from spixgraph.graph.blocks.block_graph import BlockGraph
from spixgraph.superpixels.basins.jit import kernel

CONTACT_COLUMNS = 5
"""Source u, target v, sides, sum of gradients, largest gradient; u < v."""


def inner_contacts(block: BlockGraph, first: int) -> Int64:
    """Contacts (P, 5) within a block whose first superpixel has the id `first`."""
    rows = np.empty((len(block.length_px), CONTACT_COLUMNS), np.int64)
    np.add(block.pairs.T, first, out=rows[:, :2])
    rows[:, 2], rows[:, 3], rows[:, 4] = block.length_px, block.gradient_sum, block.gradient_max
    return rows


@kernel
def face_contacts(
    labels_a: Array,
    gradient_a: Array,
    labels_b: Array,
    gradient_b: Array,
    first_a: int,
    first_b: int,
    n_a: int,
) -> Array:
    """Find the contacts between two facing planes.

    Parameters
    ----------
    labels_a, labels_b, gradient_a, gradient_b : (P, Q) uint16
        Ids of the block.
    first_a, first_b : int
        Ids in the image of superpixel 0 of each block.
    n_a : int
        Number of superpixels of the first block.

    Returns
    -------
    (k, 5) int64
        As `CONTACT_COLUMNS`, sorted by u, then v.
    """
    # Strategy: one row per run of pixels with the same pair of labels;
    # - rows are put in order of their first label by counting;
    # - the few rows of one label are united, then sorted by insertion.
    runs = np.empty((labels_a.size, CONTACT_COLUMNS), np.int32)
    n_runs = _find_runs(labels_a, gradient_a, labels_b, gradient_b, runs)
    start = np.zeros(n_a + 1, np.int32)
    for i in range(n_runs):
        start[runs[i, 0] + 1] += 1
    for i in range(n_a):
        start[i + 1] += start[i]
    order, place = np.empty(n_runs, np.int32), start.copy()
    for i in range(n_runs):
        label = runs[i, 0]
        order[place[label]] = i
        place[label] += 1
    united = np.empty((n_runs, CONTACT_COLUMNS), np.int64)
    n_found = 0
    for label in range(n_a):
        n_found = _unite(runs, order[start[label] : start[label + 1]], united, n_found)
    for i in range(n_found):
        united[i, 0] += first_a
        united[i, 1] += first_b
    return united[:n_found].copy()


@kernel
def _find_runs(
    labels_a: Array, gradient_a: Array, labels_b: Array, gradient_b: Array, runs: Array
) -> int:
    """List label a, label b, length, sum and maximum of the gradient of each run along Q."""
    n = 0
    for p in range(labels_a.shape[0]):
        a, b, steep_a, steep_b = labels_a[p], labels_b[p], gradient_a[p], gradient_b[p]
        for q in range(a.size):
            steep = np.int32(max(steep_a[q], steep_b[q]))
            if q > 0 and a[q] == a[q - 1] and b[q] == b[q - 1]:
                runs[n - 1, 2] += 1
                runs[n - 1, 3] += steep
                runs[n - 1, 4] = max(runs[n - 1, 4], steep)
            else:
                runs[n, 0], runs[n, 1], runs[n, 2] = a[q], b[q], 1
                runs[n, 3] = runs[n, 4] = steep
                n += 1
    return n


@kernel
def _unite(runs: Array, rows: Array, united: Array, begin: int) -> int:
    """Append the runs of one first label, one row per second label, sorted; return the end."""
    end = begin
    for row in rows:
        other = np.int64(runs[row, 1])
        i = end
        while i > begin and united[i - 1, 1] > other:
            i -= 1
        if i > begin and united[i - 1, 1] == other:
            united[i - 1, 2] += runs[row, 2]
            united[i - 1, 3] += runs[row, 3]
            united[i - 1, 4] = max(united[i - 1, 4], np.int64(runs[row, 4]))
            continue
        for j in range(end, i, -1):
            united[j] = united[j - 1]
        united[i, 0], united[i, 1] = runs[row, 0], other
        united[i, 2], united[i, 3], united[i, 4] = runs[row, 2], runs[row, 3], runs[row, 4]
        end += 1
    return end
