"""Whether a model may replace the champion, with the figures that say so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spixgraph.errors import GateError

METRIC = "macro_iou"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of the gate.

    Attributes
    ----------
    macro_iou, champion_macro_iou : float
        On the test split; the champion's is None where there is none.
    tolerance : float
        By how much the champion's score may be missed.
    same_data : bool or None
        Whether both were measured on the same data set; None without a champion.
    faults : tuple of str
        Empty if the model passed.
    proof : mapping
        Figures of the verify stage, where they were given.
    """

    macro_iou: float
    champion_macro_iou: float | None
    tolerance: float
    same_data: bool | None
    faults: tuple[str, ...]
    proof: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the promotion."""
        return not self.faults

    def as_tags(self) -> dict[str, str]:
        """Return the verdict as tags of a model version."""
        figures = {
            "macro_iou": self.macro_iou,
            "champion_macro_iou": self.champion_macro_iou,
            "tolerance": self.tolerance,
            "same_data": self.same_data,
            "faults": "; ".join(self.faults) or None,
            "verdict": "passed" if self.passed else "refused",
            **{f"proof.{key}": value for key, value in self.proof.items()},
        }
        return {f"gate.{key}": "none" if v is None else str(v) for key, v in figures.items()}


def judge(
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    champion: tuple[Mapping[str, str], Mapping[str, float]] | None,
    *,
    tolerance: float,
    proof: Mapping[str, Any] | None = None,
) -> Verdict:
    """Compare a model with the champion.

    Parameters
    ----------
    tags, metrics : mapping
        Of the candidate: tags of its version, metrics of its card.
    champion : pair of mappings, optional
        The same of the champion; without one every model with a score passes.
    tolerance : float
        By how much the macro IoU of the champion may be missed, >= 0.
    proof : mapping, optional
        What the verify stage wrote about the candidate: `bundle_sha256` and figures.

    Raises
    ------
    GateError
        If the candidate or the champion has no macro IoU to compare by.
    """
    score = _score("the candidate", metrics)
    faults = []
    if proof is not None and proof.get("bundle_sha256") != tags.get("bundle_sha256"):
        faults.append("the verification is of another bundle")
    figures = {k: v for k, v in (proof or {}).items() if isinstance(v, bool | int | float)}
    if champion is None:
        return Verdict(score, None, tolerance, None, tuple(faults), figures)
    champion_tags, champion_metrics = champion
    best = _score("the champion", champion_metrics)
    if score < best - tolerance:
        faults.append(
            f"macro IoU {score:.4f} is {best - score:.4f} below the champion's {best:.4f}, "
            f"{tolerance:g} is allowed"
        )
    same_data = tags.get("data_sha256") == champion_tags.get("data_sha256")
    return Verdict(score, best, tolerance, same_data, tuple(faults), figures)


def _score(who: str, metrics: Mapping[str, float]) -> float:
    if METRIC not in metrics:
        raise GateError(f"{who} has no {METRIC} in its card; evaluate and export it again")
    return metrics[METRIC]
