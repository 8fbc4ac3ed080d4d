"""One run of the pipeline: where it works, on what data, with which settings."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from spixgraph.config.params import Params, RecipeName
from spixgraph.errors import ResourceError
from spixgraph.stages.layout import Layout

P = ParamSpec("P")
R = TypeVar("R")

_PRELOADED = ("spixgraph.stages.models", "spixgraph.stages.training")
"""What runs `alone` imports one of these, and with it torch."""

RECIPES: tuple[RecipeName, ...] = ("rag", "paper")


@dataclass(frozen=True, slots=True)
class Run:
    """What every stage gets."""

    layout: Layout
    source: Path
    params: Params

    @property
    def name(self) -> str:
        """Name of the data set: its folder's."""
        return self.source.resolve().name


def recipe_of(model: str) -> RecipeName:
    """Name of the graph recipe that a node model reads."""
    return "paper" if model == "paper" else "rag"


def alone(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` in a process of its own, so that its peak memory is its own.

    Where the system can, processes are forked from one that has done the slow imports and nothing
    else; it ends with the caller.

    Raises
    ------
    ResourceError
        If the process is killed, as by the out-of-memory killer.
    """
    with ProcessPoolExecutor(
        max_workers=1,
        mp_context=_context(),
        initializer=_log_as_parent,
        initargs=(logging.getLogger("spixgraph").getEffectiveLevel(),),
    ) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise ResourceError(
                f"the process of {_name_of(function)} was killed, most likely for want of memory; "
                "use smaller images, batches or patches, or a machine with more memory"
            ) from error


def _context() -> BaseContext:
    # read when torch is loaded: threads that spin while they wait keep those off that they wait for
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    return context


def _log_as_parent(level: int) -> None:
    """Let a fresh process say as much as the one that started it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("spixgraph").setLevel(level)


def _name_of(function: Any) -> str:
    return getattr(function, "__name__", repr(function))
