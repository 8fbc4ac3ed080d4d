"""The compiled side of the pixel decoder: lines of pixels, as runs of one superpixel.

Strategy:

- Runs are some 20 pixels, too short for loops whose length the compiler does not know; so they are
  weighed `STEP` pixels at a time. What a step writes beyond its run, the next run writes again;
  lines are `STEP` pixels longer than the block.
- Sums have the same order whatever the processor, so that masks are equal.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from spixgraph.arrays import Array, UInt8
from spixgraph.graph.scaling import CLIP
from spixgraph.superpixels.basins.jit import kernel

STEP = 16
"""Pixels that are weighed at once: one vector of the widest processors, two or four of others."""
ROWS = 4
"""Hidden values that are made at once."""
_LANES = ir.VectorType(ir.FloatType(), STEP)


def _inline(function: Callable[..., Any]) -> Any:
    """Make a function of a kernel of what writes its machine code."""
    return intrinsic(function)


@kernel
def spread(labels: Array, first: int, values: UInt8, out: UInt8) -> None:
    """Give each pixel the values (V, n) of its superpixel."""
    n_z, n_y, n_x = labels.shape
    for v in range(values.shape[0]):
        for z in range(n_z):
            for y in range(n_y):
                for x in range(n_x):
                    out[v, z, y, x] = values[v, labels[z, y, x] - first]


@_inline
def _weigh_step(
    typing_context: Any, phi: Any, w: Any, bias: Any, at: Any, out: Any
) -> tuple[Any, Callable[..., Any]]:
    """Write ``bias + w @ phi[:, at : at + STEP]`` to ``out[at : at + STEP]``.

    As vectors of a known length, which the compiler does not find by itself: it would have to know
    that `out` and `phi` do not overlap. Arrays are float32, in C order.
    """
    signature = types.void(phi, w, types.float32, types.intp, out)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = dict(zip(("phi", "w", "bias", "at", "out"), arguments, strict=True))
        phi, w, out = (
            context.make_array(signature.args[i])(context, builder, given[name])
            for i, name in ((0, "phi"), (1, "w"), (4, "out"))
        )
        _, width = cgutils.unpack_tuple(builder, phi.shape)
        (n,) = cgutils.unpack_tuple(builder, w.shape)

        def product(p: Any) -> Any:
            """Weigh column p."""
            place = builder.add(builder.mul(p, width), given["at"])
            column = builder.load(_vector_at(builder, phi.data, place), align=4)
            weight = builder.load(builder.gep(w.data, [p]))
            return builder.fmul(_repeated(builder, weight), column)

        total = cgutils.alloca_once_value(builder, _repeated(builder, given["bias"]))
        whole = builder.and_(n, ir.Constant(n.type, ~3))
        zero, one, four = (ir.Constant(n.type, i) for i in (0, 1, 4))
        with cgutils.for_range_slice(builder, zero, whole, four, n.type) as (p, _):
            a, b, c, d = (product(builder.add(p, ir.Constant(n.type, i))) for i in range(4))
            some = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
            builder.store(builder.fadd(builder.load(total), some), total)
        with cgutils.for_range_slice(builder, whole, n, one, n.type) as (p, _):
            builder.store(builder.fadd(builder.load(total), product(p)), total)
        builder.store(builder.load(total), _vector_at(builder, out.data, given["at"]), align=4)
        return context.get_dummy_value()

    return signature, generate


@_inline
def _hide_step(
    typing_context: Any, phi: Any, layer: Any, row: Any, at: Any
) -> tuple[Any, Callable[..., Any]]:
    """Write `ROWS` hidden values of `STEP` pixels: rows of `layer` times the first rows of `phi`.

    They are the ReLU of the sum and go to the rows of `phi` after these. See `_weigh_step`; several
    rows at once share what is read of `phi`.
    """
    signature = types.void(phi, layer, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        phi, layer = (
            context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 1)
        )
        row, at = arguments[2:]
        _, width = cgutils.unpack_tuple(builder, phi.shape)
        _, stride = cgutils.unpack_tuple(builder, layer.shape)
        zero, one = (ir.Constant(stride.type, i) for i in (0, 1))
        n_columns = builder.sub(stride, one)
        rows = [builder.add(row, ir.Constant(row.type, i)) for i in range(ROWS)]
        begins = [builder.mul(r, stride) for r in rows]

        def weight(begin: Any, column: Any) -> Any:
            place = builder.gep(layer.data, [builder.add(begin, column)])
            return _repeated(builder, builder.load(place))

        totals = [cgutils.alloca_once_value(builder, weight(b, n_columns)) for b in begins]
        with cgutils.for_range_slice(builder, zero, n_columns, one, stride.type) as (p, _):
            place = builder.add(builder.mul(p, width), at)
            column = builder.load(_vector_at(builder, phi.data, place), align=4)
            for begin, total in zip(begins, totals, strict=True):
                product = builder.fmul(weight(begin, p), column)
                builder.store(builder.fadd(builder.load(total), product), total)
        nothing = ir.Constant(_LANES, None)
        for r, total in zip(rows, totals, strict=True):
            value = builder.load(total)
            shown = builder.select(builder.fcmp_ordered(">", value, nothing), value, nothing)
            place = builder.add(builder.mul(builder.add(n_columns, r), width), at)
            builder.store(shown, _vector_at(builder, phi.data, place), align=4)
        return context.get_dummy_value()

    return signature, generate


@_inline
def _fill_step(
    typing_context: Any, line: Any, at: Any, value: Any
) -> tuple[Any, Callable[..., Any]]:
    """Write `value` to ``line[at : at + STEP]``; see `_weigh_step`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line, at, value = arguments
        data = context.make_array(signature.args[0])(context, builder, line).data
        builder.store(_repeated(builder, value), _vector_at(builder, data, at), align=4)
        return context.get_dummy_value()

    return types.void(line, types.intp, types.float32), generate


