"""Run the cells of the benchmark that are not known yet, and write its page.

    python -m benchmarks.engine --data DIR --max-mp 2000
    python -m benchmarks.engine --quick

Ctrl-C ends it after writing the page of what is known; the same command goes on.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.engine.cells import BUDGETS, Bench
from benchmarks.engine.gallery import SOURCES, draw_gallery, write_sources
from benchmarks.engine.mosaic import base_image
from benchmarks.engine.page import write_page
from spixgraph.errors import SpixError

KINDS = ("compare", "scale", "stages", "ceiling", "gallery")
SETS = (
    "axon_sem", "axon_tem", "nasa_meltpool_strips", "nist_hesc_colonies", "usiigaci_phase",
    "pyimsegm_ovary", "dsb2018", "plantseg_nuclei3d", "flyem_medulla3d",
)  # fmt: skip
COMPARE_MP = (1.0, 4.0, 16.0)
SCALE_MP = (1.0, 4.0, 16.0, 64.0, 100.0, 400.0, 1000.0, 2000.0)
_STAGES_MP, _QUICK_MP = 64.0, 0.25
_OUT = Path("docs/benchmarks")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the options ask for."""
    options = _options(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log = logging.getLogger("benchmarks.engine")
    log.setLevel(logging.INFO)
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    try:
        for cell in _cells(options):
            if time.monotonic() > end:
                log.info("the %g minutes are over; the same command goes on", options.minutes)
                break
            cell()
    except KeyboardInterrupt:
        log.info("stopped; give the same command again to go on")
    write_page(options.out, SETS)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, help="folder of data sets; those absent are skipped")
    parser.add_argument("--sets", type=_names, default=SETS, help="for ceiling and gallery")
    parser.add_argument("--base", default="axon_sem", help="set whose first image is tiled")
    parser.add_argument("--work", type=Path, default=Path("runs/engine"), help="for mosaics")
    parser.add_argument("--out", type=Path, default=_OUT, help="for the page")
    parser.add_argument("--only", type=_names, default=KINDS, help=f"of {', '.join(KINDS)}")
    parser.add_argument("--min-mp", type=float, default=0.0, help="smallest image, megapixels")
    parser.add_argument("--max-mp", type=float, default=100.0, help="largest image, megapixels")
    parser.add_argument("--repeats", type=int, default=5, help="of small images")
    parser.add_argument("--images", type=int, default=4, help="of each set, for the ceiling")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--quick", action="store_true", help="a small made-up image, one run each")
    options = parser.parse_args(arguments)
    if foreign := [kind for kind in options.only if kind not in KINDS]:
        parser.error(f"--only must be of {', '.join(KINDS)}, got {', '.join(foreign)}")
    if options.max_mp < 1:
        parser.error(f"--max-mp {options.max_mp:g} must be 1 or more")
    options.compare_mp, options.scale_mp = COMPARE_MP, SCALE_MP
    if options.quick:
        options.data, options.max_mp, options.repeats = None, _QUICK_MP, 1
        options.compare_mp = options.scale_mp = (_QUICK_MP,)
        options.work = options.work / "quick"
        options.out = options.work if options.out == _OUT else options.out
    elif options.data is not None and not (options.data / options.base).is_dir():
        parser.error(f"{options.data} holds no {options.base}; name another set by --base")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _cells(options: argparse.Namespace) -> Iterator[Callable[[], object]]:
    """Yield what to run, quick answers first."""
    name, base = base_image(options.data, options.base)
    bench = Bench(
        options.out / "engine", options.work, name, base,
        options.threads, options.repeats, options.images,
    )  # fmt: skip
    folders = [options.data / name for name in options.sets] if options.data else []
    present = [folder for folder in folders if folder.is_dir()]
    for kind in options.only:
        if kind == "compare":
            sizes = _wanted(options, options.compare_mp)
            turns = range(options.repeats)
            yield from (partial(bench.compare, mp, turn) for mp in sizes for turn in turns)
        elif kind == "scale":
            yield from (partial(bench.scale, mp) for mp in _wanted(options, options.scale_mp))
        elif kind == "stages":
            yield partial(bench.stages, min(_STAGES_MP, options.max_mp))
        elif kind == "ceiling":
            yield from (partial(bench.ceiling, folder) for folder in present)
        else:
            drawn = [folder for folder in present if folder.name in SOURCES]
            yield from (partial(_picture, options, folder) for folder in drawn)


def _wanted(options: argparse.Namespace, sizes: Sequence[float]) -> list[float]:
    return [mp for mp in sizes if options.min_mp <= mp <= options.max_mp]


def _picture(options: argparse.Namespace, folder: Path) -> None:
    path = options.out / "engine" / "gallery" / f"{folder.name}.png"
    draw_gallery(folder, path, BUDGETS, options.threads)
    write_sources(path.parent)


if __name__ == "__main__":
    try:
        main()
    except SpixError as error:
        sys.exit(f"error: {error}")
