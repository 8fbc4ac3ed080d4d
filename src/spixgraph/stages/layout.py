"""Where each stage puts what it makes, below one root folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `root`; the same in a DVC workspace and in an experiment's folder."""

    root: Path

    @property
    def prepared(self) -> Path:
        """The checked data set: items, classes, hashes."""
        return self.root / "data/prepared/dataset.json"

    def labels(self, recipe: str) -> Path:
        """Label images of one recipe, `<id>.zarr`."""
        return self.root / "data/superpixels" / recipe

    def graphs(self, recipe: str) -> Path:
        """Region graphs of one recipe, `<id>.zarr`."""
        return self.root / "data/graphs" / recipe

    def checkpoint(self, model: str, seed: int) -> Path:
        """Weights of one trained network."""
        return self.root / "models/checkpoints" / model / f"seed{seed}"

    def masks(self, model: str, seed: int) -> Path:
        """Predicted masks of one network, `<id>.tif`."""
        return self.root / "data/masks" / model / f"seed{seed}"

    @property
    def evaluation(self) -> Path:
        """Counts per model, image and split."""
        return self.root / "models/evaluation"

    @property
    def metrics(self) -> Path:
        """Headline scores for `dvc metrics` and `dvc exp show`."""
        return self.root / "models/metrics.json"

    @property
    def selected(self) -> Path:
        """Which model was selected, and why."""
        return self.root / "models/selected.json"

    @property
    def bundle(self) -> Path:
        """The exported model bundle."""
        return self.root / "models/bundle"

    @property
    def verification(self) -> Path:
        """What the bundle has proven."""
        return self.root / "models/verification.json"

    @property
    def reports(self) -> Path:
        """report.json, report.html and report.md; not an output of DVC, since it holds times."""
        return self.root / "reports"

    def cost(self, step: str, name: str) -> Path:
        """Seconds and bytes of one step; not an output of DVC."""
        return self.root / "build/costs" / step / f"{name}.json"

    def resume(self, model: str, seed: int) -> Path:
        """State of an unfinished training."""
        return self.root / "build/resume" / f"{model}-seed{seed}.pt"