def _vector_at(builder: Any, data: Any, place: Any) -> Any:
    return builder.bitcast(builder.gep(data, [place]), _LANES.as_pointer())


def _repeated(builder: Any, value: Any) -> Any:
    first = builder.insert_element(ir.Constant(_LANES, None), value, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), STEP), None)
    return builder.shuffle_vector(first, first, order)


@kernel
def _find_runs(line: Array, begins: Array) -> int:
    """Write where runs of equal labels begin, then the end of the line; return their number."""
    n = 0
    begins[0] = 0
    for x in range(1, line.size):  # without a branch that nothing could foresee
        n += line[x] != line[x - 1]
        begins[n] = x if line[x] != line[x - 1] else begins[n]
    begins[n + 1] = line.size
    return n + 1


@kernel
def _standardised(value: Any, mean: Any, factor: Any) -> Any:
    """Standardise and clip, as `graph.scaling` does."""
    low, high = np.float32(-CLIP), np.float32(CLIP)
    distance = (value - mean) * factor
    distance = low if distance < low else distance
    return high if distance > high else distance


@kernel
def _standardise(line: Array, mean: float, factor: float, out: Array) -> None:
    """Standardise and clip a line."""
    for x in range(line.size):
        out[x] = _standardised(line[x], mean, factor)


@kernel
def _write_places(places: Array, scaling: Array, n_x: int, phi: Array) -> None:
    """Write the columns of `place_names`, standardised.

    `places` has, for each pixel of a line, x of its superpixel, one over its size, and its own y
    and z in the superpixel. `scaling` and `phi` are those of these columns.
    """
    centre, size, oy, oz = places[0], places[1], places[2], places[3]
    for i in range(phi.shape[0]):
        mean, factor, out = scaling[i, 0], scaling[i, 1], phi[i]
        for x in range(n_x):
            ox = (np.float32(x) - centre[x]) * size[x]
            if i == 0:
                value = oy[x]
            elif i == 1:
                value = ox
            elif i == 2:
                value = oy[x] * oy[x]
            elif i == 3:
                value = oy[x] * ox
            elif i == 4:
                value = ox * ox
            elif i == 5:
                value = oz[x]
            elif i == 6:
                value = oz[x] * oz[x]
            elif i == 7:
                value = oz[x] * oy[x]
            else:
                value = oz[x] * ox
            out[x] = _standardised(value, mean, factor)


