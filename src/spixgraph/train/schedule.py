"""How long training goes on, and the learning rate on the way.

The rate follows the progress of the run, 0 to 1, and not the number of the step. So when patience
or time runs out, the end moves closer and the rest of the cycle is walked faster: a run is never
cut off at a high rate, where its weights are at their worst.
"""

import math

WARM_UP = 0.15
"""Part of the run in which the rate rises."""
START, END = 1 / 25, 1e-4
"""First and last rate, relative to the peak."""
COOL_DOWN = 0.5
"""Epochs from running out of patience to the end, relative to the patience."""


def learning_rate(progress: float, peak: float) -> float:
    """One cycle: linear rise, then half a cosine down (arXiv:1708.07120)."""
    if progress < WARM_UP:
        return peak * (START + (1 - START) * progress / WARM_UP)
    falling = (progress - WARM_UP) / (1 - WARM_UP)
    return peak * (END + (1 - END) * (1 + math.cos(math.pi * falling)) / 2)


def end_by_patience(epoch: int, *, best_epoch: int, patience: int, end: int) -> int:
    """Last epoch of the run after `epoch`; it only ever comes closer."""
    if epoch - best_epoch < patience:
        return end
    return min(end, epoch + math.ceil(COOL_DOWN * patience))


def end_by_time(epoch: int, *, seconds: float, budget: float | None, end: int) -> int:
    """Last epoch that fits the budget at the pace so far, where there is a budget."""
    if budget is None:
        return end
    return min(end, epoch + max(0, math.floor((budget - seconds) / seconds * epoch)))
