"""Stage `train`: one network (or trees) per model and seed, each in a process of its own.

What trains is imported in that process alone: torch takes seconds.
"""

from spixgraph.config.params import ModelName
from spixgraph.files import code_sha256, read_json, sha256_file, sha256_json, write_json
from spixgraph.stages.run import Run, alone, recipe_of

_CNN_CODE = (
    "nets/cnn.py", "nets/sliding.py", "train/cnn_training.py", "train/patches.py",
    "train/loop.py", "train/losses.py", "train/precision.py", "train/schedule.py", "io/limits.py",
)  # fmt: skip
_NODE_CODE = ("train", "nets", "graph", "superpixels", "io", "predict", "stages/context.py")


def train(run: Run, model: ModelName) -> None:
    """Train one model with every seed."""
    for seed in run.params.train.seeds:
        alone(_train, run, model, seed)


def train_if_new(run: Run, model: ModelName, seed: int) -> None:
    """Train unless the checkpoint of the same data, code and settings is there."""
    made_from = sha256_json(
        {
            "data": read_json(run.layout.prepared)["sha256"],
            "graphs": graphs_sha256(run, model),
            "settings": getattr(run.params.train, model).model_dump(mode="json"),
            "device": run.params.train.device,
            "threads": run.params.train.threads,
            "code": code_sha256(*code_of(model)),
        }
    )
    note = run.layout.cost("made_from", f"{model}-seed{seed}")
    known = read_json(note) if note.is_file() else None
    if known == made_from and run.layout.checkpoint(model, seed).is_dir():
        return
    alone(_train, run, model, seed)
    write_json(note, made_from)


def code_of(model: ModelName) -> tuple[str, ...]:
    """Name the code that a training depends on.

    A U-Net takes hours, so of its rooms only the files count that it uses.
    """
    return _CNN_CODE if model == "cnn" else _NODE_CODE


def graphs_sha256(run: Run, model: str) -> str:
    """Hash of the graphs that a model learns from; empty for the U-Net."""
    index = run.layout.graphs(recipe_of(model)) / "index.json"
    return "" if model == "cnn" else sha256_file(index)


def _train(run: Run, model: ModelName, seed: int) -> None:
    from spixgraph.stages.training import train_one

    train_one(run, model, seed)
