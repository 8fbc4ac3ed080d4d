"""Compiled passes of the streaming engine over one block: maps, and integer sums per superpixel.

A block is one slice; labels are (Y, X) int32, ids 0..n-1. All sums are integers, so they do not
depend on any order.
"""

import numpy as np

from spixgraph.arrays import Array
from spixgraph.superpixels.basins.jit import kernel


@kernel
def look_up(pixels: Array, table: Array, out: Array) -> None:
    """Write the levels of (Y, X, C) integer pixels, by a table (C, n) each, to (C, Y, X) uint16."""
    for y in range(pixels.shape[0]):
        for c in range(pixels.shape[2]):
            line, levels, to = pixels[y, :, c], table[c], out[c, y]
            for x in range(line.size):
                to[x] = levels[line[x]]


@kernel
def halve(image: Array, out: Array) -> None:
    """Average 2 x 2 pixels of (1, 2 Y, 2 X) uint16, rounded."""
    for y in range(out.shape[1]):
        upper, lower, to = image[0, 2 * y], image[0, 2 * y + 1], out[0, y]
        for x in range(to.size):
            left = np.uint32(upper[2 * x]) + np.uint32(lower[2 * x])
            right = np.uint32(upper[2 * x + 1]) + np.uint32(lower[2 * x + 1])
            to[x] = (left + right + 2) // 4


@kernel
def difference_and_gradient(once: Array, twice: Array, band: Array, steep: Array) -> None:
    """Write ``once - twice`` and the gradient of `twice`, (Y, X) int32.

    `once` (1, Y + 6, X + 6) and `twice` (1, Y + 2, X + 2) are uint16.
    """
    for y in range(band.shape[0]):
        fine, up, line, down = once[0, y + 3], twice[0, y], twice[0, y + 1], twice[0, y + 2]
        to_band, to_steep = band[y], steep[y]
        for x in range(to_band.size):
            to_band[x] = np.int32(fine[x + 3]) - np.int32(line[x + 1])
            dy = np.int32(down[x + 1]) - np.int32(up[x + 1])
            dx = np.int32(line[x + 2]) - np.int32(line[x])
            to_steep[x] = np.int32(np.sqrt(np.float32(dy * dy + dx * dx)))


@kernel
def add_values(labels: Array, values: Array, octave: int, total: Array, square: Array) -> None:
    """Add (P, Y', X') values and their squares to (P, n); a value spans 2**octave pixels a side."""
    for y in range(labels.shape[0]):
        line = labels[y]
        begin = 0
        while begin < line.size:
            label, end = line[begin], begin + 1
            while end < line.size and line[end] == label:
                end += 1
            for p in range(values.shape[0]):
                from_ = values[p, y >> octave]
                sum_, sum_sq = np.int64(0), np.int64(0)
                for x in range(begin, end):
                    value = np.int64(from_[x >> octave])
                    sum_ += value
                    sum_sq += value * value
                total[p, label] += sum_
                square[p, label] += sum_sq
            begin = end


@kernel
def add_histogram(labels: Array, levels: Array, shift: int, histogram: Array) -> None:
    """Count (Y, X) levels ``>> shift`` in the bins (n, B) of each superpixel."""
    for y in range(labels.shape[0]):
        line, from_ = labels[y], levels[y]
        for x in range(line.size):
            histogram[line[x], from_[x] >> shift] += 1


@kernel
def find_deciles(histogram: Array, out: Array) -> None:
    """Write deciles (9, n) of (n, B) counts, linear within a bin, as parts of the range 0..1."""
    n_bins = histogram.shape[1]
    for i in range(histogram.shape[0]):
        n_pixels = 0
        for k in range(n_bins):
            n_pixels += histogram[i, k]
        place, below = 0, 0
        for d in range(9):
            wanted = n_pixels * ((d + 1) / 10)
            while below + histogram[i, place] < wanted:
                below += histogram[i, place]
                place += 1
            out[d, i] = (place + (wanted - below) / max(histogram[i, place], 1)) / n_bins


@kernel
def add_places(labels: Array, y0: int, x0: int, n_y: int, n_x: int, places: Array) -> None:
    """Add, for runs along x, (7, n): pixels, border pixels, y, x, yy, yx, xx of the whole image."""
    for row in range(labels.shape[0]):
        line, y = labels[row], y0 + row
        on_edge = y == 0 or y == n_y - 1
        begin = 0
        while begin < line.size:
            label, end = line[begin], begin + 1
            while end < line.size and line[end] == label:
                end += 1
            first, last, length = x0 + begin, x0 + end - 1, end - begin
            x_sum = (first + last) * length // 2
            places[0, label] += length
            sides = np.int64(first == 0) + np.int64(last == n_x - 1 and n_x > 1)
            places[1, label] += length if on_edge else sides
            places[2, label] += y * length
            places[3, label] += x_sum
            places[4, label] += y * y * length
            places[5, label] += y * x_sum
            places[6, label] += _squares(last) - _squares(first - 1)
            begin = end


@kernel
def _squares(n: int) -> int:
    """Sum of the squares 0..n."""
    return n * (n + 1) * (2 * n + 1) // 6
