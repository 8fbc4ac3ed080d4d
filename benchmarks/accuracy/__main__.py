"""Run the cells of the benchmark that are not known yet, and write its page.

    python -m benchmarks.accuracy --data DIR --models cnn --minutes 60
    python -m benchmarks.accuracy --quick

Ctrl-C ends it after writing the page of what is known; the same command goes on.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from benchmarks.accuracy.cells import Bench
from benchmarks.accuracy.page import SETS, known_cells, write_page
from pipelines.workspace import merged, settings_for
from spixgraph.config.params import ModelName, Params
from spixgraph.errors import SpixError
from spixgraph.io.phantoms import write_phantom_dataset

MODELS: tuple[ModelName, ...] = get_args(ModelName)
_QUICK = {
    "train": {
        "threads": 1,
        "gnn": {"hidden": 16, "layers": 2, "members": 2, "epochs": 4, "max_minutes": None},
        "paper": {"hidden": 16, "epochs": 4},
        "mlp": {"hidden": 16, "members": 1, "changed": 0, "epochs": 4},
        "forest": {"trees": 10},
        "boosting": {"rounds": 10},
        "cnn": {"channels": [8, 16, 32], "batch": 2, "epochs": 3, "steps_per_epoch": 5,
                "max_minutes": None},
    }
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the options ask for."""
    options = _options(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("spixgraph").setLevel(logging.INFO)
    log = logging.getLogger("benchmarks.accuracy")
    log.setLevel(logging.INFO)
    out: Path = options.out
    if options.quick:
        _make_quick_set(options.data / "quick")
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    try:
        for bench, model, seed in _cells(options):
            if time.monotonic() > end:
                log.info("the %g minutes are over; give the command again to go on",
                         options.minutes)  # fmt: skip
                break
            cell = bench.make(model, seed)
            log.info(
                "%s %s seed %d: macro IoU on test %.4f, %.0f s, ended by %s",
                bench.run.name, model, seed, cell["metrics"]["macro_iou"] or 0,
                cell["train"]["seconds"], cell["train"].get("ended_by", "itself"),
            )  # fmt: skip
    except KeyboardInterrupt:
        log.info("stopped; give the same command again to go on")
    write_page(known_cells(out / "accuracy"), out, sets=options.sets)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--work", type=Path, default=Path("runs/accuracy"), help="working folder")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="for the page")
    parser.add_argument("--sets", type=_names, default=SETS, help="comma-separated, in this order")
    parser.add_argument("--models", type=_names, default=MODELS, help="comma-separated")
    parser.add_argument("--seeds", type=int, default=3, help="of graph models, MLP and trees")
    parser.add_argument("--cnn-seeds", type=int, default=1, help="of the U-Net")
    parser.add_argument("--minutes", type=float, help="start no further cell after this time")
    parser.add_argument("--threads", type=int, help="of the U-Net, in place of the settings")
    parser.add_argument("--quick", action="store_true", help="one small made-up set, one seed")
    options = parser.parse_args(arguments)
    if options.quick:
        options.work = options.work / "quick"
        options.out = options.work if options.out == Path("docs/benchmarks") else options.out
        options.data, options.sets = options.work / "data", ("quick",)
        options.seeds = options.cnn_seeds = 1
    if foreign := [m for m in options.models if m not in MODELS]:
        parser.error(f"--models must be of {', '.join(MODELS)}, got {', '.join(foreign)}")
    if options.data is None:
        parser.error("--data is missing: the folder that holds the data sets, or give --quick")
    absent = [name for name in options.sets if not (options.data / name).is_dir()]
    if absent and not options.quick:
        parser.error(f"{options.data} holds no {', '.join(absent)}; name others by --sets")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _make_quick_set(folder: Path) -> None:
    if not folder.is_dir():
        write_phantom_dataset(folder, kind="colonies", n_images=6, shape_zyx=(1, 128, 128), seed=0)


def _cells(options: argparse.Namespace) -> Iterator[tuple[Bench, ModelName, int]]:
    """Go through models, then sets, then seeds, so that the first seeds come first."""
    benches: dict[str, Bench] = {}
    for model in options.models:
        for seed in range(options.cnn_seeds if model == "cnn" else options.seeds):
            for name in options.sets:
                if name not in benches:
                    benches[name] = Bench.of(
                        options.data / name,
                        _params(name, options),
                        work=options.work,
                        results=options.out / "accuracy",
                    )
                yield benches[name], model, seed


def _params(name: str, options: argparse.Namespace) -> Params:
    values = merged(settings_for(name), _QUICK if options.quick else {})
    if options.threads:
        values["train"]["threads"] = options.threads
    return Params.model_validate(values)


if __name__ == "__main__":
    try:
        main()
    except SpixError as error:
        sys.exit(f"error: {error}")
