"""Run the cells of the benchmark that are not known yet, and write its page.

    python -m benchmarks.cost --data DIR --max-mp 16
    python -m benchmarks.cost --quick

Ctrl-C ends it after writing the page of what is known; the same command goes on.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.cost.cells import MODELS, Bench, Cell
from benchmarks.cost.data import base_pair
from benchmarks.cost.page import write_page
from pipelines.workspace import merged, settings_for
from spixgraph.config.params import Params
from spixgraph.errors import SpixError

TRAIN_MP = (1.0, 4.0, 16.0, 64.0)
INFER_MP = (*TRAIN_MP, 256.0)
_WHOLE_MP = 0.25
"""One size more of the whole-image U-Net, which stops early."""
_OUT = Path("docs/benchmarks")
_QUICK = {
    "train": {
        "gnn": {"hidden": 8, "layers": 2, "members": 1, "changed": 1},
        "mlp": {"hidden": 8, "members": 1, "changed": 0},
        "cnn": {"channels": [4, 8, 16], "batch": 1, "patch_px": 64, "overlap": 0.0},
    }
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the options ask for."""
    options = _options(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log = logging.getLogger("benchmarks.cost")
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
    write_page(options.out)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cost", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, help="folder of data sets; without it a phantom")
    parser.add_argument("--base", default="usiigaci_phase", help="set whose image is tiled")
    parser.add_argument("--work", type=Path, default=Path("runs/cost"), help="for mosaics")
    parser.add_argument("--out", type=Path, default=_OUT, help="for the page")
    parser.add_argument("--only", type=_names, default=("train", "infer"), help="train, infer")
    parser.add_argument("--models", type=_names, default=MODELS, help="comma-separated")
    parser.add_argument("--max-mp", type=float, default=256.0, help="largest image, megapixels")
    parser.add_argument("--max-gib", type=float, default=10.0, help="largest memory of a cell")
    parser.add_argument("--cell-minutes", type=float, default=30.0, help="longest cell")
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--quick", action="store_true", help="a small made-up image, small nets")
    options = parser.parse_args(arguments)
    for given, allowed in ((options.only, ("train", "infer")), (options.models, MODELS)):
        if foreign := [name for name in given if name not in allowed]:
            parser.error(f"{', '.join(foreign)} is not of {', '.join(allowed)}")
    options.sizes = {"train": TRAIN_MP, "infer": INFER_MP}
    if options.quick:
        options.data = None
        options.sizes = {"train": (_WHOLE_MP,), "infer": (_WHOLE_MP,)}
        options.work = options.work / "quick"
        options.out = options.work if options.out == _OUT else options.out
    elif options.data is not None and not (options.data / options.base).is_dir():
        parser.error(f"{options.data} holds no {options.base}; name another set by --base")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _cells(options: argparse.Namespace) -> Iterator[partial[Cell]]:
    """Yield what to run, small sizes first."""
    options.work.mkdir(parents=True, exist_ok=True)
    name, pixels, mask = base_pair(options.data, options.base, options.work)
    settings = settings_for(options.base if options.data else "phantom")
    params = Params.model_validate(merged(settings, _QUICK if options.quick else {}))
    bench = Bench(
        options.out / "cost", options.work, name, pixels, mask, params,
        int(options.max_gib * 2**30), 60 * options.cell_minutes,
    )  # fmt: skip
    for kind in options.only:
        sizes = options.sizes[kind]
        for megapixels in sorted({*sizes, _WHOLE_MP}):
            for model in options.models:
                whole = model == "unet-whole"
                if megapixels > options.max_mp or (whole and kind == "infer"):
                    continue
                if megapixels in sizes or whole:
                    yield partial(bench.make, kind, model, megapixels)


if __name__ == "__main__":
    try:
        main()
    except SpixError as error:
        sys.exit(f"error: {error}")