@kernel
def _write_hidden(layer: Array, n_x: int, phi: Array) -> None:
    """Write the hidden values of a line of pixels below the columns that they are made of."""
    for at in range(0, n_x, STEP):
        for h in range(0, layer.shape[0], ROWS):
            _hide_step(phi, layer, h, at)


@kernel
def _values(
    labels: Array,
    first: int,
    y0: int,
    maps: Array,
    scaling: Array,
    layer: Array,
    centre: Array,
    bias: Array,
    weights: Array,
    phi: Array,
    z: int,
    y: int,
    begins: Array,
    places: Array,
    out: Array,
) -> None:
    """Write the values (K - 1, X) of a line of pixels; `y0` is the first line of the strip."""
    n_maps, line = maps.shape[0], labels[z, y]
    n_runs = _find_runs(line, begins)
    for p in range(n_maps):
        _standardise(maps[p, z, y], scaling[p, 0], scaling[p, 1], phi[p])
    for r in range(n_runs):
        s = line[begins[r]] - first
        size = centre[s, 3]
        oz, oy = (np.float32(z) - centre[s, 0]) * size, (np.float32(y0 + y) - centre[s, 1]) * size
        for at in range(begins[r], begins[r + 1], STEP):
            _fill_step(places[0], at, centre[s, 2])
            _fill_step(places[1], at, size)
            _fill_step(places[2], at, oy)
            _fill_step(places[3], at, oz)
    n_columns = scaling.shape[0]
    _write_places(places, scaling[n_maps:], line.size, phi[n_maps:n_columns])
    _write_hidden(layer, line.size, phi)
    for k in range(out.shape[0]):
        for r in range(n_runs):
            s = line[begins[r]] - first
            for at in range(begins[r], begins[r + 1], STEP):
                _weigh_step(phi, weights[s, k], bias[s, k], at, out[k])


@kernel
def classify(
    labels: Array,
    first: int,
    y0: int,
    maps: Array,
    scaling: Array,
    layer: Array,
    centre: Array,
    bias: Array,
    weights: Array,
    phi: Array,
    class_ids: Array,
    out: Array,
) -> None:
    """Write the class of the largest value."""
    n_z, n_y, n_x = labels.shape
    line = np.empty((bias.shape[1], phi.shape[1]), np.float32)
    most, begins = np.empty(n_x, np.float32), np.empty(n_x + 1, np.int64)
    places = np.zeros((4, phi.shape[1]), np.float32)
    for z in range(n_z):
        for y in range(n_y):
            _values(
                labels, first, y0, maps, scaling, layer, centre, bias, weights, phi, z, y,
                begins, places, line,
            )  # fmt: skip
            to = out[z, y]
            to[:] = class_ids[0]
            most[:] = 0
            for k in range(line.shape[0]):
                values, name = line[k], class_ids[k + 1]
                for x in range(n_x):
                    is_more = values[x] > most[x]
                    to[x] = name if is_more else to[x]
                    most[x] = values[x] if is_more else most[x]


@kernel
def share_out(
    labels: Array,
    first: int,
    y0: int,
    maps: Array,
    scaling: Array,
    layer: Array,
    centre: Array,
    bias: Array,
    weights: Array,
    phi: Array,
    out: Array,
) -> None:
    """Write the softmax of the values, times 255, rounded."""
    n_z, n_y, n_x = labels.shape
    line = np.empty((bias.shape[1], phi.shape[1]), np.float32)
    begins = np.empty(n_x + 1, np.int64)
    places = np.zeros((4, phi.shape[1]), np.float32)
    for z in range(n_z):
        for y in range(n_y):
            _values(
                labels, first, y0, maps, scaling, layer, centre, bias, weights, phi, z, y,
                begins, places, line,
            )  # fmt: skip
            for x in range(n_x):
                most = np.float32(0)
                for k in range(line.shape[0]):
                    most = max(most, line[k, x])
                total = np.exp(-most)
                share = total
                for k in range(line.shape[0]):
                    line[k, x] = np.exp(line[k, x] - most)
                    total += line[k, x]
                factor = np.float32(255) / total
                out[0, z, y, x] = np.uint8(share * factor + np.float32(0.5))
                for k in range(line.shape[0]):
                    out[k + 1, z, y, x] = np.uint8(line[k, x] * factor + np.float32(0.5))
