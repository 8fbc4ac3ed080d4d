"""What the cells say: memory and time of a model at each size, measured or gone on in a line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean

from benchmarks.cost.cells import Cell, Kind, cpu_seconds, extrapolated, peak_bytes

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, and whether it was measured at that size."""

    value: float
    measured: bool

    def __str__(self) -> str:
        digits = f"{self.value:,.0f}" if self.value >= 100 else f"{self.value:.3g}"
        return digits if self.measured else f"({digits})"


def memory_mib(cells: Sequence[Cell], megapixels: float) -> Figure | None:
    """Peak memory above the idle process."""
    return _at(cells, megapixels, lambda cell: peak_bytes(cell) / MIB)


def step_seconds(cell: Cell) -> float:
    """Processor seconds of a step, mean.

    Of the first one only the end is known, so the second stands for it: it sees the same graph
    where a committee is trained.
    """
    ends = [cpu for cpu, _ in cell["steps"]]
    taken = [b - a for a, b in pairwise(ends)]
    return mean([taken[0], *taken]) if taken else cell["phases"]["training"]["cpu_seconds"]


def building_seconds(cell: Cell) -> float:
    """Processor seconds of superpixels and graphs, of the usual size and of the others."""
    phases, steps = cell["phases"], step_seconds(cell) * len(cell["steps"])
    made = sum(phases[name]["cpu_seconds"] for name in ("superpixels", "graphs") if name in phases)
    return float(made + max(0.0, phases["training"]["cpu_seconds"] - steps))


def training_seconds(cell: Cell) -> float:
    """Processor seconds of a whole training by the settings, validation left out."""
    plan = cell["plan"]
    return building_seconds(cell) + plan["epochs"] * plan["steps"] * step_seconds(cell)


def training_time(cells: Sequence[Cell], megapixels: float) -> Figure | None:
    """`training_seconds` at a size."""
    return _at(cells, megapixels, training_seconds)


def inference_time(cells: Sequence[Cell], megapixels: float) -> Figure | None:
    """Processor seconds from the image file to the mask file."""
    return _at(cells, megapixels, cpu_seconds)


def ratio(ours: Figure | None, theirs: Figure | None) -> Figure | None:
    """Divide, where both are known."""
    if ours is None or theirs is None:
        return None
    return Figure(ours.value / theirs.value, ours.measured and theirs.measured)


def measured_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Leave out those that were refused."""
    return [cell for cell in cells if "refused" not in cell]


Cells = dict[tuple[Kind, str], list[Cell]]


def _at(cells: Sequence[Cell], megapixels: float, figure: Callable[[Cell], float]) -> Figure | None:
    done = measured_cells(cells)
    for cell in done:
        if cell["megapixels"] == megapixels:
            return Figure(figure(cell), True)
    smaller = [cell for cell in done if cell["megapixels"] < megapixels]
    if not smaller:
        return None
    points = [(cell["megapixels"], figure(cell)) for cell in smaller]
    if larger := [cell for cell in done if cell["megapixels"] > megapixels]:
        (x, y), (x1, y1) = points[-1], (larger[0]["megapixels"], figure(larger[0]))
        return Figure(y + (y1 - y) / (x1 - x) * (megapixels - x), False)
    return Figure(extrapolated(points, megapixels), False)
